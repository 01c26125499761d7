"""A stage of each test's own on the session's Kafka."""

import os

import pytest

from tests.integration.streams.rig import Rig


@pytest.fixture
def rig(cluster, tmp_path):
    rig = Rig(cluster.kafka, tmp_path, "toy-" + os.urandom(4).hex())
    yield rig
    rig.clear()
