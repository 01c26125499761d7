"""A data folder's whole life, as a person and as an accident make it: starts, stops, kills, and a port that is taken."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from infra import launcher
from infra.broker import BrokerFailed, prepare
from infra.cluster import Broken, Cluster, PortTaken
from infra.topics import ensure
from schemas.errors import NotSetUp
from tests.integration.infra.servers import get, pid, processes_of, put, read, send, topic

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[3]
TOCSIN = [sys.executable, "-c", "from pipeline.cli.app import main; main()"]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    yield folder
    (folder / "cluster.json").exists() and launcher.down(folder)
    assert not processes_of(folder)


def tocsin(*arguments, path):
    """Start the command as a person would on a machine that has no Java."""
    environment = os.environ | {"PATH": str(path), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*TOCSIN, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(command):
    out, err = command.communicate(timeout=120)
    return command.returncode, out, err


def test_two_ups_at_once_are_one_pair_and_a_restart_finds_its_data(data, tmp_path):
    ups = [tocsin("up", "--data", str(data), "--json", path=tmp_path) for _ in range(2)]
    done = [finish(up) for up in ups]
    assert [code for code, _, _ in done] == [0, 0], done
    answers = [json.loads(out) for _, out, _ in done]
    assert sorted(answer["started"] for answer in answers) == [False, True]
    assert len(processes_of(data)) == 2
    endpoints = launcher.endpoints(data)
    one = topic()
    ensure(endpoints.kafka, [one])
    send(endpoints, one.name, b"a record")
    put(endpoints, "an/object", b"content" * 100_000)

    begun = time.monotonic()
    assert finish(tocsin("down", "--data", str(data), path=tmp_path))[0] == 0
    assert time.monotonic() - begun < 25
    assert not processes_of(data)
    assert finish(tocsin("status", "--data", str(data), path=tmp_path))[0] == 1

    assert launcher.up(data) == endpoints
    assert read(endpoints, one.name) == [b"a record"]
    assert get(endpoints, "an/object") == b"content" * 100_000
    code, out, _ = finish(tocsin("status", "--data", str(data), path=tmp_path))
    assert code == 0
    assert "answers" in out


def test_a_half_dead_pair_is_mended_and_loses_nothing(data):
    endpoints = launcher.up(data)
    one = topic()
    ensure(endpoints.kafka, [one])
    for round_, name in enumerate(("kafka", "s3")):
        send(endpoints, one.name, b"record %d" % round_)
        put(endpoints, f"object/{round_}", b"%d" % round_)
        before = {other: pid(data, other) for other in ("kafka", "s3")}
        os.kill(before[name], signal.SIGKILL)
        if name == "kafka":  # the other is mended while it is still dying
            psutil.wait_procs([psutil.Process(before[name])], timeout=20)
            found = launcher.status(data)
            assert (found.kafka, found.s3) == (False, True)
        said = []
        assert launcher.up(data, said.append) == endpoints
        assert said == [f"starting {name}"]
        after = {other: pid(data, other) for other in ("kafka", "s3")}
        assert {other for other in before if before[other] != after[other]} == {name}
    assert read(endpoints, one.name) == [b"record 0", b"record 1"]
    assert [get(endpoints, f"object/{round_}") for round_ in range(2)] == [b"0", b"1"]


def test_a_store_that_runs_and_keeps_nothing_is_started_anew(data, monkeypatch):
    """A store that met a full disk is such a one; here it is stopped in its tracks."""
    monkeypatch.setattr(launcher, "MENDING_SECONDS", 3.0)
    endpoints = launcher.up(data)
    put(endpoints, "an/object", b"content")
    before = {name: pid(data, name) for name in ("kafka", "s3")}
    os.kill(before["s3"], signal.SIGSTOP)
    said = []
    assert launcher.up(data, said.append) == endpoints
    assert said == ["s3 runs and keeps nothing", "starting s3"]
    assert pid(data, "s3") != before["s3"]
    assert pid(data, "kafka") == before["kafka"]
    assert get(endpoints, "an/object") == b"content"


def test_an_index_that_a_full_disk_has_torn_is_made_anew(data):
    endpoints = launcher.up(data)
    for number in range(40):
        put(endpoints, f"object/{number}", b"content of %d" % number * 1_000)
    launcher.down(data)
    (index,) = (data / "s3" / "data").glob("tocsin_*.idx")
    with index.open("r+b") as file:
        file.truncate(index.stat().st_size - 17 - 5)
    assert launcher.up(data) == endpoints
    assert [get(endpoints, f"object/{n}") for n in range(40)] == [b"content of %d" % n * 1_000 for n in range(40)]


def test_a_taken_port_is_one_sentence_and_nothing_is_left_running(data):
    cluster = Cluster(data)
    data.mkdir(mode=0o700)
    cluster.choose()
    with socket.socket() as other:
        other.bind(("127.0.0.1", cluster.kept["ports"]["kafka"]))
        other.listen()
        with pytest.raises(PortTaken, match=r"Port \d+ of 127.0.0.1.*for kafka, is taken.*`tocsin up` again"):
            launcher.up(data)
    assert Cluster(data).process("s3").pid
    assert not processes_of(data)


def test_a_server_that_cannot_start_is_named_with_the_end_of_its_log(data):
    folder = data / "kafka" / "log"
    folder.mkdir(parents=True)
    (folder / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=another\n")
    with pytest.raises(BrokerFailed, match=r"Kafka ended while it started; its log is .*kafka\.log") as failed:
        launcher.up(data)
    assert "Stored node id 7 doesn't match" in str(failed.value)
    assert "\tat " not in str(failed.value)
    assert not processes_of(data)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_up_that_is_interrupted_leaves_nothing(data, tmp_path, sign):
    up = tocsin("up", "--data", str(data), path=tmp_path)
    end = time.monotonic() + 30
    while not (data / "logs" / "s3.log").exists() and time.monotonic() < end:
        time.sleep(0.02)
    up.send_signal(sign)
    code, _, err = finish(up)
    assert code == (130 if sign == signal.SIGINT else 143), err
    assert "Traceback" not in err
    assert Cluster(data).process("s3").pid, "it came too early to prove anything"
    assert not processes_of(data)


def test_what_ctrl_c_sends_to_the_terminal_does_not_reach_the_servers(data):
    cluster = Cluster(data)
    data.mkdir(mode=0o700)
    cluster.choose()
    cluster.launch("s3", lambda _: None)
    assert os.getpgid(pid(data, "s3")) == pid(data, "s3") != os.getpgid(0)


def test_before_the_first_up_every_command_says_what_to_do(data, tmp_path):
    with pytest.raises(NotSetUp, match="run `tocsin up` first"):
        launcher.endpoints(data)
    code, out, _ = finish(tocsin("status", "--data", str(data), path=tmp_path))
    assert (code, out) == (1, f"Nothing was ever started in {data}: run `tocsin up`.\n")
    code, out, _ = finish(tocsin("down", "--data", str(data), path=tmp_path))
    assert (code, out) == (0, f"Nothing ran in {data}.\n")
    assert not data.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kafka": "127.0.0.1:1"}'])
def test_a_damaged_cluster_file_is_one_sentence(data, content):
    data.mkdir()
    (data / "cluster.json").write_text(content)
    with pytest.raises(Broken, match=r"cluster\.json is not as `tocsin up` wrote it.*--data"):
        launcher.up(data)
    (data / "cluster.json").unlink()


def test_a_folder_that_can_t_be_used_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Broken, match=r"can't be used .*--data"):
        launcher.up(tmp_path / "file" / "data")


def test_kafka_is_formatted_also_under_an_identity_that_begins_with_a_dash(tmp_path, monkeypatch):
    identity = UUID(bytes=b"\xf8" + bytes(15))
    monkeypatch.setattr("infra.broker.uuid.uuid4", lambda: identity)
    prepare(tmp_path, 1, 2, print)
    kept = (tmp_path / "log" / "meta.properties").read_text()
    assert f"cluster.id=-{'A' * 21}" in kept
