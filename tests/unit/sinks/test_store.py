import pytest

from schemas.errors import NotSetUp, Unreachable
from sinks.store import Store


def store(endpoint):
    return Store(endpoint, "key", "secret-of-the-test", "tocsin")


@pytest.mark.parametrize(
    "endpoint", ["http://s3.example.org", "http://10.0.0.1:9000", "http://127.0.0.1.example.org:9000"]
)
def test_plain_http_over_a_network_is_refused(endpoint):
    with pytest.raises(NotSetUp, match="https://"):
        store(endpoint)


@pytest.mark.parametrize(
    "endpoint", ["", "127.0.0.1:8333", "s3://tocsin", "ftp://host", "https://", "https://host/path"]
)
def test_what_is_no_endpoint_is_refused(endpoint):
    with pytest.raises(NotSetUp, match="give https://"):
        store(endpoint)


@pytest.mark.parametrize(
    ("endpoint", "secure"),
    [
        ("http://127.0.0.1:8333", False),
        ("http://localhost:8333", False),
        ("http://[::1]:8333", False),
        ("https://s3.example.org", True),
        ("https://10.0.0.1:9000/", True),
    ],
)
def test_this_machine_and_encrypted_ways_are_taken(endpoint, secure):
    made = store(endpoint)
    assert made.secure is secure
    assert made.delta_options()["AWS_ALLOW_HTTP"] == str(not secure).lower()
    assert made.delta_options()["aws_conditional_put"] == "etag"


def test_the_keys_are_not_shown():
    assert "secret-of-the-test" not in repr(store("https://host"))
    assert "'key'" not in repr(store("https://host"))


@pytest.mark.parametrize("ask", ["get", "list", "remove", "keep"])
def test_a_store_that_is_not_there_is_unreachable_in_one_sentence(ask):
    with pytest.raises(Unreachable, match="tocsin status") as caught:
        getattr(store("http://127.0.0.1:9"), ask)("some/path")
    assert "secret-of-the-test" not in str(caught.value)
