from uuid import uuid4

import pytest

from schemas.errors import Stops
from sinks.store import Missing

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def test_what_is_put_is_there_until_it_is_removed(store):
    folder = f"store/{uuid4().hex}"
    store.put(f"{folder}/b", memoryview(b"second"))
    store.put(f"{folder}/a", b"first")
    store.put(f"{folder}/a", b"replaced")
    assert store.get(f"{folder}/a") == b"replaced"
    assert store.get(f"{folder}/b") == b"second"
    assert store.list(folder) == [f"{folder}/a", f"{folder}/b"]
    store.remove(f"{folder}/a")
    store.remove(f"{folder}/a")
    assert store.list(folder) == [f"{folder}/b"]


def test_a_placeholder_keeps_a_prefix(store):
    folder = f"store/{uuid4().hex}"
    store.keep(folder)
    assert store.list(folder) == [f"{folder}/_keep"]


def test_a_large_object_comes_back_whole(store):
    data = bytes(range(256)) * 80_000
    path = f"store/{uuid4().hex}"
    store.put(path, data)
    assert store.get(path) == data


def test_what_is_not_there_is_missing(store):
    with pytest.raises(Missing, match="no such object"):
        store.get(f"store/{uuid4().hex}")
    assert issubclass(Missing, Stops)
