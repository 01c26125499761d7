"""Values of any contract for property tests, and bytes that a hostile producer might send."""

import random
from datetime import date

from hypothesis import strategies as st

from schemas.limits import TIMESTAMP, logical

INT32 = st.one_of(st.integers(-70, 70), st.integers(-(1 << 31), (1 << 31) - 1))
INT64 = st.one_of(st.integers(-70, 70), st.integers(-(1 << 63), (1 << 63) - 1))
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
INCIDENT = {
    "occurred_on": date(2021, 3, 4),
    "date_precision": "day",
    "country": "COD",
    "admin1": None,
    "forms": ["rape", "sexual_slavery"],
    "women": 1,
    "girls": 0,
    "men": 0,
    "boys": 0,
    "unknown": 0,
    "deaths": 0,
    "party_category": "armed_group",
    "party": "Synthetic Front é",
    "setting": "road",
    "tactic": "not_assessed",
    "nexus": [],
    "verification": "verified",
    "primary_sources": 1,
    "secondary_sources": 0,
    "un_eyewitness": True,
    "source_kind": "mission_monitoring",
    "source_reliability": "B",
    "information_credibility": 2,
    "sharing_basis": "informed_consent",
    "sharing_scope": "hub",
}

HOSTILE_VARINTS = [
    bytes.fromhex(text)
    for text in (
        "8000",  # zero in two bytes
        "ff8000",
        "8080808010",  # 2^31 zigzagged: outside 32 bits
        "ffffffff0f",  # -2^31
        "ffffffff1f",
        "8080808080",
        "ffffffffffffffffff01",  # -2^63
        "ffffffffffffffffff02",
        "feffffffffffffffff01",  # 2^63 - 1
        "80808080808080808080",
        "8080808080808080808080",
        "01",  # -1
        "808002",
        "d00f",  # 1,000
        "d20f",  # 1,001
        "80808008",
    )
]


def of(schema):
    """Return a strategy for the values of a schema as `schemas.rows` reads them."""
    return _of(schema, {})


def _of(schema, known):
    if isinstance(schema, list):
        return st.one_of([_of(branch, known) for branch in schema])
    schema = known.get(schema, schema) if isinstance(schema, str) else schema
    if isinstance(schema, dict) and "name" in schema:
        known[schema["name"]] = schema
    kind = schema if isinstance(schema, str) else schema["type"]
    return _MAKERS[kind](schema, known)


def _record(schema, known):
    return st.fixed_dictionaries({field["name"]: _of(field["type"], known) for field in schema["fields"]})


def _array(schema, known):
    items = schema["items"]
    if isinstance(items, dict) and items["type"] == "enum":
        symbols = items["symbols"]
        known[items["name"]] = items
        return st.sets(st.sampled_from(symbols)).map(lambda chosen: [one for one in symbols if one in chosen])
    return st.lists(_of(items, known), max_size=4)


_MAKERS = {
    "null": lambda schema, known: st.none(),
    "boolean": lambda schema, known: st.booleans(),
    "int": lambda schema, known: st.dates(date.min, date.max) if logical(schema) == "date" else INT32,
    "long": lambda schema, known: st.integers(*TIMESTAMP) if logical(schema) == "timestamp-millis" else INT64,
    "string": lambda schema, known: TEXT,
    "bytes": lambda schema, known: st.binary(max_size=40),
    "fixed": lambda schema, known: st.binary(min_size=schema["size"], max_size=schema["size"]),
    "enum": lambda schema, known: st.sampled_from(schema["symbols"]),
    "array": _array,
    "map": lambda schema, known: st.dictionaries(TEXT, _of(schema["values"], known), max_size=4),
    "record": _record,
}


def mutated(body: bytes, rng: random.Random) -> bytes:
    """Return `body` with one to three damages: a bit, a byte, a cut, an insertion, a hostile varint, a repeat."""
    out = bytearray(body)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(out) + 1)
        damage = rng.randrange(7)
        if damage == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif damage == 1 and at < len(out):
            out[at] = rng.randrange(256)
        elif damage == 2:
            del out[at:]
        elif damage == 3:
            del out[at : at + rng.randrange(1, 4)]
        elif damage == 4:
            out[at:at] = rng.randbytes(rng.randrange(1, 4))
        elif damage == 5:
            out[at : at + rng.randrange(0, 2)] = rng.choice(HOSTILE_VARINTS)
        else:
            out[at:at] = out[at : at + rng.randrange(1, 6)]
    return bytes(out)
