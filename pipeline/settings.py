"""Where the data folder is; the one place that reads the environment.

A command reads its settings when it runs, never at import.
"""

import os
from pathlib import Path


def default_data() -> Path:
    """Return the data folder: `TOCSIN_DATA`, else the platform's place for a user's data."""
    if chosen := os.environ.get("TOCSIN_DATA"):
        return Path(chosen).expanduser().resolve()
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "tocsin"


def data_folder(given: Path | None) -> Path:
    """Return the data folder that a command was given by `--data`, else the default one, as an absolute path."""
    return (given or default_data()).expanduser().resolve()
