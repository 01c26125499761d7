"""The commands of a transfer, as two persons call them, in one process."""

import json

import pytest

from pipeline.cli.app import main
from tests.unit.pipeline.node.transfer.moves import YESTERDAY, amended, arrived, moving, newest, receipted


@pytest.fixture
def case(tmp_path):
    return moving(tmp_path)


@pytest.fixture
def tocsin(case, tmp_path, monkeypatch, capsys):
    """Run `tocsin node transfer …` of the node `a` or `b`; return what was said."""
    monkeypatch.setenv("TOCSIN_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(who, *args, code=0, group=("transfer",)):
        folder = str(getattr(case, who).folder)
        monkeypatch.setattr("sys.argv", ["tocsin", "node", *group, *map(str, args), "--node", folder])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert end.value.code == code, said.out + said.err
        return said.out + said.err

    return run


def offer(tocsin, *more):
    return tocsin("a", *f"offer --event 2 --to MINUSCA --consented-on {YESTERDAY} --out offer".split(), *more)


def line(said):
    return json.loads(said.strip().splitlines()[-1])


def states(tocsin):
    return [[one["state"] for one in line(tocsin(who, "status", "--json"))["transfers"]] for who in ("a", "b")]


def test_a_case_goes_step_by_step_and_each_command_says_the_next(tocsin, case):
    assert line(offer(tocsin, "--json"))["incidents"] == 1
    said = tocsin("b", "accept", "offer", "--out", "accepted", "--key", case.a.public.hex())
    assert "1 incident, 1 open referral" in said
    assert "tocsin node transfer answer accepted" in said
    assert "Next: tocsin node transfer complete" in tocsin("a", "answer", "accepted", "--key", case.b.public.hex())
    assert "add --yes" in tocsin("a", "complete", "--event", 1, code=65)
    done = line(tocsin("a", "complete", "--event", 1, "--yes", "--json"))
    assert (done["event"], done["before"]) == (6, False)
    assert "had been handed over before" in tocsin("a", "complete", "--event", 1, "--yes")
    assert "tocsin node sync" in tocsin("a", "release", "--event", 1, "--out", "case", code=78)
    assert "not given out yet" in tocsin("a", "status")
    receipted(case.a)
    tocsin("a", "release", "--event", 1, "--out", "case")
    taken = line(tocsin("b", "take", "case", "--json"))
    assert (taken["incidents"], taken["recorded"]) == ([1], [1, 2, 3])
    assert "taken before: event 1; nothing was recorded" in tocsin("b", "take", "case")
    assert states(tocsin) == [["handed_over"], ["taken"]]
    assert "by event 6." in tocsin("a", "status")
    assert "its incident is event 1 here" in tocsin("b", "status")
    assert "handed over" in tocsin("a", "case", "--event", 1, group=())
    said = tocsin("a", *["withdraw", "--event", "1", "--yes"], group=())
    assert "had been handed over before, by event 6" in said
    assert "taken back where her case is now" in said
    assert newest(case.b, arrived(case.b)[0])["women"] == 2


def test_a_refusal_and_a_cancellation_are_told(tocsin, case):
    offer(tocsin)
    assert "no capacity" in tocsin("b", *["refuse", "offer", "--reason", "no_capacity", "--out", "refused"])
    assert "It stays yours" in tocsin("a", "answer", "refused")
    offer(tocsin)
    tocsin("b", "accept", "offer", "--out", "accepted")
    assert "no longer" in tocsin("a", *["cancel", "--event", "1", "--out", "cancelled"])
    assert "key that you made for its case is destroyed" in tocsin("b", "answer", "cancelled")
    assert states(tocsin) == [["refused", "cancelled"], ["refused", "cancelled"]]
    assert "refused, no capacity to go on with it" in tocsin("a", "status")
    amended(case.a, 1, women=3)


def test_another_key_than_the_one_that_was_told_changes_nothing(tocsin, case):
    offer(tocsin)
    said = tocsin("b", "accept", "offer", "--out", "accepted", "--key", "00" * 32, code=65)
    assert "signed by another key" in said
    assert states(tocsin) == [["offered"], []]
    assert "Make sure by another way" in tocsin("b", "accept", "offer", "--out", "accepted")
    assert "signed by another key" in tocsin("a", "answer", "accepted", "--key", "00" * 32, code=65)
    assert states(tocsin) == [["offered"], ["accepted"]]


@pytest.mark.parametrize(
    ("lang", "words"),
    [("fr", ("proposé", "Aucun dossier")), ("ar", ("معروضة", "لم تُعرض")), ("en", ("offered", "No case"))],
)
def test_how_it_stands_is_said_in_the_language_of_the_node(tocsin, case, lang, words):
    for node in (case.a, case.b):
        path = node.folder / "node.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"lang": lang}))
    offer(tocsin)
    assert words[0] in tocsin("a", "status")
    assert words[1] in tocsin("b", "status")


@pytest.mark.parametrize(
    ("args", "status"),
    [
        ("offer --event 1 --out x", 2),
        ("offer --event 0 --to MINUSCA --out x", 2),
        ("offer --event 1 --to MINUSCA --out x", 65),
        ("offer --event 1 --to MINUSCA --consented-on 2026 --out x", 2),
        ("cancel --event 1 --out x", 65),
        ("accept nowhere --out x", 65),
        ("refuse nowhere --reason because --out x", 2),
        ("refuse nowhere --reason other --out x", 65),
        ("answer nowhere", 65),
        ("complete --event 1 --yes", 65),
        ("complete --event 99 --yes", 65),
        ("release --event 1 --out x", 65),
        ("take nowhere", 65),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_a_status(tocsin, args, status):
    assert tocsin("a", *args.split(), code=status).strip()
    assert states(tocsin) == [[], []]
