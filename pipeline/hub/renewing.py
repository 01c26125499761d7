"""A region renews its key pair: what was sealed for the former one, an old backup's epoch keys above all, opens nothing more.

The nodes seal anew, by `tocsin node renew` with the new public key: each is the only one that writes its keys. Until no
epoch of theirs that goes on is sealed for the former key, both private keys are there and a worker tries each; then the
former one is destroyed. Killed anywhere, all of it is done again.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.files import destroy, hexadecimal, replace, sync_folder
from pipeline.hub.sending import send
from pipeline.keyrings import FORMER
from pipeline.log import read, topics
from pipeline.node.keys import EPOCH, of_epoch
from schemas import rows, seal
from schemas.errors import Quarantines
from schemas.wire import unframe

KEYS = "keys."


@dataclass(frozen=True)
class Waiting:
    """An epoch of a node that goes on and is sealed for the former key; `secret` is its key."""

    node: str
    epoch: int
    secret: bytes


@dataclass(frozen=True)
class Pair:
    """A region's keys in its folder: `public.key`, `private.key`, and the former private key while a renewal is under way."""

    region: str
    folder: Path

    @property
    def under_way(self) -> bool:
        """Return whether a renewal was begun and has not ended."""
        return self._path(FORMER).exists()

    @property
    def interrupted(self) -> bool:
        """Return whether a renewal was cut short before there was a new pair."""
        return self.under_way and (self._is_former() or not self._fits())

    def set_aside(self) -> None:
        """Have the private key be the former one, too, unless a renewal is under way: it is one file under two names."""
        if not self.under_way:
            os.link(self._path("private"), self._path(FORMER))
            sync_folder(self.folder)

    def renew(self) -> None:
        """Make a new pair, unless that was done since the private key was set aside."""
        if self.interrupted:
            public, private = seal.region_pair()
            self._write("private", private)
            self._write("public", public)

    def end(self) -> None:
        """Destroy the former private key."""
        destroy(self._path(FORMER))

    def waiting(self, kafka: str, step: Callable[[int], None] = lambda _: None) -> list[Waiting]:
        """Return what is sealed for the former key, by node and epoch; `step` hears of each record that was read."""
        last: dict[tuple[str, bytes], bytes] = {}
        for entry in read(kafka, *topics(kafka, KEYS)):
            step(1)
            if entry.key.startswith(EPOCH):
                last[entry.topic, entry.key] = entry.value or b""
        found = (self._waiting(topic.removeprefix(KEYS), value) for (topic, _), value in last.items() if value)
        return sorted((each for each in found if each), key=lambda each: (each.node, each.epoch))

    def seal(self, kafka: str, waiting: Iterable[Waiting]) -> None:
        """Seal epochs for the new key instead of their nodes, which must not write meanwhile. Unreachable where Kafka is."""
        public = hexadecimal(self._path("public"))
        sealed = ((one.node, of_epoch(one.epoch, self.region, public, one.secret)) for one in waiting)
        send(kafka, [(KEYS + node, *record) for node, record in sealed], "`tocsin hub renew` again")

    def _waiting(self, node: str, value: bytes) -> Waiting | None:
        """Return what an EpochKey record of a node says if the former key alone opens it."""
        with suppress(Quarantines, KeyError):
            record = rows.read(*unframe(value))
            if record["region"] == self.region and not self._opened("private", record["sealed"]):
                secret = self._opened(FORMER, record["sealed"])
                return Waiting(node, record["epoch"], secret) if secret else None
        return None

    def _opened(self, name: str, sealed: bytes) -> bytes:
        """Return what a private key opens; nothing where it does not."""
        with suppress(seal.SealBroken):
            return seal.open_epoch(hexadecimal(self._path(name)), sealed)
        return b""

    def _is_former(self) -> bool:
        return hexadecimal(self._path("private")) == hexadecimal(self._path(FORMER))

    def _fits(self) -> bool:
        """Return whether the private key opens what is sealed for the public one: a crash may have come between the two."""
        try:
            return bool(self._opened("private", seal.seal_epoch(hexadecimal(self._path("public")), bytes(32))))
        except ValueError:
            return False

    def _write(self, name: str, key: bytes) -> None:
        replace(self._path(name), f"{key.hex()}\n".encode())

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.key"
