"""What a command says about input that it can't use: one sentence and an exit status, in one process."""

import json
from datetime import date, timedelta

import pytest

from pipeline.cli.app import main
from pipeline.node import record
from pipeline.node.importers.table import FILE_BYTES
from pipeline.node.record import today
from schemas import seal
from schemas.retention import CLASSES, kept_through
from tests.unit.pipeline.node.test_importing import GOOD


@pytest.fixture
def tocsin(tmp_path, monkeypatch, capsys):
    """Run `tocsin node …` with an empty data folder; return exit status and what was said."""
    monkeypatch.setenv("TOCSIN_DATA", str(tmp_path / "data"))

    def run(*args):
        monkeypatch.setattr("sys.argv", ["tocsin", "node", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code, said.out + said.err

    return run


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (["import", "/nowhere/x.csv"], 78),
        (["import", "/nowhere/x.csv", "--dry-run"], 65),
        (["import", __file__, "--dry-run"], 65),
        (["import", __file__, "--dry-run", "--lang", "de"], 65),
        (["import", __file__, "--dry-run", "--part", "3/2"], 2),
        (["status"], 78),
        (["sync"], 78),
        (["withdraw"], 65),
        (["withdraw", "--row", "1"], 65),
        (["withdraw", __file__], 65),
        (["withdraw", "--event", "0"], 2),
        (["withdraw", "--event", "1", "--yes"], 78),
        (["amend"], 65),
        (["amend", "--row", "1"], 65),
        (["amend", __file__, "--event", "1"], 65),
        (["amend", __file__, "--row", "1", "--event", "1"], 65),
        (["amend", "--event", "1", "--set", "women"], 65),
        (["amend", "--event", "1", "--set", "women=2"], 78),
        (["verify", "--event", "1", "--state", "true", "--step", "technical", "--by", "A"], 2),
        (["verify", "--event", "1", "--state", "verified", "--step", "technical"], 65),
        (["verify", "--event", "1", "--state", "verified", "--step", "technical", "--by", "A", "--on", "20210101"], 2),
        (["verify", "--event", "1", "--state", "verified", "--step", "technical", "--by", "A"], 78),
        (["retract", "--event", "1"], 2),
        (["retract", "--event", "1", "--reason", "error"], 78),
        (["renew"], 78),
        (["retention"], 78),
        (["retention", "--on", "2030-02-30"], 2),
        (["retention", "--on", "2030-01-01", "--apply"], 65),
        (["case"], 65),
        (["case", "--event", "1"], 78),
        (["init", "NOWHERE", "--region", "sahel"], 65),
        (["init", "MINUSMA", "--region", "atlantis"], 65),
        (["init", "MINUSMA", "--region", "sahel", "--region-key", "/nowhere"], 78),
        (["init", "../../X", "--region", "sahel", "--new"], 65),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_a_status(tocsin, args, status):
    code, said = tocsin(*args)
    assert code == status, said
    assert len(said) < 600


@pytest.mark.parametrize(
    "content", [b"", b"\0\1\2", b"a,b\n1,2\n", b'[{"a":1}]', b"PK\3\4", b"\xff\xfea", b'"', b"[" * 9_999]
)
@pytest.mark.parametrize("named", [[], ["--as", "svac"], ["--as", "insecurity-insight"]])
def test_a_hostile_file_is_one_sentence(tocsin, tmp_path, content, named):
    path = tmp_path / "in.csv"
    path.write_bytes(content)
    status, said = tocsin("import", path, "--dry-run", *named)
    assert (status, said.count("\n")) == (65, 1), said
    assert said.startswith("tocsin: ")


def test_a_huge_file_is_refused_at_once(tocsin, tmp_path):
    with (tmp_path / "huge.csv").open("wb") as file:
        file.truncate(FILE_BYTES * 100)
    status, said = tocsin("import", tmp_path / "huge.csv", "--dry-run")
    assert (status, "split it" in said) == (65, True)


def test_rejects_never_replace_the_file_itself(tocsin, tmp_path):
    path = tmp_path / "in.json"
    path.write_text(json.dumps([{**GOOD, "date": "never"}]))
    status, said = tocsin("import", path, "--dry-run", "--rejects", path)
    assert (status, "another name" in said) == (65, True)
    assert tocsin("import", path, "--dry-run", "--rejects", "/nowhere/x")[0] == 65
    assert json.loads(path.read_text()) == [{**GOOD, "date": "never"}]


@pytest.mark.parametrize(("lang", "word"), [("en", "correct"), ("fr", "corrigez"), ("ar", "صحّحوه")])
def test_reasons_are_said_in_the_language_asked_for(tocsin, tmp_path, lang, word):
    path = tmp_path / "in.json"
    path.write_text(json.dumps([{**GOOD, "date": "never"}, GOOD]))
    status, said = tocsin("import", path, "--dry-run", "--lang", lang, "--json")
    assert (status, word in said) == (0, True), said
    line = json.loads(said.strip().split("\n")[-1])
    assert (line["rows"], line["accepted"], line["rejected"]) == (2, 1, {"date.day": 1})


@pytest.fixture
def imported(tocsin, tmp_path):
    """A node with three incidents, rows 1 to 3 of a file; return that file."""
    (tmp_path / "public.key").write_text(seal.region_pair()[0].hex())
    path = tmp_path / "in.json"
    path.write_text(json.dumps([{**GOOD, "sind event id": str(number)} for number in range(3)]))
    assert tocsin("init", "MONUSCO", "--region", "great-lakes", "--region-key", tmp_path / "public.key")[0] == 0
    assert tocsin("import", path)[0] == 0
    return path


def line(said):
    return json.loads(said.strip().split("\n")[-1])


def test_a_case_goes_on_and_each_command_says_what_it_did(tocsin, imported):
    status, said = tocsin(
        "amend", imported, "--row", 2, "--set", "women=3", "--set", "forms=rape,sexual_slavery", "--json"
    )
    assert (status, line(said)["event"], line(said)["replaces"]) == (0, 4, [2]), said
    assert (
        "Event 4 amends the incident of event 2: forms=rape,sexual_slavery; women=3.\nNow send it: tocsin node sync\n"
        in said
    )
    decision = ("--state", "verified", "--step", "technical", "--by", "Planted Name", "--primary", 1, "--eyewitness")
    status, said = tocsin("verify", "--event", 4, *decision, "--json")
    assert (status, line(said)["set"][:2], "Planted" in said) == (0, ["step", "verification"], False), said
    assert "step=technical; verification=verified; primary_sources=1; un_eyewitness=yes." in said
    status, said = tocsin("amend", "--event", 2, "--seen", 4, "--set", "men=1")
    assert (status, "in conflict with event 5" in said) == (0, True), said
    status, said = tocsin("case", imported, "--row", 2, "--json")
    assert (status, line(said)["state"], line(said)["newest"]) == (0, "in conflict", [5, 6]), said
    assert "5  " in said
    assert "verified: technical, verified" in said
    status, said = tocsin("amend", "--event", 6, "--set", "boys=1")
    assert (status, "end the conflict by `tocsin node verify`" in said) == (65, True), said
    again = ("--state", "verified", "--step", "focal_point", "--by", "Another", "--primary", 1)
    status, said = tocsin("verify", "--event", 6, *again)
    assert (status, "This resolves a conflict between events 5 and 6." in said) == (0, True), said
    status, said = tocsin("retract", "--event", 2, "--reason", "error")
    assert (status, "add --yes" in said) == (65, True), said
    status, said = tocsin("retract", "--event", 2, "--reason", "error", "--yes")
    assert (status, "Event 8 retracts the incident of event 2: reason=error." in said) == (0, True), said
    status, said = tocsin("retract", imported, "--row", 2, "--reason", "security", "--json")
    assert (status, line(said)["before"], "sync" in said) == (0, True, False), said
    assert tocsin("case", "--event", 1)[1].count("\n") == 3


def test_consent_is_recorded_told_and_taken_back(tocsin, imported):
    tocsin("amend", imported, "--row", 2, "--set", "sharing_basis=informed_consent", "--set", "sharing_scope=hub")
    status, said = tocsin("grant", imported, "--row", 2, "--scope", "headquarters", "--on", "2026-03-31", "--json")
    assert (status, line(said)["change"], line(said)["replaces"]) == (0, "consent_given", [4]), said
    assert (
        "Event 5 records consent to share the incident of event 2: given_on=2026-03-31; sharing_scope=headquarters.\n"
        "Now send it: tocsin node sync\n"
    ) in said
    status, said = tocsin("grant", "--event", 5, "--scope", "public")
    assert (status, "make sure that the survivor agreed to publication" in said) == (0, True), said
    status, said = tocsin("grant", "--event", 2, "--scope", "hub")
    assert (status, "tocsin node withdraw" in said) == (65, True), said
    status, said = tocsin("case", "--event", 2, "--json")
    assert (line(said)["newest"], line(said)["state"]) == ([6], "current"), said
    assert "consent given: headquarters, 2026-03-31" in said
    status, said = tocsin("withdraw", "--event", 6, "--scope", "headquarters", "--json")
    assert (status, line(said)["narrowed"]) == (0, [{"event": 7, "incident": 2}]), said
    assert "Event 7 narrows the audience of the incident of event 2: hub.\nNow send it: tocsin node sync\n" in said
    status, said = tocsin("withdraw", imported, "--row", 2, "--scope", "public")
    assert (status, "goes no further than headquarters already" in said) == (65, True), said
    assert tocsin("withdraw", "--event", 6, "--yes")[0] == 0
    status, said = tocsin("grant", "--event", 2, "--scope", "public")
    assert (status, "was withdrawn by event 8" in said) == (65, True), said


def test_keys_are_renewed_and_it_is_said_what_could_not_be(tocsin, imported, tmp_path):
    key, folder = tmp_path / "public.key", tmp_path / "data" / "nodes" / "MONUSCO"
    status, said = tocsin("renew")
    assert (status, "give the hub's file by --region-key" in said) == (78, True), said
    status, said = tocsin("renew", "--region-key", key, "--json")
    begun = "MONUSCO: epoch 2 begun, 3 cases wrapped anew; ended: 1.\nNow send it: tocsin node sync\n"
    assert (status, begun in said) == (0, True), said
    assert line(said) == {"node": "MONUSCO", "epoch": 2, "cases": 3, "ended": [1], "kept": {}}
    (tmp_path / "newer.key").write_text(seal.region_pair()[0].hex())
    assert tocsin("renew", "--region-key", tmp_path / "newer.key")[0] == 0
    status, said = tocsin("renew", "--region-key", key)
    assert (status, "public.key as it is now" in said) == (65, True), said
    (folder / "epoch-3.key").unlink()
    status, said = tocsin("renew", "--region-key", tmp_path / "newer.key")
    assert (status, "ended: none." in said) == (0, True), said
    assert "Epoch 3 goes on: 3 of its cases do not open in this folder." in said
    assert tocsin("amend", imported, "--row", 1, "--set", "women=3")[0] != 0
    assert tocsin("amend", imported, "--row", 1, "--set", "women=3")[1].count("\n") == 1


def test_a_referral_is_recorded_followed_up_and_told(tocsin, imported):
    status, said = tocsin("refer", imported, "--row", 2, "--service", "medical", "--on", "2026-03-31", "--json")
    assert (status, "Event 4 refers to medical, about the incident of event 2.\n" in said) == (0, True), said
    assert "tocsin node refer --followed-up --event 4" in said
    known = {"service": "medical", "referred_on": "2026-03-31", "consented": True, "outcome": "pending"}
    numbers = {"node": "MONUSCO", "event": 4, "referral": 4, "incident": 2}
    assert line(said) == {**numbers, **known, "followed_up_on": None}
    status, said = tocsin("refer", "--followed-up", "--event", 4, "--outcome", "service_received", "--json")
    assert (status, "Event 5 follows up the referral of event 4: service_received.\n" in said) == (0, True), said
    assert (line(said)["referral"], line(said)["outcome"]) == (4, "service_received")
    status, said = tocsin("refer", "--event", 2, "--service", "shelter", "--declined")
    assert (status, "Event 6 records as declined shelter, about the incident of event 2." in said) == (0, True), said
    assert "followed-up" not in said
    said = tocsin("case", "--event", 5)[1]
    assert "followed up: medical, service_received" in said
    assert "referred: shelter, declined" in said


def test_another_nodes_incident_is_assessed_and_that_is_taken_back(tocsin, imported):
    about = ("--incident", "ab" * 16, "--region", "sahel", "--on", "2026-03-31")
    status, said = tocsin("corroborate", *about, "--source", "primary", "--reliability", "B", "--json")
    assert (status, f"Event 4 corroborates incident {'ab' * 16} of sahel by a primary source.\n" in said) == (
        0,
        True,
    ), said
    assert "in place of" not in said
    known = {"region": "sahel", "incident_id": "ab" * 16, "source": "primary", "reliability": "B", "credibility": 6}
    known |= {"grounds": "unspecified", "assessed_on": "2026-03-31"}
    assert line(said) == {
        "node": "MONUSCO", "event": 4, "replaced": None, "verdict": "corroborated", "number": 1, **known,
    }  # fmt: skip
    status, said = tocsin("dispute", *about, "--source", "secondary", "--grounds", "date", "--json")
    assert (status, "Event 5 disputes" in said, "by a secondary source, date.\n" in said) == (0, True, True), said
    assert "It counts in place of event 4." in said
    assert (line(said)["replaced"], line(said)["grounds"], line(said)["number"]) == (4, "date", 2)
    status, said = tocsin("take-back", "--event", 5, "--json")
    assert (status, f"Event 6 takes back what event 5 says of incident {'ab' * 16} of sahel.\n" in said) == (0, True), (
        said
    )
    assert (line(said)["verdict"], line(said)["replaced"], line(said)["number"]) == ("taken_back", 5, 3)


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["corroborate", "--source", "primary", "--region", "sahel", "--incident", "12"], 2, "32 hexadecimal digits"),
        (
            ["corroborate", "--source", "primary", "--region", "sahel", "--incident", "g" * 32],
            2,
            "32 hexadecimal digits",
        ),
        (["corroborate", "--region", "sahel", "--incident", "a" * 32], 2, "--source"),
        (["corroborate", "--source", "primary", "--region", "atlantis", "--incident", "a" * 32], 65, "names no region"),
        (["dispute", "--source", "primary", "--region", "sahel", "--incident", "a" * 32], 2, "--grounds"),
        (["take-back", "--event", "1"], 65, "assesses no incident"),
        (["take-back", "--event", "99"], 65, "assesses no incident"),
    ],
)
def test_what_cannot_be_assessed_is_refused(tocsin, imported, args, status, words):
    told = tocsin(*args)
    assert (told[0], words in told[1]) == (status, True), told


def rules(path, months):
    """Write rules that keep what was not verified so many months, and all else for ever."""
    lines = [f"{name},{months if name == 'unverified_public' else ''}," for name in CLASSES]
    path.write_text("\n".join(["class,months,why", *lines]))
    return path


def test_what_goes_by_the_rules_is_shown_then_forgotten_by_who_agrees(tocsin, imported, tmp_path):
    file, far = rules(tmp_path / "own.csv", 12), f"{today().year + 2}-01-01"
    status, said = tocsin("retention", "--rules", file, "--json")
    parts = {part["name"]: part for part in line(said)["parts"]}
    assert (status, line(said)["rules"], "Nothing goes." in said, parts.keys()) == (0, "own.csv", True, set(CLASSES))
    goes_on = kept_through(today(), 12) + timedelta(days=1)
    assert (parts["unverified_public"]["stay"], parts["unverified_public"]["next_on"]) == (3, str(goes_on))
    status, said = tocsin("retention", "--rules", file, "--on", far, "--json")
    assert (status, [part["goes"] for part in line(said)["parts"] if part["goes"]]) == (0, [[1, 2, 3]]), said
    assert "First events of the cases that go, not verified, public sources: 1, 2, 3\n" in said
    assert "Nothing was changed. tocsin node retention --apply forgets what goes." in said
    assert "events 1 to 3," in tocsin("status")[1]


def test_a_case_is_forgotten_once_and_only_by_who_agrees(tocsin, imported, tmp_path, monkeypatch):
    rules(tmp_path / "data" / "nodes" / "MONUSCO" / "retention.csv", 1)
    tocsin("refer", "--event", 2, "--service", "medical")
    monkeypatch.setattr(record, "today", lambda: date(2999, 1, 1))
    status, said = tocsin("retention", "--apply")
    assert (status, "A case that is forgotten cannot be taken back: add --yes" in said) == (65, True), said
    assert "events 1 to 4," in tocsin("status")[1]
    status, said = tocsin("retention", "--apply", "--yes", "--json")
    assert (status, [one["cause"] for one in line(said)["forgotten"]]) == (0, ["retention"] * 2), said
    assert {one["event"] for one in line(said)["forgotten"]} == {5, 6}
    assert "kept as long as the rule said. Its key is destroyed here.\nNow send it: tocsin node sync\n" in said
    status, said = tocsin("retention", "--apply", "--json")  # nothing to agree to
    assert (status, line(said)["forgotten"], line(said)["before"], "Nothing goes." in said) == (0, [], 2, True), said
    status, said = tocsin("case", "--event", 1)
    assert (status, "kept as long as the rule said." in said, "forgotten" in said) == (0, True, True), said
    status, said = tocsin("withdraw", "--event", 1, "--yes")
    assert (status, "had been forgotten, kept as long as the rule said, before, by event" in said) == (0, True), said
    assert tocsin("import", imported)[1].startswith("MONUSCO: 3 rows of insecurity-insight: 0 accepted")


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", ("The case of event 2 is held: a referral is open (4).", "did not occur", "ever")),
        ("fr", ("Le dossier de l’événement 2 est retenu", "n’ont pas eu lieu", "toujours")),
        ("ar", ("حالة الحدث 2 محتجزة", "لم تقع", "دائمًا")),
    ],
)
def test_what_is_held_is_said_in_the_language_of_the_node(tocsin, imported, tmp_path, lang, words):
    settings = tmp_path / "data" / "nodes" / "MONUSCO" / "node.json"
    settings.write_text(settings.read_text().replace('"lang": "en"', f'"lang": "{lang}"'))
    tocsin("refer", "--event", 2, "--service", "medical")
    file = rules(tmp_path / "own.csv", "")
    file.write_text(file.read_text().replace("unverified_by_consent,", "unverified_by_consent,1"))
    said = tocsin("retention", "--rules", file, "--on", "2999-01-01")[1]
    assert all(word in said for word in words), said


def test_rules_that_are_not_understood_are_one_sentence_and_change_nothing(tocsin, imported, tmp_path):
    file = rules(tmp_path / "own.csv", "soon")
    status, said = tocsin("retention", "--rules", file, "--apply", "--yes")
    assert (status, said.count("\n"), "own.csv, line 5: months is a whole number" in said) == (65, 1, True), said
    assert "events 1 to 3," in tocsin("status")[1]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["refer", "--event", "1"], "A referral takes --service"),
        (["refer", "--event", "1", "--service", "medical", "--outcome", "declined"], "A referral takes --service"),
        (["refer", "--event", "1", "--followed-up"], "A follow-up takes --event N"),
        (["refer", "--event", "1", "--followed-up", "--outcome", "declined", "--service", "legal"], "and no service"),
        (["refer", "--event", "1", "--followed-up", "--outcome", "declined", "--declined"], "A follow-up takes"),
        (["refer", "--event", "1", "--followed-up", "--outcome", "declined"], "is about no referral that stands"),
        (["refer", "--event", "9", "--service", "legal"], "Event 9 of MONUSCO is about no case"),
        (["grant", "--event", "9", "--scope", "public"], "Event 9 of MONUSCO is about no case"),
        (["grant", "--event", "1", "--scope", "public", "--on", "2999-01-01"], "future"),
        (["grant", "--event", "1", "--scope", "hub"], "tocsin node withdraw"),
        (["amend", "--event", "1", "--set", "women=0", "--set", "place=x"], "No field is named 'place'"),
        (["amend", "--event", "1", "--set", "country=XXX"], "incident.country_not_monitored"),
        (["amend", "--event", "9", "--set", "women=1"], "Event 9 of MONUSCO is about no case"),
        (["retract", "--event", "1", "--reason", "consent_withdrawn", "--yes"], "tocsin node withdraw"),
        (["verify", "--event", "1", "--state", "verified", "--step", "technical", "--by", " "], "--by"),
    ],
)
def test_what_cannot_follow_is_refused_with_its_sentence(tocsin, imported, args, words):
    status, said = tocsin(*args)
    assert (status, words in said) == (65, True), said
    assert "events 1 to 3" in tocsin("status")[1]
