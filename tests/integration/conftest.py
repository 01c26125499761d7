"""One real Kafka and one real S3 for all integration tests of a session, on ports of their own."""

import os
from pathlib import Path

import pytest

from infra import launcher

HERE = Path(__file__).parent
# What a JVM's second compiler costs does not come back in the minute that a test's broker lives.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")


def pytest_collection_modifyitems(items):
    """Give each test here two minutes unless it says otherwise; whichever comes first also starts the servers."""
    for item in items:
        if HERE in item.path.parents:
            own = item.get_closest_marker("timeout")
            seconds = own.args[0] if own else 120
            extra = launcher.START_SECONDS if "cluster" in item.fixturenames else 0
            item.add_marker(pytest.mark.timeout(seconds + extra), append=False)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Where both are reached; no topic exists yet, a test makes its own by `infra.topics.ensure`."""
    data = tmp_path_factory.mktemp("cluster")
    endpoints = launcher.up(data)
    try:
        yield endpoints
    finally:
        launcher.down(data)
