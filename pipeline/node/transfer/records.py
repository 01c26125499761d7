"""What a node's folder keeps of each offer of a case that it has made or has answered: a file in `transfers/`.

Whether a case has left or was taken, the journal alone says.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.node.entries import Damaged
from pipeline.node.node import Node
from pipeline.node.transfer import boxes
from schemas import transfers
from schemas.errors import BadInput
from schemas.transfers import Answer, Offer


@dataclass(frozen=True)
class Record:
    """An offer that was made or came `at` a moment (UTC milliseconds), and its answer, as notes; that is empty where there is none.

    Of a case of this node: its reference, and the day of the survivor's consent, wrapped under the case's key; both in hex.
    Whether the offer was `cancelled`, and the case `released` in a file.
    """

    note: str
    at: int
    answer_note: str = ""
    case_ref: str = ""
    consented: str = ""
    cancelled: bool = False
    released: bool = False

    @property
    def offer(self) -> Offer:
        """Return the offer."""
        return transfers.offered(self.note)

    @property
    def answer(self) -> Answer | None:
        """Return the answer, None where there is none."""
        return transfers.answered(self.answer_note) if self.answer_note else None

    @property
    def open(self) -> bool:
        """Return whether the case may still go by this offer."""
        return not self.cancelled and (self.answer is None or self.answer.accepts)


def every(node: Node) -> list[Record]:
    """Return all offers in their order. Damaged where one can't be read."""
    found = [_read(path) for path in sorted((node.folder / boxes.FOLDER).glob("*.json"))]
    return sorted(found, key=lambda record: record.at)


def of_offer(node: Node, digest: bytes) -> Record | None:
    """Return what is kept of the offer whose text has this digest, None where that is nothing."""
    return next((record for record in every(node) if record.offer.digest == digest), None)


def of_case(node: Node, ref: bytes) -> Record | None:
    """Return the offer by which a case of this node may still go, None where there is none; there is never a second."""
    return next((record for record in every(node) if record.case_ref == ref.hex() and record.open), None)


def receivers(node: Node) -> dict[bytes, str]:
    """Return the nodes to which cases of this node may still go, by the cases' references."""
    return {bytes.fromhex(one.case_ref): one.offer.receiver for one in every(node) if one.case_ref and one.open}


def cancelled(node: Node, ref: bytes) -> Record | None:
    """Return the offer of a case of this node that was cancelled last, None where none was."""
    return next((one for one in reversed(every(node)) if one.case_ref == ref.hex() and one.cancelled), None)


def keep(node: Node, record: Record) -> Record:
    """Keep an offer as it stands now, durably, and return it. NotWritten where the disk refuses.

    It is named by its digest: another one can bear the same id.
    """
    path = node.folder / boxes.FOLDER / f"{record.offer.digest.hex()}.json"
    boxes.write(node, path, json.dumps(asdict(record), indent=1).encode())
    return record


def _read(path: Path) -> Record:
    try:
        record = Record(**json.loads(path.read_text(encoding="utf-8")))
        transfers.offered(record.note)
        if record.answer_note:
            transfers.answered(record.answer_note)
    except (OSError, ValueError, TypeError, AttributeError, BadInput) as error:
        raise Damaged(f"{path} is damaged; restore this file from a backup of the folder.") from error
    return record
