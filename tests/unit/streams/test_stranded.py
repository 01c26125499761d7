import asyncio
from types import SimpleNamespace

import pytest

from schemas.errors import Unreachable
from streams.client import Forbidden
from streams.protocol import Producer
from streams.stranded import OFFSETS, Held, Torn, _commit, _held, offsets_partition


# Java: "".hashCode() is 0, "hello".hashCode() 99162322, "polygenelubricants".hashCode() the smallest int there is.
@pytest.mark.parametrize(
    ("group", "count", "partition"),
    [
        ("", 50, 0),
        ("hello", 50, 22),
        ("hello", 1, 0),
        ("polygenelubricants", 50, 0),
        ("tocsin.refine", 8, 3),
        ("tocsin.merge", 8, 6),
    ],
)
def test_the_partition_of_a_group_is_that_of_the_broker(group, count, partition):
    assert offsets_partition(group, count) == partition


@pytest.mark.parametrize(("code", "error", "told"), [(31, Torn, "ClusterAction"), (56, Unreachable, "hub.sahel-3")])
def test_a_marker_that_is_refused_is_told(code, error, told):
    class Door:
        async def leader(self, topic, partition):
            return 0

        async def ask(self, node, request):
            return SimpleNamespace(markers=[(7, [("hub.sahel", [(3, code, {})], {})], {})])

    held = {("hub.sahel", 3): Held(4, True, 60)}
    with pytest.raises(error, match=told):
        asyncio.run(_commit(Door(), Producer("lane", 7, 9), 5, held))


@pytest.mark.parametrize(("topic", "told"), [("hub.sahel", True), (OFFSETS, False)])
def test_a_topic_that_a_worker_writes_and_may_not_see_stops_it(topic, told):
    class Door:
        async def leader(self, topic, partition):
            return 0

        async def ask(self, node, request):
            return SimpleNamespace(topics=[(topic, [(3, 29, None, [], {})], {})])

    async def held():
        return await _held(Door(), Producer("lane", 7, 9), [(topic, 3)])

    if told:
        with pytest.raises(Forbidden, match="give it the right Read"):
            asyncio.run(held())
    else:
        assert asyncio.run(held()) == {}
