"""Each toxic is seen to have acted, by who is on either end; a proxy that does nothing is caught."""

import contextlib
import socket
import struct
import threading
import time

import pytest

from tests.chaos.world.network import KINDS, WAYS, Fault, Proxy

ENDTXN = struct.pack(">hhi", 26, 0, 7)
METADATA = struct.pack(">hhi", 3, 1, 8)
FILLER = b"." * 800


class Echo(threading.Thread):
    """Answers each frame with its correlation id and the frame; notes each piece that it gets, and each end."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.pieces, self.ended, self.started = [], threading.Event(), 0
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=(self.listener.accept()[0],), daemon=True).start()

    def serve(self, connection):
        held = b""
        with connection, contextlib.suppress(OSError):
            while piece := connection.recv(1 << 16):
                self.pieces.append((time.monotonic(), len(piece)))
                held += piece
                while len(held) >= 4 and len(held) >= 4 + int.from_bytes(held[:4], "big"):
                    size = 4 + int.from_bytes(held[:4], "big")
                    frame, held = held[4:size], held[size:]
                    told = b"127.0.0.1" + struct.pack(">i", int(self.address.rpartition(":")[2]))
                    answer = frame[4:8] + told + frame
                    connection.sendall(struct.pack(">i", len(answer)) + answer)
        self.ended.set()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join()


@pytest.fixture
def echo():
    made = Echo()
    yield made
    made.close()


@pytest.fixture
def proxy(echo):
    with Proxy(echo.address) as made:
        yield made


class Seen:
    """What the client saw of one request: the answer's pieces and their times, and how it ended."""

    def __init__(self, address, request=ENDTXN + FILLER, seconds=5.0, linger=0.2):
        host, _, port = address.rpartition(":")
        self.pieces, self.data, self.end, self.began = [], b"", "open", time.monotonic()
        with socket.create_connection((host, int(port)), timeout=seconds) as client:
            try:
                client.sendall(struct.pack(">i", len(request)) + request)
                while len(self.data) < 4 or len(self.data) < 4 + int.from_bytes(self.data[:4], "big"):
                    piece = client.recv(1 << 16)
                    if not piece:
                        self.end = "closed"
                        break
                    self.pieces.append((time.monotonic(), len(piece)))
                    self.data += piece
                else:
                    client.settimeout(linger)
                    self.end = "open" if client.recv(1) else "closed"
            except TimeoutError:
                self.end = "open"
            except ConnectionResetError:
                self.end = "reset"
        self.took = time.monotonic() - self.began


def acted(kind, way, seen, echo):
    """Whether what was seen on both ends is what `kind` does; whole = the answer came."""
    whole = len(seen.data) > len(FILLER)
    pieces = echo.pieces if way == "up" else seen.pieces
    reached = bool(echo.pieces)
    if kind == "latency":
        return whole and pieces[0][0] - seen.began >= 0.09
    if kind == "bandwidth":
        return whole and len(pieces) > 3 and pieces[-1][0] - pieces[0][0] >= 0.5
    if kind == "slow_close":
        return echo.ended.wait(2) and seen.end == "closed" and seen.took >= 0.9
    if kind == "timeout":
        return not whole and seen.end == "closed" and seen.took >= 0.9 and reached == (way == "down")
    if kind == "reset":
        return not whole and seen.end == "reset" and reached == (way == "down")
    if kind == "slicer":
        return whole and sum(size <= 4 for _, size in pieces) > 5
    assert kind == "limit_data"
    echo.ended.wait(2)
    return not whole and sum(size for _, size in pieces) == 6


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_toxic_acts_on_the_message_it_is_for_and_on_no_other(proxy, echo, kind, way):
    fault = proxy.arm(Fault(kind, way, "^EndTxn$"))
    before = Seen(proxy.address, METADATA + FILLER)
    assert not fault.fired.is_set()
    assert len(before.data) > len(FILLER)
    assert echo.ended.wait(5)  # else the end of this connection would be taken for that of the next
    echo.pieces.clear()
    echo.ended.clear()
    seen = Seen(proxy.address, seconds=3.0, linger=2.0 if kind == "slow_close" else 0.2)
    assert fault.hit == "EndTxn"
    assert acted(kind, way, seen, echo)
    assert proxy.fired == {f"{kind} {way}": 1}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_that_does_nothing_is_caught(proxy, echo, kind, way):
    seen = Seen(proxy.address)
    assert not acted(kind, way, seen, echo)
    assert not proxy.fired


def test_a_fault_skips_what_it_was_told_to_and_acts_once(proxy):
    fault = proxy.arm(Fault("reset", "down", "EndTxn", skip=2))
    assert [Seen(proxy.address).end for _ in range(4)] == ["open", "open", "reset", "open"]
    assert fault.fired.is_set()


def test_one_fault_may_begin_another(proxy):
    proxy.arm(Fault("notice", "up", "EndTxn", then=lambda: proxy.arm(Fault("reset", "down"))))
    assert Seen(proxy.address, METADATA).end == "open"
    assert Seen(proxy.address).end == "reset"


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_one_way_partition_holds_back_or_loses_that_way(proxy, echo, way, lost):
    found = []
    client = threading.Thread(target=lambda: found.append(Seen(proxy.address)))
    over = threading.Thread(target=proxy.partition, args=(way, 0.6, lost))
    over.start()
    while not proxy.stopped[way]:
        time.sleep(0.01)
    client.start()
    time.sleep(0.3)
    assert bool(echo.pieces) == (way == "down")
    assert not found
    over.join()
    client.join()
    assert found[0].end == ("reset" if lost else "open")
    assert found[0].took >= 0.4


def test_down_refuses_and_comes_back(proxy):
    down = threading.Thread(target=proxy.down, args=(0.5,))
    down.start()
    while not proxy.fired["down"]:
        time.sleep(0.01)
    time.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        Seen(proxy.address)
    down.join()
    assert Seen(proxy.address).end == "open"


def test_a_fault_down_acts_at_its_message(proxy):
    fault = proxy.arm(Fault("down", "down", "EndTxn", seconds=0.3))
    assert Seen(proxy.address).end == "reset"
    assert fault.fired.is_set()


def test_the_address_of_the_target_becomes_the_proxys(proxy, echo):
    told = b"127.0.0.1" + struct.pack(">i", proxy.port)
    assert told in Seen(proxy.address, METADATA).data
    assert told not in Seen(proxy.address, ENDTXN).data


def test_http_requests_are_known_by_their_line(echo):
    class Http(Echo):
        def serve(self, connection):
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    store = Http()
    with Proxy(store.address, "http") as proxy:
        fault = proxy.arm(Fault("limit_data", "down", r"^PUT .*_delta_log/0+1\.json", amount=9))
        answers = []
        for path in (b"/b/part-1.parquet", b"/b/t/_delta_log/0001.json"):
            with socket.create_connection(("127.0.0.1", proxy.port)) as client:
                client.sendall(b"PUT " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                answers.append(b"".join(iter(lambda: client.recv(100), b"")))
        assert answers == [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.1 "]
        assert fault.hit == "PUT /b/t/_delta_log/0001.json"
    store.close()
