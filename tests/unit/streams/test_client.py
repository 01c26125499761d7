"""The door to the broker: what is asked for once, and when anew."""

import asyncio

from streams.client import Broker


class Lookups:
    """A client that counts how often it was asked who keeps a group."""

    def __init__(self):
        self.count = 0

    async def coordinator_lookup(self, kind, key):
        self.count += 1
        return 7


def test_a_groups_coordinator_is_asked_for_anew_only_where_it_is_in_doubt():
    client = Lookups()
    broker = Broker("kafka:9092", _client=client)

    async def counts():
        found = []
        for code in (0, 51, 88, 16, 14, 15):  # none, two of a transaction, three of the coordinator
            assert await broker.group_coordinator("g") == 7
            broker.doubt_coordinator("g", code)
            found.append(client.count)
        assert await broker.group_coordinator("g") == 7
        return [*found, client.count]

    assert asyncio.run(counts()) == [1, 1, 1, 1, 2, 3, 4]
