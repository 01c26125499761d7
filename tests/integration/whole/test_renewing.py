"""Nodes and hub renew their keys while a worker runs: all goes on, and no backup opens what was withdrawn."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from pipeline.keyrings import PrivateKeys, region_keys
from pipeline.log import ends, read
from pipeline.node.journal import Reader
from schemas.rows import read as read_row
from schemas.wire import unframe
from tests.integration.whole.conftest import record
from tests.integration.whole.rig import REGION, ROOT, Whole, done_and_sent, openable, tocsin, told, until
from tests.lying import files
from tests.unit.pipeline.node.test_renewing import opened_by, secrets_in

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
NODES = ("SYN-1", "SYN-2")


def hub_renews(run):
    """Return exit status and what the region waits for."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "hub", "renew", "--region", REGION, "--yes", "--json"],
        cwd=ROOT,
        env=os.environ | {"TOCSIN_DATA": str(run.data)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode in (0, 75), done.stderr
    [row] = json.loads(done.stdout)["regions"]
    return done.returncode, row["waiting"]


def reported_and_accepted(run, *nodes):
    """Record an incident at each node, send it, and wait until the worker has opened it."""
    events = [record(run, code, 1)[0] for code in nodes]
    for code in nodes:
        tocsin(run, "node", "sync", "--node", code)
    accepted(run, events)
    return events


def accepted(run, events):
    until(lambda: not set(events) - {each for each in events if each in b"".join(filter(None, run.values("accepted")))})


def keys_of(run):
    """Return the records of all nodes' keys as they lie in the log now."""
    return {code: [(entry.key, entry.value) for entry in read(run.kafka, f"keys.{code}")] for code in NODES}


def refs(run, code):
    """Return the cases of a node in the order in which they were reported."""
    found = [read_row(*unframe(entry.envelope)) for entry in Reader(run.reporters[code].journal).read()]
    return [envelope["case_ref"] for envelope in found if envelope["kind"] == "IncidentReported"]


def opens(run, code):
    """Return what a worker that begins anew opens of a node's cases."""
    return openable(run, code) & set(refs(run, code))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two nodes; the second case of the first is withdrawn; then the region and both nodes renew, one after another."""
    whole = Whole(tmp_path_factory.mktemp("renewing"), list(NODES))
    try:
        whole.create_reporters()
        first = [event for code, number in zip(NODES, (4, 2), strict=True) for event in record(whole, code, number)]
        whole.refine = whole.worker("refine", "1")
        for code in NODES:
            tocsin(whole, "node", "sync", "--node", code)
        accepted(whole, first)
        whole.gone, whole.backup = refs(whole, "SYN-1")[1], keys_of(whole)
        whole.secrets = secrets_in(whole.reporters["SYN-1"].folder)
        whole.private = region_keys(whole.data, "private")[REGION]
        done_and_sent(whole, "SYN-1", "withdraw", "--event", "2", "--yes")
        whole.began = hub_renews(whole)
        reported_and_accepted(whole, *NODES)  # sealed for the former key still
        whole.renewed = done_and_sent(whole, "SYN-1", "renew")
        reported_and_accepted(whole, *NODES)  # one of each
        whole.waited = hub_renews(whole)
        whole.copy = shutil.copytree(whole.reporters["SYN-2"].folder, whole.data / "copy of SYN-2")
        tocsin(whole, "node", "renew", "--node", "SYN-2")
        reported_and_accepted(whole, *NODES)
        whole.ended = hub_renews(whole)
        yield whole
    finally:
        whole.down()


def test_the_former_key_is_kept_for_who_has_not_renewed_and_then_destroyed(run):
    assert run.began == (75, {"SYN-1": [1], "SYN-2": [1]})
    assert (run.renewed["epoch"], run.renewed["cases"], run.renewed["ended"]) == (2, 4, [1])
    assert run.waited == (75, {"SYN-2": [1]})
    assert run.ended == (0, {})
    assert "former.key" not in {path.name for path in files(run.data)}
    assert region_keys(run.data, "private")[REGION] != run.private


def test_every_other_case_opens_for_whoever_begins_anew(run):
    assert opens(run, "SYN-1") == set(refs(run, "SYN-1")) - {run.gone}
    assert opens(run, "SYN-2") == set(refs(run, "SYN-2"))


def test_the_withdrawn_case_is_dead_in_a_backup_with_all_secrets_of_now(run):
    now = [*run.backup["SYN-1"], *keys_of(run)["SYN-1"]]
    node, privates = run.reporters["SYN-1"].folder, PrivateKeys(run.data)[REGION]
    found = opened_by(now, secrets_in(node), privates)
    assert run.gone not in found
    assert set(found) == set(refs(run, "SYN-1")) - {run.gone}
    assert run.gone in opened_by(now, run.secrets, [])  # the control: it is there for who has the secrets of before
    assert run.gone in opened_by(now, [], [run.private])


def test_a_worker_that_runs_and_one_that_is_started_again_go_on(run):
    reported_and_accepted(run, *NODES)
    assert run.refine.events("key_refused") == []
    assert run.refine.kill_child()
    reported_and_accepted(run, *NODES)
    assert run.values("quarantine") == []


def test_a_node_that_sends_everything_again_takes_nothing_away(run):
    before = {code: opens(run, code) for code in NODES}
    for code in NODES:
        assert told(run, "node", "sync", "--again", "--node", code)["keys"]
    assert {code: opens(run, code) for code in NODES} == before
    reported_and_accepted(run, *NODES)
    assert run.values("quarantine") == []


def test_a_copy_of_the_folder_from_before_that_is_put_back_sends_nothing(run):
    before = [ends(run.kafka, topic) for topic in ("keys.", "raw.")]
    said = tocsin(run, "node", "sync", "--node", str(run.copy), code=70)
    assert "are of epoch 1, but 2 was sent: an old copy was put back" in said
    assert [ends(run.kafka, topic) for topic in ("keys.", "raw.")] == before
