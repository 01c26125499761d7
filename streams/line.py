"""One lane's ledger read in log order: that its ranges abut, and where a base begins it anew. No I/O here."""

from dataclasses import replace

from schemas.errors import LedgerGap
from streams.ledger import Entry


class Line:
    """One lane's entries in log order as the batches that give its state, up to input offset `end`.

    A base comes as the batch of all that is before its end. What lies before the first base and does not begin at 0 is the
    rest of what was deleted, and passed over: `cut` says that such was met, and `begun` whether anything counts.
    """

    def __init__(self, lane: str) -> None:
        self._lane, self._parts = lane, list[bytes]()
        self.end, self.begun, self.cut = 0, False, False

    def begin(self, end: int) -> None:
        """Go on from what is known to be the state up to `end`."""
        self.end, self.begun = end, True

    def take(self, entry: Entry) -> Entry | None:
        """Return what counts from here on, of a base the whole once its last part is there; None where nothing does.

        LedgerGap where a batch does not begin at the end of the one before it, or a base ends elsewhere.
        """
        if entry.base:
            return self._based(entry)
        if entry.start and not self.begun:
            self.cut = True
            return None
        self.begin(abuts(self._lane, entry, self.end).end)
        return entry

    def check(self) -> None:
        """Raise LedgerGap where something was passed over and no base came."""
        if self.cut and not self.begun:
            raise LedgerGap(
                f"The ledger of {self._lane} does not begin at 0, and no base says what was before: part of it was deleted by "
                "hand. Stop all workers and restore the topic from the broker's backup."
            )

    def _based(self, entry: Entry) -> Entry | None:
        if self.begun and entry.end != self.end:
            abuts(self._lane, entry, self.end)
        if entry.part == 0:
            self._parts = []
        if len(self._parts) != entry.part:
            self.cut = True  # its first parts were deleted
            return None
        self._parts.append(entry.delta)
        if len(self._parts) < entry.parts:
            return None
        self.begin(entry.end)
        return replace(entry, delta=b"".join(self._parts))


def abuts(lane: str, entry: Entry, following: int) -> Entry:
    """Return the entry; LedgerGap where it does not start at `following`, the end of the one before it."""
    if entry.start != following or entry.end <= entry.start:
        raise LedgerGap(
            f"The ledger of {lane} does not abut: batch {entry.start} to {entry.end} (ledger offset {entry.offset}) comes "
            f"after {following}. Stop all workers; look at the ledger by `tocsin tap` before you start one again."
        )
    return entry
