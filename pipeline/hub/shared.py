"""What one region's hub has now: a fold of its stream `hub.<region>`, under the ids that were minted for it; no I/O here."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from schemas.columns import Blob, Columns, compile, decode  # noqa: A004
from schemas.errors import Stops
from streams.frames import unframe, versions

ID = 16
FIRST = bytes(ID)  # stands for the version that was reported first
Version = bytes  # the incident's id and the version's, 32 bytes; of a pattern its id and FIRST


class Unreadable(Stops):
    """A topic that only our own workers write holds what this version cannot read."""

    exit_code = 65

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(
            f"A record of {topic} can't be read ({reason}): update tocsin, then run `tocsin hub fates` again."
        )


@dataclass
class Shared:
    """The stream so far: what was shared, closed and removed, links by incident's version, and pairs of probable duplicates.

    `incident_of` has the incident of each further version; an assessment stands here as one.
    """

    shared: set[Version] = field(default_factory=set)
    incident_of: dict[bytes, bytes] = field(default_factory=dict)
    closed: set[Version] = field(default_factory=set)
    removed: set[bytes] = field(default_factory=set)
    links: Counter[Version] = field(default_factory=Counter)
    pairs: list[tuple[Version, Version]] = field(default_factory=list)

    def take(self, values: Sequence[bytes]) -> None:
        """Take in the next records of the stream, but for tombstones. Unreadable for one that is none of its events."""
        blob = Blob.of([value for value in values if value])
        framed = unframe(blob, tuple(_TAKEN))
        if len(bad := framed.bad()):
            raise Unreadable("a region's stream", framed.reason(int(bad[0])))
        for name, take in _TAKEN.items():
            for release in versions(name):
                rows = framed.of(release)
                columns = decode(compile(release), framed.data, framed.starts[rows], framed.ends[rows])
                if columns.status.any():
                    raise Unreadable("a region's stream", columns.reason(int(np.flatnonzero(columns.status)[0])))
                take(self, columns)

    def version(self, minted: bytes) -> Version:
        """Return what an event, under the id that was minted for it, is here."""
        return self.incident_of[minted] + minted if minted in self.incident_of else minted + FIRST

    def has(self, version: Version) -> bool:
        """Return whether the region has it now."""
        return version in self.shared and version not in self.closed and version[:ID] not in self.removed

    def duplicates(self) -> set[Version]:
        """Return the versions that are probable duplicates of another one, both of which the region has now."""
        return {one for pair in self.pairs if self.has(pair[0]) and self.has(pair[1]) for one in pair}


def _ids(columns: Columns, name: str) -> Iterator[bytes]:
    """Yield an id of each row, FIRST where it has none."""
    if name not in columns.layout.columns:
        yield from [FIRST] * columns.n
        return
    spans, valid = columns.spans(name), columns.valid(name)
    for row in range(columns.n):
        yield columns.octets(row, spans) if valid[row] else FIRST


def _versions(columns: Columns, incident: str, version: str) -> Iterator[Version]:
    for one, other in zip(_ids(columns, incident), _ids(columns, version), strict=True):
        yield one + other


def _report(shared: Shared, columns: Columns) -> None:
    shared.shared.update(one + FIRST for one in _ids(columns, "incident_id"))


def _pattern(shared: Shared, columns: Columns) -> None:
    shared.shared.update(one + FIRST for one in _ids(columns, "pattern_id"))


def _revision(shared: Shared, columns: Columns, name: str = "version_id") -> None:
    for version in _versions(columns, "incident_id", name):
        shared.shared.add(version)
        shared.incident_of[version[ID:]] = version[:ID]


def _closure(shared: Shared, columns: Columns) -> None:
    shared.closed.update(_versions(columns, "incident_id", "version_id"))


def _removal(shared: Shared, columns: Columns) -> None:
    shared.removed.update(_ids(columns, "incident_id"))


def _link(shared: Shared, columns: Columns) -> None:
    shared.links.update(_versions(columns, "incident_id", "version_id"))


def _pair(shared: Shared, columns: Columns) -> None:
    first = _versions(columns, "first_id", "first_version")
    shared.pairs += zip(first, _versions(columns, "second_id", "second_version"), strict=True)


_TAKEN: dict[str, Callable[[Shared, Columns], None]] = {
    "IncidentShared": _report,
    "PatternShared": _pattern,
    "RevisionShared": _revision,
    "ReferralShared": _revision,
    "AssessmentShared": partial(_revision, name="assessment_id"),
    "VersionClosed": _closure,
    "IncidentRemoved": _removal,
    "PatternLinked": _link,
    "ProbableDuplicate": _pair,
}
