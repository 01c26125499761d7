"""A node changes hands on a real Kafka and S3: by the commands that people use, from the offer to a case that is entrusted."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.keyrings import region_keys
from pipeline.node import node as nodes
from pipeline.node.handover import deeds, owning
from pipeline.node.journal import Reader
from tests.integration.whole.conftest import TAG, record
from tests.integration.whole.rig import REGION, ROOT, Whole, openable, rows, rows_of, tocsin, told, until
from tests.lying import files

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
NODE, TO = "SYN-1", "UNCT-COD"


class Handing:
    """The hub with the leaving team's node in its data folder; the successor's folder, and what lies on the stick between."""

    def __init__(self, folder):
        self.whole = Whole(folder / "hub", [NODE])
        self.successor, self.stick = folder / "successor" / NODE, folder / "stick"
        self.stick.mkdir(parents=True)

    def file(self, name):
        return str(self.stick / name)

    def step(self, *arguments, node=NODE, code=0):
        return tocsin(self.whole, "node", "handover", *arguments, "--node", str(node), code=code)

    def of_successor(self, *arguments, code=0):
        return tocsin(self.whole, "node", *arguments, "--node", str(self.successor), code=code)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A node with four incidents in the tables, handed over; its successor has the node, and has synced."""
    handing = Handing(tmp_path_factory.mktemp("handing-over"))
    whole = handing.whole
    try:
        whole.create_reporters()
        handing.mine = record(whole, NODE, 4)
        for stage in ("refine", "merge", "sink", "receipts"):
            whole.worker(stage, "1")
        tocsin(whole, "node", "sync", "--node", NODE)
        until(lambda: len(rows(whole, "incidents")) == 4)
        handing.rehearsed = told(whole, "node", "handover", "rehearse", "--node", NODE)
        handing.step("offer", "--to", TO, "--out", handing.file("offer"))
        tocsin(
            *(whole, "node", "handover", "accept", handing.file("offer"), "--as", TO),
            *("--node", str(handing.successor), "--out", handing.file("accepted")),
        )
        handing.step("close", handing.file("accepted"), "--yes", "--out", handing.file("package"))
        handing.opened = handing.step(
            *("open", handing.file("package"), "--out", handing.file("received")), node=handing.successor
        )
        handing.of_successor("sync")
        until(lambda: told(whole, "hub", "summary", REGION)["nodes"][0]["counts"].get("handed_over") == 1)
        handing.verified = told(whole, "verify")
        yield handing
    finally:
        whole.down()


def status(handing, node):
    return json.loads(handing.step("status", "--json", node=node).splitlines()[-1])


def test_a_rehearsal_has_counted_before(run):
    assert run.rehearsed["ready"]
    assert (run.rehearsed["counts"]["consents_to_grant"], run.rehearsed["counts"]["events"]) == (4, 4)


def test_the_hub_knows_and_calls_the_log_whole(run):
    assert f"{NODE} was handed over" in tocsin(run.whole, "hub", "summary", REGION)
    (node,) = run.verified["nodes"]
    assert (node["complete"], node["through"]) == (True, 5)
    assert [(one["event"], one["successor"]) for one in node["handovers"]] == [(5, TO)]
    assert f"handed over to {TO} by event 5" in tocsin(run.whole, "verify")


def test_the_successor_counts_cases_and_sees_none(run):
    found = status(run, run.successor)
    assert (found["owner"], found["custody"]["cases"]) == ("here", 4)
    assert {1, 4} <= set(found["custody"]["waiting"])
    assert status(run, NODE)["owner"] == TO
    assert "has not consented anew" in run.of_successor("case", "--event", "4", code=65)
    held = b"".join(path.read_bytes() for path in run.successor.rglob("*") if path.is_file())
    assert TAG.encode() not in held


def test_the_leaving_team_adds_nothing_more(run):
    retract = ("retract", "--event", "1", "--reason", "error", "--yes", "--node", NODE)
    assert f"handed over to {TO}" in tocsin(run.whole, "node", *retract, code=65)
    assert "its successor sends" in tocsin(run.whole, "node", "sync", "--node", NODE, code=65)
    assert told(run.whole, "verify")["complete"]


def test_a_case_is_entrusted_and_goes_on_in_the_tables(run):
    run.step("ask", "--event", "2", "--out", run.file("request"), node=run.successor)
    give = ("hub", "entrust", NODE, run.file("request"), "--out", run.file("keys"))
    assert "no key was given" in tocsin(run.whole, *give, "--key", "00" * 32, code=65)
    assert "add --yes where nobody can be asked" in tocsin(run.whole, *give, code=65)
    told_key = nodes.load(run.successor).public.hex()
    tocsin(run.whole, *give, "--key", told_key)
    taken = json.loads(run.step("take", run.file("keys"), "--json", node=run.successor).splitlines()[-1])
    assert (taken["cases"], taken["refused"]) == ([2], {})
    run.of_successor("amend", "--event", "2", "--set", "women=3")
    run.of_successor("sync")
    until(lambda: [row["women"] for row in rows_of(run.whole, run.mine[1], "incidents")] == [3])
    [row] = rows_of(run.whole, run.mine[1], "incidents")
    assert (row["change"], row["sharing_scope"]) == ("amended", "hub")
    endings = sorted(one["ending"] for one in rows_of(run.whole, run.mine[1], "versions") if one["ending"])
    assert endings == ["amended", "consent_given"]
    assert 2 not in status(run, run.successor)["custody"]["waiting"]
    assert told(run.whole, "verify")["complete"]


def test_who_does_not_consent_is_taken_out_everywhere(run):
    run.of_successor("withdraw", "--event", "3", "--yes")
    run.of_successor("sync")
    until(lambda: not rows_of(run.whole, run.mine[2], "incidents"))
    assert len(rows(run.whole, "incidents")) == 3
    assert "was withdrawn" in run.step(*("ask", "--event", "3", "--out", run.file("late")), node=run.successor, code=65)


def test_after_a_renewal_instead_of_the_team_before_sending_all_again_takes_nothing_back(run):
    before = openable(run.whole, NODE)
    tocsin(run.whole, "hub", "renew", "--region", REGION, "--yes", code=75)
    run.of_successor("renew")
    run.of_successor("sync")
    tocsin(run.whole, "hub", "renew", "--region", REGION, "--instead-of", NODE)
    assert "former.key" not in {path.name for path in files(run.whole.data)}
    run.of_successor("sync", "--again")
    assert openable(run.whole, NODE) == before


def test_killed_at_any_moment_a_handover_has_one_owner(run, tmp_path):
    """kill -9 of `close` and `open` at growing delays: there is one owner, and the same command goes on."""
    public = region_keys(run.whole.data, "public")[REGION]
    old = nodes.create(tmp_path / "old" / "SYN-2", "SYN-2", REGION, public)
    new, stick = tmp_path / "new" / "SYN-2", tmp_path
    folders = {"old": old.folder, "new": new}
    paper = {name: str(stick / name) for name in ("offer", "accepted", "package", "received")}
    steps = [
        ("old", "offer", "--to", TO, "--out", paper["offer"]),
        ("new", "accept", paper["offer"], "--as", TO, "--out", paper["accepted"]),
        ("old", "close", paper["accepted"], "--yes", "--out", paper["package"]),
        ("new", "open", paper["package"], "--out", paper["received"]),
    ]
    killed = 0
    for who, *arguments in steps:
        for delay in (0.05, 0.12, 0.2, 0.35):
            process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.cli", "node", "handover", *arguments, "--node", str(folders[who])],
                cwd=ROOT, env=os.environ | {"TOCSIN_DATA": str(run.whole.data)}, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(delay)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
            process.wait()
            owners = [owner(folder) for folder in folders.values()]
            assert owners.count(True) == 1 or (owners == [False, False] and handed(old.folder))
        tocsin(run.whole, "node", "handover", *arguments, "--node", str(folders[who]))
    assert [owner(folder) for folder in folders.values()] == [False, True]
    assert killed
    run.step("retire", paper["received"], "--yes", node=old.folder)
    assert not list(old.folder.glob("*.key"))
    assert "its keys are destroyed" in tocsin(run.whole, "node", "status", "--node", str(old.folder))
    assert "Your keys are destroyed" in run.step("status", node=old.folder)


def owner(folder):
    """Return whether a folder may record the next event."""
    if not (folder / "node.json").exists():
        return False
    word = owning.last_word(Reader(folder / "journal"))
    return word is None or word.signer == deeds.signs_with(folder)


def handed(folder):
    return owning.last_word(Reader(folder / "journal")) is not None


def test_events_of_both_teams_have_one_fate_each(run):
    tocsin(run.whole, "hub", "fates", NODE, "--send")
    run.of_successor("sync")
    found = told(run.whole, "node", "fates", "--node", str(run.successor))
    assert sum(found["counts"].values()) == Reader(run.successor / "journal").mark.last
    assert not {"missing", "unknown", "refused"} & {name for name, count in found["counts"].items() if count}
