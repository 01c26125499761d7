"""The contracts: Avro schemas as released, each in a file of its own under `avro/v<version>/`.

A file may name a type that another file defines (`IncidentReported` names `Incident`); `load` puts the definition
in at its first use, so that what leaves here needs nothing else.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
NAMES: tuple[str, ...] = tuple(sorted(path.stem for path in (ROOT / "avro" / "v1").glob("*.avsc")))


def path_of(name: str, version: int, root: Path = ROOT) -> Path:
    """Return the file that defines `name` as of `version`: the newest that is not newer."""
    for number in range(version, 0, -1):
        path = root / "avro" / f"v{number}" / f"{name}.avsc"
        if path.is_file():
            return path
    raise LookupError(f"no contract {name!r} up to version {version}; the contracts are in schemas/avro")


@cache
def _parsed(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def load(name: str, version: int = 1, root: Path = ROOT) -> dict[str, Any]:
    """Return the schema of `name` with every named type defined at its first use, named after that.

    A new dict at every call; LookupError where no such contract is.
    """
    seen: dict[str, Any] = {}
    schema = _whole(json.loads(_parsed(path_of(name, version, root))), seen, version, root)
    assert isinstance(schema, dict)
    return schema


def symbols(contract: str, name: str) -> tuple[str, ...]:
    """Return what a coded field of a contract may hold, but for the symbol that stands for what a newer one adds."""
    fields = {field["name"]: field["type"] for field in load(contract)["fields"]}
    return tuple(symbol for symbol in fields[name]["symbols"] if symbol != "unspecified")


def _whole(node: Any, seen: dict[str, Any], version: int, root: Path) -> Any:
    if isinstance(node, list):
        return [_whole(branch, seen, version, root) for branch in node]
    if isinstance(node, str):
        return node if node in PRIMITIVES or node in seen else _imported(node, seen, version, root)
    if "name" in node and "type" in node and node["type"] in ("record", "enum", "fixed"):
        return _defined(node, seen, version, root)
    inner = {"array": "items", "map": "values"}.get(node["type"])
    return node | {inner: _whole(node[inner], seen, version, root)} if inner else node


def _imported(name: str, seen: dict[str, Any], version: int, root: Path) -> Any:
    return _whole(json.loads(_parsed(path_of(name, version, root))), seen, version, root)


def _defined(node: dict[str, Any], seen: dict[str, Any], version: int, root: Path) -> Any:
    name = node["name"]
    if name in seen:
        if seen[name] != node:
            raise ValueError(f"{name} is defined twice, and not alike; give one of the two a name of its own")
        return name
    seen[name] = node
    if node["type"] != "record":
        return node
    fields = [field | {"type": _whole(field["type"], seen, version, root)} for field in node["fields"]]
    return node | {"fields": fields}
