"""What an analyst at a hub decides, over a log in memory that went through refine and merge: found, judged, sealed, signed."""

import json
from datetime import date

import pytest
from click.testing import CliRunner

from pipeline.cli import decisions as cli
from pipeline.cli.hub import hub as command
from pipeline.hub import deciding, telling, trees
from pipeline.hub.deciding import Examined, Hub
from pipeline.log import Entry
from pipeline.node import deciding as at_node
from pipeline.node import fates, keys, revising
from pipeline.node import node as nodes
from pipeline.node.journal import Journal, Reader
from pipeline.node.keys import Case
from pipeline.node.revising import Decision
from schemas import decisions, rows, seal
from schemas.columns import Blob
from schemas.decisions import read_decision
from schemas.errors import BadInput, NotSetUp
from schemas.fates import unpack
from schemas.nodekeys import NodeKeys
from schemas.wire import unframe
from streams.merge import Merge
from tests.unit.pipeline.hub.test_telling import KEY, Cluster
from tests.unit.pipeline.node.revised import history, report
from tests.unit.streams import test_refine
from tests.unit.streams.accepted import SECRETS, records
from tests.unit.streams.raw import (
    INCIDENT,
    NODE,
    amendment,
    case,
    consent,
    identity,
    incident,
    key,
    pattern,
    retraction,
    verification,
    withdrawal,
)

REGION, NOW = "sahel", 1_767_225_600_000
PUBLIC, PRIVATE = seal.region_pair()
EPOCH = bytes(range(3, 35))
WHO, OTHER = (decisions.verifier(EPOCH, who) for who in ("H. Analyst", "I. Analyst"))


class Log(Cluster):
    """A cluster whose merge has read what refine has put out, and the keys of cases 1 to 9."""

    def __init__(self):
        super().__init__()
        self.merge, self.merged, self.given = Merge(SECRETS), {}, []
        cases = [keys.of_case(1, EPOCH, Case(case(number), key(number))) for number in range(1, 10)]
        self.keys = [keys.of_epoch(1, REGION, PUBLIC, EPOCH), *cases]
        self.values[f"keys.{NODE}"] = []

    def put_out(self, output):
        super().put_out(output)
        if output.topic == "accepted":
            for partition, at in zip(output.partitions.tolist(), range(len(output.values)), strict=True):
                self._merge(partition, output.values.item(at))

    def _merge(self, partition, value):
        state, at = self.merged.get(partition, (self.merge.empty(""), 0))
        state, outcome = self.merge.step(state, records([value], at, partition=partition))
        self.merged[partition] = state, at + 1
        for output in outcome.outputs:
            self.values[output.topic] += map(output.values.item, range(len(output.values)))

    def read(self, kafka, *names):
        for name in names:
            if name == f"keys.{NODE}":
                yield from (Entry(name, 0, at, 0, ref, value or None) for at, (ref, value) in enumerate(self.keys))
            else:
                yield from super().read(kafka, name)


@pytest.fixture
def log(monkeypatch):
    made = Log()
    for module in (telling, deciding):
        monkeypatch.setattr(module, "read", made.read)
    monkeypatch.setattr(telling, "topics", made.topics)
    return made


@pytest.fixture
def by(tmp_path):
    return trees.signer(tmp_path / "proof", None, "tocsin.hub")


HUB = Hub("kafka", KEY, SECRETS, {REGION: [PRIVATE]})


def minted(number, region=REGION):
    return seal.mint(SECRETS[region], identity(number))


def examined(state="verified", step="technical", who=WHO, **more):
    return Examined(state, step, who, **{"on": date(2026, 1, 1), "primary": 1} | more)


def found(number, region=REGION):
    return deciding.standing(HUB, region, minted(number, region))


def decide(by, number, **more):
    """Return what is decided on the incident that event `number` reported or revised."""
    standing = found(number)
    record = deciding.decide(standing, examined(**more), by, NOW)
    decision = read_decision(record)
    assert (decision.node, decision.hub, decision.case_ref) == (NODE, by.key, standing.case_ref)
    return decision.open(standing.key)


def refused(match, number, region=REGION):
    with pytest.raises(BadInput, match=match) as told:
        found(number, region)
    assert NODE not in str(told.value)


def test_an_incident_is_found_by_the_id_of_its_region_with_node_number_and_key(log, by):
    log.come(incident(5), pattern(6), incident(7), incident(8))
    standing = found(7)
    assert (standing.node, standing.case_ref, standing.key) == (NODE, case(7), key(7))
    assert (standing.incident, standing.version, standing.taken) == ((identity(7), 7), (identity(7), 7), ())
    assert standing.facts == INCIDENT
    body = decide(by, 7, secondary=3)
    assert body == {
        "decided_at": NOW,
        "incident_id": identity(7),
        "incident_number": 7,
        "version_id": identity(7),
        "version_number": 7,
        "step": "technical",
        "verifier": WHO,
        "verified_on": date(2026, 1, 1),
        "verification": "verified",
        "primary_sources": 1,
        "secondary_sources": 3,
        "un_eyewitness": False,
    }


def test_what_is_not_said_stays_as_the_version_has_it(log, by):
    log.come(incident(1, facts={"primary_sources": 4, "secondary_sources": 2, "un_eyewitness": True}))
    body = decide(by, 1, primary=None)
    assert (body["primary_sources"], body["secondary_sources"], body["un_eyewitness"]) == (4, 2, True)


def test_the_newest_version_is_examined_by_its_own_id_or_by_the_incidents(log, by):
    log.come(
        incident(1),
        amendment(2, 1, [1], {"women": 3}),
        verification(3, 1, [2]),
        consent(4, 1, [3], facts={"verification": "verified"}),
    )
    for number in (1, 4):
        standing = found(number)
        assert (standing.incident, standing.version) == ((identity(1), 1), (identity(4), 4))
        assert (standing.facts["verification"], standing.facts["sharing_scope"]) == ("verified", "headquarters")
        assert standing.taken == (("focal_point", (1).to_bytes(8, "big")),)
    assert decide(by, 4)["version_number"] == 4


@pytest.mark.parametrize("number", [2, 3])
def test_what_a_later_version_has_replaced_is_refused(log, number):
    log.come(
        incident(1),
        amendment(2, 1, [1], {"women": 3}),
        verification(3, 1, [2]),
        amendment(4, 1, [3], facts={"verification": "verified"}),
    )
    refused("later version has replaced this one", number)


def test_versions_in_conflict_are_refused(log):
    log.come(incident(1), amendment(2, 1, [1], {"women": 3}), amendment(3, 1, [1], {"women": 4}))
    for number in (1, 2):
        refused("in conflict", number)


def test_an_id_that_no_incident_has_is_refused(log):
    log.come(incident(1), pattern(2))
    refused("No incident has the id", 9)
    refused("is no incident", 2)
    with pytest.raises(BadInput, match="No incident has the id"):
        deciding.standing(HUB, REGION, minted(1, "horn-of-africa"))  # an id of another region


def test_what_its_region_does_not_have_is_refused(log):
    log.come(incident(1), incident(2), incident(3, facts={"women": 0}), incident(4))
    log.come(retraction(5, 1, [1]), verification(6, 2, [2], state="did_not_occur"), withdrawal(7, 4, [4]))
    for number in (1, 2, 3):
        refused("not shared with sahel", number)
    refused("consent to its case was withdrawn", 4)
    refused("not shared with great-lakes", 2, "great-lakes")


def test_a_case_whose_key_is_gone_is_refused(log):
    log.come(incident(1), incident(2))
    log.keys.append(keys.tombstone(case(1)))
    refused("key of its case is not here", 1)
    assert found(2).key == key(2)


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"state": "report_pending_verification"}, "cannot move"),
        ({"step": "focal_point"}, "not above the last"),
        ({"who": (1).to_bytes(8, "big")}, "has taken an earlier step"),
        ({"primary": 0}, "Verified without a primary source"),
        ({"secondary": 2_000_000_000}, "sources"),
    ],
)
def test_what_its_node_would_refuse_is_refused(log, by, more, match):
    log.come(incident(1), verification(2, 1, [1]))
    with pytest.raises(BadInput, match=f"Nothing was decided: .*{match}"):
        decide(by, 1, **more)


def test_no_second_decision_is_made_on_a_version_while_one_is_on_its_way(log, by, tmp_path):
    log.come(incident(1), incident(2))
    other = trees.signer(tmp_path / "other", None, "tocsin.hub")
    given = [deciding.decide(found(number), examined(), who, NOW) for number, who in ((1, other), (2, by))]
    log.values[f"fates.{NODE}"] += [b"", b"junk", *given, given[0][:-1] + bytes([given[0][-1] ^ 1])]
    deciding.check_new(HUB, found(1), by)
    log.values[f"fates.{NODE}"].append(deciding.decide(found(1), examined(who=OTHER), by, NOW))
    with pytest.raises(BadInput, match="was sent before"):
        deciding.check_new(HUB, found(1), by)
    log.come(amendment(3, 1, [1], {"women": 3}))
    deciding.check_new(HUB, found(1), by)


# With its node


@pytest.fixture
def node(tmp_path):
    """A node whose incident a person of its own has verified."""
    made = nodes.create(tmp_path / NODE, NODE, REGION, PUBLIC)
    facts = {"country": "MLI", "admin1": "ML01", "occurred_on": date(2021, 3, 1)}
    report(made, 1, **facts)
    with Journal(made.journal) as journal:
        revising.verify(made, journal, 1, Decision("verified", "focal_point", "A. Name", primary=1))
    return made


def sync(log, node, monkeypatch):
    """Have the hub read what the node has recorded and it has not read yet."""
    reader = Reader(node.journal)
    log.keys = [(name, value) for _, name, value in reader.key_records()]
    held = NodeKeys({REGION: [PRIVATE]})
    held.read(*(Blob.of(list(column)) for column in zip(*log.keys, strict=True)))
    monkeypatch.setattr(test_refine, "KEYS", held.keyring)
    log.come(*(entry.envelope for entry in reader.read(len(log.values[f"raw.{NODE}"]) + 1)))


def test_what_is_decided_is_recorded_by_the_node_and_shared_with_the_region_as_its_next_step(
    log, by, node, monkeypatch
):
    sync(log, node, monkeypatch)
    minted = seal.mint(SECRETS[REGION], history(node, 1).reported.event_id)
    before = deciding.standing(HUB, REGION, minted)
    record = deciding.decide(before, examined(secondary=9), by, NOW)
    assert fates.take(node, [record]).refused == {}
    assert [(one.incident, one.event) for one in at_node.record(node)] == [(1, 3)]
    sync(log, node, monkeypatch)
    after = deciding.standing(HUB, REGION, minted)
    assert [step for step, _ in after.taken] == ["focal_point", "technical"]
    assert after.taken == (*before.taken, ("technical", WHO))
    assert after.facts == {**before.facts, "secondary_sources": 9}
    shared = [rows.read(*unframe(value)) for value in log.values[f"hub.{REGION}"]]
    assert [row["step"] for row in shared if "change" in row] == ["focal_point", "technical"]
    with pytest.raises(BadInput, match="has taken an earlier step"):
        deciding.decide(after, examined(step="task_force"), by, NOW)
    deciding.check_new(HUB, after, by)


# The command


@pytest.fixture
def run(log, tmp_path, monkeypatch):
    """Run the command over the log; `sent` is what it puts on topics."""
    monkeypatch.setattr(cli, "_hub", lambda home: HUB)
    log.sent = []
    monkeypatch.setattr(telling, "put", lambda kafka, given: log.sent.extend(given))
    (tmp_path / "data").mkdir()

    def run(*more, number=1):
        named = ["--region", REGION, "--state", "verified", "--step", "technical", "--primary", "1"]
        arguments = ["verify", minted(number).hex(), *named, *more, "--data", str(tmp_path / "data")]
        return CliRunner().invoke(command, arguments)

    return run


def test_it_sends_and_writes_the_decision_and_says_neither_node_nor_number(log, run, tmp_path):
    log.come(incident(1), incident(2))
    file = tmp_path / "minusma.fates"
    done = run("--by", "H. Analyst", "--send", "--json")
    assert done.exit_code == 0, done.output
    [(node, name, record)] = log.sent
    decision = read_decision(record)
    assert (node, name) == (NODE, f"decision:{decision.decision_id.hex()}".encode())
    assert NODE not in done.output
    assert json.loads(done.output.splitlines()[-1])["sent"] is True
    shown = run("--by", "H. Analyst", "--out", str(file), number=2)
    assert f"Carry {file} to {NODE}" in shown.output
    assert read_decision(*unpack(file.read_bytes())).open(key(2))["verifier"] == decision.open(key(1))["verifier"]
    assert len(log.sent) == 1


def test_a_decision_can_be_sent_once_more_where_its_node_could_not_record_it(log, run, by):
    log.come(incident(1))
    assert run("--by", "H. Analyst", "--send").exit_code == 0
    log.values[f"fates.{NODE}"] += [record for _, _, record in log.sent]
    done = run("--by", "H. Analyst", "--send")
    assert "by --again" in str(done.exception)
    assert run("--by", "H. Analyst", "--send", "--again").exit_code == 0
    assert len({read_decision(record).decision_id for _, _, record in log.sent}) == 2


def test_without_a_way_to_its_node_nothing_is_decided(log, run):
    log.come(incident(1))
    done = run("--by", "H. Analyst")
    assert "It can be decided: step=technical; verification=verified. Nothing was" in done.output
    assert log.sent == []


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (["--by", " "], "--by"),
        ([], "nobody can be asked"),
        (["--by", "A", "--region", "nowhere"], "no region"),
        (["--by", "A", "--on", "2999-01-01"], "future"),
        (["--by", "A", "--out", "/nowhere/x.fates"], "give another file"),
        (["--by", "A", "--primary", "0"], "without a primary source"),
    ],
)
def test_what_cannot_be_decided_is_one_sentence_and_nothing_is_sent(log, run, more, match):
    log.come(incident(1))
    done = run(*more, "--send") if "--out" not in more else run(*more)
    assert isinstance(done.exception, BadInput)
    assert match in str(done.exception)
    assert log.sent == []


@pytest.mark.parametrize("word", ["", "12", "x" * 32, "0" * 33])
def test_what_is_no_id_is_told(word):
    with pytest.raises(BadInput, match="give the 32 digits"):
        cli._id(word)


def test_the_hub_takes_no_step_of_a_nodes_focal_point(run):
    assert run("--by", "A", "--step", "focal_point").exit_code == 2


def test_a_damaged_key_of_the_hub_is_told(run, tmp_path):
    (tmp_path / "data" / "proof").mkdir()
    (tmp_path / "data" / "proof" / "digest.key").write_text("nothing")
    assert isinstance(run("--by", "A").exception, NotSetUp)
