"""The sink's logic on a folder; `tests/integration/sinks` runs the same on the real store."""

from itertools import count

import pytest
from deltalake import DeltaTable

from sinks.tables import of_topic
from sinks.writer import DeltaSink
from tests.conformance import sink
from tests.unit.sinks.folder import FolderStore

pytestmark = pytest.mark.timeout(120)
NUMBERS = count()


class TestDeltaSinkInAFolder(sink.SinkCase):
    points = ("decoded", "uploaded", "committed")
    once = ("decoded",)

    @pytest.fixture(autouse=True)
    def _store(self, tmp_path):
        type(self).store = FolderStore(tmp_path)

    def new_place(self):
        return f"hub.t{next(NUMBERS)}"

    def topic(self, place):
        return place

    def open(self, place, reached):
        return DeltaSink(self.store, place, 0, reached=reached)

    def records(self, place):
        return {
            table.name: DeltaTable(self.store.uri(path)).to_pyarrow_table().to_pylist()
            for path, table in of_topic(place).items()
        }
