"""A case goes from one node to another on a real Kafka and S3: by the commands that people use, each of them killed on the way."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import pytest

from pipeline.node import envelopes
from pipeline.node import node as nodes
from pipeline.node.journal import Journal, Reader
from pipeline.node.record import Recorder
from pipeline.node.transfer import standing
from schemas import seal
from tests.integration.whole.conftest import INCIDENT, TAG, record
from tests.integration.whole.rig import (
    ERASING,
    REGION,
    ROOT,
    Whole,
    done_and_sent,
    event_id,
    forgets,
    openable,
    rows,
    rows_of,
    tocsin,
    told,
    until,
)
from tests.lying import contents

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]
FROM, TO = "SYN-1", "SYN-2"
TODAY = datetime.now(UTC).date().isoformat()
OTHER = {"party": "Another party"}
DELAYS = (0.2, 0.35, 0.5)


class Look(threading.Thread):
    """Looks at a table of a region again and again; `seen` are the ids of the case's incidents, one set for each look."""

    def __init__(self, run):
        super().__init__(daemon=True)
        self.run_of, self.seen, self.over = run, [], threading.Event()
        self.start()

    def run(self):
        while not self.over.is_set():
            self.seen.append(shown(self.run_of))
            time.sleep(0.2)


def shown(run):
    """Return the ids under which a region's table shows the case now."""
    return {row["incident_id"] for row in rows(run, "incidents").to_dicts() if row["party"] == TAG}


class Moving:
    """The hub with both nodes in its data folder, and what is carried between them."""

    def __init__(self, folder):
        self.whole = Whole(folder / "hub", [FROM, TO])
        self.stick, self.killed = folder / "stick", 0
        self.stick.mkdir(parents=True)

    def file(self, name):
        return str(self.stick / name)

    def step(self, node, *arguments, code=0):
        """Run a command after it was killed a few times; there is one owner after each."""
        for delay in DELAYS:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.cli", "node", "transfer", *arguments, "--node", node],
                cwd=ROOT, env=os.environ | {"TOCSIN_DATA": str(self.whole.data)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(delay)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                self.killed += 1
            process.wait()
            self.check_owner()
        said = tocsin(self.whole, "node", "transfer", *arguments, "--node", node, code=code)
        self.check_owner()
        return said

    def check_owner(self):
        """Only one has the case: the first node until its log says that it has left."""
        first, second = (self.whole.reporters[code] for code in (FROM, TO))
        for node in (first, second):
            Journal(node.journal).close()  # what a kill has left is settled
        left = envelopes.why_withdrawn(envelopes.of_event(first, Reader(first.journal), 1))
        taken = [one.case for one in standing.every(second, Reader(second.journal)) if one.state == "taken"]
        assert left in ("", "handed_over")
        assert not taken or left


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A case, amended and with an open referral, goes from one node to the other, while somebody looks; the hub erases in between."""
    moving = Moving(tmp_path_factory.mktemp("transferring"))
    whole = moving.whole
    try:
        whole.create_reporters()
        [moving.mine] = record(whole, FROM, 1)
        report(whole, FROM, 2)
        report(whole, TO, 2)
        for stage in ("refine", "merge", "sink", "receipts"):
            whole.worker(stage, "1")
        done_and_sent(whole, FROM, "amend", "--event", 1, "--set", "women=2")
        done_and_sent(whole, FROM, "refer", "--event", 1, "--service", "medical")
        tocsin(whole, "node", "sync", "--node", TO)
        until(lambda: len(rows(whole, "incidents")) == 5 and len(rows(whole, "referrals")) == 1)
        moving.look = Look(whole)
        until(lambda: moving.look.seen)
        go(moving)
        moving.stood = {name: rows_of(whole, moving.theirs, name) for name in ("incidents", "referrals")}
        moving.shown, moving.count = shown(whole), len(rows(whole, "incidents"))
        moving.before = rows_of(whole, moving.mine, "versions")
        yield moving
    finally:
        moving.look.over.set()
        whole.down()


def report(run, code, count):
    with Journal(run.reporters[code].journal) as journal, Recorder(run.reporters[code], journal) as recorder:
        for _ in range(count):
            recorder.record("IncidentReported", {"incident": INCIDENT | OTHER})


def go(moving):
    """Go through all steps."""
    whole = moving.whole
    moving.step(FROM, "offer", "--event", "1", "--to", TO, "--consented-on", TODAY, "--out", moving.file("offer"))
    moving.step(TO, "accept", moving.file("offer"), "--out", moving.file("answer"))
    moving.step(FROM, "answer", moving.file("answer"))
    moving.held = lies(whole)
    moving.step(FROM, "complete", "--event", "1", "--yes")
    moving.refused = moving.step(FROM, "release", "--event", "1", "--out", moving.file("case"), code=78)
    tocsin(whole, "node", "sync", "--node", FROM)
    until(lambda: released(moving))
    moving.gone = shown(whole)
    moving.step(FROM, "release", "--event", "1", "--out", moving.file("case"))
    until(lambda: forgets(whole, "run")["code"] == 0, ERASING)
    until(lambda: not lies(whole))  # the broker and the store let go of files a little later
    moving.erased, moving.left = forgets(whole), lies(whole)
    moving.status = tocsin(whole, "forget", "status")
    moving.step(TO, "take", moving.file("case"))
    moving.again = told(whole, "node", "transfer", "take", moving.file("case"), "--node", TO)
    tocsin(whole, "node", "sync", "--node", TO)
    [moving.number] = moving.again["incidents"]
    moving.theirs = event_id(whole, TO, moving.number)
    until(lambda: [row["change"] for row in rows_of(whole, moving.theirs, "incidents")] == ["consent_given"])
    until(lambda: len(rows(whole, "referrals")) == 1)
    until(lambda: moving.look.seen[-1] == shown(whole))  # who looks now and then may not have seen the last of it yet
    moving.look.over.set()
    moving.look.join()


def released(moving):
    """Sync, and return whether the case is given out by then."""
    tocsin(moving.whole, "node", "sync", "--node", FROM)
    release = ("node", "transfer", "release", "--event", "1", "--out", moving.file("case"), "--node", FROM)
    tocsin(moving.whole, *release, code=None)
    return (moving.stick / "case").exists()


def lies(run):
    """Return how many files under the data folder hold the name that only this case has, in clear."""
    return sum(TAG.encode() in data for _, data in contents(run.data))


def test_each_command_was_killed_and_the_case_had_one_owner(run):
    assert run.killed > len(DELAYS)
    statuses = [told(run.whole, "node", "transfer", "status", "--node", code)["transfers"] for code in (FROM, TO)]
    assert [[one["state"] for one in each] for each in statuses] == [["handed_over"], ["taken"]]


def test_the_tables_show_it_at_most_once_at_every_look_and_once_at_the_end(run):
    minted = {seal.mint(run.whole.secrets[REGION], each).hex() for each in (run.mine, run.theirs)}
    assert all(len(seen) <= 1 for seen in run.look.seen)
    assert set().union(*run.look.seen) == minted
    assert run.shown == {seal.mint(run.whole.secrets[REGION], run.theirs).hex()}
    assert run.count == 5


def test_it_is_given_out_only_when_no_table_shows_it(run):
    assert "tocsin node sync" in run.refused
    assert run.gone == set()


def test_what_the_new_owner_has_is_what_the_first_one_had(run):
    [row] = run.stood["incidents"]
    assert (row["women"], row["verification"], row["sharing_scope"]) == (2, "report_pending_verification", "hub")
    [referral] = run.stood["referrals"]
    assert (referral["service"], referral["outcome"]) == ("medical", "pending")
    assert not run.before
    assert run.again["recorded"] == []


def test_what_the_first_owner_sent_is_erased_as_for_a_withdrawal(run):
    assert (run.held > 0, run.left) == (True, 0)
    [case] = run.erased["cases"]
    assert (case["cause"], case["node"]) == ("handed_over", FROM)
    assert all(store["erased_on"] for store in case["stores"])
    assert bytes.fromhex(case["case"]) not in openable(run.whole, FROM)
    assert "handed over" in run.status


def test_node_and_hub_say_that_it_was_handed_over(run):
    assert "handed over" in tocsin(run.whole, "node", "case", "--event", "1", "--node", FROM)
    assert told(run.whole, "why", run.mine.hex())["withdrawn"]["cause"] == "handed_over"
    tocsin(run.whole, "hub", "fates", FROM, "--send")
    tocsin(run.whole, "node", "sync", "--node", FROM)
    assert "handed over" in tocsin(run.whole, "node", "fates", "--number", "1", "--node", FROM)
    assert told(run.whole, "verify")["complete"]


def test_the_new_owner_goes_on_with_it_and_can_take_it_out_for_good(run):
    done_and_sent(run.whole, TO, "amend", "--event", run.number, "--set", "women=3")
    until(lambda: [row["women"] for row in rows_of(run.whole, run.theirs, "incidents")] == [3])
    refused = tocsin(run.whole, "node", "amend", "--event", "1", "--set", "women=3", "--node", FROM, code=65)
    assert "was handed over" in refused
    done_and_sent(run.whole, TO, "withdraw", "--event", run.number, "--yes")
    until(lambda: not shown(run.whole))
    again = told(run.whole, "node", "transfer", "take", run.file("case"), "--node", TO)
    assert (again["recorded"], again["withdrawn"] > 0) == ([], True)
    assert not list((nodes.load(run.whole.data / "nodes" / TO).folder / "transfers").glob("*.key"))
