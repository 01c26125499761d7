"""What the strict decoders hold to, stated once for both lanes: limits and the codes of refusal.

Every decoder at hand accepts bytes that another refuses (enum index -1, an eleven-byte varint, a boolean of 2,
bytes after the end). Both lanes of tocsin refuse them, with the same code; the order of the codes is for good.
"""

import re
from typing import Any

NODE = re.compile(r"[A-Z0-9][A-Z0-9-]{1,31}")  # a node's code
NUMBERS = 1 << 40  # a node's events are numbered from 1 to below this
STRING_BYTES = 1_024
BYTES_BYTES = 65_536
ITEMS = 1_000
# Fields whose length only the broker's message size bounds, both ours: a batch's delta grows with the batch, and a base's
# state comes in parts of a few MiB.
UNBOUNDED = frozenset({"delta", "state"})
UNBOUNDED_BYTES = 1 << 31

# datetime.date's range, years 1 to 9999, in days and in milliseconds since 1970-01-01.
DATE = (-719_162, 2_932_896)
TIMESTAMP = (-62_135_596_800_000, 253_402_300_799_999)

REASONS: tuple[str, ...] = (
    "",
    "avro.truncated",
    "avro.varint_too_long",
    "avro.varint_not_canonical",
    "avro.int_range",
    "avro.date_range",
    "avro.enum_index",
    "avro.union_branch",
    "avro.boolean",
    "avro.length",
    "avro.too_long",
    "avro.utf8",
    "avro.block_count",
    "avro.too_many_items",
    "avro.duplicate_item",
    "avro.trailing_bytes",
)


def bytes_limit(field: str) -> int:
    """Return how many bytes a field of type bytes may have; `field` is its name without its record."""
    return UNBOUNDED_BYTES if field in UNBOUNDED else BYTES_BYTES


def logical(schema: Any) -> str:
    """Return the logical type of a schema node that has one: `date`, `timestamp-millis`; else ""."""
    return str(schema.get("logicalType", "")) if isinstance(schema, dict) else ""
