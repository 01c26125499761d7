"""The check that keeps contracts readable for good: FULL_TRANSITIVE against every release, and no release edited.

The `avro` package's checker answers who can read whom. What it does not look at is looked at here: the namespace of a
name, a logical type (a date that becomes a plain number still resolves), a default that is no value of its type.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import avro.errors
import avro.io
import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from schemas.events import ROOT, load, path_of
from schemas.fingerprints import fingerprint
from schemas.limits import logical
from schemas.released import Release, read
from schemas.walk import Unsupported, step


def check(root: Path = ROOT) -> list[str]:
    """Return what is wrong with the contracts and their releases under `root`, a sentence each; [] when all is well."""
    try:
        releases = read(root)
    except LookupError as problem:
        return [f"a released contract has lost its file: {problem}"]
    found = [*_numbering(releases), *_unreleased(releases, root)]
    for release in releases:
        found += [*_edited(release, root), *_unreadable(release)]
    by_name = defaultdict(list)
    for release in releases:
        by_name[release.name].append(release)
    for name, versions in by_name.items():
        for old, new in combinations(versions, 2):
            found += [f"{name} v{new.version} against v{old.version}: {problem}" for problem in breaks(old, new)]
    return found


def line(name: str, version: int, number: int, root: Path = ROOT) -> str:
    """Return the line that releases a contract: id, name, version, fingerprint (big endian), sha256 of its file."""
    printed = fingerprint(load(name, version, root))[::-1].hex()
    return f"{number},{name},{version},{printed},{_sha256(path_of(name, version, root))}"


def breaks(old: Release, new: Release) -> list[str]:
    """Return why one of two releases cannot read what the other wrote; [] where both can."""
    found = [_resolves(new, old, "new cannot read old"), _resolves(old, new, "old cannot read new")]
    return [problem for problem in found if problem] + [*_renamed(old.schema, new.schema, "")]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _numbering(releases: tuple[Release, ...]) -> Iterator[str]:
    for position, release in enumerate(releases, start=1):
        if release.id != position:
            yield f"released.csv: line {position} has the id {release.id}; lines are appended, never moved or taken out"
    for first, second in combinations(releases, 2):
        if first.fingerprint == second.fingerprint:
            yield f"{second.name} v{second.version} resolves as {first.name} v{first.version} does; it needs no release"


def _unreleased(releases: tuple[Release, ...], root: Path) -> Iterator[str]:
    known = {(release.name, release.version) for release in releases}
    number = len(releases)
    for path in sorted((root / "avro").glob("v*/*.avsc")):
        contract = (path.stem, int(path.parent.name[1:]))
        if contract not in known:
            number += 1
            yield f"{contract[0]} v{contract[1]} is not released; append to released.csv: {line(*contract, number, root)}"


def _edited(release: Release, root: Path) -> Iterator[str]:
    path = path_of(release.name, release.version, root)
    if path.parent.name != f"v{release.version}":
        yield f"{release.name} v{release.version} has no file; restore schemas/avro/v{release.version}/{release.name}.avsc"
    if _sha256(path) != release.sha256 or fingerprint(release.schema) != release.fingerprint:
        yield (
            f"{release.name} v{release.version} was edited after its release; "
            f"restore the file and write the change as v{release.version + 1}"
        )


def _unreadable(release: Release) -> Iterator[str]:
    try:
        step(release.schema)
    except Unsupported as problem:
        yield f"{release.name} v{release.version}: {problem}"
    yield from _defaults(release.schema, f"{release.name} v{release.version}")


def _resolves(reader: Release, writer: Release, wrong: str) -> str:
    schemas = [avro.schema.parse(json.dumps(one.schema)) for one in (reader, writer)]
    result = ReaderWriterCompatibilityChecker().get_compatibility(*schemas)
    if result.compatibility is SchemaCompatibilityType.compatible:
        return ""
    kinds = ", ".join(sorted({kind.value for kind in result.incompatibilities}))
    return f"{wrong} at {', '.join(sorted(result.locations))}: {kinds}; {'; '.join(sorted(result.messages))}"


def _renamed(old: Any, new: Any, path: str) -> Iterator[str]:
    """Find what the package's checker does not compare: full names and logical types of fields present in both."""
    if logical(old) != logical(new):
        yield f"{path} had the logical type {logical(old)!r} and has {logical(new)!r}"
    if not isinstance(old, dict) or not isinstance(new, dict):
        if isinstance(old, list) and isinstance(new, list):
            for one, other in zip(old, new, strict=False):
                yield from _renamed(one, other, path)
        return
    if old.get("name") == new.get("name") and old.get("namespace") != new.get("namespace"):
        yield f"{path or old.get('name')} moved from namespace {old.get('namespace')} to {new.get('namespace')}"
    for key in ("items", "values"):
        if key in old and key in new:
            yield from _renamed(old[key], new[key], path)
    fields = {field["name"]: field["type"] for field in new.get("fields", ())}
    for field in old.get("fields", ()):
        if field["name"] in fields:
            yield from _renamed(field["type"], fields[field["name"]], f"{path}.{field['name']}".lstrip("."))


def _defaults(schema: Any, where: str) -> Iterator[str]:
    """Find defaults that are no value of their type (the package parses them all the same)."""
    if not isinstance(schema, dict):
        return
    for field in schema.get("fields", ()):
        kind = field["type"]
        first = kind[0] if isinstance(kind, list) and kind else kind
        if "default" in field and isinstance(first, str) and not _fits(first, field["default"]):
            yield f"{where}: the default of {field['name']} is no {first}; a union's default is of its first type"
        yield from _defaults(kind, where)


def _fits(primitive: str, default: Any) -> bool:
    if primitive == "bytes" and isinstance(default, str):
        return all(ord(letter) < 256 for letter in default)  # one letter a byte, as the specification writes it
    try:
        return bool(avro.io.validate(avro.schema.parse(json.dumps(primitive)), default))
    except avro.errors.SchemaParseException:
        return True  # a named type: its own rules
