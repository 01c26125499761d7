"""`up`, `down` and `status` of the Kafka and the S3 of one data folder.

Two commands at once wait for each other; a failed `up` leaves no process behind; a half-dead pair is mended by `up`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra import broker, objects
from infra.cluster import Broken, Cluster, Endpoints, Say
from infra.files import alone
from schemas.errors import NotSetUp

START_SECONDS = 120.0  # for a machine that has much else to do; alone it takes 5
MENDING_SECONDS = 15.0
"""So long a store may run and keep nothing before it is started anew: after a full disk it never keeps anything."""


@dataclass(frozen=True)
class Status:
    """What runs now; `logs` by name."""

    kafka: bool
    s3: bool
    endpoints: Endpoints | None
    logs: dict[str, Path]


@contextmanager
def _alone(data: Path, waiting: Say) -> Iterator[Cluster]:
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        (data / "logs").mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise Broken(f"The data folder {data} can't be used ({error.strerror}): name another with --data.") from error
    with alone(data / ".cluster.lock", lambda: waiting(f"another command is at work on {data}; waiting for it")):
        yield Cluster(data)


def up(data: Path, say: Say = lambda _: None, waiting: Say = lambda _: None) -> Endpoints:
    """Start what is not running and wait until both answer; harmless when they run.

    `say` gets one sentence a step, and none when there is nothing to do; `waiting` gets one if another command is at
    work on the folder. On any error, or when it is interrupted, nothing is left running.
    """
    with _alone(data.resolve(), waiting) as cluster:
        try:
            cluster.choose()
            _start(cluster, say)
        except BaseException:
            cluster.stop()
            raise
        return cluster.endpoints


def _start(cluster: Cluster, say: Say) -> None:
    """Launch each of the two once at most, also one that is just dying or a sick store, and return when both answer."""
    until, patient = time.monotonic() + START_SECONDS, time.monotonic() + MENDING_SECONDS
    failures = {"kafka": broker.failure, "s3": objects.failure}
    waiting, launched = ["s3", "kafka"], set[str]()
    while waiting:
        for name in list(waiting):
            if not cluster.process(name).alive():
                if name in launched:
                    raise failures[name](cluster.logs[name], "ended while it started")
                cluster.launch(name, say)
                launched.add(name)
            elif cluster.ready(name):
                waiting.remove(name)
            elif name == "s3" and name not in launched and time.monotonic() > patient:
                say("s3 runs and keeps nothing")
                cluster.end(name)
            elif time.monotonic() > until:
                raise failures[name](cluster.logs[name], f"did not answer within {START_SECONDS:.0f} seconds")
        time.sleep(0.05)


def down(data: Path, waiting: Say = lambda _: None) -> list[str]:
    """Stop both and return the names of those that ran; the data stays."""
    if not data.exists():
        return []
    with _alone(data.resolve(), waiting) as cluster:
        return cluster.stop()


def endpoints(data: Path) -> Endpoints:
    """Return where the pair of a data folder is reached, running or not; NotSetUp before its first `up`."""
    cluster = Cluster(data.resolve())
    if not cluster.kept:
        raise NotSetUp(f"No Kafka and no S3 were ever started in {data}: run `tocsin up` first.")
    return cluster.endpoints


def status(data: Path) -> Status:
    """Return what answers now; starts nothing and waits for nobody."""
    cluster = Cluster(data.resolve())
    known = bool(cluster.kept)
    return Status(
        kafka=known and cluster.ready("kafka"),
        s3=known and cluster.ready("s3"),
        endpoints=cluster.endpoints if known else None,
        logs=cluster.logs,
    )
