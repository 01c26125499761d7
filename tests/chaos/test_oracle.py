"""The oracle is red for each invariant that is broken, green for a world as it should be, and shares no code with us."""

import ast
import copy
import hashlib
import json
import sqlite3
from pathlib import Path

import pytest

from tests.chaos import load
from tests.chaos.oracle import avro, book, checks, expect
from tests.chaos.oracle.__main__ import digests, same

FOLDER = Path(book.__file__).parent
OURS = {"schemas", "quality", "streams", "sinks", "infra", "pipeline"}
CODECS = {"polars", "fastavro", "avro", "aiokafka", "deltalake", "numba"}
MINT = {"sahel": b"s" * 32}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_the_oracle_imports_none_of_our_code_and_no_codec():
    names = {name for path in FOLDER.glob("*.py") for name in imported(path)}
    mine = {name for name in names if name.startswith("tests.")}
    assert {name.partition(".")[0] for name in names} & (OURS | CODECS) == set()
    assert all(name.startswith("tests.chaos.oracle") for name in mine)
    assert len(names) > 10


def event(number, kind="IncidentReported", case=b"c" * 16, refused=(), sequence=None):
    """A record of node N: what the truth knows of it."""
    event_id = number.to_bytes(16, "big")
    return {
        "id": event_id,
        "digest": load.digest(b"value" + event_id),
        "sequence": number if sequence is None else sequence,
        "kind": kind,
        "case": case,
        "refused": list(refused),
        "facts": load.digest(b"facts" + event_id),
        "fields": json.dumps({"day": number}),
    }


class World:
    """A small world as it should be; a test breaks one thing in it."""

    def __init__(self):
        one, two, gone = event(1), event(2, case=b"d" * 16), event(3, "ConsentWithdrawn")
        late, bad = event(4), event(6, case=b"e" * 16, refused=["incident.forms_missing"])
        self.log = [one, two, gone, late, bad, two]
        self.pattern = event(7, "PatternObserved", case=None) | {"fields": None}
        self.log.append(self.pattern)
        self.fork = event(8, case=b"f" * 16, sequence=2)
        self.log.append(self.fork)
        self.left = event(9, case=b"g" * 16, sequence=8)
        self.log += [self.left, event(10, "ConsentWithdrawn", case=b"g" * 16, sequence=9)]
        self.withdrawals = [("raw.N", 9, self.left["id"])]
        self.accepted = [("IncidentAccepted", one, "ML01"), ("IncidentAccepted", two, "ML02")]
        self.accepted += [("PatternAccepted", self.pattern, "ML01"), ("IncidentAccepted", self.left, "ML01")]
        self.accepted += [("IncidentWithdrawn", self.left | {"sequence": None, "case": None, "facts": None}, None)]
        self.quarantine = [(4, ["incident.forms_missing"]), (7, ["envelope.sequence_forked"])]
        self.hub = [("incident", self.mint(one), b"", one["facts"]), ("incident", self.mint(two), b"", two["facts"])]
        self.hub += [("pattern", self.mint(self.pattern), b"", self.pattern["facts"])]
        self.hub += [("link", self.mint(e), self.mint(self.pattern), None) for e in (one, self.left)]
        self.hub += [("incident", self.mint(self.left), b"", self.left["facts"])]
        self.hub += [("removed", self.mint(self.left), b"", None)]
        counts = {"accepted": 4, "repeated": 1, "withdrawn": 1, "consent_withdrawn": 2, "quarantined": 2}
        self.ledger = [
            ("refine", "raw.N-0", 0, 10, counts, 50_000),
            ("merge", "accepted-0", 0, 5, {"incidents": 3, "patterns": 1, "withdrawn": 1}, 50_000),
        ]
        self.committed = [("refine", "raw.N-0", 10), ("merge", "accepted-0", 5)]
        self.ends = [("accepted", 0, 5, 5), ("raw.N", 0, 10, 10)]
        self.commits = [("hub/sahel/links", 1, 0, 2, 2), ("hub/sahel/links", 2, 2, 4, 4)]
        self.named = [("hub/sahel/links", 1, "a.parquet", 10), ("hub/sahel/links", 2, "b.parquet", 12)]
        self.objects = [("hub/sahel/links", "a.parquet", 10), ("hub/sahel/links", "b.parquet", 12)]
        self.named += [("hub/sahel/links", 1, "c.parquet", 9)]
        self.taken = [("hub/sahel/links", "c.parquet")]
        self.reported, self.missing = [("N", 5, 5)], [("N", 1)]
        self.receipts, self.samples = [("N", 2)], [("w", 1, 1.0, 1 << 20, 10)]
        self.meta = {"last_fault": 40.0, "seen_during": 1}
        self.rows = [("hub/sahel/incidents", e["id"], None, e["fields"]) for e in (one, two)]
        self.rows = [(path, self.mint_of(event_id).hex(), b, fields) for path, event_id, b, fields in self.rows]
        self.rows += [("hub/sahel/patterns", self.mint(self.pattern).hex(), None, None)]
        self.rows += [("hub/sahel/links", self.mint(one).hex(), self.mint(self.pattern).hex(), None)]
        self.rows += [("quarantine", "raw.N", str(at), None) for at, _ in self.quarantine]
        self.seen = [("accepted", 0, at, b"%d" % at) for at in range(5)]
        self.records = list(self.seen)
        self.unsent, self.truth_extra = [], []

    def mint(self, one):
        return self.mint_of(one["id"])

    def mint_of(self, event_id):
        return hashlib.blake2b(event_id, digest_size=16, key=MINT["sahel"]).digest()

    def judged(self, tmp_path, names=None):
        found = book.fresh(":memory:", self.truth(tmp_path / "truth.sqlite"))
        self.fill(found)
        book.index(found)
        expect.fold(found)
        answer = checks.run(found, MINT, names)
        self.tables = digests(found)
        return answer

    def truth(self, path):
        truth = sqlite3.connect(path)
        truth.executescript(load.SCHEMA)
        for e in [*{id(e): e for e in self.log}.values(), *self.truth_extra]:
            if e["digest"] not in self.unsent:
                row = ("raw.N", e["digest"], e["id"], e["sequence"], e["kind"], e["case"], json.dumps(e["refused"]))
                truth.execute("INSERT INTO events VALUES(?,?,?,?,?,?,?,?,?)", (*row, e["facts"], e["fields"]))
        shared = [e for e in self.log if e["kind"] != "ConsentWithdrawn" and not e["refused"]]
        truth.executemany("INSERT OR IGNORE INTO shared VALUES('sahel', ?)", [(e["id"],) for e in shared])
        truth.execute("INSERT INTO areas VALUES(?, 'ML01')", (self.pattern["id"],))
        truth.execute("INSERT INTO links VALUES('sahel', ?, ?)", (self.log[0]["id"], self.pattern["id"]))
        truth.execute("INSERT INTO links VALUES('sahel', ?, ?)", (self.log[3]["id"], self.pattern["id"]))
        truth.execute("INSERT INTO links VALUES('sahel', ?, ?)", (self.left["id"], self.pattern["id"]))
        truth.executemany("INSERT INTO seen VALUES(?,?,?,?)", self.seen)
        truth.executemany("INSERT INTO samples VALUES(?,?,?,?,?)", self.samples)
        truth.executemany("INSERT INTO meta VALUES(?,?)", [(k, json.dumps(v)) for k, v in self.meta.items()])
        truth.commit()
        truth.close()
        return path

    def fill(self, found):
        for at, e in enumerate(self.log):
            row = ("raw.N", 0, at, e["digest"], "N", e["id"], e["sequence"], e["kind"], e["case"])
            found.execute("INSERT INTO raw VALUES(?,?,?,?,?,?,?,?,?,NULL,NULL)", row)
        for at, (kind, e, area) in enumerate(self.accepted):
            row = (0, at, kind, e["id"], "N", e["sequence"], area, e["case"], e["facts"])
            found.execute("INSERT INTO accepted VALUES(?,?,?,?,?,?,?,?,?)", row)
        found.executemany("INSERT INTO withdrawals VALUES(?,?,?)", self.withdrawals)
        found.executemany("INSERT INTO taken VALUES(?,?)", self.taken)
        for at, (source, reasons) in enumerate(self.quarantine):
            row = (at, "raw.N", 0, source, b"", json.dumps(reasons))
            found.execute("INSERT INTO quarantine VALUES(?,?,?,?,?,?)", row)
        for at, row in enumerate(self.hub):
            found.execute("INSERT INTO hub VALUES('sahel',?,?,?,?,?)", (at, *row))
        for at, (stage, lane, start, end, counts, time) in enumerate(self.ledger):
            row = (stage, 0, at, lane, start, end, json.dumps(counts), time)
            found.execute("INSERT INTO ledger VALUES(?,?,?,?,?,?,?,?)", row)
        found.executemany("INSERT INTO committed VALUES(?,?,?)", self.committed)
        found.executemany("INSERT INTO ends VALUES(?,?,?,?)", self.ends)
        for path, version, start, end, txn in self.commits:
            row = (path, version, "hub.sahel", 0, start, end, txn, 50_000)
            found.execute("INSERT INTO commits VALUES(?,?,?,?,?,?,?,?)", row)
        found.executemany("INSERT INTO named VALUES(?,?,?,?)", self.named)
        found.executemany("INSERT INTO objects VALUES(?,?,?)", self.objects)
        for path, a, b, fields in self.rows:
            found.execute(
                "INSERT INTO rows VALUES(?,?,?,?,?)", (path, a, b, load.digest(repr((a, b)).encode()), fields)
            )
        found.executemany("INSERT INTO reported VALUES(?,?,?)", self.reported)
        found.executemany("INSERT INTO missing VALUES(?,?)", self.missing)
        found.executemany("INSERT INTO receipts VALUES(?,?)", self.receipts)
        found.executemany("INSERT INTO records VALUES(?,?,?,?)", self.records)


def test_a_world_as_it_should_be_is_green(tmp_path):
    answer = World().judged(tmp_path)
    assert {name: one.wrong for name, one in answer.items() if one.wrong} == {}
    assert all(one.looked for one in answer.values())


class Revised(World):
    """The first incident was amended and its version has a link, the second was retracted and has a conflict."""

    def __init__(self):
        super().__init__()
        one, two = (self.mint_of(self.log[at]["id"]) for at in (0, 1))
        pattern, version, other = self.mint(self.pattern), b"v" * 16, b"w" * 16
        self.hub += [
            ("revision", one, version, b"x"),
            ("closed", one, b"", None),
            ("link", one, pattern + version, None),
        ]
        self.hub += [("closed", two, b"", None), ("conflict", two, other, b"y")]
        self.hub += [("duplicate", one, two, None), ("duplicate", one, two + version + bytes(16), None)]
        self.hub += [("duplicate", two, one + other + version, None)]
        self.rows = [row for row in self.rows if row[0] in ("hub/sahel/patterns", "quarantine")]
        self.rows += [("hub/sahel/incidents", one.hex(), version.hex(), "{}")]
        self.rows += [("hub/sahel/versions", each.hex(), None, None) for each in (one, two)]
        self.rows += [("hub/sahel/versions", two.hex(), other.hex(), None)]
        self.rows += [("hub/sahel/links", one.hex(), (pattern + version).hex(), None)]
        self.rows += [("hub/sahel/duplicates", two.hex(), (one + other + version).hex(), None)]


def test_closed_versions_are_in_their_table_and_what_names_them_is_in_none(tmp_path):
    assert {name: one.wrong for name, one in Revised().judged(tmp_path).items() if one.wrong} == {}


@pytest.mark.parametrize("at", range(-6, 0))
def test_each_row_of_a_revised_incident_is_wanted(tmp_path, at):
    world = Revised()
    del world.rows[at]
    assert world.judged(tmp_path, ["I1 table"])["I1 table"].wrong


def stranger(w):
    w.unsent.append(w.log[1]["digest"])


def lost_on_the_way(w):
    w.truth_extra.append(event(11, case=b"h" * 16))


def lost(w):
    del w.accepted[1]


def resurrected(w):
    w.accepted.append(("IncidentAccepted", w.log[4], "ML01"))


def unquarantined(w):
    del w.quarantine[0]


def without_reasons(w):
    w.quarantine[0] = (4, [])


def other_reasons(w):
    w.quarantine[0] = (4, ["incident.persons_none"])


def miscounted(w):
    w.ledger[0][4]["repeated"] = 2


def fork_taken(w):
    w.quarantine.pop()
    w.accepted.append(("IncidentAccepted", w.fork, "ML01"))


def not_shared(w):
    del w.hub[1]


def not_linked(w):
    del w.hub[3]


def an_aborted_one_taken(w):
    w.ledger[1][4]["repeated"] = 1


def linked_to_a_withdrawn_one(w):
    w.hub.append(("link", w.mint(w.log[3]), w.mint(w.pattern), None))


def a_lane_not_told(w):
    del w.accepted[4]


def told_twice(w):
    w.accepted.append(w.accepted[4])


def not_removed(w):
    w.hub.pop()


def removed_for_nothing(w):
    w.hub.append(("removed", w.hub[0][1], b"", None))


def a_removed_row_stays(w):
    w.rows.append(("hub/sahel/incidents", w.mint(w.left).hex(), None, w.left["fields"]))


def a_link_of_a_removed_one_stays(w):
    w.rows.append(("hub/sahel/links", w.mint(w.left).hex(), w.mint(w.pattern).hex(), None))


def a_file_taken_out_is_still_there(w):
    w.objects.append(("hub/sahel/links", "c.parquet", 9))


def no_row(w):
    del w.rows[0]


def foreign_row(w):
    w.rows.append(("hub/sahel/incidents", "ab" * 16, None, json.dumps({"day": 1})))


def twice_accepted(w):
    w.accepted.append(w.accepted[0])


def twice_in_the_hub(w):
    w.hub.append(w.hub[0])


def twice_in_the_table(w):
    w.rows.append(w.rows[0])


def twice_in_quarantine(w):
    w.quarantine.append(w.quarantine[0])


def other_bytes(w):
    w.accepted[0] = ("IncidentAccepted", w.log[0] | {"facts": b"other"}, "ML01")


def other_bytes_in_the_hub(w):
    w.hub[0] = (*w.hub[0][:3], b"other")


def other_values_in_the_table(w):
    w.rows[0] = (*w.rows[0][:3], json.dumps({"day": 99}))


def after_the_withdrawal(w):
    w.accepted.append(("IncidentAccepted", w.log[3], "ML01"))


def out_of_order(w):
    w.log[1]["case"] = w.log[0]["case"]
    w.accepted[:2] = w.accepted[1::-1]


def no_withdrawal(w):
    w.log[2]["kind"] = w.log[9]["kind"] = "ReferralMade"


def a_hole_in_the_ledger(w):
    w.ledger[1] = ("merge", "accepted-0", 1, 3, {}, 50_000)


def an_overlap_in_the_ledger(w):
    w.ledger.append(("merge", "accepted-0", 2, 3, {}, 50_000))


def an_offset_ahead(w):
    w.committed[0] = ("refine", "raw.N-0", 9)


def a_record_not_taken(w):
    w.ledger[1] = ("merge", "accepted-0", 0, 2, {}, 50_000)
    w.committed[1] = ("merge", "accepted-0", 2)


def an_open_transaction(w):
    w.ends[0] = ("accepted", 0, 2, 3)


def a_hole_in_the_table(w):
    w.commits[1] = ("hub/sahel/links", 2, 3, 4, 4)


def a_version_that_falls(w):
    w.commits[1] = ("hub/sahel/links", 2, 2, 4, 1)


def a_file_that_is_not_there(w):
    del w.objects[0]


def a_file_cut_short(w):
    w.objects[0] = ("hub/sahel/links", "a.parquet", 9)


def a_file_named_twice(w):
    w.named.append(("hub/sahel/links", 2, "a.parquet", 10))


def a_gap_not_told(w):
    w.reported, w.missing = [], [("N", 0)]


def a_gap_that_is_none(w):
    w.reported.append(("N", 8, 9))


def a_receipt_too_early(w):
    del w.rows[1]


def memory(w):
    w.samples.append(("w", 1, 2.0, 2 << 30, 10))


def descriptors(w):
    w.samples += [("w", 1, 2.0 + at, 1 << 20, 10 + at * 5) for at in range(90)]


def silence(w):
    w.meta["last_fault"] = 60.0


def slowness(w):
    w.ledger[1] = (*w.ledger[1][:5], 110_000)


def seen_and_gone(w):
    w.seen.append(("accepted", 0, 7, b"7"))


def not_seen(w):
    del w.seen[0]


def seen_twice(w):
    w.seen.append(w.seen[0])


def seen_otherwise(w):
    w.seen[0] = ("accepted", 0, 0, b"other")


def nobody_looked_on(w):
    w.meta["seen_during"] = 0


BROKEN = {
    "I1": [
        stranger,
        lost_on_the_way,
        lost,
        resurrected,
        unquarantined,
        without_reasons,
        other_reasons,
        miscounted,
        fork_taken,
        a_lane_not_told,
    ],
    "I1 hub": [
        not_shared,
        not_linked,
        linked_to_a_withdrawn_one,
        an_aborted_one_taken,
        not_removed,
        removed_for_nothing,
    ],
    "I1 table": [no_row, foreign_row, a_removed_row_stays, a_link_of_a_removed_one_stays],
    "I2": [twice_accepted, twice_in_the_hub, twice_in_the_table, twice_in_quarantine, told_twice],
    "I3": [other_bytes, other_bytes_in_the_hub, other_values_in_the_table],
    "I4": [after_the_withdrawal, out_of_order, no_withdrawal],
    "I5": [a_hole_in_the_ledger, an_overlap_in_the_ledger, an_offset_ahead, a_record_not_taken],
    "I6": [an_open_transaction],
    "I7": [
        a_hole_in_the_table,
        a_version_that_falls,
        a_file_that_is_not_there,
        a_file_cut_short,
        a_file_named_twice,
        a_file_taken_out_is_still_there,
    ],
    "I9": [a_gap_not_told, a_gap_that_is_none],
    "I14": [a_receipt_too_early],
    "I15": [memory, descriptors],
    "I16": [silence, slowness],
    "I17": [seen_and_gone, not_seen, seen_twice, seen_otherwise, nobody_looked_on],
}


def test_each_invariant_has_a_world_that_breaks_it():
    assert BROKEN.keys() == checks.CHECKS.keys()


@pytest.mark.parametrize(
    ("name", "breaking"),
    [(name, one) for name, all_of in BROKEN.items() for one in all_of],
    ids=lambda v: getattr(v, "__name__", v),
)
def test_the_oracle_is_red(tmp_path, name, breaking):
    world = World()
    breaking(world)
    assert world.judged(tmp_path, {name})[name].wrong


def test_another_table_after_a_replay_is_red(tmp_path):
    world = World()
    world.judged(tmp_path)
    before = copy.copy(world.tables)
    assert same(before, before).wrong == []
    world.rows.append(world.rows[0])
    (tmp_path / "truth.sqlite").unlink()
    world.judged(tmp_path)
    assert same(world.tables, before).wrong
    assert same({}, {}).wrong


@pytest.mark.parametrize("name", [name for name in checks.CHECKS if name not in checks.MAY_BE_EMPTY])
def test_a_check_with_nothing_to_look_at_is_red(tmp_path, name):
    truth = sqlite3.connect(tmp_path / "truth.sqlite")
    truth.executescript(load.SCHEMA)
    truth.close()
    found = book.fresh(":memory:", tmp_path / "truth.sqlite")
    assert checks.run(found, MINT, {name})[name].wrong


def test_the_reader_of_the_oracle_reads_what_the_generator_wrote():
    made = load.Load(7, ["N"], {"N": b"k" * 32})
    frames = avro.Frames(FOLDER.parents[2] / "schemas")
    values = [value for _, (_, _, value) in zip(range(2_000), made.records(), strict=False)]
    kinds, named = set(), 0
    for value in values:
        row = made.rows["raw.N", load.digest(value)]
        if row[4] == "junk":
            with pytest.raises(avro.Malformed):
                frames.decode(value)
            continue
        _, found = frames.decode(value)
        assert (found["event_id"], found["sequence"], found["kind"], found["case_ref"]) == row[2:6]
        kinds.add(row[4])
        if row[4] == "ConsentWithdrawn":
            _, body = frames.decode(b"\xc3\x01" + found["body_schema"] + found["body"])
            named += len(body["incidents"]) // 16
    assert named > 5
    assert kinds == {"IncidentReported", "PatternObserved", "ConsentWithdrawn"}


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ("long", b"\x80"),
        ("long", b"\x80\x00"),
        ("long", b"\xff" * 10),
        ("int", b"\x80\x80\x80\x80\x20"),
        ("boolean", b"\x02"),
        ("string", b"\x02\xff"),
        ("bytes", b"\x05"),
        ("string", b"\x08ab"),
    ],
)
def test_a_malformed_value_is_refused(schema, data):
    with pytest.raises(avro.Malformed):
        avro.PRIMITIVES[schema](data, 0)
