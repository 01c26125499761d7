"""The tables: `_delta_log` read as the protocol says, the Parquet files by pyarrow, the store by its own list."""

import io
import json
import sqlite3
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet
from minio import Minio

from tests.chaos.oracle.book import digest, plain

# By table: the columns of the ids of a row, each with that of the version, which takes its place where it is not null.
KEYS: dict[str, tuple[tuple[str, str], ...]] = {
    "incidents": (("incident_id", "version_id"),),
    "versions": (("incident_id", "version_id"),),
    "referrals": (("referral_id", "version_id"),),
    "assessments": (("assessment_id", ""),),
    "patterns": (("pattern_id", ""),),
    "links": (("incident_id", "version_id"), ("pattern_id", "")),
    "duplicates": (("first_id", "first_version"), ("second_id", "second_version")),
    "quarantine": (("topic", ""), ("offset", "")),
}
ASSESSED = ("number", "verdict", "source", "reliability", "credibility", "grounds")
CODED = ("service", "consented", "outcome")
PERSONS = ("women", "girls", "men", "boys", "unknown")


class Lake:
    """One bucket."""

    def __init__(self, cluster: dict[str, Any]) -> None:
        keys = {"access_key": cluster["access_key"], "secret_key": cluster["secret_key"]}
        self.client = Minio(cluster["s3"], **keys, secure=False, region="us-east-1")
        self.bucket = cluster["bucket"]

    def get(self, path: str) -> bytes:
        answer = self.client.get_object(self.bucket, path)
        try:
            return answer.data
        finally:
            answer.close()
            answer.release_conn()

    def list(self) -> dict[str, int]:
        found = self.client.list_objects(self.bucket, recursive=True)
        return {one.object_name: one.size for one in found if not one.is_dir}


def gather(book: sqlite3.Connection, cluster: dict[str, Any]) -> None:
    """Read every table of the bucket."""
    lake = Lake(cluster)
    objects = lake.list()
    paths = sorted({name.partition("/_delta_log/")[0] for name in objects if "/_delta_log/" in name})
    for path in paths:
        mine = {name.removeprefix(f"{path}/"): size for name, size in objects.items() if name.startswith(f"{path}/")}
        data = [(path, name, size) for name, size in mine.items() if name.endswith(".parquet") and "/" not in name]
        book.executemany("INSERT INTO objects VALUES(?,?,?)", data)
        for file in _log(book, lake, path, sorted(mine)):
            if file in mine:
                _rows(book, path, lake.get(f"{path}/{file}"))
    book.commit()


def _log(book: sqlite3.Connection, lake: Lake, path: str, names: list[str]) -> list[str]:
    """Read all versions and return the files of the last."""
    versions = [name for name in names if name.startswith("_delta_log/") and name.endswith(".json")]
    live: dict[str, None] = {}
    for at, name in enumerate(versions):
        version = int(name.removeprefix("_delta_log/").removesuffix(".json"))
        if version != at:
            book.execute("INSERT INTO unreadable VALUES(?,?)", (path, f"version {at} of the log is missing"))
        actions = [json.loads(line) for line in lake.get(f"{path}/{name}").decode().splitlines() if line]
        _version(book, path, version, actions)
        for action in actions:
            if "add" in action:
                live[unquote(action["add"]["path"])] = None
            if "remove" in action:
                live.pop(unquote(action["remove"]["path"]), None)
    return list(live)


def _version(book: sqlite3.Connection, path: str, version: int, actions: list[dict[str, Any]]) -> None:
    found = {name: body for action in actions for name, body in action.items()}
    info, txn = found.get("commitInfo", {}), found.get("txn")
    lane = info.get("tocsin")
    lane = json.loads(lane) if isinstance(lane, str) else lane
    if txn is not None:
        lane = lane or {}
        where = (lane.get("topic"), lane.get("partition"), lane.get("start"), lane.get("end"))
        row = (path, version, *where, txn["version"], info.get("timestamp"))
        book.execute("INSERT INTO commits VALUES(?,?,?,?,?,?,?,?)", row)
    taken = [(path, unquote(action["remove"]["path"])) for action in actions if "remove" in action]
    book.executemany("INSERT INTO taken VALUES(?,?)", taken)
    adds = [action["add"] for action in actions if "add" in action]
    rows = [(path, version, unquote(add["path"]), add["size"]) for add in adds]
    book.executemany("INSERT INTO named VALUES(?,?,?,?)", rows)


def _rows(book: sqlite3.Connection, path: str, data: bytes) -> None:
    name = path.rpartition("/")[2]
    named = KEYS[name]
    for row in pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist():
        text = json.dumps(row, default=str, sort_keys=True).encode()
        a, b = (*(str(row.get(version) or row[key]) for key, version in named), None)[:2]
        whose = "".join(row[key] for key, version in named if version)
        book.execute(
            "INSERT INTO rows VALUES(?,?,?,?,?,?,?)", (path, a, b, whose, digest(text), _fields(row), _more(name, row))
        )


def _more(name: str, row: dict[str, Any]) -> str | None:
    """Return what a row says of a version beside its facts."""
    if name == "referrals":
        months = {each: _day(row[each]) for each in ("referred_in", "followed_up_in")}
        return plain(incident=row["incident_id"], **{each: row[each] for each in CODED}, **months)
    if name == "assessments":
        said = {each: row[each] for each in ASSESSED}
        return plain(incident=row["incident_id"], **said, assessed_in=_day(row["assessed_in"]))
    if name not in ("incidents", "versions"):
        return None
    late, verified = row.get("late_verification"), _day(row.get("verified_on"))
    found = {"change": row.get("change"), "step": row.get("step"), "verified_on": verified, "late": late}
    if name == "versions":
        found |= {"ending": row["ending"], "ended_on": _day(row["ended_on"]), "conflict": row["conflict"]}
    return plain(**found)


def _day(value: Any) -> int | None:
    """Return a date in days since 1970."""
    return None if value is None else (value - value.__class__(1970, 1, 1)).days


def _fields(row: dict[str, Any]) -> str | None:
    """Return what the truth says of an incident, as the table has it."""
    if "occurred_on" not in row:
        return None
    persons = [row[name] for name in PERSONS]
    found = {
        "day": _day(row["occurred_on"]),
        "country": row["country"],
        "admin1": row["admin1"],
        "persons": persons,
        "party": row["party"],
    }
    return json.dumps(found)
