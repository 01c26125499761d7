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


def amended(number, of, *replaces, case=b"k" * 16, **more):
    """A further version of a report: what the truth knows of it and of its body."""
    said = {"state": "verified", "change": "amended", "step": "unspecified", "verified_on": None, "late": False}
    return event(number, "IncidentAmended", case) | {"of": of, "replaces": replaces, "said": said | more}


def verified(number, of, *replaces, **more):
    said = {"change": "verified", "step": "technical", "verified_on": 9, "late": True}
    return amended(number, of, *replaces, **said | more) | {"kind": "IncidentVerified"}


def retracted(number, of, *replaces, **more):
    retraction = amended(number, of, *replaces, **more)
    return retraction | {"kind": "IncidentRetracted", "said": {"reason": "error"}, "fields": None}


def referred(number, of, *replaces, case=b"k" * 16, **more):
    """A referral, or its follow-up, which replaces the referral and what was said of it last."""
    said = {"service": "legal", "consented": True, "outcome": "pending", "referred_on": 9, "followed_up_on": None}
    kind = "ReferralFollowedUp" if replaces else "ReferralMade"
    one = event(number, kind, case) | {"fields": None, "of": of, "replaces": replaces}
    return one | {"said": said | {"area": "ML01"} | more, "referral": replaces[0] if replaces else None}


def said_of(e, **more):
    """What is said of a version beside its facts, null for each of a report."""
    said = e.get("said", dict.fromkeys(("change", "step", "verified_on", "late")))
    step = None if said["step"] == "unspecified" else said["step"]
    return book.plain(**{name: said[name] for name in ("change", "verified_on", "late")}, step=step, **more)


DAY, RECORDED = 3, 3 * 86_400_000


class World:
    """A small world as it should be; a test breaks one thing in it.

    `told` was amended, amended from the report again, and verified as both; `taken_back` was retracted; `disputed` has
    a conflict that nobody has resolved; `moved` was amended and then withdrawn, and comes again. Of `told` there is a
    referral that was followed up, of `moved` one that was withdrawn with it.
    """

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
        self.accepted += [self.taken_out(self.left, part) for part in (0, 1)]
        self.quarantine = [(4, ["incident.forms_missing"]), (7, ["envelope.sequence_forked"])]
        self.hub = [("incident", self.mint(one), b"", one["facts"]), ("incident", self.mint(two), b"", two["facts"])]
        self.hub += [("pattern", self.mint(self.pattern), b"", self.pattern["facts"])]
        self.hub += [("link", self.mint(e), self.mint(self.pattern), None) for e in (one, self.left)]
        self.hub += [("incident", self.mint(self.left), b"", self.left["facts"])]
        self.hub += [("removed", self.mint(self.left), b"", None)]
        self.rows = [("hub/sahel/incidents", self.hex(e), None, e["fields"]) for e in (one, two)]
        self.rows += [("hub/sahel/patterns", self.hex(self.pattern), None, None)]
        self.rows += [("hub/sahel/links", self.hex(one), self.hex(self.pattern), None)]
        self.rows += [("quarantine", "raw.N", str(at), None) for at, _ in self.quarantine]
        self.linked = [one, late, self.left]
        self.revise()
        self.refer()
        counts = {"accepted": 11, "repeated": 1, "withdrawn": 2, "consent_withdrawn": 3, "quarantined": 4, "revised": 7}
        self.ledger = [
            ("refine", "raw.N-0", 0, len(self.log), counts, 50_000),
            ("merge", "accepted-0", 0, 5, {"incidents": 3, "patterns": 1, "withdrawn": 1}, 50_000),
        ]
        self.committed = [("refine", "raw.N-0", len(self.log)), ("merge", "accepted-0", 5)]
        self.ends = [("accepted", 0, 5, 5), ("accepted", 1, 5, 5), ("raw.N", 0, 10, 10)]
        self.commits = [("hub/sahel/links", 1, 0, 2, 2), ("hub/sahel/links", 2, 2, 4, 4)]
        self.named = [("hub/sahel/links", 1, "a.parquet", 10), ("hub/sahel/links", 2, "b.parquet", 12)]
        self.objects = [("hub/sahel/links", "a.parquet", 10), ("hub/sahel/links", "b.parquet", 12)]
        self.named += [("hub/sahel/links", 1, "c.parquet", 9)]
        self.taken = [("hub/sahel/links", "c.parquet")]
        self.reported, self.missing = [("N", 5, 5)], [("N", 1)]
        self.receipts, self.samples = [("N", len(self.log))], [("w", 1, 1.0, 1 << 20, 10)]
        self.meta = {"last_fault": 40.0, "seen_during": 1}
        self.seen = [("accepted", 0, at, b"%d" % at) for at in range(5)]
        self.records = list(self.seen)
        self.unsent, self.truth_extra = [], []

    def revise(self):
        told = self.told = event(11, case=b"k" * 16, sequence=10)
        first = self.first = amended(12, told, told) | {"sequence": 11}
        conflict = self.conflict = amended(13, told, told) | {"sequence": 12}
        now = self.now = verified(14, told, first, conflict) | {"sequence": 13}
        self.stray = amended(15, told, now, event(99)) | {"sequence": 14}
        back = self.taken_back = event(16, case=b"l" * 16, sequence=15)
        too_early = retracted(17, told, told) | {"sequence": 16}
        retraction = retracted(18, back, back, case=b"l" * 16) | {"sequence": 17}
        self.disputed = event(19, case=b"m" * 16, sequence=18)
        self.second = amended(20, self.disputed, self.disputed, case=b"m" * 16) | {"sequence": 19}
        self.aside = verified(21, self.disputed, self.disputed, case=b"m" * 16) | {"sequence": 20}
        self.moved = event(22, case=b"n" * 16, sequence=21)
        self.moved_to = amended(23, self.moved, self.moved, case=b"n" * 16) | {"sequence": 22}
        self.lost = referred(26, self.moved, case=b"n" * 16) | {"sequence": 25}
        withdrawal = event(24, "ConsentWithdrawn", case=b"n" * 16, sequence=23)
        self.too_late = amended(25, self.moved, self.moved_to, case=b"n" * 16) | {"sequence": 24}
        begin = len(self.log)
        self.log += [told, first, conflict, now, self.stray, back, too_early, retraction]
        self.log += [self.disputed, self.second, self.aside, self.moved, self.moved_to, self.lost]
        self.log += [withdrawal, self.too_late]
        self.quarantine += [(begin + 4, ["revision.unknown_version"]), (begin + 6, ["revision.not_newest"])]
        self.withdrawals += [("raw.N", begin + 14, e["id"]) for e in (self.moved, self.moved_to, self.lost)]
        self.reports, self.versions = [told, back, self.disputed, self.moved], [first, conflict, now]
        self.versions += [self.second, self.aside, self.moved_to]
        self.closed = {11: "amended", 12: "verified", 13: "verified", 16: "error", 19: "amended", 22: "amended"}
        self.accepted += [("IncidentAccepted", e, "ML01") for e in self.reports]
        self.accepted += [self.revised(e, e not in (conflict, self.aside)) for e in self.versions]
        events = {int.from_bytes(e["id"], "big"): e for e in self.log}
        ends = [(events[number], ending) for number, ending in self.closed.items()]
        self.accepted += [self.ended(e, ending, part) for e, ending in ends for part in (0, 1)]
        gone = (self.moved, self.moved_to, self.lost)
        self.accepted += [self.taken_out(e, part) for e in gone for part in (0, 1)]
        self.hub += [("incident", self.mint(e), b"", e["facts"]) for e in self.reports]
        self.hub += [self.shared(e, e not in (conflict, self.aside)) for e in self.versions]
        self.hub += [self.closing(e, ending) for e, ending in ends]
        self.hub += [("removed", self.mint(self.moved), b"", None)] * 2
        self.hub += [self.link(e) for e in (told, now)]
        self.hub += [("duplicate", self.mint(self.log[0]), self.mint(e), None, self.both(e)) for e in (told, now)]
        self.linked += [told, conflict, now]
        self.rows += [self.row("incidents", e, e) for e in (now, self.second)]
        self.rows += [self.row("versions", e, e, ending, conflict=e is conflict) for e, ending in ends[:5]]
        self.rows += [self.row("versions", self.aside, self.aside, conflict=True)]
        self.rows += [("hub/sahel/links", self.hex(now), self.hex(self.pattern), None, self.hex(told))]
        pair = (self.hex(self.log[0]), self.hex(now), None, self.both(now).hex())
        self.rows += [("hub/sahel/duplicates", *pair)]
        self.rows += [("quarantine", "raw.N", str(at), None) for at in (begin + 4, begin + 6)]

    def refer(self):
        self.made = referred(27, self.told) | {"sequence": 26}
        follow_up = {"outcome": "service_received", "followed_up_on": 49}
        self.followed = referred(28, self.told, self.made, self.made, **follow_up) | {"sequence": 27}
        self.log += [self.made, self.followed]
        self.accepted += [self.referral(e) for e in (self.lost, self.made, self.followed)]
        self.accepted += [self.ended(self.made, "followed_up", part) for part in (0, 1)]
        self.hub += [self.passed_on(e) for e in (self.lost, self.made, self.followed)]
        self.hub += [self.closing(self.made, "followed_up")]
        self.rows += [self.referral_row(self.followed)]

    def referral(self, e, area="ML01", **more):
        said = {name: value for name, value in (e["said"] | more).items() if name != "area"}
        ids = {"incident": e["of"]["id"].hex(), "referral": (e["referral"] or e)["id"].hex()}
        return ("ReferralAccepted", e, area, book.plain(**ids, **said))

    def by_the_month(self, e, **more):
        coded = {name: e["said"][name] for name in ("service", "consented", "outcome")}
        months = {"referred_in": 0, "followed_up_in": 31 if e["said"]["followed_up_on"] else None}
        return book.plain(**{"incident": self.hex(e["of"]), **coded, **months, **more})

    def passed_on(self, e, **more):
        return ("referral", self.mint(e), b"", None, self.mint(e["referral"] or e), self.by_the_month(e, **more))

    def referral_row(self, e, **more):
        names = (self.hex(e), None, None, self.hex(e["referral"] or e))
        return ("hub/sahel/referrals", *names, self.by_the_month(e, **more))

    def taken_out(self, e, part):
        return ("IncidentWithdrawn", e | {"sequence": None, "case": None, "facts": None}, None, None, part)

    def revised(self, e, current):
        return ("RevisionAccepted", e, "ML01", said_of(e, incident=e["of"]["id"].hex(), current=current))

    def ended(self, e, ending, part):
        more = book.plain(ending=ending, ended_at=RECORDED)
        return ("VersionEnded", e | {"sequence": None, "case": None, "facts": None}, None, more, part)

    def shared(self, e, current):
        return ("revision", self.mint(e), b"", e["facts"], self.mint(e["of"]), said_of(e, current=current))

    def closing(self, e, ending):
        more = book.plain(ending=ending, ended_on=DAY)
        return ("closed", self.mint(e), b"", None, self.mint(e.get("of", e)), more)

    def link(self, e):
        return ("link", self.mint(e), self.mint(self.pattern), None, self.mint(e.get("of", e)))

    def both(self, e):
        return self.mint(self.log[0]) + self.mint(e.get("of", e))

    def row(self, name, e, facts, ending=None, conflict=False):
        ends = {"ending": ending, "ended_on": ending and DAY, "conflict": conflict} if name == "versions" else {}
        whose = self.hex(e.get("of", e))
        return (f"hub/sahel/{name}", self.hex(e), None, facts["fields"], whose, said_of(e, **ends))

    def hex(self, one):
        return self.mint(one).hex()

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
        revisions = [e for e in self.log if "said" in e]
        for e in revisions:
            named = json.dumps([(each["id"].hex(), each["sequence"]) for each in e["replaces"]])
            row = (e["digest"], e["of"]["id"], e["of"]["sequence"], named, RECORDED, json.dumps(e["said"]))
            truth.execute("INSERT INTO revisions VALUES('raw.N',?,?,?,?,?,?)", row)
        shared = [e for e in self.log if e["kind"] != "ConsentWithdrawn" and not e["refused"]]
        truth.executemany("INSERT OR IGNORE INTO shared VALUES('sahel', ?)", [(e["id"],) for e in shared])
        located = [(e["id"],) for e in (self.pattern, *revisions)]
        truth.executemany("INSERT INTO areas VALUES(?, 'ML01')", located)
        links = [(e["id"], self.pattern["id"]) for e in self.linked]
        truth.executemany("INSERT INTO links VALUES('sahel', ?, ?)", links)
        truth.executemany("INSERT INTO seen VALUES(?,?,?,?)", self.seen)
        truth.executemany("INSERT INTO samples VALUES(?,?,?,?,?)", self.samples)
        truth.executemany("INSERT INTO meta VALUES(?,?)", [(k, json.dumps(v)) for k, v in self.meta.items()])
        truth.commit()
        truth.close()
        return path

    def fill(self, found):
        for at, e in enumerate(self.log):
            row = ("raw.N", 0, at, e["digest"], "N", e["id"], e["sequence"], e["kind"], e["case"])
            found.execute("INSERT INTO raw VALUES(?,?,?,?,?,?,?,?,?,NULL,NULL,NULL,NULL)", row)
        for at, (kind, e, area, *rest) in enumerate(self.accepted):
            more, part = (*rest, *(None, 0)[len(rest) :])
            row = (part, at, kind, e["id"], "N", e["sequence"], area, e["case"], e["facts"], more)
            found.execute("INSERT INTO accepted VALUES(?,?,?,?,?,?,?,?,?,?)", row)
        found.executemany("INSERT INTO withdrawals VALUES(?,?,?)", self.withdrawals)
        found.executemany("INSERT INTO taken VALUES(?,?)", self.taken)
        for at, (source, reasons) in enumerate(self.quarantine):
            row = (at, "raw.N", 0, source, b"", json.dumps(reasons))
            found.execute("INSERT INTO quarantine VALUES(?,?,?,?,?,?)", row)
        for at, (kind, a, b, facts, *rest) in enumerate(self.hub):
            whose, more = (*rest, *(a, None)[len(rest) :])
            found.execute("INSERT INTO hub VALUES('sahel',?,?,?,?,?,?,?)", (at, kind, a, b, whose, facts, more))
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
        for path, a, b, fields, *rest in self.rows:
            whose, more = (*rest, *(a, said_of({}) if path.endswith("incidents") else None)[len(rest) :])
            values = (path, a, b, whose, load.digest(repr((a, b)).encode()), fields, more)
            found.execute("INSERT INTO rows VALUES(?,?,?,?,?,?,?)", values)
        found.executemany("INSERT INTO reported VALUES(?,?,?)", self.reported)
        found.executemany("INSERT INTO missing VALUES(?,?)", self.missing)
        found.executemany("INSERT INTO receipts VALUES(?,?)", self.receipts)
        found.executemany("INSERT INTO records VALUES(?,?,?,?)", self.records)


def test_a_world_as_it_should_be_is_green(tmp_path):
    answer = World().judged(tmp_path)
    assert {name: one.wrong for name, one in answer.items() if one.wrong} == {}
    assert all(one.looked for one in answer.values())


def stranger(w):
    w.unsent.append(w.log[1]["digest"])


def lost_on_the_way(w):
    w.truth_extra.append(event(91, case=b"h" * 16))


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
    w.hub.remove(("removed", w.mint(w.left), b"", None))


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
    for e in w.log:
        e["kind"] = e["kind"].replace("ConsentWithdrawn", "ReferralMade")


def a_hole_in_the_ledger(w):
    w.ledger[1] = ("merge", "accepted-0", 1, 3, {}, 50_000)


def an_overlap_in_the_ledger(w):
    w.ledger.append(("merge", "accepted-0", 2, 3, {}, 50_000))


def a_base_with_another_end(w):
    w.ledger.append(("merge", "accepted-0", 0, 4, {}, 50_000))


def a_base_with_other_counts(w):
    w.ledger.append((*w.ledger[0][:4], {"accepted": 1}, 50_000))


def a_ledger_that_was_cut_without_a_base(w):
    w.ledger[1] = ("merge", "accepted-0", 2, 5, {}, 50_000)


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


def swap(rows, old, new):
    rows[rows.index(old)] = new


def a_version_lost(w):
    w.accepted.remove(w.revised(w.now, True))


def a_conflict_accepted_as_current(w):
    swap(w.accepted, w.revised(w.aside, False), w.revised(w.aside, True))


def a_current_version_accepted_as_conflict(w):
    swap(w.accepted, w.revised(w.now, True), w.revised(w.now, False))


def a_version_of_another_incident(w):
    other = said_of(w.now, incident=w.log[0]["id"].hex(), current=True)
    swap(w.accepted, w.revised(w.now, True), (*w.revised(w.now, True)[:3], other))


def a_version_in_another_area(w):
    kind, e, _, more = w.revised(w.now, True)
    swap(w.accepted, w.revised(w.now, True), (kind, e, "ML02", more))


def a_verification_without_its_step(w):
    said = said_of({"said": w.now["said"] | {"step": None}}, incident=w.told["id"].hex(), current=True)
    swap(w.accepted, w.revised(w.now, True), (*w.revised(w.now, True)[:3], said))


def one_of_a_version_never_sent(w):
    del w.quarantine[2]
    w.accepted.append(w.revised(w.stray, True))


def a_stray_with_another_reason(w):
    w.quarantine[2] = (w.quarantine[2][0], ["revision.replaces"])


def a_version_ended_in_one_lane_less(w):
    w.accepted.remove(w.ended(w.first, "verified", 1))


def a_conflict_never_ended(w):
    for part in (0, 1):
        w.accepted.remove(w.ended(w.conflict, "verified", part))


def ended_for_another_reason(w):
    swap(w.accepted, w.ended(w.taken_back, "error", 0), w.ended(w.taken_back, "duplicate", 0))


def ended_for_nothing(w):
    w.accepted += [w.ended(w.aside, "amended", part) for part in (0, 1)]


def no_conflict(w):
    for one in (w.conflict, w.aside):
        one["refused"] = ["*"]


def no_stray(w):
    w.stray["replaces"] = w.stray["replaces"][:1]


def a_version_not_shared(w):
    w.hub.remove(w.shared(w.now, True))


def a_version_shared_under_another_incident(w):
    kind, a, b, facts, _, more = w.shared(w.now, True)
    swap(w.hub, w.shared(w.now, True), (kind, a, b, facts, w.mint(w.log[0]), more))


def a_conflict_shared_as_current(w):
    swap(w.hub, w.shared(w.aside, False), w.shared(w.aside, True))


def a_version_not_closed(w):
    w.hub.remove(w.closing(w.told, "amended"))


def a_standing_version_closed(w):
    w.hub.append(w.closing(w.now, "amended"))


def a_retracted_one_not_closed(w):
    w.hub.remove(w.closing(w.taken_back, "error"))


def closed_on_another_day(w):
    kind, a, b, facts, whose, _ = w.closing(w.told, "amended")
    more = book.plain(ending="amended", ended_on=DAY + 1)
    swap(w.hub, w.closing(w.told, "amended"), (kind, a, b, facts, whose, more))


def the_current_version_not_linked(w):
    w.hub.remove(w.link(w.now))


def a_conflict_linked(w):
    w.hub.append(w.link(w.conflict))


def a_link_of_another_incident(w):
    swap(w.hub, w.link(w.now), (*w.link(w.now)[:4], w.mint(w.log[0])))


def a_conflict_like_another(w):
    w.hub.append(("duplicate", w.mint(w.log[0]), w.mint(w.aside), None, w.both(w.aside)))


def like_itself(w):
    w.hub.append(("duplicate", w.mint(w.told), w.mint(w.now), None, w.mint(w.told) * 2))


def versions_not_removed(w):
    w.hub = [row for row in w.hub if row[:2] != ("removed", w.mint(w.moved))]


def a_closed_row_shown(w):
    w.rows.append(w.row("incidents", w.told, w.told))


def a_retracted_row_shown(w):
    w.rows.remove(w.row("versions", w.taken_back, w.taken_back, "error"))
    w.rows.append(w.row("incidents", w.taken_back, w.taken_back))


def a_conflict_shown(w):
    w.rows.remove(w.row("versions", w.aside, w.aside, conflict=True))
    w.rows.append(w.row("incidents", w.aside, w.aside))


def a_closed_row_lost(w):
    w.rows.remove(w.row("versions", w.first, w.first, "verified"))


def a_current_row_lost(w):
    w.rows.remove(w.row("incidents", w.now, w.now))


def a_closed_row_without_its_ending(w):
    swap(w.rows, w.row("versions", w.first, w.first, "verified"), w.row("versions", w.first, w.first))


def a_conflict_as_if_it_had_been_current(w):
    aside = w.row("versions", w.aside, w.aside, conflict=True)
    swap(w.rows, aside, w.row("versions", w.aside, w.aside))


def a_version_of_a_removed_one_stays(w):
    w.rows.append(w.row("versions", w.moved, w.moved, "amended"))


def a_link_of_a_closed_one_stays(w):
    w.rows.append(("hub/sahel/links", w.hex(w.told), w.hex(w.pattern), None))


def a_likeness_of_a_closed_one_stays(w):
    w.rows.append(("hub/sahel/duplicates", w.hex(w.log[0]), w.hex(w.told), None, w.both(w.told).hex()))


def a_version_twice_accepted(w):
    w.accepted.append(w.revised(w.now, True))


def an_end_told_twice(w):
    w.accepted.append(w.ended(w.first, "verified", 1))


def a_version_twice_in_the_hub(w):
    w.hub.append(w.shared(w.now, True))


def twice_closed(w):
    w.hub.append(w.closing(w.told, "amended"))


def removed_more_often_than_there_are_versions(w):
    w.hub += [("removed", w.mint(w.moved), b"", None)] * 2


def removed_twice_with_one_version(w):
    w.hub.append(("removed", w.mint(w.left), b"", None))


def a_version_twice_in_the_table(w):
    w.rows.append(w.row("versions", w.first, w.first, "verified"))


def other_bytes_of_a_version(w):
    swap(w.accepted, w.revised(w.now, True), w.revised(w.now | {"facts": b"other"}, True))


def other_bytes_of_a_version_in_the_hub(w):
    swap(w.hub, w.shared(w.now, True), w.shared(w.now | {"facts": b"other"}, True))


def the_facts_of_the_version_before(w):
    swap(w.rows, w.row("incidents", w.now, w.now), w.row("incidents", w.now, w.told))


def other_values_of_a_closed_version(w):
    before = w.row("versions", w.first, w.first, "verified")
    swap(w.rows, before, w.row("versions", w.first, w.now, "verified"))


def a_version_after_the_withdrawal(w):
    w.accepted.append(w.revised(w.too_late, True))


def ended_before_it_came(w):
    w.accepted.insert(0, w.ended(w.first, "verified", 0))


def a_receipt_for_a_version_in_no_table(w):
    w.rows.remove(w.row("versions", w.first, w.first, "verified"))


def a_referral_lost(w):
    w.accepted.remove(w.referral(w.followed))


def a_referral_in_another_area(w):
    swap(w.accepted, w.referral(w.made), w.referral(w.made, "ML02"))


def another_outcome(w):
    swap(w.accepted, w.referral(w.followed), w.referral(w.followed, outcome="not_reached"))


def a_referral_never_ended(w):
    for part in (0, 1):
        w.accepted.remove(w.ended(w.made, "followed_up", part))


def no_referral(w):
    w.accepted = [row for row in w.accepted if row[0] != "ReferralAccepted"]
    w.log = [e for e in w.log if not e["kind"].startswith("Referral")]


def a_referral_not_shared(w):
    w.hub.remove(w.passed_on(w.followed))


def the_day_of_a_referral_shared(w):
    swap(w.hub, w.passed_on(w.made), w.passed_on(w.made, referred_in=9))


def a_referral_not_closed(w):
    w.hub.remove(w.closing(w.made, "followed_up"))


def a_referral_without_its_row(w):
    w.rows.remove(w.referral_row(w.followed))


def a_row_of_what_was_followed_up(w):
    w.rows.append(w.referral_row(w.made))


def a_referral_of_a_removed_one_stays(w):
    w.rows.append(w.referral_row(w.lost))


def other_bytes_of_a_referral(w):
    name, e, *rest = w.referral(w.made)
    swap(w.accepted, w.referral(w.made), (name, e | {"facts": b"other"}, *rest))


BROKEN = {
    "I1": [
        stranger,
        a_base_with_other_counts,
        lost_on_the_way,
        lost,
        resurrected,
        unquarantined,
        without_reasons,
        other_reasons,
        miscounted,
        fork_taken,
        a_lane_not_told,
        a_version_lost,
        a_conflict_accepted_as_current,
        a_current_version_accepted_as_conflict,
        a_version_of_another_incident,
        a_version_in_another_area,
        a_verification_without_its_step,
        one_of_a_version_never_sent,
        a_stray_with_another_reason,
        a_version_ended_in_one_lane_less,
        a_conflict_never_ended,
        ended_for_another_reason,
        ended_for_nothing,
        no_conflict,
        no_stray,
        a_referral_lost,
        a_referral_in_another_area,
        another_outcome,
        a_referral_never_ended,
        no_referral,
    ],
    "I1 hub": [
        a_referral_not_shared,
        the_day_of_a_referral_shared,
        a_referral_not_closed,
        not_shared,
        not_linked,
        linked_to_a_withdrawn_one,
        an_aborted_one_taken,
        not_removed,
        removed_for_nothing,
        a_version_not_shared,
        a_version_shared_under_another_incident,
        a_conflict_shared_as_current,
        a_version_not_closed,
        a_standing_version_closed,
        a_retracted_one_not_closed,
        closed_on_another_day,
        the_current_version_not_linked,
        a_conflict_linked,
        a_link_of_another_incident,
        a_conflict_like_another,
        like_itself,
        versions_not_removed,
    ],
    "I1 table": [
        a_referral_without_its_row,
        a_row_of_what_was_followed_up,
        a_referral_of_a_removed_one_stays,
        no_row,
        foreign_row,
        a_removed_row_stays,
        a_link_of_a_removed_one_stays,
        a_closed_row_shown,
        a_retracted_row_shown,
        a_conflict_shown,
        a_closed_row_lost,
        a_current_row_lost,
        a_closed_row_without_its_ending,
        a_conflict_as_if_it_had_been_current,
        a_version_of_a_removed_one_stays,
        a_link_of_a_closed_one_stays,
        a_likeness_of_a_closed_one_stays,
    ],
    "I2": [
        twice_accepted,
        twice_in_the_hub,
        twice_in_the_table,
        twice_in_quarantine,
        told_twice,
        a_version_twice_accepted,
        an_end_told_twice,
        a_version_twice_in_the_hub,
        twice_closed,
        removed_more_often_than_there_are_versions,
        removed_twice_with_one_version,
        a_version_twice_in_the_table,
    ],
    "I3": [
        other_bytes,
        other_bytes_of_a_referral,
        other_bytes_in_the_hub,
        other_values_in_the_table,
        other_bytes_of_a_version,
        other_bytes_of_a_version_in_the_hub,
        the_facts_of_the_version_before,
        other_values_of_a_closed_version,
    ],
    "I4": [after_the_withdrawal, out_of_order, no_withdrawal, a_version_after_the_withdrawal, ended_before_it_came],
    "I5": [
        a_hole_in_the_ledger,
        an_overlap_in_the_ledger,
        a_base_with_another_end,
        a_ledger_that_was_cut_without_a_base,
        an_offset_ahead,
        a_record_not_taken,
    ],
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
    "I14": [a_receipt_too_early, a_receipt_for_a_version_in_no_table],
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


def no_version_anywhere(w):
    w.hub = [row for row in w.hub if row[0] not in ("revision", "closed")]
    w.rows = [row for row in w.rows if not row[0].endswith("versions")]


@pytest.mark.parametrize(
    ("breaking", "sentence"),
    [
        (no_conflict, "no version was in conflict in this run: nothing was tried"),
        (no_stray, "no revision named what was never sent in this run: nothing was tried"),
        (no_version_anywhere, "no hub has a version in this run: nothing was tried"),
        (no_version_anywhere, "no hub was told of a version's end in this run: nothing was tried"),
        (no_version_anywhere, "no table has a closed version in this run: nothing was tried"),
    ],
)
def test_a_run_that_tried_less_is_red(tmp_path, breaking, sentence):
    world = World()
    breaking(world)
    assert sentence in {line for one in world.judged(tmp_path).values() for line in one.wrong}


def test_bases_and_what_was_cut_before_them_change_nothing(tmp_path):
    world = World()
    world.ledger += [world.ledger[0], world.ledger[1]]
    world.ledger.insert(0, ("refine", "raw.N-0", 1, 2, {}, 50_000))
    assert world.judged(tmp_path, {"I5"})["I5"].wrong == []


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
    assert kinds == {"IncidentReported", "PatternObserved", "ConsentWithdrawn", *expect.REVISIONS, *expect.REFERRALS}


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
