"""What is rendered is on disk, and the compose file keeps the rules of a safe installation."""

import json
import re
from pathlib import Path

import pytest
import yaml

from infra.render import render
from infra.table import every, table

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = yaml.safe_load(render()[Path("docker-compose.yml")])
SERVICES = COMPOSE["services"]


@pytest.mark.parametrize("path", render(), ids=str)
def test_the_file_on_disk_is_what_is_rendered(path):
    assert (ROOT / path).read_text() == render()[path], "run `make generated`"


@pytest.mark.parametrize("path", render(), ids=str)
def test_a_rendered_file_says_so_in_its_first_line(path):
    assert "rendered from infra/topics.toml by make generated; do not edit" in render()[path].splitlines()[0]


def test_the_services_are_the_two_servers_the_topics_and_the_workers():
    assert list(SERVICES) == ["kafka", "s3", "topics", "refine", "merge", "sink", "receipts"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_a_health_check_a_fixed_version_and_no_root(name):
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    tag = service["image"].rpartition(":")[2]
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", tag)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_port_is_published_on_loopback_only(name):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_a_volume_is_named():
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


def test_no_secret_is_written_down():
    def walk(value, key=""):
        if isinstance(value, dict):
            for name, item in value.items():
                yield from walk(item, name)
        elif isinstance(value, list):
            for item in value:
                yield from walk(item, key)
        else:
            yield key, str(value)

    named = [(key, text) for key, text in walk(SERVICES) if re.search("secret|password|access_key", key, re.IGNORECASE)]
    named += [
        (key, text)
        for key, text in json.loads(COMPOSE["configs"]["cluster"]["content"]).items()
        if key.endswith("_key")
    ]
    assert len(named) == 4
    assert all(re.fullmatch(r"\$\{[A-Z0-9_]+:\?[^}]+\}", text) for _, text in named)


def test_the_topics_are_those_of_the_table():
    assert COMPOSE["x-topics"] == {t.name: {"partitions": t.partitions, "config": dict(t.config)} for t in every()}
    assert "infra.topics kafka:9092" in SERVICES["topics"]["command"][2]


def test_a_worker_waits_for_topics_and_servers():
    for stage in ("refine", "merge", "sink"):
        assert SERVICES[stage]["command"] == ["tocsin", "worker", stage]
        assert SERVICES[stage]["depends_on"]["topics"]["condition"] == "service_completed_successfully"


def test_the_page_has_every_family_with_its_settings():
    page = render()[Path("docs/reference/topics.md")]
    for topic in table():
        section = page.partition(f"\n## {topic.name}\n")[2].partition("\n## ")[0]
        assert topic.meaning in section
        assert all(f"| `{name}` | `{value}` |" in section for name, value in topic.config.items())
