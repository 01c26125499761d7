"""What the hub tells, at the node: which pages it takes, which key it trusts, and how it tells its person."""

import json
import random

import pytest
from click.testing import CliRunner

from pipeline.cli.node import node as command
from pipeline.node import fates, sent, told
from pipeline.node import node as nodes
from pipeline.node.entries import NotWritten
from pipeline.node.fates import Known, Taken
from schemas import notes, seal, signing
from schemas.codes import LANGUAGES, sentence
from schemas.errors import BadInput
from schemas.fates import FATES, KINDS, MISSING, Fate, Page, Region, pack, read_page
from schemas.tables import read
from tests.unit.pipeline.node.test_sync import fill

SEED, OTHER = bytes(range(32)), bytes(32)
ACCEPTED = Fate("accepted", "report")


def key(seed, name="tocsin.hub.x"):
    return notes.Key(name, notes.ED25519, signing.public_of(seed))


def page(told=(ACCEPTED,) * 4, first=1, end=10, given_at=1, node="MONUSCO", seed=SEED):
    return Page(node, key(seed), end, given_at, first, tuple(told)).sign(seed)


@pytest.fixture
def sender(node):
    """A node that has recorded 1,500 events, of which it has sent 1,200."""
    fill(node, 750)
    sent.write(node, sent.Sent(events=1_200))
    return node


def test_the_newest_of_each_page_is_kept(sender):
    records = [page(end=10), page([MISSING] * 9, 1_001), page([ACCEPTED, MISSING] * 2, end=12), page([MISSING], end=11)]
    assert fates.take(sender, records, 4) == Taken(3, {"fates.older": 1})
    known = fates.read(sender)
    assert (known.position, known.pages) == (4, {1: records[2], 1_001: records[1]})
    assert known.fates()[2] == MISSING
    assert fates.take(sender, records, 4) == Taken(0, {"fates.older": 2})
    assert fates.read(sender) == known


@pytest.mark.parametrize("seed", range(8))
def test_pages_in_any_order_and_again_give_the_newest(sender, seed):
    rng = random.Random(seed)
    records = [page([ACCEPTED] * n, end=n // 2, given_at=n) for n in range(1, 9)]
    records += [page([MISSING] * n, 1_001, end=5, given_at=n) for n in range(1, 9)]
    given = [*rng.sample(records, 16), *rng.choices(records, k=9)]
    for at in range(0, len(given), 5):
        fates.take(sender, given[at : at + 5])
    assert fates.read(sender).pages == {1: records[7], 1_001: records[15]}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (page(node="UNMISS"), "fates.other_node"),
        (page(seed=OTHER), "fates.other_hub"),
        (page([ACCEPTED] * 1_000, 1_001), "fates.unknown_events"),
        (page()[:-1] + bytes([page()[-1] ^ 1]), "fates.signature"),
        (page()[:-9], "fates.malformed"),
        (b"", "fates.malformed"),
        (page(end=9), "fates.older"),
        (page(given_at=0), "fates.older"),
    ],
    ids=range(8),
)
def test_a_page_that_is_not_for_this_node_changes_nothing_and_hurts_no_other(sender, record, reason):
    fates.take(sender, [page()], 1)
    before = fates.read(sender)
    good = page([ACCEPTED] * 7, 1_001)
    assert fates.take(sender, [record, good, record]) == Taken(1, {reason: 2})
    assert fates.read(sender) == Known(1, {**before.pages, 1_001: good})


def test_what_the_hub_says_of_numbers_that_nobody_has_is_no_contradiction(sender):
    assert fates.take(sender, [page([*[ACCEPTED] * 500, *[MISSING] * 500], 1_001)]) == Taken(1, {})


def test_a_thousand_forged_altered_replayed_and_foreign_pages_are_all_refused(sender):
    rng = random.Random(5)
    fates.take(sender, [page([ACCEPTED] * 9, end=50, given_at=50)], 7)
    before = fates.read(sender)

    def altered(record):
        at = rng.randrange(5, len(record))
        return record[:at] + bytes([record[at] ^ 1 << rng.randrange(8)]) + record[at + 1 :]

    kinds = (
        lambda: page([ACCEPTED] * rng.randrange(1, 99), end=rng.randrange(50, 99), seed=rng.randbytes(32)),
        lambda: altered(page([ACCEPTED] * rng.randrange(1, 99), end=rng.randrange(51, 99))),
        lambda: page([ACCEPTED] * rng.randrange(1, 99), end=rng.randrange(50), given_at=rng.randrange(99)),
        lambda: page([ACCEPTED] * rng.randrange(1, 99), end=99, node=rng.choice(("UNMISS", "MINUSCA"))),
    )
    taken = fates.take(sender, [kinds[number % 4]() for number in range(1_000)])
    assert (taken.pages, sum(taken.refused.values())) == (0, 1_000)
    assert taken.refused.keys() >= {"fates.other_hub", "fates.older", "fates.other_node", "fates.signature"}
    assert {name: taken.refused[f"fates.{name}"] for name in ("other_node", "older", "other_hub")} == dict.fromkeys(
        ("other_node", "older", "other_hub"), 250
    )
    assert fates.read(sender) == before


def test_the_key_that_was_seen_first_is_kept_until_another_is_given(sender):
    fates.take(sender, [page()])
    assert fates.take(sender, [page(seed=OTHER, end=20)]).refused == {"fates.other_hub": 1}
    assert fates.trust(sender, str(key(OTHER))) == key(OTHER)
    assert fates.read(sender) == Known()
    assert fates.take(sender, [page(end=30), page(seed=OTHER, end=20)]) == Taken(1, {"fates.other_hub": 1})
    assert fates.trust(sender, str(key(OTHER, "renamed"))).name == "renamed"
    assert len(fates.read(sender).pages) == 1


def test_a_page_that_is_refused_gives_no_key(sender):
    fates.take(sender, [page([ACCEPTED] * 999, 2_001, seed=OTHER), page(node="UNMISS", seed=OTHER)])
    assert fates.take(sender, [page()]) == Taken(1, {})


@pytest.mark.parametrize(
    "word", ["", "hub", str(key(SEED)).replace("x+", "y+"), str(notes.Key("w", notes.COSIGNATURE, bytes(32)))]
)
def test_what_is_no_key_of_a_hub_is_told(sender, word):
    with pytest.raises(BadInput):
        fates.trust(sender, word)


def test_a_damaged_key_takes_nothing_and_is_told_until_it_is_given_again(sender):
    fates.take(sender, [page()], 1)
    (sender.folder / "hub.pin").write_text("nothing")
    assert fates.take(sender, [page(end=20)], 2) == Taken(0, {"fates.hub_pin": 1})
    assert fates.read(sender) == Known(1, {1: page()})
    fates.trust(sender, str(key(SEED)))
    assert fates.take(sender, [page(end=20)], 2) == Taken(1, {})


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "7", '{"position": 1}', '{"position": 1, "pages": ["AA=="]}', '{"position": 0, "pages": ["!"]}'],
)
def test_a_damaged_file_means_that_nothing_is_known(sender, content):
    (sender.folder / "fates.json").write_text(content)
    assert fates.read(sender) == Known()


def test_a_full_disk_is_told(sender):
    (sender.folder / "fates.json.new").mkdir()
    with pytest.raises(NotWritten, match="free some space"):
        fates.take(sender, [page()])


def test_what_is_no_file_of_pages_is_told(sender, tmp_path):
    with pytest.raises(BadInput, match="tocsin hub fates --out"):
        fates.import_file(sender, tmp_path / "nothing.fates")
    (tmp_path / "some.fates").write_bytes(b"some text that is no file of pages")
    with pytest.raises(BadInput, match="cut off"):
        fates.import_file(sender, tmp_path / "some.fates")


class Client:
    """A consumer of a topic of these records, a few at a time."""

    def __init__(self, records, topic="fates.MONUSCO"):
        self.records, self.topic, self.at = records, topic, 0

    def topics(self):
        return {self.topic}

    def assign(self, places):
        self.place = places[0]

    def end_offsets(self, places):
        return dict.fromkeys(places, len(self.records))

    def seek(self, place, at):
        self.at = at

    def position(self, place):
        return self.at

    def poll(self, timeout_ms):
        found = self.records[self.at : self.at + 2]
        self.at += len(found)
        return {self.place: [type("Record", (), {"value": value}) for value in found]}


def test_the_topic_is_read_on_from_where_it_was_left(sender):
    first, second, third = page(), page([MISSING], 1_001), page([MISSING] * 2, 1_001, end=11)
    assert fates.follow(sender, Client([first, second]), 5) == Taken(2, {})
    assert fates.follow(sender, Client([b"not read again", b"", third]), 5) == Taken(1, {})
    assert fates.read(sender) == Known(3, {1: first, 1_001: third})
    assert fates.follow(sender, Client([third]), 5) == Taken(0, {})  # the topic was made anew
    assert fates.read(sender).position == 1


def test_a_cluster_without_the_topic_is_told(sender):
    assert fates.follow(sender, Client([], "raw.MONUSCO"), 5) == Taken(0, {"fates.no_topic": 1})


SHARED = (Region("great-lakes", 3, duplicate=True), Region("sahel"))
EACH = {
    1: Fate("accepted", "report", (), SHARED),
    2: Fate("refused", "pattern", ("pattern.areas_missing", "newer.reason")),
    3: Fate("waiting", "amendment", ("4", "6")),
    4: MISSING,
    5: Fate("withdrawn", "report"),
    6: Fate("replaced", "report", ("7",)),
    7: Fate("accepted", "amendment", (), (), forked=True),
    8: Fate("in_conflict", "amendment", ("7",)),
}


def test_every_number_that_was_recorded_has_one_fate(sender):
    fates.take(sender, [page(EACH.values())])
    found = told.overview(sender)
    assert (found.node, found.hub, found.sent, len(found.fates)) == ("MONUSCO", "tocsin.hub.x", 1_200, 1_500)
    assert found.fates[:8] == tuple(EACH.values())
    assert set(found.fates[8:1_200]) == {told.UNKNOWN}
    assert set(found.fates[1_200:]) == {told.UNSENT}
    assert sum(found.counts.values()) == 1_500
    assert (found.counts["unknown"], found.counts["accepted"], found.linked, found.duplicates) == (1_192, 2, 1, 1)
    assert [number for first, last, _ in found.runs() for number in range(first, last + 1)] == list(range(1, 1_501))


def test_what_the_hub_has_was_sent_whatever_the_node_remembers(sender):
    (sender.folder / "sent.json").unlink()
    fates.take(sender, [page(), page(first=1_001)])
    assert told.overview(sender).counts == {"accepted": 8, "unknown": 996, "unsent": 496}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_each_fate_has_a_sentence_in_each_language(lang):
    for number, fate in (EACH | {9: told.UNKNOWN, 10: told.UNSENT}).items():
        said = told.sentence(number, fate, lang)
        assert str(number) in said
        assert "{" not in said
        for detail in fate.details:
            assert detail in said
    assert told.reasons(EACH[2], lang)[1] == "newer.reason: newer.reason"


def test_sentences_are_as_a_person_reads_them():
    assert [told.sentence(number, EACH[number], "en") for number in (1, 3, 6, 7)] == [
        "Event 1, report: accepted; now in Great Lakes (patterns linked: 3, probable duplicate), Sahel.",
        "Event 3, amendment: waits for 4, 6, which the hub does not have: tocsin node sync --again sends it.",
        "Event 6, report: replaced, event 7 speaks for its incident now.",
        "Event 7, amendment: accepted; another event came with this number and was refused.",
    ]
    assert told.sentence(6, Fate("replaced", "report"), "en") == "Event 6, report: replaced by a later version."


def test_every_word_of_fates_is_there_in_three_languages_with_the_same_places():
    rows = {row["code"]: row for row in read("fates")}
    assert len(rows) == len(read("fates"))
    assert rows.keys() >= {f"fate.{name}" for name in (*FATES, "unknown", "unsent")} | {
        f"kind.{name}" for name in KINDS if name
    }
    for row in rows.values():
        places = {frozenset(part.split("}")[0] for part in row[lang].split("{")[1:]) for lang in LANGUAGES}
        assert len(places) == 1, row
        assert all(row[lang] for lang in LANGUAGES)


def run(folder, *arguments, code=0):
    done = CliRunner().invoke(command, ["fates", "--data", str(folder), *arguments])
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


@pytest.fixture
def desk(tmp_path):
    """The data folder of a node that speaks French and has sent its 8 events, and the file of its fates."""
    made = nodes.create(tmp_path / "nodes" / "MONUSCO", "MONUSCO", "great-lakes", seal.region_pair()[0], "fr")
    fill(made, 5)
    sent.write(made, sent.Sent(events=9))
    (tmp_path / "monusco.fates").write_bytes(pack([page(EACH.values())]))
    return tmp_path


def test_a_person_reads_what_became_of_what(desk):
    assert "n’a encore rien communiqué" in run(desk)
    said = run(desk, "--import", str(desk / "monusco.fates"))
    assert "Pages nouvelles prises en compte : 1." in said
    assert "ce que sont devenus 8 des 9 événements envoyés, selon tocsin.hub.x" in said
    lines = {line.split(maxsplit=1)[1]: int(line.split()[0]) for line in said.splitlines() if line.startswith("   ")}
    assert lines == {
        "accepté": 2,
        "refusé": 1,
        "en attente": 1,
        "non reçu": 1,
        "oublié : consentement retiré, conservé aussi longtemps que le veut la règle, ou remis à un autre nœud": 1,
        "remplacé par une version ultérieure": 1,
        "en conflit": 1,
        "pas encore connu": 1,
        "pas encore envoyé": 1,
        "événements liés à une tendance": 1,
        "événements qui sont des doublons probables": 1,
    }
    assert "Grands Lacs (tendances liées : 3, doublon probable), Sahel" in run(desk, "--number", "1")
    refused = run(desk, "--refused")
    assert refused.startswith("Événement 2, tendance : refusé.")
    assert f"pattern.areas_missing: {told.sentence_or_code('pattern.areas_missing', 'fr')}" in refused
    assert run(desk, "--waiting").startswith("Événement 3, rectification : attend 4, 6")
    assert run(desk, "--number", "9").startswith("Événement 9 : pas encore connu")


def test_a_machine_reads_each_number_once(desk):
    run(desk, "--import", str(desk / "monusco.fates"))
    line = json.loads(run(desk, "--json").splitlines()[-1])
    numbers = {n: run["fate"] for run in line["fates"] for n in range(run["first"], run["last"] + 1)}
    assert numbers == {n: fate.fate for n, fate in EACH.items()} | {9: "unknown", 10: "unsent"}
    assert line["fates"][0]["regions"] == [
        {"code": "great-lakes", "patterns": 3, "duplicate": True},
        {"code": "sahel", "patterns": 0, "duplicate": False},
    ]
    assert line["counts"]["accepted"] == 2
    only = json.loads(run(desk, "--refused", "--waiting", "--json").splitlines()[-1])["fates"]
    assert [(each["first"], each["details"]) for each in only] == [
        (2, ["pattern.areas_missing", "newer.reason"]),
        (3, ["4", "6"]),
    ]


def test_a_number_that_was_never_recorded_and_an_empty_list_are_told(desk):
    done = CliRunner().invoke(command, ["fates", "--data", str(desk), "--number", "11"])
    assert isinstance(done.exception, BadInput)
    assert "has recorded 10 events" in str(done.exception)
    assert run(desk, "--refused") == "Aucun.\n"


def test_pages_that_are_not_taken_are_told_in_the_nodes_language(desk):
    (desk / "two.fates").write_bytes(pack([page(EACH.values()), page(node="UNMISS"), b"junk"]))
    said = run(desk, "--import", str(desk / "two.fates"), "--hub", str(key(SEED)))
    assert f"Pages non prises en compte : 1. {sentence('fates.other_node', 'fr')}" in said
    assert sentence("fates.malformed", "fr") in said
    assert read_page(fates.read(nodes.find(None, desk)).pages[1]).last == 8
