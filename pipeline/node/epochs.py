"""The epochs of a node's keys: those that its journal knows, and those that its topic has.

A copy of the folder from before the last epoch, put back, must send nothing: its keys would take the place of the newer ones.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.node import following, sent
from pipeline.node.journal import Reader
from pipeline.node.keys import EPOCH
from pipeline.node.node import Node
from pipeline.node.sent import OlderThanSent


def known(journal: Reader) -> dict[int, bool]:
    """Return the numbers of all epochs that a journal knows, each with whether it goes on."""
    return {number: bool(value) for key, value in journal.keys().items() if (number := number_of(key))}


def number_of(key: bytes) -> int:
    """Return the number of the epoch of which a record is, by its key; 0 where it is of none."""
    digits = key.removeprefix(EPOCH)
    return int(digits) if key != digits and digits.isdigit() else 0


def here(folder: Path) -> set[int]:
    """Return the numbers of the epochs whose secret is in a node's folder."""
    numbers = (path.stem.removeprefix("epoch-") for path in folder.glob("epoch-*.key"))
    return {int(number) for number in numbers if number.isdigit()}


def doubtful(node: Node, reader: Reader, keys: Iterable[bytes]) -> set[int]:
    """Return the epochs among the keys of records to be sent that the region may have sealed anew.

    Those are all that go on but the newest: what is under them did not open here, so the hub seals instead of this folder.
    """
    mine = {0} | ({node.epoch} & here(node.folder))
    pending = {number_of(key) for key in keys} - mine
    return {number for number, lives in known(reader).items() if lives and number in pending} if pending else set()


def living(node: Node, client: Any, seconds: float) -> set[int]:
    """Return the epochs that have a key in the node's topic now.

    By a consumer of kafka-python. KafkaTimeoutError where the broker gives nothing more for so many seconds.
    """
    place, end = following.assigned(client, f"keys.{node.code}")
    client.seek(place, client.beginning_offsets([place])[place])
    there = {number_of(one.key or b""): bool(one.value) for one in following.records(client, place, end, seconds)}
    return {number for number, lives in there.items() if number and lives}


def newest(node: Node, client: Any, seconds: float) -> int:
    """Return the newest epoch whose key came into the node's topic since it last sent; 0 where none did.

    By a consumer of kafka-python. KafkaTimeoutError where the broker gives nothing more for so many seconds.
    """
    place, end = following.assigned(client, f"keys.{node.code}")
    client.seek(place, min(sent.read(node).keys_end, end))
    begun = (record for record in following.records(client, place, end, seconds) if record.value)
    return max((number_of(record.key or b"") for record in begun), default=0)


def check(node: Node, newest: int) -> None:
    """Refuse a folder that knows no epoch as new as this one, and keep its number, so that the next goes beyond it.

    OlderThanSent: an old copy was put back.
    """
    mine = max(node.epoch, *known(Reader(node.journal))) if newest > node.epoch else newest
    if newest <= mine:
        return
    sent.write(node, replace(sent.read(node), epoch=newest))
    raise OlderThanSent(
        f"The keys of {node.code} are of epoch {mine}, but {newest} was sent: an old copy was put back, and nothing was sent "
        f"from it. Restore the newest backup of {node.folder}; if there is none, run `tocsin node renew`, then this again."
    )
