"""The tests' own entry to a worker: it puts patches on named functions, then runs the product as it is.

`python -m tests.chaos.worker STAGE DATA NAME` is the product's supervisor over lives of this module; each life takes the
patches that `<data>/chaos/<stage>-<name>.json` lists, and, if there is one, the next entry of its queue: patches for one
life. So no crash point and no planted fault needs a line in the product.
"""

import importlib
import json
import os
import sys
import time
from functools import partial
from pathlib import Path

from pipeline.cli.workers import _instance, _say
from schemas.errors import TocsinError
from streams import supervisor
from streams.supervisor import Supervisor, named


def plan_of(data: Path, stage: str, name: str) -> Path:
    return data / "chaos" / f"{stage}-{name}.json"


def write_plan(path: Path, plan: dict) -> None:
    path.parent.mkdir(exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(plan))
    draft.replace(path)


def say(event: str, **fields) -> None:
    """Write one line of JSON at once, also where the process ends right after it."""
    os.write(2, (json.dumps({"time": time.time(), "event": event, **fields}) + "\n").encode())


def taken(path: Path) -> list:
    """Return the patches of this life, and take the next of the queue."""
    if not path.exists():
        return []
    plan = json.loads(path.read_text())
    queue = plan.get("queue", [])
    if queue:
        write_plan(path, plan | {"queue": queue[1:]})
    return [*plan.get("patches", []), *(queue[0] if queue else [])]


def apply(patches: list) -> None:
    """Call each `module:function` with its arguments; an unknown name ends the process at once."""
    for where, arguments in patches:
        module, _, name = where.partition(":")
        getattr(importlib.import_module(module), name)(**arguments)


def tuned(session_seconds: float | None = None, snapshot_bytes: int | None = None) -> None:
    """Shorten the session, and write snapshots more often than a production would."""
    from pipeline import bootstrap, observe
    from streams.lane import LaneSettings
    from streams.lanes import WorkerSettings

    if session_seconds is not None:

        def settings(*arguments, **options):
            return WorkerSettings(*arguments, **{**options, "session_seconds": session_seconds})

        bootstrap.WorkerSettings = settings
    if snapshot_bytes is not None:
        bootstrap._lane = lambda data, stage: LaneSettings(
            data / "streams" / stage / "snapshots",
            observe.batch,
            observe.note,
            snapshot_bytes=snapshot_bytes,
            tail_bytes=snapshot_bytes,  # also when the state is large
        )


def life(stage: str, data: Path, name: str, batch_records: int, until_idle: float | None) -> int:
    """Be one life of the worker."""
    os.dup2(sys.stdout.fileno(), sys.stderr.fileno())
    patches = taken(plan_of(data, stage, name))
    say("born", pid=os.getpid(), patches=[where for where, _ in patches])
    apply(patches)
    from pipeline.bootstrap import run_worker

    try:
        return run_worker(stage, data, _instance(name), until_idle, batch_records)
    except TocsinError as error:
        say("again", why=str(error))
        return error.exit_code


def main(arguments: list[str]) -> int:
    stage, data, name, batch_records, until_idle = arguments
    supervisor.BACKOFF = (0.1, 0.5)
    with named(Path(data) / "streams" / stage / "names", name):
        one = partial(life, stage, Path(data), name, int(batch_records), float(until_idle) or None)
        return Supervisor(one, _say(as_json=True)).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
