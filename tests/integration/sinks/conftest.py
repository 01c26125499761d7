import pytest

from sinks.store import Store


@pytest.fixture(scope="session")
def store(cluster):
    return Store(f"http://{cluster.s3}", cluster.access_key, cluster.secret_key, cluster.bucket)
