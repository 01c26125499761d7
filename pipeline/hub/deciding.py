"""An analyst at a hub examines an incident that a region's tables show. She decides; its node, which alone records, records it.

The incident is found by the id that is minted for the region, as it stands in the ledger of refine; the node, its number and
the key of its case are found with it. What could not be recorded is refused here, by the same lists and rules as there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any

import numpy as np

from pipeline.hub.casekeys import case_keys
from pipeline.hub.completeness import Lane, lanes
from pipeline.hub.fates import Events, chosen
from pipeline.hub.shared import Shared
from pipeline.hub.telling import BATCH, sent_events
from pipeline.hub.trees import Signer
from pipeline.log import read
from quality.one import broken
from quality.rules import sentence as sentence_of_rule
from schemas import codes, lifecycle, seal
from schemas.decisions import Decided, decided, is_decision, read_decision
from schemas.errors import BadInput
from schemas.fates import BadFates
from schemas.lifecycle import Chain
from schemas.minting import mint_batch
from schemas.released import by_fingerprint
from schemas.rows import read as read_row
from schemas.wire import unframe
from streams.envelopes import INCIDENT, REVISIONS
from streams.lives import Life, begin

ID = 16
Named = tuple[bytes, int]


@dataclass(frozen=True)
class Hub:
    """What a hub has: the broker, the key of its ledgers, the secrets that mint its regions' ids, its regions' private keys."""

    kafka: str
    ledger: bytes = field(repr=False)
    secrets: Mapping[str, bytes] = field(repr=False)
    privates: Mapping[str, Sequence[bytes]] = field(repr=False)


@dataclass(frozen=True)
class Standing:
    """An incident of a node as it stands: id and number of its report and of its newest version, and the facts of that one.

    `taken` are the steps of verification that it stands on; `key` opens its case.
    """

    node: str
    case_ref: bytes
    key: bytes = field(repr=False)
    incident: Named
    version: Named
    taken: Chain = field(repr=False)
    facts: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Examined:
    """What an analyst has decided; numbers of sources and eyewitness are None where they stay. `who` is her digest."""

    state: str
    step: str
    who: bytes = field(repr=False)
    on: date
    primary: int | None = None
    secondary: int | None = None
    eyewitness: bool | None = None


def standing(hub: Hub, region: str, minted: bytes) -> Standing:
    """Return the incident that has an id in a region's tables, its own or that of its newest version.

    BadInput where there is none, or nothing can be decided on it: withdrawn, not in the region's tables, replaced, in conflict.
    """
    for lane in lanes(read(hub.kafka, "ledger.refine"), hub.ledger):
        sent = sent_events(lane, read(hub.kafka, f"raw.{lane.node}"))
        rows = chosen(sent, lane.state)
        if row := _row(sent, list(rows.values()), hub.secrets[region], minted):
            return _standing(hub, region, lane, _Found(sent, rows, row[0], minted))
    raise BadInput(
        f"No incident has the id {minted.hex()} in {region}: take incident_id or version_id from that region's tables."
    )


def decide(found: Standing, examined: Examined, by: Signer, now: int) -> bytes:
    """Return the decision as a signed record for `fates.<node>`; `now` is UTC milliseconds.

    BadInput where the move is not allowed, the step is not above the last, the person has taken one, or a rule refuses.
    """
    move, step = (found.facts["verification"], examined.state), (examined.step, examined.who)
    after = {**found.facts, **_changed(examined)}
    against = [reason for reason in (lifecycle.refusal(found.taken, move, step),) if reason]
    against = against or broken("incident", {**after, "recorded_on": _today(now)}, "refuse")
    if against:
        raise BadInput(f"Nothing was decided: {' '.join(map(_sentence, against))}")
    body = {
        "decided_at": now,
        "incident_id": found.incident[0],
        "incident_number": found.incident[1],
        "version_id": found.version[0],
        "version_number": found.version[1],
        "step": examined.step,
        "verifier": examined.who,
        "verified_on": examined.on,
        **{name: after[name] for name in ("verification", "primary_sources", "secondary_sources", "un_eyewitness")},
    }
    return decided(found.node, by.key, found.case_ref, found.key, body).sign(by.seed)


def check_new(hub: Hub, found: Standing, by: Signer) -> None:
    """Refuse to decide again on a version while a decision on it is on its way to its node: BadInput."""
    for entry in read(hub.kafka, f"fates.{found.node}"):
        decision = _ours(entry.value or b"", found, by)
        if decision and decision.open(found.key)["version_id"] == found.version[0]:
            raise BadInput(
                "A decision on this version was sent before, and its node has not recorded it yet: wait for it, then look "
                "at the tables again; or decide once more by --again, where its node says that it could not record it."
            )


@dataclass(frozen=True)
class _Found:
    """An event of a node by its minted id: the `row` of `sent` that it is, and the rows that refine has taken by number."""

    sent: Events
    rows: Mapping[int, int]
    row: int
    minted: bytes

    @property
    def event_id(self) -> bytes:
        return bytes(self.sent.ids[self.row])

    @property
    def case(self) -> bytes:
        return bytes(self.sent.cases[self.row])

    @property
    def kind(self) -> int:
        return int(self.sent.kinds[self.row])

    def named(self, event_id: bytes) -> tuple[Named, int]:
        """Return id and number of an event that was taken, and its offset."""
        at = next(row for row in self.rows.values() if self.sent.ids[row].tobytes() == event_id)
        return (event_id, int(self.sent.numbers[at])), int(self.sent.offsets[at])


def _row(sent: Events, rows: list[int], secret: bytes, minted: bytes) -> list[int]:
    """Return the row among some whose event has a minted id, in a list; none in an empty one."""
    ids = np.ascontiguousarray(sent.ids[rows])
    if not len(ids):
        return []
    same = (mint_batch(secret, ids.view(">u8").astype(np.uint64)) == np.frombuffer(minted, np.uint8)).all(axis=1)
    return [rows[at] for at in np.flatnonzero(same).tolist()]


def _standing(hub: Hub, region: str, lane: Lane, found: _Found) -> Standing:
    if found.kind not in (INCIDENT, *REVISIONS):
        raise BadInput(
            f"{found.minted.hex()} is no incident in {region}: take incident_id or version_id of a row of incidents."
        )
    if found.case in lane.state.withdrawn:
        raise BadInput(
            "The consent to its case was withdrawn: nothing can be decided any more, its row leaves the tables."
        )
    incident_id, life = _life(lane, found)
    _check_newest(life, found)
    _check_shared(hub, region, life.speaks)
    (incident, _), (version, offset) = found.named(incident_id), found.named(life.speaks)
    key = _key(hub, lane.node, found.case)
    facts = _facts(hub, lane.node, offset, key)
    return Standing(lane.node, found.case, key, incident, version, life.versions[life.speaks].taken, facts)


def _life(lane: Lane, found: _Found) -> tuple[bytes, Life]:
    """Return the life of the incident that an event is about, and the incident's id; one that was never revised begins here."""
    lives = lane.state.lives.items()
    known = ((key, life) for key, life in lives if found.event_id in life.versions)
    return next(known, (found.event_id, begin(found.case, found.event_id, lifecycle.PENDING)))


def _check_newest(life: Life, found: _Found) -> None:
    """Refuse to decide on what is not the one newest version of its incident: BadInput."""
    if len(life.heads) > 1:
        raise BadInput(
            "Versions of this incident are in conflict: its node ends that first, by `tocsin node amend` or `verify`."
        )
    if found.kind != INCIDENT and life.speaks != found.event_id:
        raise BadInput("A later version has replaced this one: look at the table incidents again, then decide on that.")


def _check_shared(hub: Hub, region: str, event_id: bytes) -> None:
    """Refuse to decide on what a region does not have: BadInput."""
    shared, entries = Shared(), read(hub.kafka, f"hub.{region}")
    while batch := list(islice(entries, BATCH)):
        shared.take([entry.value or b"" for entry in batch])
    if not shared.has(shared.version(seal.mint(hub.secrets[region], event_id))):
        raise BadInput(
            f"The incident is not shared with {region} (any more, or not yet): it was retracted, found not to have occurred or "
            "out of scope, moved, or `tocsin worker merge` has not read it."
        )


def _key(hub: Hub, node: str, case: bytes) -> bytes:
    """Return the key of a case. BadInput where none of the regions here has it."""
    keyring = case_keys(read(hub.kafka, f"keys.{node}"), hub.privates)
    (row,) = keyring.find(np.frombuffer(case, np.uint8)[None]).tolist()
    if row < 0:
        raise BadInput("The key of its case is not here or was destroyed: the hub that its node reports to has it.")
    return bytes(keyring.keys[row])


def _facts(hub: Hub, node: str, offset: int, key: bytes) -> dict[str, Any]:
    """Return the facts of the version that a record of a node's topic made."""
    entry = next(each for each in read(hub.kafka, f"raw.{node}") if each.offset == offset)
    envelope = read_row(*unframe(entry.value or b""))
    body = read_row(by_fingerprint(envelope["body_schema"]), seal.open_event(key, envelope))
    facts: dict[str, Any] = body["incident"]
    return facts


def _ours(record: bytes, found: Standing, by: Signer) -> Decided | None:
    """Return the decision about a case in a record, where this hub has signed it."""
    try:
        decision = read_decision(record) if is_decision(record) else None
    except BadFates:
        return None
    return (
        decision if decision and decision.hub.public == by.key.public and decision.case_ref == found.case_ref else None
    )


def _changed(examined: Examined) -> dict[str, Any]:
    named = {
        "verification": examined.state,
        "primary_sources": examined.primary,
        "secondary_sources": examined.secondary,
        "un_eyewitness": examined.eyewitness,
    }
    return {name: value for name, value in named.items() if value is not None}


def _today(now: int) -> date:
    return datetime.fromtimestamp(now / 1000, UTC).date()


def _sentence(code: str) -> str:
    return codes.sentence(code, "en") if code in codes.reasons() else sentence_of_rule(code, "en")
