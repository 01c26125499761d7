"""`tocsin table incidents --known-at`: the tables as they stood at a moment, minus what was withdrawn since."""

import json
import random
import sys
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from pipeline import replay
from pipeline.cli.app import main
from pipeline.hub.moment import EPOCH
from pipeline.hub.moment import said as written
from pipeline.log import ends, since
from pipeline.stores import open_store
from streams.attempt import part
from tests.integration.whole.lives import FIRST, NODES, Lives
from tests.integration.whole.rig import REGION, Whole, send

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
STEPS, PAIRS = 4, 52
# Kafka deletes within seconds what was stamped longer ago than it keeps.
KEPT = {"message.timestamp.type": "CreateTime", "retention.ms": "-1"}


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    """Four steps; after the last, one key is destroyed though no event says so, and one withdrawn case's is published again."""
    whole = Whole(tmp_path_factory.mktemp("known-at"), NODES)
    try:
        whole.create_reporters()
        for stage in ("refine", "merge", "sink", "receipts"):
            whole.worker(stage, "1")
        lives = Lives(whole, 20)
        for _ in range(STEPS):
            lives.step()
        before, after = ({row["incident_id"] for row in tables["incidents"]} for tables, _ in lives.kept[-2:])
        lives.keyless = next(case for case in lives.cases if lives.minted(case) in after)
        lives.reopened = next(case for case in lives.withdrawn if lives.minted(case) in before - after)
        back = lives.case_ref(lives.reopened)
        node = lives.reopened[0]
        whole.workers[-1].kill()  # it would bury the key again
        send(whole.kafka, [(f"keys.{lives.keyless[0]}", lives.case_ref(lives.keyless), None)])
        send(whole.kafka, [(f"keys.{node}", back, lives.keys[node][back])])
        lives.gone = {lives.minted(case) for case in (*lives.withdrawn, lives.keyless)}
        lives.stood = [(tables, last, next_after(whole.kafka, last)) for tables, last in lives.kept]
        yield lives
    finally:
        whole.down()


def next_after(kafka, last):
    """The last millisecond before something else came."""
    [later] = since(kafka, "raw.", last + 1)
    return min((came for _, came in later.values() if came is not None), default=last + 500) - 1


@pytest.fixture
def command(lives, monkeypatch, capsys):
    """Run the command in this process; return what it prints, to standard error where it is to fail."""

    def run(*options, code=0):
        asked = ["tocsin", "table", "incidents", "--data", str(lives.whole.data), "--region", REGION, *options]
        monkeypatch.setattr(sys, "argv", asked)
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        assert (left.value.code or 0) == code, printed.err
        return printed.err if code else printed.out

    return run


@pytest.fixture
def answer(command, tmp_path):
    """Ask by what was known at a moment; return the rows that are written, and the line."""

    def ask(moment, day):
        out = tmp_path / "rows.parquet"
        line = command("--known-at", moment, "--as-of", str(day), "--out", str(out), "--json")
        return ordered(pl.read_parquet(out).drop("confidence").to_dicts()), json.loads(line)

    return ask


def ordered(found):
    return sorted(found, key=lambda row: (row["incident_id"], row["version_id"] or ""))


def stood(tables, day, gone=frozenset()):
    """The rows of a day, by the tables."""
    names = tables["incidents"][0].keys()
    was = [row for row in tables["versions"] if not row["conflict"] and row["ended_on"] and row["ended_on"] > day]
    both = [*tables["incidents"], *({name: row[name] for name in names} for row in was)]
    return ordered(row for row in both if row["recorded_on"] <= day and row["incident_id"] not in gone)


def instant(milliseconds):
    return written(EPOCH + timedelta(milliseconds=milliseconds))


def test_at_any_moment_and_day_it_is_what_the_tables_were_minus_what_was_withdrawn_since(lives, answer):
    chance, last = random.Random(7), lives.kept[-1][0]
    withdrawn = learned = 0
    moments = [(tables, moment) for tables, *edges in lives.stood for moment in edges]
    for tables, begun, ended in chance.choices(lives.stood, k=PAIRS - len(moments)):
        moments.append((tables, chance.randint(begun, ended)))
    for tables, at in moments:
        moment, day = instant(at), FIRST + timedelta(days=chance.randrange(5 * STEPS + 3))
        found, line = answer(moment, day)
        expected = stood(tables, day, lives.gone)
        assert found == expected, (moment, day)
        assert (line["known_at"], line["as_of"]) == (moment, str(day))
        assert line["rows"] == (len(found) if len(found) >= 5 else None)
        withdrawn += stood(tables, day) != expected
        learned += stood(last, day, lives.gone) != expected
    assert withdrawn >= 10
    assert learned >= 10


def test_the_load_has_all_that_can_happen_to_an_incident(lives):
    endings = {row["ending"] for row in lives.kept[-1][0]["versions"]}
    assert endings >= {None, "amended", "verified", "duplicate"}
    early = [
        {row["incident_id"] for row in after[0]["incidents"]} - {row["incident_id"] for row in before[0]["incidents"]}
        for before, after in zip(lives.kept, lives.kept[1:], strict=False)
    ]
    assert all(early)
    assert len(lives.withdrawn) == 2 * (STEPS - 1)


def test_a_case_without_a_key_is_in_no_answer_though_no_event_withdraws_it(lives, answer):
    (tables, last), day = lives.kept[-1], lives.day
    assert lives.minted(lives.keyless) in {row["incident_id"] for row in stood(tables, day)}
    assert lives.minted(lives.keyless) not in {row["incident_id"] for row in answer(instant(last), day)[0]}


def test_a_case_that_was_withdrawn_later_is_in_no_answer_though_its_key_is_there_again(lives, answer, monkeypatch):
    (tables, last), day, minted = lives.kept[-2], lives.day, lives.minted(lives.reopened)
    assert minted in {row["incident_id"] for row in stood(tables, day)}
    assert minted not in {row["incident_id"] for row in answer(instant(last), day)[0]}

    def only_before(records, _node, known):
        return part(records, 0, int(np.searchsorted(records.offsets, known)))

    monkeypatch.setattr(replay, "_counting", only_before)
    assert minted in {row["incident_id"] for row in answer(instant(last), day)[0]}


def test_nothing_of_it_is_filed(lives, answer, tmp_path):
    store, kafka = open_store(lives.whole.data), lives.whole.kafka
    before = store.list(""), {name: end for name, end in ends(kafka, "").items() if not name.startswith("__")}
    answer(instant(lives.kept[2][1]), lives.day)
    assert before == (store.list(""), {name: end for name, end in ends(kafka, "").items() if name in before[1]})
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_a_moment_before_everything_says_which_to_give(command):
    refusal = command("--known-at", "2001-01-01", code=65)
    assert refusal.startswith("tocsin: Nothing had come by 2001-01-01; give 20")
    assert refusal.count("\n") == 1
    first = refusal.split("give ")[1].split(",")[0]
    page = json.loads(command("--known-at", first, "--json"))
    assert (page["known_at"], page["as_of"]) == (first, first[:10])


def test_a_day_means_all_that_had_come_by_its_end(lives, answer, command):
    (tables, last), day = lives.kept[-1], lives.day
    found, line = answer(instant(last)[:10], day)
    assert found == stood(tables, day, lives.gone)
    assert line["known_at"] == instant(last)[:10]
    page = command("--known-at", instant(last), "--as-of", str(day))
    assert f"{REGION}: incidents as of {day}, as known by {instant(last)} (rounded to 5)" in " ".join(page.split())


def test_where_a_clock_went_back_the_log_is_known_up_to_the_first_record_that_is_later(lives):
    kafka, moments = lives.whole.kafka, (0, 101, 201, 301, 401)
    admin, producer = KafkaAdminClient(bootstrap_servers=kafka), KafkaProducer(bootstrap_servers=kafka)
    admin.create_topics([NewTopic("clocks", 1, 1, topic_configs=KEPT)])
    for each in (100, 300, 200, 400):
        producer.send("clocks", b"", timestamp_ms=each).get(30)
    found = [each["clocks"] for each in since(kafka, "clocks", *moments)]
    assert found == [(0, 100), (1, 300), (1, 300), (3, 400), (4, None)]
    producer.close()
    admin.close()
