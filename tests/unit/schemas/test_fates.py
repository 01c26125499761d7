"""Pages of fates: what is written is read again, small, and nothing that somebody changed is taken for the hub's word."""

import random

import pytest

from schemas import notes, rows, signing
from schemas.errors import BadInput
from schemas.fates import FATES, KINDS, PAGE, BadFates, Fate, Page, Region, pack, read_page, runs, unpack
from schemas.released import latest
from schemas.wire import confluent, single_object

SEED = bytes(range(32))
HUB = notes.Key("tocsin.hub.1a2b3c4d", notes.ED25519, signing.public_of(SEED))
REGIONS = ("great-lakes", "horn-of-africa", "sahel")


def page(fates, first=1, **more):
    return Page(
        **{"node": "MONUSCO", "hub": HUB, "end": 2_010, "given_at": 1_767_225_600_000, "first": first} | more,
        fates=tuple(fates),
    )


def anything(rng):
    """Return a fate of any sort."""
    word = rng.choice(FATES)
    if word == "missing":
        return Fate(word)
    details = {"refused": ("incident.persons_none", "form.unknown"), "waiting": ("3", "12"), "replaced": ("9",)}
    regions = [
        Region(code, rng.choice((0, 0, 7)), rng.random() < 0.2) for code in rng.sample(REGIONS, rng.randrange(4))
    ]
    forked = rng.random() < 0.05
    return Fate(
        word, rng.choice(KINDS), details.get(word, ("4",) if word == "in_conflict" else ()), tuple(regions), forked
    )


@pytest.mark.parametrize("seed", range(20))
def test_what_is_written_is_read_again(seed):
    rng = random.Random(seed)
    count = rng.choice((1, 2, 999, 1_000))
    few = [anything(rng) for _ in range(rng.choice((1, 3, count)))]
    given = page((rng.choice(few) for _ in range(count)), rng.choice((1, 1_001, 7_000_001)))
    assert read_page(given.sign(SEED)) == given
    assert (given.last - given.first + 1, given.order) == (count, (2_010, 1_767_225_600_000))


@pytest.mark.parametrize("regions", [REGIONS[:1], REGIONS[:2]])
def test_a_thousand_accepted_numbers_take_less_than_200_bytes(regions):
    alike = Fate("accepted", "report", (), tuple(map(Region, regions)))
    assert len(page([alike] * PAGE).sign(SEED)) < 200


def test_a_page_of_which_each_number_has_a_fate_of_its_own_is_written():
    fates = [Fate("refused", "report", tuple(f"rule.number_{n}_{k}" for k in range(16))) for n in range(PAGE)]
    assert read_page(page(fates).sign(SEED)).fates == tuple(fates)


@pytest.mark.parametrize("seed", range(5))
def test_runs_cover_each_number_once(seed):
    rng = random.Random(seed)
    fates = [anything(rng) for _ in range(200)]
    told = {number: fate for first, last, fate in runs(fates, 1_001) for number in range(first, last + 1)}
    assert list(told.values()) == fates
    assert list(told) == list(range(1_001, 1_201))


def damaged(rng, record):
    """Return the record with some bytes changed, cut, doubled or added."""
    at, some = rng.randrange(len(record)), rng.randbytes(rng.randrange(1, 5))
    return rng.choice(
        (
            record[:at] + bytes([record[at] ^ 1 << rng.randrange(8)]) + record[at + 1 :],
            record[:at],
            record[:at] + some + record[at:],
            record + some,
            record[:at] + record[at + 1 :],
            record[: at + 1] + record[at:],
        )
    )


def test_a_thousand_pages_that_somebody_changed_are_refused():
    rng = random.Random(7)
    reasons = set()
    for number in range(1_000):
        record = page([anything(rng) for _ in range(rng.randrange(1, 30))]).sign(SEED)
        with pytest.raises(BadFates) as refused:
            read_page(damaged(rng, record))
        reasons.add(refused.value.reason)
        if number % 100 == 0:
            read_page(record)
    assert reasons == {"fates.malformed", "fates.signature"}


def test_a_page_that_another_key_signed_in_the_hubs_name_is_refused():
    other = bytes(32)
    record = page([Fate("missing")]).sign(SEED)
    body = record[5:-64]
    forged = record[:5] + body + signing.sign(other, b"tocsin FatesGiven 1\n" + body)
    with pytest.raises(BadFates, match="is not signed by the key that it names"):
        read_page(forged)
    assert read_page(record[:5] + body + signing.sign(SEED, b"tocsin FatesGiven 1\n" + body)) == page([Fate("missing")])


def test_a_signature_over_a_page_is_none_over_other_words():
    body = page([Fate("missing")]).sign(SEED)[5:-64]
    for words in (b"", b"tocsin head 1\n", b"tocsin FatesGiven 2\n"):
        with pytest.raises(BadFates, match="not signed"):
            read_page(confluent(latest("FatesGiven"), body + signing.sign(SEED, words + body)))


ROW = {
    "node": "MONUSCO",
    "hub": "hub",
    "signer": HUB.public,
    "end": 9,
    "given_at": 1,
    "first": 1,
    "last": 4,
    "lasts": [2, 4],
    "fates": ["accepted", "replaced"],
    "kinds": ["report", "report"],
    "details": ["", "7"],
    "regions": ["sahel:3?", ""],
    "forked": [2],
    "signature": bytes(64),
}


def signed(**changes):
    body = rows.write(latest("FatesGiven"), ROW | changes)[:-64]
    return confluent(latest("FatesGiven"), body + signing.sign(SEED, b"tocsin FatesGiven 1\n" + body))


def test_a_page_is_read_as_its_contract_says():
    shared = (Region("sahel", 3, duplicate=True),)
    first, second, *others = read_page(signed()).fates
    assert (first, second) == (
        Fate("accepted", "report", (), shared),
        Fate("accepted", "report", (), shared, forked=True),
    )
    assert others == [Fate("replaced", "report", ("7",))] * 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"first": 2},
        {"first": -999},
        {"first": 0, "last": 3},
        {"last": 5},
        {"last": 1_001, "lasts": [2, 1_001]},
        {"lasts": [4, 4]},
        {"lasts": [0, 4]},
        {"lasts": []},
        {"lasts": [2, 3, 4]},
        {"fates": ["accepted"]},
        {"fates": ["accepted", "lost"]},
        {"kinds": ["report", "rumour"]},
        {"details": ["", "x"]},
        {"details": ["", "0"]},
        {"regions": ["sahel:0", ""]},
        {"regions": ["Sahel!", ""]},
        {"forked": [5]},
        {"end": -1},
        {"node": "lower"},
        {"hub": "a b"},
    ],
    ids=str,
)
def test_a_signed_page_that_contradicts_itself_is_refused(wrong):
    with pytest.raises(BadFates) as refused:
        read_page(signed(**wrong))
    assert refused.value.reason == "fates.malformed"


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\x00",
        confluent(latest("HeadSigned"), b"x"),
        single_object(latest("FatesGiven"), b""),
        b"\x00\x00\x00\x00\x63",
    ],
)
def test_what_is_no_page_is_refused(record):
    with pytest.raises(BadFates):
        read_page(record)


def test_a_file_holds_the_records_as_they_are():
    records = [page([Fate("missing")] * n).sign(SEED) for n in range(1, 4)]
    assert unpack(pack(records)) == records
    assert unpack(b"") == []


@pytest.mark.parametrize("cut", [1, 3, 40, 80, 138])
def test_a_file_that_is_cut_off_is_told(cut):
    record = page([Fate("missing")]).sign(SEED)
    assert len(record) > 138
    with pytest.raises(BadInput, match="cut off"):
        unpack(pack([record] * 2)[:-cut])
