import pytest

from pipeline.node import node as nodes
from schemas import seal


@pytest.fixture
def pair():
    """The region's public and private key."""
    return seal.region_pair()


@pytest.fixture
def node(tmp_path, pair):
    return nodes.create(tmp_path / "nodes" / "MONUSCO", "MONUSCO", "great-lakes", pair[0])
