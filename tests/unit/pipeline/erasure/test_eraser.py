"""What the eraser does with a case that came again: buries its key, tells merge again, has all stores sign anew."""

import asyncio
from contextlib import contextmanager
from datetime import date
from types import SimpleNamespace

import pytest

from pipeline.erasure import eraser as module
from pipeline.erasure.eraser import Eraser
from pipeline.erasure.looking import Hit
from pipeline.erasure.receipts import Receipt, Shelf
from pipeline.erasure.stores import Left, Looked
from pipeline.erasure.withdrawn import Case
from pipeline.hub.trees import Signer
from schemas import signing
from schemas.errors import Unreachable
from schemas.rows import read
from schemas.wire import unframe

HUB = Signer("tocsin.hub.1", signing.new_signer()[1])
REF, FIRST, SECOND = bytes(range(16)), bytes([1]) * 16, bytes([2]) * 16
LOST = Case(REF, "SYN-1", 0, 3, frozenset([FIRST, SECOND]), receipted=True)
NAMES = ("keys.SYN-1", "accepted", "ledger.refine", "ledger.merge", "hub.sahel", "tables of sahel")


class Stores:
    """Stores that hold, at each look, so much of the case; what is looked for last stays."""

    def __init__(self, *looks, keys=()):
        self.looks, self.hits, self.secrets, self.broker = list(looks), list(keys), {"sahel": bytes(32)}, None
        self.ledgers = self

    async def discard(self, stage):
        return None

    async def look(self, cases):
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    async def keys(self, cases):
        return {case.node: (self.hits, set()) for case in cases}


class Hand:
    """A broker's hand that writes down what it is told to do."""

    def __init__(self):
        self.written, self.compacted, self.settings_back = [], [], []

    def write(self, topic, records):
        self.written += [(topic, *record) for record in records]

    def put_back(self, topics):
        list(topics)

    def replicated(self, topics):
        return []

    def purge(self, topic, group, done):
        return None

    def cut(self, topic, key, ends):
        return None

    @contextmanager
    def compacting(self, topic):
        try:
            yield lambda keys: self.compacted.append((topic.name, keys))
        finally:
            self.settings_back.append(topic.name)


@pytest.fixture
def erase(tmp_path, monkeypatch):
    """Run an eraser over stores, a receipt of the keys on its shelf; return it."""
    monkeypatch.setattr(module, "last_receipt", lambda kafka, node: {"end": 4})
    monkeypatch.setattr(module, "PATIENCE", 2.5)
    monkeypatch.setattr(module, "Bases", lambda *_: SimpleNamespace(ends=dict, close=lambda: None))
    monkeypatch.setattr(module, "SEGMENT_SECONDS", 0.01)

    async def stands(*_):
        return False

    async def check_keys(*_):
        return None

    monkeypatch.setattr(module, "stands", stands)
    monkeypatch.setattr(module, "check_keys", check_keys)
    shelf = Shelf(tmp_path / "erased")
    shelf.add([Receipt(REF, name, date(2026, 1, 1)) for name in NAMES], HUB)

    def run(stores, case=LOST, hand=None):
        topics = {name: SimpleNamespace(name=name, partitions=2) for name in NAMES[:5]}
        made = Eraser("", stores, hand or Hand(), shelf, HUB, topics, None)
        asyncio.run(made.run([case]))
        return made

    return run


def looked(shared=False, late=False, **counts):
    left = tuple(Left(store.replace("_", " "), REF, count) for store, count in counts.items())
    return Looked(left, {}, frozenset([REF] if shared else []), frozenset([REF] if late else []))


def test_merge_is_told_again_of_a_case_whose_withdrawal_the_log_has_lost(erase):
    made = erase(Stores(looked(shared=True, tables_of_sahel=1), looked(tables_of_sahel=1), looked()))
    told = [(topic, part, key, read(*unframe(value))) for topic, part, key, value in made.hand.written]
    wanted = [
        ("accepted", part, event, {"event_id": event, "node": "SYN-1"}) for part in (0, 1) for event in (FIRST, SECOND)
    ]
    assert told == wanted
    assert made.shelf.of(REF, HUB.key).keys() == set(NAMES)


def test_merge_is_told_again_of_a_case_of_which_something_came_after_it_was_taken_out(erase):
    """It has read the withdrawal with an earlier tocsin, which kept nothing by which it would have known."""
    case = Case(REF, "SYN-1", 7, 3, frozenset([FIRST]), receipted=True)
    made = erase(
        Stores(looked(late=True, tables_of_sahel=1), looked(late=True), looked(tables_of_sahel=1), looked()), case
    )
    assert [(topic, part, key) for topic, part, key, _ in made.hand.written] == [
        ("accepted", part, FIRST) for part in (0, 1)
    ]
    assert made.shelf.of(REF, HUB.key).keys() == set(NAMES)


def test_merge_is_not_told_of_a_case_whose_withdrawal_the_log_has(erase):
    case = Case(REF, "SYN-1", 7, 3, frozenset([FIRST]), receipted=True)
    assert erase(Stores(looked(shared=True, hub_sahel=1)), case).hand.written == []


def test_a_case_of_which_something_may_still_come_is_not_told_yet_but_its_key_goes(erase):
    case = Case(REF, "SYN-1", 0, 4, frozenset([FIRST]), receipted=True)
    made = erase(Stores(looked(shared=True), keys=[Hit(REF, 0, REF)]), case)
    assert made.hand.written == [("keys.SYN-1", 0, REF, None)]


def test_a_key_that_came_again_is_buried_and_compacted_away(erase):
    hit = Hit(REF, 5, REF)
    back = Looked((Left("keys.SYN-1", REF, 1),), {("keys.SYN-1", 0): (hit,)})
    case = Case(REF, "SYN-1", 7, 3, frozenset([FIRST]), receipted=True)
    living = Hit(b"epoch:1", 4, b"epoch:1")
    made = erase(Stores(back, looked(), keys=[living, hit]), case)
    assert made.hand.written == [("keys.SYN-1", 0, REF, None)]
    assert made.hand.compacted[0] == ("keys.SYN-1", [REF])
    assert {one.day for one in made.shelf.of(REF, HUB.key).values()} == {date(2026, 1, 1)}


def test_where_the_log_has_records_again_every_store_but_the_keys_signs_anew(erase):
    hit = Hit(FIRST, 5, b"key")
    back = Looked((Left("hub.sahel", REF, 1),), {("hub.sahel", 0): (hit,)})
    made = erase(Stores(back, looked()))
    days = {store: one.day for store, one in made.shelf.of(REF, HUB.key).items()}
    assert days.pop("keys.SYN-1") == date(2026, 1, 1)
    assert set(days) == set(NAMES[1:])
    assert date(2026, 1, 1) not in days.values()


def test_what_is_still_there_is_not_signed(erase):
    hit = Hit(FIRST, 5, b"key")
    back = Looked((Left("hub.sahel", REF, 1),), {("hub.sahel", 0): (hit,)})
    made = erase(Stores(back))
    assert set(made.shelf.of(REF, HUB.key)) == set(NAMES) - {"hub.sahel"}


def test_a_part_that_fails_is_told_when_the_others_have_ended_and_put_their_settings_back(erase):
    class Refusing(Hand):
        def cut(self, topic, key, ends):
            raise Unreachable("gone")

    hit, hand = Hit(FIRST, 5, b"key"), Refusing()
    back = Looked((Left("hub.sahel", REF, 1), Left("ledger.merge", REF, 1)), {("hub.sahel", 0): (hit,)})
    with pytest.raises(Unreachable, match="gone"):
        erase(Stores(back), hand=hand)
    assert hand.settings_back == ["hub.sahel"]
