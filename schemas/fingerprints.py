"""The number of a schema: CRC-64-AVRO of its Parsing Canonical Form, as Java computes it."""

import json
from typing import Any


def canonical(schema: Any) -> str:
    """Return the Parsing Canonical Form, by the `avro` package with its one fault mended.

    The package leaves `{"type":"int"}` where a primitive has a logical type; the specification and Java's
    SchemaNormalization say `"int"`. Without the mend no Java reader would find our fingerprints.
    """
    return str(_bare(schema).canonical_form)


def fingerprint(schema: Any) -> bytes:
    """Return the CRC-64-AVRO fingerprint of the canonical form: 8 bytes, little endian."""
    return bytes(_bare(schema).fingerprint("CRC-64-AVRO"))


def _bare(schema: Any) -> Any:
    import avro.schema

    return avro.schema.parse(json.dumps(_without_logical_types(schema)))


def _without_logical_types(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_logical_types(branch) for branch in node]
    if not isinstance(node, dict):
        return node
    bare = {key: value for key, value in node.items() if key not in ("logicalType", "precision", "scale")}
    for key in ("type", "items", "values"):
        if key in bare:
            bare[key] = _without_logical_types(bare[key])
    if "fields" in bare:
        bare["fields"] = [_without_logical_types(one) for one in bare["fields"]]
    return bare
