from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import signing, transfers
from schemas.errors import BadInput
from schemas.tables import read
from schemas.transfers import ACCEPTED, CANCELLED, Answer, Given, Offer

SEED, OTHER = bytes(range(32)), bytes(range(1, 33))
PUBLIC = signing.public_of(SEED)
OFFER = Offer(b"o" * 16, "MONUSCO", "MINUSCA", date(2026, 3, 31), 1, 2, PUBLIC)
ANSWER = Answer(OFFER.digest, "MINUSCA", ACCEPTED, PUBLIC, b"r" * 32)


def test_an_offer_says_who_when_and_how_many():
    assert transfers.offered(OFFER.signed("MONUSCO", SEED)) == OFFER
    assert OFFER.text.splitlines()[2:7] == [
        "from MONUSCO", "to MINUSCA", "day 2026-03-31", "incidents 1", "referrals 2",
    ]  # fmt: skip


@pytest.mark.parametrize("verdict", [*transfers.reasons(), CANCELLED])
def test_only_an_acceptance_has_a_key(verdict):
    refusal = replace(ANSWER, verdict=verdict, receives=b"")
    assert transfers.answered(refusal.signed("MINUSCA", SEED)) == refusal
    assert not refusal.accepts
    assert transfers.answered(ANSWER.signed("MINUSCA", SEED)) == ANSWER
    assert ANSWER.accepts


@settings(deadline=None)
@given(event=st.binary(max_size=200), box=st.binary(max_size=2_000))
def test_a_case_comes_as_it_was_given(event, box):
    case = Given(OFFER.digest, ANSWER.digest, event, box)
    assert transfers.given(case.signed("MONUSCO", SEED)) == case


@pytest.mark.parametrize(
    "changed",
    [
        {"offer_id": b""},
        {"sender": "no code"},
        {"receiver": "x"},
        {"incidents": 10_000},
        {"referrals": -1},
        {"signer": PUBLIC[:-1]},
    ],
    ids=str,
)
def test_what_is_no_offer_is_refused(changed):
    with pytest.raises(BadInput, match="is no offer"):
        transfers.offered(replace(OFFER, **changed).signed("MONUSCO", SEED))


@pytest.mark.parametrize(
    "changed",
    [{"verdict": "perhaps"}, {"receives": b"r" * 31}, {"receives": b""}, {"offer": b"x"}, {"signer": b""}],
    ids=str,
)
def test_what_is_no_answer_is_refused(changed):
    with pytest.raises(BadInput, match="is no answer"):
        transfers.answered(replace(ANSWER, **changed).signed("MINUSCA", SEED))


@pytest.mark.parametrize(
    ("read", "paper", "who"), [(transfers.offered, OFFER, "MONUSCO"), (transfers.answered, ANSWER, "MINUSCA")]
)
def test_it_is_signed_by_the_key_that_it_names(read, paper, who):
    for name, seed in ((who, OTHER), ("UNMISS", SEED)):
        with pytest.raises(BadInput, match="not signed by"):
            read(paper.signed(name, seed))


def test_a_paper_of_another_kind_is_named_with_the_command_that_writes_the_right_one():
    papers = {"offer": OFFER, "accept": ANSWER, "release": Given(b"o", b"a", b"e", b"b")}
    readers = {"offer": transfers.offered, "accept": transfers.answered, "release": transfers.given}
    for command, reader in readers.items():
        for other, paper in papers.items():
            if other != command:
                with pytest.raises(BadInput, match=f"`tocsin node transfer {command}"):
                    reader(paper.signed("MONUSCO", SEED))
    for junk in ("", "offer", "\n\n", "tocsin.transfer.offer/v1\n\n— A b\n"):
        for reader in readers.values():
            with pytest.raises(BadInput):
                reader(junk)


@pytest.mark.parametrize("row", read("transfer_words"), ids=lambda row: row["code"])
def test_its_words_exist_in_three_languages(row):
    assert {row["en"], row["fr"], row["ar"]}.isdisjoint({""})
    named = [{part.split("}")[0] for part in row[lang].split("{")[1:]} for lang in ("en", "fr", "ar")]
    assert named[0] == named[1] == named[2]
