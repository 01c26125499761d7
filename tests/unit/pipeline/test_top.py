from pipeline.cli.top import _most, _sentences
from pipeline.log import Entry
from pipeline.top import WINDOW, Now, Recent, StageNow, _counts
from streams import ledger


def test_a_rate_is_that_of_the_last_minute():
    recent = Recent()
    recent.add(0.0, {"accepted": 1_000})
    recent.add(100.0, {"accepted": 57, "quarantined": 3})
    recent.add(110.0, {"repeated": 60})
    assert recent.rate(110.0) == (120 / WINDOW, 3 / 120)
    assert recent.rate(165.0) == (60 / WINDOW, 0.0)
    assert recent.rate(500.0) == (0.0, None)


def test_a_base_and_what_asks_for_it_count_no_record():
    base, batch = (
        next(ledger.write_base("a-0", 9, {"accepted": 9}, b"")),
        ledger.write("a-0", 9, 11, {"accepted": 2}, "", b""),
    )
    entries = [Entry("ledger.refine", 0, at, 0, b"a-0", value) for at, value in enumerate((base, batch))]
    assert [_counts(each) for each in entries] == [{}, {"accepted": 2}]
    assert _counts(Entry("ledger.refine", 0, 0, 0, ledger.ASK, None)) == {}


def test_the_plain_form_has_every_lane_and_the_sum():
    now = Now({"refine": StageNow(1.5, {"raw.A-0": 3, "raw.B-0": 4})}, None, {}, {"A": 90_000}, 2)
    assert now.plain() == {
        "stages": {"refine": {"rate": 1.5, "lag": {"raw.A-0": 3, "raw.B-0": 4}, "behind": 7}},
        "quarantined": None,
        "open": {},
        "silent": {"A": 90_000},
        "never": 2,
    }
    assert _sentences(now) == [
        "Quarantine, last minute: nothing was refined.",
        "Open transactions: none.",
        "Silent nodes: A 25 h; 2 never sent anything.",
    ]


def test_the_largest_are_named_and_the_rest_counted():
    assert _most({}) == ""
    assert _most({name: n for n, name in enumerate("abcdefg")}) == "g 6, f 5, e 4, d 3, c 2, and 2 more"
