"""Where an event of a hub lies: the file whose name carries its offset, and the table's version that brought it."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from sinks.parquet import Range
from sinks.store import Store
from sinks.tables import of_topic


@dataclass(frozen=True)
class Filed:
    """The tables of one store, looked through by their logs."""

    store: Store

    def __call__(self, topic: str, event: str, offset: int) -> dict[str, Any] | None:
        """Return `file` and Delta `version` of the event at `offset`, or None where no table has it yet."""
        for path, table in of_topic(topic).items():
            if table.contract == event:
                for version, name in _added(self.store, path):
                    held = Range.of(name)
                    if held and held.start <= offset < held.end:
                        return {"file": self.store.uri(f"{path}/{name}"), "version": version}
        return None


@cache
def _added(store: Store, path: str) -> tuple[tuple[int, str], ...]:
    """Return version and file name of every file that was ever added to a table, first version first."""
    logs = sorted(name for name in store.list(f"{path}/_delta_log/") if name.endswith(".json"))
    found = []
    for log in logs:
        version = int(log.rsplit("/", 1)[-1].removesuffix(".json"))
        for line in store.get(log).splitlines():
            if "add" in (action := json.loads(line)):
                found.append((version, str(action["add"]["path"])))
    return tuple(found)
