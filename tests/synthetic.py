"""A seeded generator of raw events that knows the truth: what must be accepted, quarantined, linked.

It encodes Avro with its own few lines (no codec of ours, no rules of ours), so its truth is a second opinion.
Only sealing is ours: a sealed body can't be made otherwise.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

from schemas import seal
from schemas.places import areas_of, monitored_countries, region_codes_of
from schemas.released import latest
from schemas.wire import single_object

EPOCH = date(1970, 1, 1).toordinal()
FIRST, LAST = date(2012, 1, 1).toordinal() - EPOCH, date(2025, 12, 1).toordinal() - EPOCH
SLACK, YEAR = 14, 365  # days
FORMS = 10  # index 0 is `unspecified` and never used here
CASE_KINDS = {"IncidentReported": 1, "ConsentWithdrawn": 6, "PatternObserved": 9}
PARTIES = [None, *(f"Synthetic Front {i}" for i in range(40))]


def zigzag(value: int) -> bytes:
    """Return an Avro long."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value: str) -> bytes:
    """Return an Avro string."""
    raw = value.encode()
    return zigzag(len(raw)) + raw


def nullable(value: str | None) -> bytes:
    """Return an Avro union of null and string."""
    return b"\x00" if value is None else b"\x02" + text(value)


def items(encoded: list[bytes]) -> bytes:
    """Return an Avro array in one block."""
    return (zigzag(len(encoded)) + b"".join(encoded) if encoded else b"") + b"\x00"


@dataclass
class Incident:
    """The fields that decide; the rest is constant."""

    day: int
    country: str
    admin1: str | None
    forms: list[int]
    counts: list[int]
    category: int
    party: str | None
    verification: int = 0
    primary: int = 1
    credibility: int = 3
    deaths: int = 0
    scope: int = 0

    @property
    def area(self) -> str:
        return self.admin1 or self.country

    def encode(self) -> bytes:
        parts = [zigzag(self.day), b"\x00", text(self.country), nullable(self.admin1)]
        parts.append(items([zigzag(form) for form in self.forms]))
        parts += [zigzag(count) for count in self.counts] + [zigzag(self.deaths)]
        parts += [zigzag(self.category), nullable(self.party), zigzag(2), b"\x00", b"\x00"]
        parts += [zigzag(self.verification), zigzag(self.primary), zigzag(1), b"\x00", zigzag(1), zigzag(1)]
        parts += [zigzag(self.credibility), b"\x00", zigzag(self.scope)]
        return b"".join(parts)


@dataclass
class Pattern:
    start: int
    end: int
    areas: list[str]
    forms: list[int]
    category: int
    party: str | None

    def encode(self) -> bytes:
        parts = [zigzag(self.start), zigzag(self.end), items([text(a) for a in self.areas])]
        parts += [items([zigzag(form) for form in self.forms]), zigzag(self.category), nullable(self.party)]
        parts += [zigzag(2), b"\x00", zigzag(1), zigzag(0), b"\x00", b"\x00", b"\x00", zigzag(1)]
        return b"".join(parts)


@dataclass
class Truth:
    """What must come out; ids are the nodes' event ids (16 bytes).

    `quarantined`: the reasons by topic and offset; `*` stands for any reason of the decoder or of the frame.
    """

    records: int = 0
    incidents: dict[bytes, Incident] = field(default_factory=dict)
    patterns: dict[bytes, Pattern] = field(default_factory=dict)
    quarantined: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    @cached_property
    def shared(self) -> set[tuple[str, bytes]]:
        """Return (region, event id) of every incident in every hub."""
        return {(r, i) for i, event in self.incidents.items() for r in region_codes_of(event.area)}

    @cached_property
    def links(self) -> set[tuple[str, bytes, bytes]]:
        """Return (region, incident, pattern), found by comparing each with each that touches its area and year."""
        near: dict[tuple[str, int], list[tuple[bytes, Pattern]]] = {}
        for pattern_id, pattern in self.patterns.items():
            years = range((pattern.start - SLACK) // YEAR, (pattern.end + SLACK) // YEAR + 1)
            for area in {x for a in pattern.areas for x in areas_of(a)}:
                for year in years:
                    near.setdefault((area, year), []).append((pattern_id, pattern))
        found = set()
        for incident_id, incident in self.incidents.items():
            for pattern_id, pattern in near.get((incident.area, incident.day // YEAR), []):
                if fits(incident, pattern):
                    found |= {(r, incident_id, pattern_id) for r in region_codes_of(incident.area)}
        return found


def fits(incident: Incident, pattern: Pattern) -> bool:
    """Return whether an incident fits a pattern of its area (day precision)."""
    if not pattern.start - SLACK <= incident.day <= pattern.end + SLACK:
        return False
    if not set(incident.forms) & set(pattern.forms) - {0}:
        return False
    if incident.party and pattern.party:
        return incident.party == pattern.party
    return incident.category == pattern.category and incident.category != 0


# What is broken, and the reason that must be given for it (codes of quality/rules.py).
def _future(e: Incident) -> None:
    e.day = LAST + 400


def _nobody(e: Incident) -> None:
    e.counts = [0, 0, 0, 0, 0]


def _crowd(e: Incident) -> None:
    e.counts[0] = 5001


def _elsewhere(e: Incident) -> None:
    e.admin1 = "MMR001" if e.country != "MMR" else "SO11"


def _nowhere(e: Incident) -> None:
    e.country, e.admin1 = "ZZZ", None


def _unsourced(e: Incident) -> None:
    e.verification, e.primary = 1, 0


def _formless(e: Incident) -> None:
    e.forms = []


def _incredible(e: Incident) -> None:
    e.credibility = 9


BREAKS = {
    _future: "incident.after_recording",
    _nobody: "incident.persons_none",
    _crowd: "incident.persons_out_of_range",
    _elsewhere: "incident.admin1_of_other_country",
    _nowhere: "incident.country_not_monitored",
    _unsourced: "incident.verified_without_primary_source",
    _formless: "incident.forms_missing",
    _incredible: "incident.credibility_out_of_range",
}


class Generator:
    """`nodes` topics of raw records: (topic, key, value) in order, with repeats, broken and undecodable ones."""

    def __init__(self, seed: int, nodes: list[str], epoch_keys: dict[str, bytes], party: str | None = None) -> None:
        self.rng = random.Random(seed)
        self.nodes = nodes
        self.epoch_keys = epoch_keys
        self.truth = Truth()
        self.keys: list[tuple[str, bytes, bytes]] = []
        self.sequence = dict.fromkeys(nodes, 0)
        self.offset = dict.fromkeys(nodes, 0)
        self.areas = [(c, a) for c in sorted(monitored_countries()) for a in areas_of(c)]
        self.parties = PARTIES if party is None else [party]

    def records(self, events: int, patterns: int) -> Iterator[tuple[str, bytes, bytes]]:
        """Yield the raw records; patterns are spread among the incidents, so both sides come late."""
        recent: list[tuple[str, bytes, bytes]] = []
        every = max(1, events // max(1, patterns))
        made = 0
        for i in range(events):
            node = self.nodes[i % len(self.nodes)]
            if made < patterns and i % every == 0:
                made += 1
                yield self._emit(node, *self._pattern(node))
            draw = self.rng.random()
            if draw < 0.001:
                yield self._emit(node, b"", self._junk(), undecodable=True)
                continue
            record = self._emit(node, *self._incident(node, broken=draw < 0.021))
            recent.append(record)
            yield record
            if self.rng.random() < 0.05:
                topic, key, value = recent[self.rng.randrange(max(0, len(recent) - 5_000), len(recent))]
                self.truth.counts["repeated"] += 1
                yield self._count(topic, key, value)

    def _count(self, topic: str, key: bytes, value: bytes) -> tuple[str, bytes, bytes]:
        self.truth.records += 1
        self.offset[topic.removeprefix("raw.")] += 1
        return topic, key, value

    def _emit(self, node: str, key: bytes, value: bytes, undecodable: bool = False) -> tuple[str, bytes, bytes]:
        if undecodable:
            self.truth.quarantined[f"raw.{node}", self.offset[node]] = {"*"}
            self.truth.counts["quarantined"] += 1
        return self._count(f"raw.{node}", key, value)

    def _junk(self) -> bytes:
        return self.rng.choice([b"", b"\xc3", b"\xc3\x01" + self.rng.randbytes(8), self.rng.randbytes(40)])

    def _id(self) -> bytes:
        raw = bytearray((1_767_225_600_000 + self.truth.records).to_bytes(6, "big") + self.rng.randbytes(10))
        raw[6], raw[8] = raw[6] & 0x0F | 0x70, raw[8] & 0x3F | 0x80
        return bytes(raw)

    def _envelope(self, node: str, kind: str, event_id: bytes, case: bytes | None, body: bytes) -> bytes:
        self.sequence[node] += 1
        sequence = self.sequence[node]
        body_schema = latest(kind).fingerprint
        if case is not None:
            key = self.rng.randbytes(32)
            self.keys.append((f"keys.{node}", case, self._case_key(node, case, key)))
            body = seal.seal_body(
                key, body_schema=body_schema, event_id=event_id, case_ref=case, sequence=sequence, node=node, body=body
            )
        case_part = b"\x00" if case is None else b"\x02" + case
        parts = [event_id, text(node), zigzag(sequence), zigzag(CASE_KINDS[kind]), case_part, body_schema]
        return single_object(latest("Envelope"), b"".join(parts) + zigzag(len(body)) + body)

    def _case_key(self, node: str, case: bytes, key: bytes) -> bytes:
        return single_object(latest("CaseKey"), zigzag(1) + seal.wrap(self.epoch_keys[node], case, key))

    def _party(self) -> tuple[int, str | None]:
        party = self.rng.choice(self.parties)
        return (6 if party else self.rng.randrange(8)), party

    def _incident(self, node: str, broken: bool) -> tuple[bytes, bytes]:
        rng = self.rng
        country, area = rng.choice(self.areas)
        category, party = self._party()
        counts = [0, 0, 0, 0, 0]
        counts[rng.randrange(5)] = rng.randrange(1, 6)
        forms = rng.sample(range(1, FORMS), rng.choice([1, 1, 1, 2]))
        event = Incident(
            rng.randrange(FIRST, LAST), country, None if area == country else area, forms, counts, category, party
        )
        event_id, case = self._id(), rng.randbytes(16)
        if broken:
            damage = rng.choice(list(BREAKS))
            damage(event)
            self.truth.quarantined[f"raw.{node}", self.offset[node]] = {BREAKS[damage]}
            self.truth.counts["quarantined"] += 1
        else:
            self.truth.incidents[event_id] = event
            self.truth.counts["accepted"] += 1
        body = zigzag(1_767_225_600_000) + event.encode()
        return case, self._envelope(node, "IncidentReported", event_id, case, body)

    def _pattern(self, node: str) -> tuple[bytes, bytes]:
        rng = self.rng
        start = rng.randrange(FIRST, LAST - 400)
        category, party = self._party()
        areas = [area for _, area in rng.sample(self.areas, rng.choice([1, 1, 2, 3]))]
        forms = rng.sample(range(1, FORMS), 2)
        pattern = Pattern(start, start + rng.randrange(20, 365), areas, forms, category, party)
        event_id = self._id()
        self.truth.patterns[event_id] = pattern
        self.truth.counts["accepted"] += 1
        body = zigzag(1_767_225_600_000) + pattern.encode()
        return b"", self._envelope(node, "PatternObserved", event_id, None, body)


def new_epoch(node: str, region: str, region_public: bytes) -> tuple[bytes, tuple[str, bytes, bytes]]:
    """Return a node's first epoch key and its record for `keys.<node>`."""
    epoch_key = seal.new_case_key()
    sealed = seal.seal_epoch(region_public, epoch_key)
    body = zigzag(1) + text(region) + zigzag(len(sealed)) + sealed
    return epoch_key, (f"keys.{node}", b"epoch:1", single_object(latest("EpochKey"), body))
