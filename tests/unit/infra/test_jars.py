"""Kafka's jars are those of the lock: fetched once, by one at a time, and never another file under the same name."""

import hashlib
import threading
import time
import tomllib

import pytest

from infra import jars, relock
from infra.files import alone, write

CONTENT = b"a jar"
LOCKED = {"group": "g", "artifact": "a", "version": "1", "sha256": hashlib.sha256(CONTENT).hexdigest()}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lock = tmp_path / "kafka.lock.toml"
    lock.write_text(relock.text("1", [LOCKED]))
    monkeypatch.setattr(jars, "LOCK", lock)
    return tmp_path


class Repository:
    """What the resolver would fetch: bytes, or an error, one after the other."""

    def __init__(self, monkeypatch, *answers):
        self.answers, self.asked, self.busy = list(answers), 0, 0
        monkeypatch.setattr(jars, "_resolve", self.resolve)

    def resolve(self, repository, jar):
        self.asked += 1
        self.busy += 1
        assert self.busy == 1, "two fetched at once"
        time.sleep(0.05)
        self.busy -= 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        path = repository / "download.jar"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(answer)
        return path


def test_a_jar_is_fetched_once(cache, monkeypatch):
    repository, said = Repository(monkeypatch, CONTENT), []
    first = jars.jars(said.append)
    assert [path.read_bytes() for path in first] == [CONTENT]
    assert jars.jars(said.append) == first
    assert repository.asked == 1
    assert said == ["fetching Kafka, once: 1 of 1 jars"]


@pytest.mark.parametrize("bad", [b"cut sho", ConnectionError("no route")])
def test_a_bad_download_is_tried_again(cache, monkeypatch, bad):
    Repository(monkeypatch, bad, CONTENT)
    assert jars.jars()[0].read_bytes() == CONTENT


def test_another_file_than_the_locked_one_is_never_kept(cache, monkeypatch):
    Repository(monkeypatch, *[b"another"] * jars.ATTEMPTS)
    with pytest.raises(jars.JarsMissing, match=r"a 1 is not the file whose sha256 .*`tocsin up` again"):
        jars.jars()
    assert not list((cache / "cache").rglob("*.jar"))


def test_no_network_is_one_sentence(cache, monkeypatch):
    Repository(monkeypatch, *[ConnectionError("no route")] * jars.ATTEMPTS)
    with pytest.raises(jars.JarsMissing, match=r"can't be fetched .*no route.*go online"):
        jars.jars()


def test_a_damaged_jar_in_the_cache_is_fetched_again(cache, monkeypatch):
    Repository(monkeypatch, CONTENT, CONTENT)
    path = jars.jars()[0]
    path.write_bytes(b"damaged")
    assert jars.jars()[0].read_bytes() == CONTENT


def test_two_first_starts_fetch_once(cache, monkeypatch):
    repository, found = Repository(monkeypatch, CONTENT), []
    threads = [threading.Thread(target=lambda: found.append(jars.jars())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert repository.asked == 1
    assert len(found) == 3


def test_the_lock_names_each_jar_once_with_a_whole_sha256_and_no_host():
    lock = relock.LOCK.read_text()
    stated = tomllib.loads(lock)
    names = [jar["artifact"] for jar in stated["jar"]]
    assert stated["kafka"] == "4.3.1"
    assert len(names) == len(set(names)) > 40
    assert {"kafka_2.13", "log4j-slf4j-impl"} <= set(names)
    assert all(len(bytes.fromhex(jar["sha256"])) == 32 for jar in stated["jar"])
    assert "://" not in lock
    assert relock.text("4.3.1", stated["jar"]) == lock


def test_a_file_is_written_whole_for_its_owner_only(tmp_path):
    path = tmp_path / "secret"
    write(path, "first")
    write(path, "second")
    assert path.read_text() == "second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["secret"]


def test_who_waits_for_a_lock_is_told(tmp_path):
    said = []
    with alone(tmp_path / "lock", lambda: said.append("waits")):
        thread = threading.Thread(target=lambda: alone(tmp_path / "lock", lambda: said.append("told")).__enter__())
        thread.start()
        deadline = time.monotonic() + 5
        while said != ["told"] and time.monotonic() < deadline:
            time.sleep(0.01)
    thread.join(5)
    assert said == ["told"]
