"""All cases of a node, one file each: its events as they were sent, and what its key opens of them. One pass over the journal."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.node import envelopes, versions
from pipeline.node.entries import Damaged
from pipeline.node.envelopes import Envelope
from pipeline.node.journal import Reader
from pipeline.node.node import Node
from pipeline.node.versions import History
from schemas.consent import BASIS
from schemas.errors import BadInput, NotSetUp, Quarantines
from schemas.rows import read as read_row
from schemas.wire import unframe


@dataclass(frozen=True)
class CaseFile:
    """A case of which event `number` was the first: its `envelopes`, its `key` and what it opens; no key where nothing does.

    `withdrawn` is the number of the event that withdrew it; `forgotten`, its key is destroyed, also where no event says so yet.
    """

    ref: bytes
    number: int
    envelopes: tuple[Envelope, ...] = field(repr=False)
    key: bytes | None = field(default=None, repr=False)
    histories: tuple[History, ...] = ()
    withdrawn: int = 0
    forgotten: bool = False


def every(node: Node, reader: Reader, step: Callable[[str], None] = lambda _: None) -> Iterator[CaseFile]:
    """Yield all cases of a node, read in one pass; `step` hears the kind of each event. Damaged where the journal cannot be read."""
    by_case = defaultdict[bytes, list[Envelope]](list)
    for entry in reader.read():
        envelope = read_row(*unframe(entry.envelope))
        step(envelope["kind"])
        if envelope["case_ref"] is not None:
            by_case[envelope["case_ref"]].append(envelope)
    values, refusals = reader.keys(), versions.refused(node)
    yield from (_filed(node, values, each, refusals) for each in by_case.values())


def by_consent(case: CaseFile) -> bool:
    """Return whether any version of what was reported of a case is shared by a survivor's consent, or she was referred."""
    if any(history.referrals for history in case.histories):
        return True
    bodies = (event.body for history in case.histories for event in history.events.values() if "incident" in event.body)
    return any(body["incident"]["sharing_basis"] == BASIS for body in bodies)


def _filed(node: Node, values: Mapping[bytes, bytes], found: list[Envelope], refusals: frozenset[int]) -> CaseFile:
    """Return one case; without a key where it does not open."""
    ref, number = found[0]["case_ref"], found[0]["sequence"]
    if event := envelopes.withdrawn(found):
        return CaseFile(ref, number, tuple(found), withdrawn=event)
    if values.get(ref) == b"":
        return CaseFile(ref, number, tuple(found), forgotten=True)
    try:
        case = versions.case_of(node, values, ref, number)
        return CaseFile(ref, number, tuple(found), case.key, tuple(versions.histories(case, found, refusals)))
    except (BadInput, Damaged, NotSetUp, Quarantines):
        return CaseFile(ref, number, tuple(found))
