"""The hubs' records through the sinks into tables of a folder, as the oracle reads them."""

import pytest

from sinks.writer import DeltaSink
from tests.chaos.oracle import checks, lake
from tests.chaos.oracle.finding import rows_of
from tests.chaos.test_load import Run
from tests.unit.streams.accepted import SECRETS, records

folder = pytest.importorskip("tests.unit.sinks.folder", reason="the table of versions is not there yet")
NAMES = {"I1 hub", "I1 table", "I2", "I3"}


class FolderLake:
    """What the oracle asks of a bucket."""

    def __init__(self, root):
        self.root = root

    def get(self, path):
        return (self.root / path).read_bytes()

    def list(self):
        files = (file for file in self.root.rglob("*") if file.is_file())
        return {str(file.relative_to(self.root)): file.stat().st_size for file in files}


@pytest.mark.timeout(120)
def test_the_oracle_is_green_for_the_tables_in_a_folder(tmp_path, monkeypatch):
    run = Run(4, 150, events=3_000)
    store = folder.FolderStore(tmp_path / "store")
    for topic, partition in [*run.log]:
        if topic == "quarantine" or topic.startswith("hub."):
            follow(store, topic, partition, run.log[topic, partition], 500)
    found = run.written(tmp_path)
    monkeypatch.setattr(lake, "Lake", FolderLake)
    lake.gather(found, store.root)
    answer = checks.run(found, SECRETS, NAMES)
    assert {name: one.wrong for name, one in answer.items() if one.wrong} == {}
    counts = dict(
        rows_of(found, "SELECT replace(path, rtrim(path, replace(path, '/', '')), ''), count(*) FROM rows GROUP BY 1")
    )
    assert counts["versions"] > 10
    assert counts["incidents"] > 1_000
    assert counts["duplicates"] > 5
    assert counts["referrals"] > 10
    assert counts["assessments"] > 10


def follow(store, topic, partition, values, size):
    for at in range(0, len(values), size):
        sink = DeltaSink(store, topic, partition)
        sink.write(records(values[at : at + size], at, topic, partition))
