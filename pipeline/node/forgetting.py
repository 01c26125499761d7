"""What a command has begun to forget, and why: `forgetting.json`, written before the first key is destroyed.

Killed between a case's key and the event that says so, a command that is run again can't open the case, and reads here why
it was to go.
"""

import json
from collections.abc import Mapping

from pipeline.files import replace, sync_folder
from pipeline.node.entries import writing
from pipeline.node.node import Node

FILE = "forgetting.json"


def read(node: Node) -> dict[bytes, str]:
    """Return the cause by each case's reference; nothing where nothing was begun, or that is not known."""
    try:
        kept = json.loads((node.folder / FILE).read_text())
        return {bytes.fromhex(ref): str(cause) for ref, cause in kept.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write(node: Node, begun: Mapping[bytes, str]) -> None:
    """Keep what was begun, durably; no file where that is nothing. NotWritten where the disk refuses."""
    path = node.folder / FILE
    with writing(node.folder):
        if begun:
            replace(path, json.dumps({ref.hex(): cause for ref, cause in begun.items()}).encode())
        elif path.exists():
            path.unlink()
            sync_folder(node.folder)
