"""What is left of a case, and what came after it was taken out. A file that no table names is one that stays so; one that is
being brought in is none.
"""

import asyncio

import pytest

from pipeline.erasure import stores
from pipeline.erasure.looking import Hit
from pipeline.erasure.stores import Stores
from pipeline.erasure.withdrawn import Case
from schemas import seal

REF, EVENT, SECRETS = b"r" * 16, b"e" * 16, {"sahel": b"s" * 32, "horn-of-africa": b"h" * 32}


class Nothing:
    """A broker, and ledgers, in which there is nothing to be read."""

    async def partitions(self, _):
        return (0,)

    async def look(self, *_):
        return []


@pytest.mark.parametrize("minted_for", SECRETS)
@pytest.mark.parametrize(
    ("contracts", "shared", "late"),
    [
        (["AssessmentShared"], True, False),
        (["AssessmentShared", "IncidentRemoved"], False, False),
        (["IncidentRemoved", "AssessmentShared"], False, True),
        (["IncidentRemoved", "AssessmentShared", "IncidentRemoved"], False, False),
    ],
)
def test_a_region_is_looked_through_for_the_ids_of_all_and_for_what_came_after_a_removal(
    monkeypatch, contracts, shared, late, minted_for
):
    ident = seal.mint(SECRETS[minted_for], EVENT)

    async def naming(_, place, __, ids):
        if place != ("hub.sahel", 0):
            return []
        assert ident in ids
        return [Hit(ident, offset, ident, name) for offset, name in enumerate(contracts)]

    async def keys(*_):
        return {}

    monkeypatch.setattr(stores, "naming", naming)
    monkeypatch.setattr(Stores, "keys", keys)
    monkeypatch.setattr(Stores, "_rows", lambda *_: [])
    case = Case(REF, "SYN-1", 7, 3, frozenset([EVENT]))
    found = asyncio.run(Stores(Nothing(), None, SECRETS, Nothing()).look([case]))
    assert (found.shared, found.late) == (frozenset([REF] * shared), frozenset([REF] * late))
    [left] = [one.count for one in found.left if one.store == "hub.sahel"]
    assert left == 1


def test_a_file_on_its_way_into_a_table_is_no_stray_one(monkeypatch):
    seen = iter([{"left", "coming"}, {"left", "later"}, {"left"}])
    monkeypatch.setattr(Stores, "_unnamed", lambda self, path: next(seen, {"left"}))
    monkeypatch.setattr(stores, "STRAY_SECONDS", 0.5)
    assert Stores(None, None, {}, None)._stray("hub/sahel/incidents") == {"left"}


def test_a_table_without_a_stray_file_is_looked_at_once(monkeypatch):
    looks = []
    monkeypatch.setattr(Stores, "_unnamed", lambda self, path: looks.append(path) or set())
    assert Stores(None, None, {}, None)._stray("hub/sahel/incidents") == set()
    assert len(looks) == 1
