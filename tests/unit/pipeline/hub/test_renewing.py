import json
import os
import shutil
import sys
from types import SimpleNamespace

import pytest

from pipeline import files
from pipeline.cli.app import main
from pipeline.hub import renewing
from pipeline.hub.renewing import Pair
from pipeline.keyrings import PrivateKeys, ensure_keys, region_keys
from pipeline.node import keys
from schemas import seal
from schemas.columns import Blob
from schemas.errors import NotSetUp
from schemas.nodekeys import NodeKeys
from tests.unit.pipeline.node.test_renewing import Crash, cuts

REGION, OTHER = "great-lakes", "sahel"
SECRET, REF, CASE_KEY = seal.new_case_key(), b"r" * 16, seal.new_case_key()


@pytest.fixture
def data(tmp_path):
    home = tmp_path / "data"
    ensure_keys(home)
    (home / "cluster.json").write_text(json.dumps({"kafka": "kafka:9092"}))
    return home


@pytest.fixture
def pair(data):
    return Pair(REGION, data / "regions" / REGION)


def public(pair):
    return bytes.fromhex((pair.folder / "public.key").read_text())


def private(pair, name="private"):
    return bytes.fromhex((pair.folder / f"{name}.key").read_text())


def begin(pair):
    pair.set_aside()
    pair.renew()


def opens(data, *records):
    """Whether a worker that reads these records opens the case of epoch 1."""
    worker = NodeKeys(PrivateKeys(data))
    for key, value in (*records, keys.of_case(1, SECRET, keys.Case(REF, CASE_KEY))):
        worker.read(Blob.of([key]), Blob.of([value]))
    return len(worker) == 1


def epoch(public, region=REGION, number=1, secret=SECRET):
    return keys.of_epoch(number, region, public, secret)


@pytest.fixture
def log(monkeypatch):
    """What the nodes' topics hold, by node; what is sent is added."""
    held = {"MONUSCO": [], "UNMISS": [], "MINUSMA": []}

    def read(_kafka, *names):
        for name in names:
            for key, value in held[name.removeprefix("keys.")]:
                yield SimpleNamespace(topic=name, key=key, value=value)

    def send(_kafka, records, _again):
        for topic, *record in records:
            held[topic.removeprefix("keys.")].append(tuple(record))

    monkeypatch.setattr(renewing, "read", read)
    monkeypatch.setattr(renewing, "topics", lambda _kafka, prefix: [f"{prefix}{node}" for node in held])
    monkeypatch.setattr(renewing, "send", send)
    monkeypatch.setattr("pipeline.log.ends", lambda _kafka, prefix: {f"{prefix}{node}": 1 for node in held})
    return held


def test_in_between_a_worker_opens_what_is_sealed_for_either_and_afterwards_for_the_new_one_alone(data, pair):
    before = epoch(public(pair))
    begin(pair)
    after = epoch(public(pair))
    assert before != after
    assert opens(data, before)
    assert opens(data, after)
    assert opens(data, before, after)
    pair.end()
    assert not opens(data, before)
    assert opens(data, before, after)
    assert sorted(path.name for path in pair.folder.iterdir()) == ["mint.key", "private.key", "public.key"]


def test_a_worker_that_runs_goes_on(data, pair):
    worker, refs = NodeKeys(PrivateKeys(data)), [bytes([number]) * 16 for number in range(3)]

    def tell(number):
        secret = seal.new_case_key()
        told = [epoch(public(pair), number=number, secret=secret)]
        told += [keys.of_case(number, secret, keys.Case(ref, CASE_KEY)) for ref in refs]
        told += [keys.end_of_epoch(number - 1)]
        for key, value in told:
            assert worker.read(Blob.of([key]), Blob.of([value])) == []
            assert len(worker) in (3, *([] if number > 1 else range(3)))

    tell(1)
    begin(pair)
    tell(2)
    pair.end()
    tell(3)
    assert len(worker) == 3


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_durable_step_what_was_sealed_is_read_and_a_second_run_ends_it(
    data, pair, tmp_path, monkeypatch, after
):
    before, first, steps = epoch(public(pair)), private(pair), 0

    def fresh(turn):
        return Pair(REGION, shutil.copytree(data, tmp_path / f"{steps}-{turn}") / "regions" / REGION)

    for cut in cuts(monkeypatch, after, fresh, begin):
        home = cut.folder.parents[1]
        assert opens(home, before)
        assert opens(home, epoch(public(cut)))
        begin(cut)
        assert private(cut, "former") == first != private(cut)
        assert seal.open_epoch(private(cut), seal.seal_epoch(public(cut), SECRET)) == SECRET
        assert opens(home, before)
        assert opens(home, epoch(public(cut)))
        steps += 1
    begin(pair)
    now = private(pair)
    for cut in cuts(monkeypatch, after, fresh, Pair.end):
        assert not cut.interrupted
        cut.end()
        assert not cut.under_way
        assert private(cut) == now
        assert opens(cut.folder.parents[1], epoch(public(cut)))
        steps += 1
    assert steps == 10


def test_the_former_key_is_overwritten_where_it_lay(data, pair, tmp_path):
    content = (pair.folder / "private.key").read_bytes()
    os.link(pair.folder / "private.key", tmp_path / "the disk")
    begin(pair)
    assert (tmp_path / "the disk").read_bytes() == content
    pair.end()
    assert (tmp_path / "the disk").read_bytes() == bytes(len(content))
    assert not any(content in path.read_bytes() for path in data.rglob("*") if path.is_file())


def test_what_is_waited_for_are_epochs_of_the_region_that_go_on_and_open_by_the_former_key_alone(data, pair, log):
    old, elsewhere = public(pair), region_keys(data, "public")[OTHER]
    log["MONUSCO"] = [epoch(old), epoch(old, number=2), keys.end_of_epoch(1)]
    log["UNMISS"] = [epoch(old), (b"epoch:3", b"nonsense"), (b"c" * 16, b"")]
    log["MINUSMA"] = [epoch(elsewhere, region=OTHER), epoch(seal.region_pair()[0], number=4)]
    log["MINUSMA"] += [epoch(old, region=OTHER, number=5)]
    begin(pair)
    assert [(one.node, one.epoch) for one in pair.waiting("kafka")] == [("MONUSCO", 2), ("UNMISS", 1)]
    assert all(one.secret == SECRET for one in pair.waiting("kafka"))
    log["MONUSCO"].append(epoch(public(pair), number=2))
    assert [one.node for one in pair.waiting("kafka")] == ["UNMISS"]


@pytest.fixture
def run(data, log, monkeypatch, capsys):
    """Run `tocsin hub renew` over the data folder; return its lines of JSON, or what it says where it is to fail."""
    monkeypatch.setattr("pipeline.cli.regionkeys.known_nodes", lambda _home, _kafka, named: dict.fromkeys(named, 1))

    def command(*arguments, code=0):
        given = ["tocsin", "hub", "renew", "--data", str(data), *arguments]
        monkeypatch.setattr(sys, "argv", given if code == 65 else [*given, "--json"])
        with pytest.raises(SystemExit) as left:
            main()
        told = capsys.readouterr()
        assert (left.value.code or 0) == code, told
        return told.err if code == 65 else {row["region"]: row["waiting"] for row in json.loads(told.out)["regions"]}

    return command


def test_the_first_run_makes_the_pair_and_one_after_the_nodes_have_sent_ends_it(data, pair, log, run):
    log["MONUSCO"] = [epoch(public(pair))]
    assert run("--region", REGION, "--yes", code=75) == {REGION: {"MONUSCO": [1]}}
    new = public(pair)
    assert run(code=75) == {REGION: {"MONUSCO": [1]}}
    assert public(pair) == new
    log["MONUSCO"].append(epoch(new, number=2))
    log["MONUSCO"].append(keys.end_of_epoch(1))
    assert run() == {REGION: {}}
    assert public(pair) == new
    assert not pair.under_way


def test_nothing_is_begun_where_nobody_agrees(data, pair, log, run):
    before = region_keys(data, "private")
    assert "add --yes" in run(code=65)
    assert region_keys(data, "private") == before
    assert not pair.under_way


def test_without_a_node_every_region_is_renewed_at_once(data, log, run):
    before = region_keys(data, "private")
    assert set(run("--yes")) == set(before)
    after = region_keys(data, "private")
    assert not any(before[code] == after[code] for code in before)


def test_a_run_that_was_cut_while_it_began_begins_everywhere(data, pair, log, run, monkeypatch):
    before = region_keys(data, "private")
    monkeypatch.setattr(renewing, "replace", gone)
    with pytest.raises(Crash):
        run("--yes")
    monkeypatch.setattr(renewing, "replace", files.replace)
    assert set(run("--yes")) == set(before)
    assert not any(before[code] == key for code, key in region_keys(data, "private").items())


def gone(*_):
    raise Crash


def test_instead_of_a_node_that_is_closed_the_hub_seals_its_epochs(data, pair, log, run):
    log["MINUSMA"], log["UNMISS"] = [epoch(public(pair))], [epoch(public(pair))]
    run("--region", REGION, "--yes", code=75)
    assert run("--instead-of", "MINUSMA", code=75) == {REGION: {"UNMISS": [1]}}
    assert run("--instead-of", "UNMISS") == {REGION: {}}
    assert opens(data, *log["MINUSMA"])
    assert len(log["MINUSMA"]) == 2


@pytest.mark.parametrize("name", ["private", "former"])
def test_a_key_that_cannot_be_read_now_stops_a_worker_and_forgets_no_case(data, pair, name):
    begin(pair)
    path, privates = pair.folder / f"{name}.key", PrivateKeys(data)
    path.unlink()
    path.mkdir()
    key, value = epoch(public(pair))
    worker = NodeKeys(privates)
    with pytest.raises(NotSetUp, match="can't be read"):
        worker.read(Blob.of([key]), Blob.of([value]))


def test_a_region_that_names_no_folder_of_keys_is_another_region(data):
    privates = PrivateKeys(data)
    assert "../../regions/sahel" not in privates
    worker = NodeKeys(privates)
    key, value = epoch(region_keys(data, "public")[OTHER], region="../regions/sahel")
    assert worker.read(Blob.of([key]), Blob.of([value])) == [(key, "keys.other_region")]
