"""How far the tables of a topic's partition have come, read from the tables' own logs; nothing is written here."""

from dataclasses import dataclass, field
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from schemas.errors import Unreachable
from sinks.delta import app_of
from sinks.store import Store
from sinks.tables import of_topic


@dataclass
class Positions:
    """The tables in one store; a table that was opened once is only read on from there."""

    store: Store
    _handles: dict[str, Any] = field(default_factory=dict, repr=False)

    def __call__(self, topic: str, partition: int) -> int:
        """Return the offset before which every event of the partition has its row; 0 where there is no table yet.

        It is that of the topic's last table: a sink commits that one for every batch, after the others.
        """
        path = list(of_topic(topic))[-1]
        try:
            handle = self._handle(path)
            return int(handle.transaction_version(app_of(topic, partition)) or 0)
        except TableNotFoundError:
            return 0
        except (DeltaError, OSError) as error:
            self.store.list(f"{path}/_delta_log/_last_checkpoint")  # which knows best what is wrong with the store
            raise Unreachable(
                f"The log of {path} at {self.store.endpoint} cannot be read ({type(error).__name__}); "
                "run `tocsin status`; the worker begins anew."
            ) from error

    def _handle(self, path: str) -> Any:
        if path in self._handles:
            self._handles[path].update_incremental()
        else:
            self._handles[path] = DeltaTable(self.store.uri(path), storage_options=self.store.delta_options())
        return self._handles[path]
