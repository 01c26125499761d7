"""A survivor is referred to a service and followed up: from the node's command to the tables, and out of them with her case."""

from datetime import date

import pytest

from pipeline.log import read
from pipeline.node.journal import Reader
from schemas import seal
from schemas.places import region_codes_of
from schemas.rows import read as read_row
from schemas.wire import unframe
from tests.integration.whole.conftest import record
from tests.integration.whole.rig import (
    REGION,
    Whole,
    done_and_sent,
    envelope,
    event_id,
    rows,
    rows_of,
    send,
    tocsin,
    told,
    until,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
NODE, LATE = "SYN-1", "SYN-2"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A node with eight incidents in the tables; workers of each kind go on."""
    whole = Whole(tmp_path_factory.mktemp("referring"), [NODE, LATE])
    try:
        whole.create_reporters()
        whole.mine = record(whole, NODE, 8)
        for stage in ("refine", "merge", "sink"):
            whole.worker(stage, "1")
        tocsin(whole, "node", "sync", "--node", NODE)
        until(lambda: len(rows(whole, "incidents")) == 8)
        yield whole
    finally:
        whole.down()


def refer(run, *arguments):
    """Record a referral or a follow-up of the node, send it; return what it says."""
    return done_and_sent(run, NODE, "refer", *arguments)


def of(run, event_id, name="referrals", region=REGION):
    return rows_of(run, event_id, name, region)


def test_a_referral_is_one_row_in_each_region_as_it_was_followed_up_last(run):
    made = refer(run, "--event", 1, "--service", "medical", "--on", "2024-06-15")["event"]
    until(lambda: [row["outcome"] for row in of(run, run.mine[0])] == ["pending"])
    [row] = of(run, run.mine[0])
    assert (row["referred_in"], row["followed_up_in"]) == (date(2024, 6, 1), None)
    last = refer(run, "--followed-up", "--event", made, "--outcome", "service_received", "--on", "2024-07-20")["event"]
    for region in region_codes_of("COD"):
        until(
            lambda region=region: (
                [row["outcome"] for row in of(run, run.mine[0], region=region)] == ["service_received"]
            )
        )
        [row] = of(run, run.mine[0], region=region)
        names = {
            name: seal.mint(run.secrets[region], event_id(run, NODE, number)).hex()
            for name, number in (("referral_id", made), ("version_id", last))
        }
        assert {name: row[name] for name in names} == names
        assert (row["service"], row["consented"], row["area"]) == ("medical", True, "COD")
        assert (row["referred_in"], row["followed_up_in"]) == (date(2024, 6, 1), date(2024, 7, 1))
    assert len(of(run, run.mine[0], "incidents")) == 1
    assert not of(run, run.mine[0], "versions")
    stories = [told(run, "why", event_id(run, NODE, number).hex())["hubs"][0] for number in (made, last)]
    referral = seal.mint(run.secrets[stories[0]["region"]], event_id(run, NODE, made)).hex()
    assert [story["referral"] for story in stories] == [referral, referral]
    assert (stories[0]["closed"]["ending"], "table" in stories[0], "table" in stories[1]) == (
        "followed_up",
        False,
        True,
    )
    assert "about referral" in tocsin(run, "why", event_id(run, NODE, last).hex())
    assert "followed up: medical, service_received" in tocsin(run, "node", "case", "--event", "1", "--node", NODE)


def test_what_comes_before_what_it_follows_is_named_and_released_by_it(run):
    [reported] = record(run, LATE, 1)
    made = told(run, "node", "refer", "--event", "1", "--service", "legal", "--node", LATE)["event"]
    follow = ("--followed-up", "--event", str(made), "--outcome", "not_reached")
    last = told(run, "node", "refer", *follow, "--node", LATE)["event"]
    send(
        run.kafka, [(f"keys.{LATE}", key, value) for _, key, value in Reader(run.reporters[LATE].journal).key_records()]
    )
    send(run.kafka, [(f"raw.{LATE}", b"", envelope(run, LATE, last))])
    wanted = [{"node": LATE, "event": last, "needs": [1, made]}]
    until(lambda: told(run, "ledger", "waiting")["waiting"] == wanted)
    assert f"event {last} waits for 1, {made}" in tocsin(run, "ledger", "waiting")
    tocsin(run, "node", "sync", "--node", LATE)
    until(lambda: [row["outcome"] for row in of(run, reported)] == ["not_reached"])
    assert told(run, "ledger", "waiting")["waiting"] == []


def test_the_summary_counts_referrals_by_service_and_none_below_five(run):
    for number in range(2, 7):
        refer(run, "--event", number, "--service", "shelter")
    refer(run, "--event", 2, "--service", "child_protection")
    refer(run, "--event", 2, "--service", "livelihood", "--declined")
    until(lambda: len(of(run, run.mine[5])) == 1)
    until(lambda: len(of(run, run.mine[1])) == 3)
    (region,) = told(run, "hub", "summary", REGION)["regions"]
    assert (region["referrals"]["shelter"], region["referrals"]["child_protection"]) == (5, None)
    assert "livelihood" not in region["referrals"]
    said = tocsin(run, "hub", "summary", REGION)
    assert "Referrals, by service" in said
    assert "fewer than 5" in said


def test_a_referral_goes_when_consent_is_withdrawn_and_comes_back_by_nothing(run):
    made = refer(run, "--event", 7, "--service", "security")["event"]
    until(lambda: len(of(run, run.mine[6])) == 1)
    tocsin(run, "node", "withdraw", "--event", "7", "--yes", "--node", NODE)
    tocsin(run, "node", "sync", "--node", NODE)
    for region in region_codes_of("COD"):
        until(lambda region=region: not any(of(run, run.mine[6], name, region) for name in ("referrals", "incidents")))
    tocsin(run, "node", "refer", "--event", "7", "--service", "legal", "--node", NODE, code=65)
    tocsin(run, "node", "sync", "--node", NODE, "--again")
    until(lambda: "no longer shared" in tocsin(run, "why", event_id(run, NODE, made).hex()))
    assert not of(run, run.mine[6])


def test_no_day_of_a_referral_reaches_a_hub(run):
    made = refer(run, "--event", 8, "--service", "medical", "--on", "2024-06-15")["event"]
    refer(run, "--followed-up", "--event", made, "--outcome", "declined", "--on", "2024-07-20")
    until(lambda: [row["outcome"] for row in of(run, run.mine[7])] == ["declined"])
    shared = [read_row(*unframe(entry.value)) for entry in read(run.kafka, f"hub.{REGION}")]
    months = {row[name] for row in shared if "referral_id" in row for name in ("referred_in", "followed_up_in")} - {
        None
    }
    assert {date(2024, 6, 1), date(2024, 7, 1)} <= months
    assert {month.day for month in months} == {1}


def test_tables_made_again_from_the_log_are_equal(run):
    done = told(run, "replay", f"hub.{REGION}", "--into", "again/referred", "--check")
    assert done["equal"], done
