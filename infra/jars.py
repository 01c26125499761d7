"""Kafka's jars, each equal to the sha256 that `kafka.lock.toml` states; kept once per user, shared by all data folders.

The lock names the whole closure, so nothing is resolved at run time. Neither Java nor Maven need be installed.
"""

import hashlib
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.files import alone
from schemas.errors import Stops

LOCK = Path(__file__).with_name("kafka.lock.toml")
ATTEMPTS = 3


class JarsMissing(Stops):
    """A jar of Kafka can't be fetched, or is not the one that was locked."""

    exit_code = 69


def cache_folder() -> Path:
    """Return where the jars are kept, for all data folders of this user."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "tocsin" / "jars"


def jars(say: Callable[[str], object] = lambda _: None) -> list[Path]:
    """Return Kafka's jars, fetched where they are missing; `say` gets the progress.

    Two first starts at once wait for each other. JarsMissing where one can't be had as it was locked.
    """
    folder = cache_folder()
    locked = tomllib.loads(LOCK.read_text(encoding="utf-8"))["jar"]
    with alone(folder / ".lock", lambda: say("another start is fetching Kafka; waiting for it")):
        missing = [jar for jar in locked if not _is_whole(_place(folder, jar), jar)]
        for number, jar in enumerate(missing, 1):
            say(f"fetching Kafka, once: {number} of {len(missing)} jars")
            _fetch(folder, jar)
    return [_place(folder, jar) for jar in locked]


def _place(folder: Path, jar: dict[str, str]) -> Path:
    return folder / f"{jar['artifact']}-{jar['version']}.jar"


def _is_whole(path: Path, jar: dict[str, str]) -> bool:
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == jar["sha256"]


def _fetch(folder: Path, jar: dict[str, str]) -> None:
    """Fetch one jar; a download that was cut short is thrown away and tried again."""
    problem = ""
    for _ in range(ATTEMPTS):
        try:
            fetched = _resolve(folder / "maven", jar)
        except Exception as error:  # noqa: BLE001 - the resolver raises whatever its transport raises
            problem = f"can't be fetched ({type(error).__name__}: {error})"
            continue
        if _is_whole(fetched, jar):
            fetched.replace(_place(folder, jar))
            return
        fetched.unlink()
        problem = f"is not the file whose sha256 {LOCK.name} states"
    raise JarsMissing(
        f"Kafka's {jar['artifact']} {jar['version']} {problem}. "
        "Its jars are needed once: go online and run `tocsin up` again."
    )


def _resolve(repository: Path, jar: dict[str, str]) -> Path:
    from jgo.maven import MavenContext, PythonResolver

    context: Any = MavenContext(resolver=PythonResolver(), repo_cache=repository, local_repos=[], timeout=30)
    artifact = context.project(jar["group"], jar["artifact"]).at_version(jar["version"]).artifact()
    return Path(artifact.resolve())
