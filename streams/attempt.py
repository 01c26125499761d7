"""Running a stage over a batch so that one bad record stops nothing: the batch is halved down to it.

A stage may change its state in place, so a failed attempt has spoiled it: each new attempt starts from the frozen
state before. No I/O here; the lane fetches that state and puts all pieces into one transaction.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from schemas.columns import Blob
from schemas.errors import Quarantines, Retries, Stops
from streams.base import Outcome, Records, Stage

S = TypeVar("S")


class Spoiled(Quarantines):
    """The stage failed on these records (`__cause__` says how) and its state is of no use any more."""


class Unrefusable(Stops):
    """A record that the stage can neither take nor refuse."""


@dataclass(frozen=True)
class Piece:
    """What a stage made of the part of a batch from input offset `start` to before `end`."""

    start: int
    end: int
    records: int
    outcome: Outcome


def whole(stage: Stage[S], state: S, records: Records, side: Any, limit: int) -> tuple[S, Piece]:
    """Run the stage once; Spoiled where it fails, or where what it makes has a record longer than `limit` bytes."""
    try:
        state, outcome = stage.step(state, records, side)
        _fits(outcome, limit)
    except (Stops, Retries, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise Spoiled(
            "stage.failed", f"stage {stage.name} failed at {_where(records)} ({type(error).__name__})"
        ) from error
    return state, Piece(records.start, records.end, len(records), outcome)


def divided(stage: Stage[S], frozen: bytes, records: Records, side: Any, limit: int) -> tuple[S, list[Piece]]:
    """Run the stage over ever smaller parts; a single record that it fails on goes to `stage.refuse`.

    The pieces' ranges abut and cover the batch. `refuse(state, records_of_one, error) -> (state, outcome)` is the
    stage's own; Unrefusable where it has none or fails too.
    """
    parts, pieces, state = [records], [], stage.thaw(frozen)
    while parts:
        part = parts.pop()
        try:
            state, piece = whole(stage, stage.thaw(frozen), part, side, limit)
        except Spoiled as spoiled:
            if len(part) > 1:
                parts += reversed(list(_halves(part)))
                continue
            state, piece = _refused(stage, stage.thaw(frozen), part, spoiled, limit)
        frozen = stage.freeze(state)
        pieces.append(piece)
    return state, pieces


def _refused(stage: Stage[S], state: S, record: Records, spoiled: Spoiled, limit: int) -> tuple[S, Piece]:
    refuse = getattr(stage, "refuse", None)
    advice = f"Stage {stage.name} can neither take nor refuse the record at {_where(record)}; report this as a fault of tocsin."
    if refuse is None:
        raise Unrefusable(advice) from spoiled
    try:
        state, outcome = refuse(state, record, spoiled.__cause__)
        _fits(outcome, limit)
    except Exception as error:
        raise Unrefusable(advice) from error
    return state, Piece(record.start, record.end, len(record), outcome)


def _fits(outcome: Outcome, limit: int) -> None:
    longest = max((int(np.diff(out.values.bounds).max(initial=0)) for out in outcome.outputs), default=0)
    if max(longest, len(outcome.delta)) > limit:
        raise ValueError(f"a record of more than {limit} bytes")


def _where(records: Records) -> str:
    return f"{records.lane} {records.start} to {records.end}"


def _halves(records: Records) -> Iterator[Records]:
    middle = len(records) // 2
    yield part(records, 0, middle)
    yield part(records, middle, len(records))


def part(records: Records, first: int, last: int) -> Records:
    """Return the records from index `first` to before `last`; the ranges of parts abut."""
    start = records.start if first == 0 else int(records.offsets[first])
    end = records.end if last == len(records) else int(records.offsets[last])
    rows = slice(first, last)
    values, keys = (_slice(blob, first, last) for blob in (records.values, records.keys))
    return Records(
        records.topic, records.partition, start, end, records.offsets[rows], records.timestamps[rows], values, keys
    )


def _slice(blob: Blob, first: int, last: int) -> Blob:
    bounds = blob.bounds[first : last + 1]
    return Blob(blob.data[bounds[0] : bounds[-1]], bounds - bounds[0])
