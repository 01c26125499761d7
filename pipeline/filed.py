"""Where an event of a hub lies: the file whose name carries its offset, and the table's version that brought it."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from sinks.parquet import Range
from sinks.store import Store
from sinks.tables import CLOSURE, of_topic


@dataclass(frozen=True)
class Filed:
    """The tables of one store, looked through by their logs."""

    store: Store

    def __call__(self, topic: str, event: str, offset: int) -> dict[str, Any] | None:
        """Return `file` and Delta `version` of the event at `offset`, or None where no table has it yet.

        Of what closed a version it is the file to which that moved.
        """
        for path, table in of_topic(topic).items():
            if event in table.contracts and table.ends == (event == CLOSURE):
                for name, version in _files(self.store, path).items():
                    held = Range.of(name)
                    if held and held.start <= offset < held.end:
                        return {"file": self.store.uri(f"{path}/{name}"), "version": version}
        return None


@cache
def _files(store: Store, path: str) -> dict[str, int]:
    """Return the names of a table's files, each with the version that brought it."""
    logs = sorted(name for name in store.list(f"{path}/_delta_log/") if name.endswith(".json"))
    found: dict[str, int] = {}
    for log in logs:
        version = int(log.rsplit("/", 1)[-1].removesuffix(".json"))
        actions = [json.loads(line) for line in store.get(log).splitlines()]
        for action in actions:
            if "remove" in action:
                found.pop(str(action["remove"]["path"]), None)
        found |= {str(action["add"]["path"]): version for action in actions if "add" in action}
    return found
