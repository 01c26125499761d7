"""Each way of the store to fail is seen by the client or in the store; without a fault nothing is changed."""

import http.client
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.chaos.world.objects import KINDS, PLACES, WHERE, Store, Storm, place_of
from tests.integration.sinks.faulty import Fault

BODY = b"r" * 4_000
PATHS = {
    "commit": ("PUT", "/b/t/_delta_log/00001.json"),
    "upload": ("PUT", "/b/t/part-0.parquet"),
    "list": ("GET", "/b?list-type=2&prefix=t"),
    "read": ("GET", "/b/t/_delta_log/00000.json"),
}


class Plain(BaseHTTPRequestHandler):
    """A store that keeps what is put whole, and lists a number that grows."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """No talk."""

    def do_PUT(self):
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) == length:
            self.server.held[self.path] = body
        self.say(b"")

    def do_GET(self):
        self.say(b"".join(b"<Contents>%s</Contents>" % name for name in (b"a", b"b", b"newest")))

    def say(self, content):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def plain():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Plain)
    server.held = {}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def store(plain):
    with Store(f"http://127.0.0.1:{plain.server_address[1]}") as made:
        made.stall_seconds = 0.4
        yield made


def asked(store, place):
    """Return (status, content, seconds) or the name of the error, and the seconds."""
    method, path = PATHS[place]
    host, _, port = store.address.rpartition(":")
    connection, began = http.client.HTTPConnection(host, int(port), timeout=5), time.monotonic()
    try:
        connection.request(method, path, BODY if method == "PUT" else None)
        answer = connection.getresponse()
        return answer.status, answer.read(), time.monotonic() - began
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__, b"", time.monotonic() - began
    finally:
        connection.close()


def acted(kind, place, plain, answer):
    status, content, took = answer
    put, there = PATHS[place][0] == "PUT", PATHS[place][1] in plain.held
    gone = status in ("RemoteDisconnected", "ConnectionResetError")
    return {
        "be_broken": status == 500 and not there,
        "be_busy": status == 503 and not there,
        "claim_a_conflict": status == 412 and b"PreconditionFailed" in content,
        "claim_a_skew": status == 403 and b"RequestTimeTooSkewed" in content and not there,
        "stall": status == 200 and took >= 0.4 and there == put,
        "cut_the_answer": status == "IncompleteRead",
        "cut_the_body": gone and not there,
        "reset": status == "ConnectionResetError" and not there,
        "lose_the_answer": gone and there,
        "answer_stale": status == 200 and content == b"<Contents>a</Contents><Contents>b</Contents>",
    }[kind]


@pytest.mark.parametrize(("kind", "place"), [(kind, place) for kind in KINDS for place in WHERE[kind]])
def test_a_fault_acts_once_and_the_next_request_passes(store, plain, kind, place):
    assert not acted(kind, place, plain, asked(store, place)), "without a fault"
    plain.held.clear()
    store.fault = Fault(PLACES[place], kind)
    assert acted(kind, place, plain, asked(store, place))
    assert asked(store, place)[0] == 200


def test_a_storm_makes_what_it_was_told_and_the_same_by_the_same_seed():
    def made(seed):
        storm = Storm(seed, dict.fromkeys(KINDS, 3))
        lines = [" ".join(path) for path in PATHS.values()] * 200
        return [storm.kind if storm.takes(line) else "" for line in lines], storm

    kinds, storm = made(5)
    assert storm.met == Counter(dict.fromkeys(KINDS, 3))
    assert not storm.left
    assert all(name.split()[1] in WHERE[name.split()[0]] for name in storm.places)
    assert sum(map(bool, kinds)) > storm.met.total(), "some are repeated"
    assert kinds == made(5)[0] != made(6)[0]


def test_places_are_known_by_the_request():
    assert [place_of(" ".join(path)) for path in PATHS.values()] == list(PATHS)
    assert place_of("DELETE /b/x") == "other"


def test_a_list_of_nothing_cannot_be_stale_and_is_not_counted():
    storm = Storm(1, {"answer_stale": 1}, every=1)
    assert storm.takes("GET /b?list-type=2")
    storm.take_back("answer_stale")
    assert storm.left == Counter(answer_stale=1)
    assert not storm.met["answer_stale"]
