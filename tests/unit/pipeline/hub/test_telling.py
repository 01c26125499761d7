"""What is told to a node, over a log in memory: only what is new is signed anew, and nothing that others wrote is believed."""

import pytest
from click.testing import CliRunner

from pipeline.cli.hub import hub as command
from pipeline.hub import telling, trees
from pipeline.hub.shared import Unreadable
from pipeline.hub.telling import Teller
from pipeline.log import Entry
from schemas import rows
from schemas.decisions import Decided
from schemas.errors import BadInput, NotSetUp
from schemas.fates import PAGE, read_page, unpack
from schemas.lock import lock
from schemas.released import latest
from schemas.wire import confluent
from tests.unit.streams.accepted import SECRETS
from tests.unit.streams.raw import NODE, pattern
from tests.unit.streams.test_refine import STAGE, step

KEY = bytes(range(32))


class Cluster:
    """Topics in memory; `come` takes records of the node through refine as one batch."""

    def __init__(self):
        names = (
            "ledger.refine",
            "quarantine",
            f"raw.{NODE}",
            f"receipts.{NODE}",
            f"fates.{NODE}",
            *(f"hub.{r}" for r in SECRETS),
        )
        self.values, self.state = {name: [] for name in names}, STAGE.empty("")

    def come(self, *values):
        raw = self.values[f"raw.{NODE}"]
        start = len(raw)
        raw += values
        self.state, outcome = step(self.state, list(values), start)
        for output in outcome.outputs:
            self.put_out(output)
        row = {
            "stage": "refine",
            "lane": f"raw.{NODE}-0",
            "start": start,
            "end": len(raw),
            "counts": dict(outcome.counts),
        }
        self.put("ledger.refine", "BatchCommitted", row | {"suite": outcome.suite, "delta": lock(KEY, outcome.delta)})

    def put_out(self, output):
        if output.topic == "quarantine":
            self.values["quarantine"] += map(output.values.item, range(len(output.values)))

    def put(self, topic, name, row):
        known = {field["name"] for field in latest(name).schema["fields"]}
        body = rows.write(latest(name), {field: value for field, value in row.items() if field in known})
        self.values[topic].append(confluent(latest(name), body))

    def read(self, kafka, *names):
        for name in names:
            yield from (Entry(name, 0, at, 0, b"", value) for at, value in enumerate(list(self.values[name])))

    def topics(self, kafka, prefix=""):
        return [name for name in self.values if name.startswith(prefix)]


@pytest.fixture
def cluster(monkeypatch):
    made = Cluster()
    monkeypatch.setattr(telling, "read", made.read)
    monkeypatch.setattr(telling, "topics", made.topics)
    return made


@pytest.fixture
def by(tmp_path):
    return trees.signer(tmp_path / "proof", None, "tocsin.hub")


def tell(by, node=NODE):
    return Teller("kafka", KEY, SECRETS).tell(node, by)


def changed(record):
    return record[:-1] + bytes([record[-1] ^ 1])


def put(cluster, told):
    cluster.values[f"fates.{NODE}"] += [told.records[first] for first in told.changed]


def test_only_a_page_that_says_something_new_is_signed_anew(cluster, by):
    cluster.come(*(pattern(number) for number in range(1, PAGE + 3)))
    first = tell(by)
    assert (first.end, first.highest, first.counts, first.changed) == (
        PAGE + 2,
        PAGE + 2,
        {"accepted": PAGE + 2},
        (1, 1_001),
    )
    put(cluster, first)
    assert tell(by).changed == ()
    assert tell(by).records == first.records
    cluster.come(pattern(PAGE + 3), pattern(1))
    second = tell(by)
    assert second.changed == (1_001,)
    assert second.records[1] == first.records[1]
    page = read_page(second.records[1_001])
    assert (page.node, page.hub, page.end, page.last) == (NODE, by.key, PAGE + 4, PAGE + 3)
    put(cluster, second)
    assert tell(by).changed == ()


def test_a_later_page_is_later_whatever_the_clock_says(cluster, by, monkeypatch):
    for at, number in enumerate((1, 2, 3)):
        monkeypatch.setattr(telling.time, "time_ns", lambda at=at: (1_767_225_600_000 - at * 60_000) * 1_000_000)
        cluster.come(pattern(number))
        put(cluster, tell(by))
    pages = [read_page(value) for value in cluster.values[f"fates.{NODE}"]]
    assert [page.given_at - 1_767_225_600_000 for page in pages] == [0, 1, 2]
    assert [page.order for page in pages] == sorted(page.order for page in pages)


def test_what_others_wrote_on_the_topic_is_not_believed(cluster, by, tmp_path):
    cluster.come(pattern(1))
    other = trees.signer(tmp_path / "other", None, "tocsin.hub")
    put(cluster, tell(other))
    cluster.values[f"fates.{NODE}"] += [b"", b"junk", changed(tell(by).records[1])]
    told = tell(by)
    assert told.changed == (1,)
    put(cluster, told)
    assert tell(by).changed == ()


def test_events_that_refine_has_not_read_have_no_fate_yet(cluster, by):
    cluster.come(pattern(1))
    cluster.values[f"raw.{NODE}"] += [pattern(2), pattern(7), pattern(1, event_id=bytes(16))]
    told = tell(by)
    assert (told.highest, told.end) == (1, 1)
    assert not read_page(told.records[1]).fates[0].forked
    assert tell(by, "OTHER").records == {}


def test_a_quarantine_that_cannot_be_read_stops_it(cluster, by):
    cluster.values["quarantine"].append(b"\x00\x00\x00\x00\x63")
    with pytest.raises(Unreadable, match=r"A record of quarantine .* update tocsin"):
        tell(by)


def test_what_quarantine_says_of_other_topics_is_nothing_of_a_nodes(cluster, by):
    cluster.come(pattern(1, {"areas": []}), pattern(2))
    row = {
        "node": "",
        "topic": "accepted",
        "partition": 0,
        "offset": 1,
        "event_id": None,
        "sequence": None,
        "kind": None,
    }
    cluster.put("quarantine", "Quarantined", row | {"reasons": ["stage.failed"], "suite": ""})
    assert tell(by).counts == {"refused": 1, "accepted": 1}


def test_a_file_holds_all_pages_of_a_node(cluster, by, tmp_path):
    cluster.come(*(pattern(number) for number in range(1, PAGE + 2)))
    told = tell(by)
    telling.write(tmp_path / "some.fates", told.records.values())
    assert [read_page(record).first for record in unpack((tmp_path / "some.fates").read_bytes())] == [1, 1_001]
    with pytest.raises(BadInput, match="give another file"):
        telling.write(tmp_path / "nowhere" / "some.fates", told.records.values())


def test_what_was_decided_and_sent_is_told_for_a_file_too(cluster, by, tmp_path):
    cluster.come(pattern(1))
    other = trees.signer(tmp_path / "other", None, "tocsin.hub")

    def given(signer, node=NODE):
        return Decided(node, signer.key, bytes(16), bytes(16), bytes(8), b"sealed").sign(signer.seed)

    mine = given(by)
    cluster.values[f"fates.{NODE}"] += [mine, given(other), given(by, "OTHER"), changed(mine), mine]
    told = tell(by)
    assert (told.decisions, told.changed) == ((mine,), (1,))


def test_a_cluster_without_a_nodes_topic_is_told_before_anything_is_done(cluster):
    telling.check_topics("kafka", [NODE])
    with pytest.raises(NotSetUp, match=r"no topic fates\.OTHER; run `tocsin up`"):
        telling.check_topics("kafka", [NODE, "OTHER"])


@pytest.mark.parametrize("nodes", [[], ["SYN-1", "SYN-2"]])
def test_a_file_is_for_one_node(nodes, tmp_path):
    done = CliRunner().invoke(command, ["fates", *nodes, "--out", str(tmp_path / "x.fates"), "--data", str(tmp_path)])
    assert isinstance(done.exception, BadInput)
    assert "one node" in str(done.exception)
