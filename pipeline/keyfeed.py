"""The keys of one node's cases, read from `keys.<node>` and kept up to date before each batch of refine."""

from collections.abc import Mapping, Sequence

from pipeline import observe
from schemas.columns import Blob
from schemas.keyring import Keyring
from schemas.nodekeys import NodeKeys
from streams.beside import beside
from streams.client import Broker
from streams.topiclog import follow


class KeyFeed(Keyring):
    """A key ring that follows its topic: a node publishes a case's key before the first event that needs it.

    So after `refresh` every key of a batch that was fetched before is there, or was forgotten.
    """

    def __init__(self, broker: Broker, node: str, privates: Mapping[str, Sequence[bytes]]) -> None:
        super().__init__()
        self._broker, self._place, self._position = broker, (f"keys.{node}", 0), 0
        self._node_keys = NodeKeys(privates, self)

    async def refresh(self) -> None:
        """Read on to where the topic ends now; Unreachable where the broker does not answer."""
        async for records in follow(self._broker, self._place, self._position):
            await beside(len(records), self._fold, records.keys, records.values)
            self._position = records.end

    def _fold(self, keys: Blob, values: Blob) -> None:
        for key, reason in self._node_keys.read(keys, values):
            observe.note("key_refused", topic=self._place[0], key=key.hex(), reason=reason)
