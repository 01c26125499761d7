"""Everything rendered from the table of topics: docker-compose.yml and the page of topics. `make generated` writes it."""

import json
from pathlib import Path
from typing import Any

from infra.broker import SETTINGS
from infra.objects import BUCKET, VOLUME_MB
from infra.table import Topic, every, table

NOTE = "rendered from infra/topics.toml by make generated; do not edit"
KAFKA_IMAGE = "apache/kafka:4.3.1"
S3_IMAGE = "chrislusf/seaweedfs:4.48"
TOCSIN_IMAGE = "tocsin:0.1.0"
SERVERS_USER = "1000:1000"  # the user that both images make and own their volumes by
OURS = "10001:10001"
STAGES = ("refine", "merge", "sink", "receipts")
ALONE = (
    "process.roles",
    "node.id",
    "controller.listener.names",
    "inter.broker.listener.name",
    "listener.security.protocol.map",
)
HEALTH = {"interval": "5s", "timeout": "5s", "retries": 24, "start_period": "10s"}
DATA = "/var/lib/tocsin"
ACCESS_KEY = "${TOCSIN_S3_ACCESS_KEY:?make one: openssl rand -hex 8}"
SECRET_KEY = "${TOCSIN_S3_SECRET_KEY:?make one: openssl rand -hex 32}"  # noqa: S105 - asks for one, holds none
# What `tocsin up` writes into its data folder, for the workers in containers.
CLUSTER = {"kafka": "kafka:9092", "s3": "s3:8333", "access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "bucket": BUCKET}
KEYS = f"from pathlib import Path; from pipeline.keyrings import ensure_keys; ensure_keys(Path('{DATA}'))"


def render() -> dict[Path, str]:
    """Return the text of every file, by its path from the root of the repository."""
    return {
        Path("docker-compose.yml"): f"# {NOTE}\n{HEAD}\n{_yaml(compose())}",
        Path("docs/reference/topics.md"): page(),
    }


HEAD = """\
# One machine in containers: `docker compose up --build --wait`. Two secrets are asked for; there is no default password.
# Every port that leaves the containers' own network is on 127.0.0.1 only."""


def compose() -> dict[str, Any]:
    """Return the compose file: Kafka, S3, a job that makes the topics, and a worker of each kind."""
    return {
        "name": "tocsin",
        "x-topics": {t.name: {"partitions": t.partitions, "config": dict(t.config)} for t in every()},
        "services": {
            "kafka": _kafka(),
            "s3": _s3(),
            "topics": _topics(),
            **{stage: _worker(stage) for stage in STAGES},
        },
        "configs": {"cluster": {"content": json.dumps(CLUSTER)}},
        "volumes": {"kafka": None, "s3": None, "tocsin": None},
    }


def _service(image: str, user: str, health: list[str], **more: Any) -> dict[str, Any]:
    shut = {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
    return {"image": image, "user": user, **shut, **more, "healthcheck": {"test": health, **HEALTH}}


def _kafka() -> dict[str, Any]:
    settings = {name: value for name, value in SETTINGS.items() if name not in ALONE} | {
        "node.id": "1",
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "INSIDE",
        "listener.security.protocol.map": "INSIDE:PLAINTEXT,HOST:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "listeners": "INSIDE://:9092,HOST://:19092,CONTROLLER://:9093",
        "advertised.listeners": "INSIDE://kafka:9092,HOST://127.0.0.1:19092",
        "controller.quorum.voters": "1@kafka:9093",
        "log.dirs": "/var/lib/kafka/data",
    }
    health = ["CMD", "/opt/kafka/bin/kafka-broker-api-versions.sh", "--bootstrap-server", "127.0.0.1:9092"]
    return _service(
        KAFKA_IMAGE,
        SERVERS_USER,
        health,
        restart="unless-stopped",
        environment={"KAFKA_HEAP_OPTS": "-Xmx1g"} | {_variable(name): value for name, value in settings.items()},
        ports=["127.0.0.1:19092:19092"],
        volumes=["kafka:/var/lib/kafka/data"],
    )


def _variable(setting: str) -> str:
    """Return the environment variable by which Kafka's image takes a setting."""
    return "KAFKA_" + setting.upper().replace(".", "_")


def _s3() -> dict[str, Any]:
    """Return SeaweedFS; it takes the one identity that there is from the two AWS variables."""
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    options = {
        "dir": "/data",
        "ip": "127.0.0.1",
        "ip.bind": "0.0.0.0",  # noqa: S104 - the containers' own network; only S3 is published, on loopback
        "bucket": BUCKET,
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": VOLUME_MB,
        "admin.ui": "false",
        "webdav": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    return _service(
        S3_IMAGE,
        SERVERS_USER,
        ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8333/healthz"],
        restart="unless-stopped",
        command=["mini", *(f"-{name}={value}" for name, value in options.items())],
        environment=keys,
        ports=["127.0.0.1:18333:8333"],
        volumes=["s3:/data"],
    )


def _ours(command: list[str], health: list[str], **more: Any) -> dict[str, Any]:
    build = {"context": ".", "dockerfile": "Dockerfile"}
    folder = {"environment": {"TOCSIN_DATA": DATA}, "volumes": [f"tocsin:{DATA}"]}
    return _service(TOCSIN_IMAGE, OURS, health, build=build, command=command, **folder, **more)


def _topics() -> dict[str, Any]:
    """Return the job that makes the topics and the regions' keys, and ends."""
    return _ours(
        ["sh", "-c", f'python -m infra.topics kafka:9092 && python -c "{KEYS}"'],
        ["CMD", "python", "-c", "import infra.table"],
        restart="on-failure",
        depends_on={"kafka": {"condition": "service_healthy"}},
    )


def _worker(stage: str) -> dict[str, Any]:
    ready = {"topics": "service_completed_successfully", "kafka": "service_healthy", "s3": "service_healthy"}
    return _ours(
        ["tocsin", "worker", stage],
        ["CMD", "python", "-c", "import socket; socket.create_connection(('kafka', 9092), 3)"],
        restart="always",
        configs=[{"source": "cluster", "target": f"{DATA}/cluster.json"}],
        depends_on={name: {"condition": condition} for name, condition in ready.items()},
    )


def _yaml(value: Any, indent: int = 0) -> str:
    """Return a value as YAML, every text in double quotes, so that no reader takes one for a number or a yes."""
    pad = "  " * indent
    if isinstance(value, dict):
        return "".join(_entry(f"{pad}{key}:", item, indent) for key, item in value.items())
    flow = (json.dumps(item) for item in value)  # JSON is YAML
    return "".join(f"{pad}- {item}\n" for item in flow)


def _entry(head: str, item: Any, indent: int) -> str:
    if item is None:
        return f"{head} {{}}\n"
    if isinstance(item, dict | list):
        return f"{head}\n{_yaml(item, indent + 1)}"
    return f"{head} {json.dumps(item)}\n"


def page() -> str:
    """Return the page of all families of topics."""
    parts = [
        f"<!-- {NOTE} -->\n\n# Topics\n\n",
        INTRODUCTION,
        "\n| topic | partitions | owner | read by | events |\n|---|---|---|---|---|\n",
    ]
    parts += [
        f"| [`{t.name}`](#{_anchor(t)}) | {t.partitions} | {t.owner} | {', '.join(t.read_by)} | {', '.join(t.events)} |\n"
        for t in table()
    ]
    parts += [_section(topic) for topic in table()]
    return "".join(parts)


INTRODUCTION = """\
The log is the truth: every table and page can be made again from it. `{node}` stands for each mission, `{region}` for
each regional hub. `tocsin up` makes all of them; on a Kafka of your own, `python -m infra.topics HOST:PORT` does.
Events are described in [contracts.md](contracts.md).
"""


def _anchor(topic: Topic) -> str:
    return "".join(c for c in topic.name if c.isalnum() or c in "-_ ")


def _section(topic: Topic) -> str:
    settings = "".join(f"| `{name}` | `{value}` |\n" for name, value in topic.config.items())
    return (
        f"\n## {topic.name}\n\n{topic.meaning}\n\n- key: {topic.key}\n- framing: {topic.framing}\n"
        f"- written by: {', '.join(topic.written_by)}\n- read by: {', '.join(topic.read_by)}\n\n"
        f"| setting | value |\n|---|---|\n{settings}"
    )
