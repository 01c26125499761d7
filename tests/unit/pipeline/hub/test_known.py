from datetime import UTC, date, datetime

import polars as pl
import pytest

from pipeline.hub import known
from pipeline.hub.known import Log
from pipeline.hub.moment import Moment
from schemas.errors import BadInput, NotSetUp
from tests.conformance.histories import History, day
from tests.conformance.hub_events import batch

LOG = Log("kafka:9092", {}, {})
MOMENT = Moment.of("2026-03-04T12:00:00Z", datetime(2026, 3, 5, tzinfo=UTC))
HISTORY = History(3, 90)


@pytest.fixture
def log(monkeypatch):
    """Give nodes a log: (offset, timestamp) by node, of the first record and of the first one after the moment, or its end."""

    def given(first, later):
        def since(_kafka, prefix, *moments):
            assert moments == (0, MOMENT.after)
            return [{f"{prefix}{node}": at for node, at in found.items()} for found in (first, later)]

        monkeypatch.setattr(known, "since", since)

    return given


class Filed:
    """A replay that brings a region's topic as the history tells it, and says what it was asked for."""

    def __init__(self, kafka, privates, secrets, region, sink, *, step, known):
        self.sink, self.topic = sink, f"hub.{region}"
        Filed.asked = {"kafka": kafka, "known": known}
        step(7)

    async def run(self, nodes):
        Filed.asked["nodes"] = nodes
        for start in range(0, HISTORY.offset, 20):
            self.sink.write(batch(self.topic, HISTORY.log, start, min(start + 20, HISTORY.offset)))


def test_of_each_node_only_what_had_come_counts(log, monkeypatch):
    first = {"C": (0, 11), "A": (0, 10), "B": (0, MOMENT.after + 5), "D": (0, None)}
    log(first, {"C": (9, None), "A": (17, MOMENT.after), "B": (0, MOMENT.after + 5), "D": (0, None)})
    monkeypatch.setattr(known, "Replay", Filed)
    LOG.rows("sahel", MOMENT, day(705))
    assert Filed.asked == {"kafka": "kafka:9092", "known": {"A": 17, "B": 0, "C": 9, "D": 0}, "nodes": [*"ABCD"]}


@pytest.mark.parametrize("number", [699, 700, 705, HISTORY.today])
def test_the_rows_are_those_of_the_day_by_what_was_replayed(log, monkeypatch, number):
    log({"A": (0, 10)}, {"A": (99, None)})
    monkeypatch.setattr(known, "Replay", Filed)
    heard = []
    rows = LOG.rows("sahel", MOMENT, day(number), heard.append)
    assert dict(rows.select("incident_id", "version_id").rows()) == HISTORY.as_of(number)
    assert rows.schema["forms"] == pl.List(pl.String)
    assert heard == [7]


def test_a_moment_before_everything_names_the_first_that_is_not(log):
    later = {"A": (0, MOMENT.after + 61_500), "B": (0, MOMENT.after + 99_999), "C": (0, None)}
    log(later, later)
    with pytest.raises(BadInput) as refused:
        LOG.rows("sahel", MOMENT, date(2026, 3, 4))
    assert str(refused.value) == (
        "Nothing had come by 2026-03-04T12:00:00Z; give 2026-03-04T12:01:02Z, when the first record had come, or later."
    )


@pytest.mark.parametrize("nodes", [{}, {"A": (0, None), "B": (0, None)}])
def test_a_log_that_holds_nothing_says_what_to_run(log, nodes):
    log(nodes, nodes)
    with pytest.raises(NotSetUp, match="No node has sent anything yet: run `tocsin node sync` at a node"):
        LOG.rows("sahel", MOMENT, date(2026, 3, 4))
