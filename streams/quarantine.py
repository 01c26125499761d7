"""A refused record on its way to quarantine: where it lies and every reason; nothing of what it says."""

from collections.abc import Mapping, Sequence

import numpy as np

from schemas.build import Part, Strings, encode
from schemas.columns import Blob, compile  # noqa: A004
from schemas.released import latest
from schemas.wire import confluent_prefix
from streams.base import Output, Records
from streams.names import Longs

TOPIC = "quarantine"
UNREAD: Mapping[str, Part] = {"event_id": None, "sequence": None, "kind": None}


def quarantined(
    records: Records,
    rows: Longs,
    reasons: Sequence[Sequence[str]],
    *,
    node: str = "",
    suite: str = "",
    read: Mapping[str, Part] = UNREAD,
) -> tuple[Output, ...]:
    """Return the output for `rows` int64[k] of a batch, refused for `reasons`, k lists; nothing where k is 0.

    `read` has what could be read of the envelopes: parts of k rows for event_id, sequence and kind.
    """
    if not len(rows):
        return ()
    release = latest("Quarantined")
    values: dict[str, Part] = {
        **read,
        "node": node,
        "topic": records.topic,
        "partition": records.partition,
        "offset": records.offsets[rows],
        "reasons": Strings.of(reasons),
        "suite": suite,
    }
    keys = Blob.of([f"{records.lane}@{offset}".encode() for offset in records.offsets[rows].tolist()])
    blob = encode(compile(release), len(rows), values, confluent_prefix(release))
    return (Output(TOPIC, np.zeros(len(rows), np.int32), keys, blob),)


def failed(records: Records, node: str = "", suite: str = "") -> tuple[Output, ...]:
    """Return the output for records on which the stage itself failed, each alone: reason `stage.failed`."""
    return quarantined(records, np.arange(len(records)), [["stage.failed"]] * len(records), node=node, suite=suite)
