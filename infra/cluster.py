"""What one data folder knows of its Kafka and its S3: ports, keys and processes, in `cluster.json`.

Ports and keys are chosen once; only the folder's owner can read them.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from infra import broker, objects
from infra.files import write
from infra.processes import Process, free_ports, port_is_free, stop, uninterrupted
from schemas.errors import Stops

# SeaweedFS mostly stops in 1.3 s, at times in 12; what it was told is with the system long before.
PATIENCE = {"kafka": 15.0, "s3": 4.0}
KAFKA_PORTS = ("kafka", "controller")
Say = Callable[[str], object]


@dataclass(frozen=True)
class Endpoints:
    """Where the pair of one data folder is reached: `kafka` and `s3` are host:port."""

    kafka: str
    s3: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    bucket: str
    data: Path


class PortTaken(Stops):
    """Somebody else listens on a port that this data folder uses."""

    exit_code = 69


class Broken(Stops):
    """The data folder or its `cluster.json` can't be used."""


class Cluster:
    """The pair of one data folder, as written down in it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.path = data / "cluster.json"
        self.logs = {"kafka": data / "logs" / "kafka.log", "s3": data / "logs" / "s3.log"}
        self.kept: dict[str, Any] = self._read() if self.path.exists() else {}

    def _read(self) -> dict[str, Any]:
        try:
            kept: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
            _ = kept["kafka"], kept["s3"], kept["access_key"], kept["secret_key"], kept["ports"], kept["processes"]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise Broken(
                f"{self.path} is not as `tocsin up` wrote it ({error}): put it back from a copy, or take another data folder with --data."
            ) from error
        return kept

    @property
    def endpoints(self) -> Endpoints:
        """Return where the pair is reached."""
        kept = {name: self.kept[name] for name in ("kafka", "s3", "access_key", "secret_key", "bucket")}
        return Endpoints(**kept, data=self.data)

    def process(self, name: str) -> Process:
        """Return the process as last started; one that never ran is not alive."""
        return Process(**self.kept.get("processes", {}).get(name, {"pid": 0, "born": ""}))

    def alive(self) -> list[str]:
        """Return the names of those whose process runs."""
        return [name for name in self.logs if self.process(name).alive()]

    def choose(self) -> None:
        """Choose ports and keys, the first time."""
        if self.kept:
            return
        names = (*KAFKA_PORTS, *objects.PORTS)
        ports = dict(zip(names, free_ports(len(names), objects.ADMIN_GRPC), strict=True))
        access_key, secret_key = objects.new_keys()
        self.kept = {
            "kafka": f"127.0.0.1:{ports['kafka']}",
            "s3": f"127.0.0.1:{ports['s3']}",
            "access_key": access_key,
            "secret_key": secret_key,
            "bucket": objects.BUCKET,
            "ports": ports,
            "processes": {},
        }
        self.keep()

    def keep(self) -> None:
        """Write `cluster.json`; only its owner can read it."""
        write(self.path, json.dumps(self.kept, indent=1))

    def launch(self, name: str, say: Say) -> None:
        """Start one of the two and write its pid down at once."""
        ports = self.kept["ports"]
        self._check_ports(name, objects.used(ports) if name == "s3" else [ports[port] for port in KAFKA_PORTS])
        say(f"starting {name}")
        if name == "kafka":
            settings = broker.prepare(self.data / "kafka", ports["kafka"], ports["controller"], say)
            uninterrupted(lambda: self._started(name, broker.launch(settings, self.logs[name])))
        else:
            objects.prepare(self.data / "s3", self.kept["access_key"], self.kept["secret_key"])
            objects.tidy(ports)
            uninterrupted(lambda: self._started(name, objects.launch(self.data / "s3", ports, self.logs[name])))

    def _started(self, name: str, process: Process) -> None:
        self.kept["processes"][name] = asdict(process)
        self.keep()

    def _check_ports(self, name: str, ports: list[int]) -> None:
        for port in ports:
            if not _soon_free(port):
                raise PortTaken(
                    f"Port {port} of 127.0.0.1, which {self.data} keeps for {name}, is taken by another program: "
                    "end that program and run `tocsin up` again, or take another data folder with --data."
                )

    def stop(self) -> list[str]:
        """Stop what runs and return its names."""
        running = self.alive()
        stop({self.process(name): PATIENCE[name] for name in running})
        if "s3" in running:
            objects.tidy(self.kept["ports"])
        return running

    def end(self, name: str) -> None:
        """Stop one of the two."""
        stop({self.process(name): PATIENCE[name]})

    def ready(self, name: str) -> bool:
        """Return whether it answers."""
        if not self.process(name).alive():
            return False
        if name == "kafka":
            return broker.ready(self.kept["kafka"])
        return objects.ready(self.kept["s3"], self.kept["access_key"], self.kept["secret_key"])


def _soon_free(port: int) -> bool:
    """Return whether the port is free, allowing a process that just ended a moment to let go."""
    until = time.monotonic() + 3
    while not port_is_free(port):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True
