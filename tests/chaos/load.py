"""The load of a chaos run: a seeded generator of raw records and the truth about each, by the digest of its value.

Beside what tests/synthetic.py makes there are cases reported again, withdrawn consents, numbers that are never sent,
numbers that two events claim, referrals, what other nodes say of an incident, and further versions of incidents: amended, verified, shared further, retracted; made from the newest
version or from an older one, and now and then from one that was never sent. What becomes of those depends on the order
in which they arrive; the oracle knows it from the log, so the truth says of each record only what it is.
"""

import hashlib
import json
import random
import sqlite3
from bisect import insort
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from schemas import seal
from schemas.places import areas_of, monitored_countries, region_codes_of
from schemas.released import latest
from schemas.wire import single_object
from tests import synthetic
from tests.chaos import assessments, referrals
from tests.chaos.referrals import Referral, Said
from tests.chaos.versions import VERIFIED, Draft, Tales, Told, Version, drafted
from tests.synthetic import zigzag

REPEAT, BROKEN, JUNK, AGAIN, WITHDRAW, PATTERNS, GAP, FORK = 0.05, 0.02, 0.002, 0.15, 0.03, 0.03, 0.004, 0.003
ROOT = Path(__file__).parents[2]
REFERRED, REVISED, STRAY, LIVELY, REPORTED_VERIFIED, ALIKE, LIKE_ANOTHER, LATE = (
    0.015,
    0.04,
    0.06,
    0.3,
    0.25,
    0.02,
    0.5,
    0.15,
)
ASSESSED, OF_NOTHING, ELSEWHERE, NUMBERLESS, WITHDRAWN = 0.02, 0.1, 0.05, 0.05, 0.3
FIRST, DAY = 1_767_225_600_000, 86_400_000
RECORDED = zigzag(FIRST)
# What the envelope calls them; tests/synthetic.py knows the others.
KINDS = {
    **synthetic.CASE_KINDS,
    "IncidentAmended": 2,
    "IncidentVerified": 3,
    "IncidentRetracted": 4,
    "ConsentGiven": 5,
    "ReferralMade": 7,
    "ReferralFollowedUp": 8,
    "IncidentCorroborated": 16,
    "IncidentDisputed": 17,
    "AssessmentTakenBack": 18,
}
REFERRALS = ("ReferralMade", "ReferralFollowedUp")
SCHEMA = """
CREATE TABLE events(topic TEXT, digest BLOB, event_id BLOB, sequence INTEGER, kind TEXT, case_ref BLOB,
  refused TEXT, facts BLOB, fields TEXT, PRIMARY KEY(topic, digest)) WITHOUT ROWID;
CREATE TABLE revisions(topic TEXT, digest BLOB, incident BLOB, number INTEGER, replaced TEXT, recorded INTEGER,
  more TEXT, PRIMARY KEY(topic, digest)) WITHOUT ROWID;
CREATE TABLE shared(region TEXT, event_id BLOB, PRIMARY KEY(region, event_id)) WITHOUT ROWID;
CREATE INDEX by_event ON shared(event_id);
CREATE TABLE assessments(event_id BLOB PRIMARY KEY, region TEXT, name BLOB, more TEXT) WITHOUT ROWID;
CREATE TABLE areas(event_id BLOB, area TEXT, PRIMARY KEY(event_id, area)) WITHOUT ROWID;
CREATE TABLE links(region TEXT, incident BLOB, pattern BLOB, PRIMARY KEY(region, incident, pattern)) WITHOUT ROWID;
CREATE TABLE seen(topic TEXT, part INTEGER, offset INTEGER, digest BLOB);
CREATE TABLE samples(worker TEXT, pid INTEGER, time REAL, rss INTEGER, descriptors INTEGER);
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT);
"""


def digest(value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=16).digest()


class Load:
    """`records()` yields (topic, key, value) in order without end; `keys` are to be sent before the records that need them.

    `places` are where anything happens, `recent` how many of a node's last cases are reported again or withdrawn. `secrets`
    mint the ids of incidents by region: without them none is assessed by another node.
    """

    def __init__(
        self,
        seed: int,
        nodes: list[str],
        epoch_keys: dict[str, bytes],
        places: int = 60,
        recent: int = 30,
        secrets: dict[str, bytes] | None = None,
    ) -> None:
        self.secrets, self.apart = secrets or {}, random.Random(seed + 1)  # apart, so that all else stays as it is
        self.assessed: dict[bytes, tuple] = {}
        self.numbers: dict[tuple[str, bytes], int] = {}
        self.areas: dict[bytes, str] = {}
        self.seen, self.left = list[bytes](), list[bytes]()
        self.rng, self.nodes, self.epoch_keys, self.recent = random.Random(seed), nodes, epoch_keys, recent
        self.keys: list[tuple[str, bytes, bytes]] = []
        self.rows: dict[tuple[str, bytes], tuple] = {}
        self.valid: dict[bytes, synthetic.Incident | synthetic.Pattern | Referral] = {}
        self.revisions: dict[tuple[str, bytes], tuple] = {}
        self.lately: list[synthetic.Incident] = []
        self.tales = {node: Tales() for node in nodes}
        self.sequence = dict.fromkeys(nodes, 0)
        self.cases: dict[bytes, bytes] = {}
        self.unnamed: dict[bytes, list[bytes]] = {}
        self.reported: dict[str, list[bytes]] = {node: [] for node in nodes}
        self.sent: dict[str, list[tuple[bytes, bytes]]] = {node: [] for node in nodes}
        self.late: dict[str, list[tuple[int, bytes, bytes]]] = {node: [] for node in nodes}
        known = [(c, a) for c in sorted(monitored_countries()) for a in areas_of(c)]
        self.places = self.rng.sample(known, places)  # few, so that many incidents meet a pattern
        self.made = 0

    def records(self) -> Iterator[tuple[str, bytes, bytes]]:
        while True:
            node = self.nodes[self.made % len(self.nodes)]
            self.made += 1
            key, value = self._one(node)
            while self.late[node] and self.late[node][0][0] <= self.made:
                yield self._sent(node, *self.late[node].pop(0)[1:])
            if (f"raw.{node}", digest(value)) in self.revisions and self.rng.random() < LATE:
                insort(self.late[node], (self.made + self.rng.randrange(20, 600), key, value))
                continue
            yield self._sent(node, key, value)
            if self.secrets and self.seen and self.apart.random() < ASSESSED:
                yield from self._assessed(node)
            if self.rng.random() < REPEAT:
                yield f"raw.{node}", *self.rng.choice(self.sent[node][-3_000:])

    def _sent(self, node: str, key: bytes, value: bytes) -> tuple[str, bytes, bytes]:
        self.sent[node].append((key, value))
        return f"raw.{node}", key, value

    def _one(self, node: str) -> tuple[bytes, bytes]:
        draw = self.rng.random()
        if draw < JUNK:
            return self._junk(node)
        if draw < JUNK + PATTERNS:
            return self._pattern(node)
        if draw < JUNK + PATTERNS + WITHDRAW and self.reported[node]:
            return self._withdrawal(node)
        if draw > 1 - REVISED and self.tales[node].recent:
            return self._revision(node, self.rng.random() < BROKEN)
        if draw > 1 - REVISED - REFERRED and self.tales[node].recent:
            return self._referral(node)
        return self._incident(node, self.rng.random() < BROKEN)

    def _junk(self, node: str) -> tuple[bytes, bytes]:
        value = self.rng.choice([b"", b"\xc3", b"\xc3\x01" + self.rng.randbytes(8), self.rng.randbytes(40)])
        self._keep(node, value, None, None, "junk", None, ["*"])
        return b"", value

    def _incident(self, node: str, broken: bool) -> tuple[bytes, bytes]:
        event = self._facts()
        event.verification = VERIFIED if self.rng.random() < REPORTED_VERIFIED else 0
        reasons = self._damaged(event) if broken else []
        recent = self.reported[node][-self.recent :]
        case = self.rng.choice(recent) if recent and self.rng.random() < AGAIN else self.rng.randbytes(16)
        self.reported[node].append(case)
        event_id, value, forked = self._event(node, "IncidentReported", case, event, reasons)
        self.areas[event_id], self.seen = event.area, [*self.seen[-self.recent :], event_id]
        known = self._facts() if broken else event
        self.tales[node].report(case, Version(event_id, self.sequence[node], known), forked)
        return case, value

    def _assessed(self, node: str) -> Iterator[tuple[str, bytes, bytes]]:
        """Yield what a node says of an incident, and now and then a second time."""
        value = self._assessment(node)
        for _ in range(1 + (self.apart.random() < REPEAT)):
            yield f"raw.{node}", b"", value

    def _assessment(self, node: str) -> bytes:
        """Return what a node says of a recent incident of any node, under the id of one of its regions, mostly."""
        rng = self.apart
        event_id = rng.choice(self.left if self.left and rng.random() < WITHDRAWN else self.seen)
        region = rng.choice(region_codes_of(self.areas[event_id]) or list(self.secrets))
        if rng.random() < ELSEWHERE:
            region = rng.choice(list(self.secrets))
        name = rng.randbytes(16) if rng.random() < OF_NOTHING else seal.mint(self.secrets[region], event_id)
        number = self.numbers[node, name] = self.numbers.get((node, name), 0) + 1
        broken = rng.random() < NUMBERLESS
        said = assessments.drafted(rng, region, name, 0 if broken else number)
        self.sequence[node] += 1
        event_id, facts = self._id(rng), said.encode()
        value = self._envelope(node, said.kind, event_id, None, RECORDED + facts)
        reasons = ["assessment.number"] if broken else []
        self._keep(node, value, event_id, self.sequence[node], said.kind, None, reasons, facts)
        self.assessed[event_id] = event_id, region, name, json.dumps(said.truth())
        return value

    def _damaged(self, event: synthetic.Incident) -> list[str]:
        damage = self.rng.choice(list(synthetic.BREAKS))
        damage(event)
        return [synthetic.BREAKS[damage]]

    def _revision(self, node: str, broken: bool) -> tuple[bytes, bytes]:
        told = self.tales[node].choose(self.rng)
        draft, stray = (
            drafted(self.rng, told.seen(self.rng), self._facts(LIKE_ANOTHER), told.scope),
            self.rng.random() < STRAY,
        )
        if stray:
            draft.replaced.append(self._stray(node, told))
        reasons = []
        if broken and draft.kind != "IncidentRetracted":
            draft.event = replace(draft.event, forms=[*draft.event.forms], counts=[*draft.event.counts])
            reasons = self._damaged(draft.event)
        event_id, value, forked = self._event(node, draft.kind, told.case, draft.event, reasons, (told, draft))
        if forked:
            told.strays.append((event_id, self.sequence[node]))
        elif not (reasons or stray or (draft.kind == "IncidentRetracted" and told.leaves(draft))):
            told.said(draft, event_id, self.sequence[node])
        return told.case, value

    def _referral(self, node: str) -> tuple[bytes, bytes]:
        told = self.tales[node].choose(self.rng)
        draft = referrals.drafted(self.rng, told, told.referrals)
        event_id, value, forked = self._event(node, draft.kind, told.case, draft.event, [], (told, draft))
        said = Said(event_id, self.sequence[node], draft.event)
        if not forked and draft.made is None:
            told.referrals.append([said])
        elif not forked:
            next(each for each in told.referrals if each[0] is draft.made).append(said)
        return told.case, value

    def _stray(self, node: str, told: Told) -> tuple[bytes, int]:
        """Return an event that refine does not have: its number is another's, or nobody's, or was claimed by two."""
        if told.strays:
            return self.rng.choice(told.strays)
        return self.rng.randbytes(16), self.rng.randrange(1, self.sequence[node] + 50)

    def _facts(self, alike: float = ALIKE) -> synthetic.Incident:
        rng = self.rng
        if self.lately and rng.random() < alike:
            like = rng.choice(self.lately)
            return replace(like, forms=[*like.forms], counts=[*like.counts])
        country, area = rng.choice(self.places)
        party = rng.choice(synthetic.PARTIES)
        counts = [0, 0, 0, 0, 0]
        counts[rng.randrange(5)] = rng.randrange(1, 6)
        forms = rng.sample(range(1, synthetic.FORMS), rng.choice([1, 1, 1, 2]))
        day, admin1 = rng.randrange(synthetic.FIRST, synthetic.LAST), None if area == country else area
        made = synthetic.Incident(day, country, admin1, forms, counts, 6 if party else rng.randrange(8), party)
        made.scope = day % 5 // 2
        self.lately = [*self.lately[-100:], replace(made, forms=[*forms], counts=[*counts])]
        return made

    def _pattern(self, node: str) -> tuple[bytes, bytes]:
        rng = self.rng
        start = rng.randrange(synthetic.FIRST, synthetic.LAST - 400)
        party = rng.choice(synthetic.PARTIES)
        areas = [area for _, area in rng.sample(self.places, rng.choice([1, 1, 2, 3]))]
        forms = rng.sample(range(1, synthetic.FORMS), 2)
        end = start + rng.randrange(20, 365)
        pattern = synthetic.Pattern(start, end, areas, forms, 6 if party else rng.randrange(8), party)
        return b"", self._event(node, "PatternObserved", None, pattern, [])[1]

    def _withdrawal(self, node: str) -> tuple[bytes, bytes]:
        lively = self.tales[node].lively
        case = self.rng.choice(self.reported[node][-self.recent :])
        if lively and self.rng.random() < LIVELY:
            case = self.rng.choice(lively).case
        self.tales[node].withdraw(case)
        named = self.unnamed.pop(case, [])
        self.left = [*self.left[-self.recent :], *(each for each in named if each in self.areas)]
        self.sequence[node] += 1
        cause = 1 + self.sequence[node] % 2
        event_id, facts = self._id(), b"\x00" + zigzag(16 * len(named)) + b"".join(named) + zigzag(cause)
        value = self._envelope(node, "ConsentWithdrawn", event_id, case, RECORDED + facts, plain=True)
        self._keep(node, value, event_id, self.sequence[node], "ConsentWithdrawn", case, [], facts)
        return case, value

    def _event(
        self,
        node: str,
        kind: str,
        case: bytes | None,
        event,
        reasons: list[str],
        revision: tuple[Told, Draft | referrals.Draft] | None = None,
    ) -> tuple[bytes, bytes, bool]:
        """Return id and value of the node's next event, and whether its number is the one of the event before."""
        draw = self.rng.random()
        if draw < GAP:
            self.sequence[node] += self.rng.choice([1, 1, 2, 5])
        forked = draw >= 1 - FORK and self.sequence[node] > 0
        self.sequence[node] += not forked
        event_id, facts, recorded = self._id(), event.encode(), FIRST
        body = RECORDED + facts
        if revision:
            told, draft = revision
            recorded += self.rng.randrange(300) * DAY
            body = draft.encode((told.first.event_id, told.first.number), recorded)
        if kind in ("IncidentReported", "IncidentAmended", "IncidentVerified", "ConsentGiven", *REFERRALS):
            self.unnamed.setdefault(case, []).append(event_id)
        value = self._envelope(node, kind, event_id, case, body)
        fields = None if kind == "IncidentRetracted" else event
        self._keep(node, value, event_id, self.sequence[node], kind, case, reasons, facts, fields)
        if revision:
            self._keep_revision(node, value, *revision, recorded)
        if not reasons and fields:
            self.valid[event_id] = event
        return event_id, value, forked

    def _keep_revision(
        self, node: str, value: bytes, told: Told, draft: Draft | referrals.Draft, recorded: int
    ) -> None:
        replaced = [(event_id.hex(), number) for event_id, number in draft.replaced]
        row = (f"raw.{node}", digest(value), told.first.event_id, told.first.number)
        self.revisions[row[:2]] = (*row, json.dumps(replaced), recorded, json.dumps(draft.truth()))

    def _id(self, rng: random.Random | None = None) -> bytes:
        raw = bytearray((1_767_225_600_000 + self.made).to_bytes(6, "big") + (rng or self.rng).randbytes(10))
        raw[6], raw[8] = raw[6] & 0x0F | 0x70, raw[8] & 0x3F | 0x80
        return bytes(raw)

    def _envelope(
        self, node: str, kind: str, event_id: bytes, case: bytes | None, body: bytes, plain: bool = False
    ) -> bytes:
        sequence, body_schema = self.sequence[node], latest(kind).fingerprint
        if case is not None and not plain:
            body = seal.seal_body(
                self._key(node, case),
                body_schema=body_schema,
                event_id=event_id,
                case_ref=case,
                sequence=sequence,
                node=node,
                body=body,
            )
        case_part = b"\x00" if case is None else b"\x02" + case
        number = zigzag(KINDS[kind])
        parts = [event_id, synthetic.text(node), zigzag(sequence), number, case_part, body_schema]
        return single_object(latest("Envelope"), b"".join(parts) + zigzag(len(body)) + body)

    def _key(self, node: str, case: bytes) -> bytes:
        if case not in self.cases:
            self.cases[case] = self.rng.randbytes(32)
            wrapped = seal.wrap(self.epoch_keys[node], case, self.cases[case])
            self.keys.append((f"keys.{node}", case, single_object(latest("CaseKey"), zigzag(1) + wrapped)))
        return self.cases[case]

    def _keep(self, node, value, event_id, sequence, kind, case, reasons, facts=b"", event=None) -> None:
        fields = json.dumps(_fields(event)) if isinstance(event, synthetic.Incident) else None
        row = (f"raw.{node}", digest(value), event_id, sequence, kind, case, json.dumps(reasons))
        self.rows[row[:2]] = (*row, digest(facts), fields)

    def links(self) -> set[tuple[str, bytes, bytes]]:
        """Return each pair of a valid incident and a valid pattern that fit, by region."""
        chosen = synthetic.Truth(
            incidents={i: e for i, e in self.valid.items() if isinstance(e, synthetic.Incident)},
            patterns={i: e for i, e in self.valid.items() if isinstance(e, synthetic.Pattern)},
        )
        return chosen.links


def _fields(event: synthetic.Incident) -> dict:
    women, girls, men, boys, unknown = event.counts
    return {
        "day": event.day,
        "country": event.country,
        "admin1": event.admin1,
        "persons": [women, girls, men, boys, unknown],
        "party": event.party,
    }


def _places_of(event: synthetic.Incident | synthetic.Pattern | Referral) -> set[str]:
    if isinstance(event, synthetic.Incident | Referral):
        return {event.area}
    return {area for code in event.areas for area in areas_of(code)}


def write_truth(path, load: Load, seen, samples, meta: dict) -> None:
    """Write what the oracle may know of the generator and of what the runner saw."""
    path.unlink(missing_ok=True)
    book = sqlite3.connect(path)
    book.executescript(SCHEMA)
    held = {(f"raw.{node}", digest(value)) for node, late in load.late.items() for _, _, value in late}
    rows = [row for name, row in load.rows.items() if name not in held]
    book.executemany("INSERT INTO events VALUES(?,?,?,?,?,?,?,?,?)", rows)
    book.executemany("INSERT INTO revisions VALUES(?,?,?,?,?,?,?)", load.revisions.values())
    book.executemany("INSERT INTO assessments VALUES(?,?,?,?)", load.assessed.values())
    for event_id, event in load.valid.items():
        areas = _places_of(event)
        book.executemany("INSERT INTO areas VALUES(?,?)", [(event_id, area) for area in areas])
        regions = {region for area in areas for region in region_codes_of(area)}
        book.executemany("INSERT INTO shared VALUES(?,?)", [(region, event_id) for region in regions])
    book.executemany("INSERT INTO links VALUES(?,?,?)", load.links())
    book.executemany("INSERT INTO seen VALUES(?,?,?,?)", seen)
    book.executemany("INSERT INTO samples VALUES(?,?,?,?,?)", samples)
    book.executemany("INSERT INTO meta VALUES(?,?)", [(key, json.dumps(value)) for key, value in meta.items()])
    book.commit()
    book.close()
