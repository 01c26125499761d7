"""A file that no table names is one that stays so; one that is being brought in is none."""

from pipeline.erasure import stores
from pipeline.erasure.stores import Stores


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
