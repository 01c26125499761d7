"""A TCP proxy before Kafka or S3 that does what networks do, exactly at the request or at the answer that is named.

It reads Kafka's frames (`label` = the request's name, also of its answer) and HTTP's request lines (`label` = "PUT
/path"), so that "the next EndTxn passes and its answer is lost" is exact. Where Kafka tells its address, the proxy
puts its own: clients stay behind it.
"""

import asyncio
import random
import re
import socket
import struct
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

KINDS = ("latency", "bandwidth", "slow_close", "timeout", "reset", "slicer", "limit_data")
WAYS = ("up", "down")
APIS = {
    0: "Produce",
    1: "Fetch",
    2: "ListOffsets",
    3: "Metadata",
    8: "OffsetCommit",
    9: "OffsetFetch",
    10: "FindCoordinator",
    11: "JoinGroup",
    12: "Heartbeat",
    13: "LeaveGroup",
    14: "SyncGroup",
    18: "ApiVersions",
    22: "InitProducerId",
    24: "AddPartitionsToTxn",
    25: "AddOffsetsToTxn",
    26: "EndTxn",
    28: "TxnOffsetCommit",
    60: "DescribeCluster",
}
TELL_ADDRESSES = frozenset({"Metadata", "FindCoordinator", "DescribeCluster"})
REQUEST = re.compile(rb"(GET|PUT|HEAD|POST|DELETE) (\S+) HTTP/1.1\r\n")
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close by RST
PIECE = 65_536
SLICES = 64  # bytes that the slicer sends one by one; what follows goes as a whole


@dataclass
class Fault:
    """The message whose label matches `match`, after `skip` others, meets `kind` on its `way`; once.

    latency, bandwidth and slicer stay on that connection for `seconds`; timeout and slow_close end it after `seconds`;
    reset and limit_data (`amount` bytes pass) end it at once; down ends all connections and refuses new ones for
    `seconds`; notice does nothing. `then` is called when it has begun.
    """

    kind: str
    way: str
    match: str = ""
    skip: int = 0
    seconds: float = 1.0
    amount: int = 6
    then: object = None
    hit: str = ""  # the label that it met
    fired: threading.Event = field(default_factory=threading.Event)

    def takes(self, way, label):
        if self.fired.is_set() or way != self.way or not re.search(self.match, label):
            return False
        self.skip -= 1
        return self.skip < 0

    def begin(self, label):
        self.hit = label
        self.fired.set()
        if self.then is not None:
            self.then()


class Proxy:
    """Listens at `address` (host:port) before `target`; `protocol` is kafka or http. `fired` counts kinds and ways."""

    def __init__(self, target, protocol="kafka", seed=0):
        self.target, self.protocol, self.dice = _place(target), protocol, random.Random(seed)
        self.faults, self.fired, self.seen = [], Counter(), Counter()
        self.connections, self.work = set(), set()
        self.stopped = dict.fromkeys(WAYS, False)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        ready = threading.Event()
        self.port = 0
        self.loop.call_soon(lambda: self.loop.create_task(self._listen(ready)))
        self.thread.start()
        assert ready.wait(10)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def arm(self, fault):
        """Have the next message that fits meet `fault`; return it: `fault.fired` is set when it has."""
        self.faults.append(fault)
        return fault

    def disarm(self):
        self.faults.clear()

    def partition(self, way, seconds, lost):
        """Let nothing pass on one way for `seconds`; what was on it comes late, or (`lost`) never and connections break."""
        self._call(self._partition(way, seconds, lost), seconds)

    def down(self, seconds):
        """End all connections and refuse new ones for `seconds`."""
        self._call(self._down(seconds), seconds)

    def close(self):
        async def end():
            for work in self.work:
                work.cancel()
            self.server.close()
            while self.connections:
                for one in list(self.connections):
                    one.stop()
                await asyncio.sleep(0.01)

        self._call(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _serve(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def _call(self, work, seconds=0.0):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds + 30)

    async def _listen(self, ready=None):
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=1 << 24)
        self.port = self.server.sockets[0].getsockname()[1]
        if ready:
            ready.set()

    async def _accept(self, reader, writer):
        try:
            there = await asyncio.open_connection(*self.target, limit=1 << 24)
        except OSError:
            writer.transport.abort()
            return
        connection = Connection(self, (reader, writer), there)
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)

    async def _partition(self, way, seconds, lost):
        self.stopped[way] = True
        self.fired[f"partition {way}"] += 1
        before = list(self.connections)
        await asyncio.sleep(seconds)
        self.stopped[way] = False
        for one in list(self.connections) if lost else []:
            one.reset()
        for one in before + list(self.connections):
            one.moved.set()

    async def _down(self, seconds):
        self.fired["down"] += 1
        self.server.close()
        for one in list(self.connections):
            one.reset()
        await asyncio.sleep(seconds)
        await self._listen()

    def fault_for(self, way, label):
        for fault in list(self.faults):
            if fault.takes(way, label):
                self.faults.remove(fault)
                self.fired[f"{fault.kind} {way}"] += 1
                fault.begin(label)
                return fault
        return None


class Connection:
    """One client's connection and the one to the target; a pump for each way."""

    def __init__(self, proxy, here, there):
        self.proxy, self.writers = proxy, {"up": there[1], "down": here[1]}
        self.readers = {"up": here[0], "down": there[0]}
        self.asked, self.last = {}, ""  # Kafka: label by correlation id; HTTP: the label of the last request
        self.moved = asyncio.Event()  # set when a partition is over
        self.until = 0.0  # until when the client's side stays open, whatever becomes of the other
        self.slow = {}  # way: (fault, until)
        self.pumps = set()
        for writer in self.writers.values():
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def run(self):
        self.pumps = {asyncio.ensure_future(self._pump(way)) for way in WAYS}
        await asyncio.wait(self.pumps, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(self.until - asyncio.get_running_loop().time())
        self.stop()
        await asyncio.gather(*self.pumps, return_exceptions=True)
        self.end()

    def stop(self):
        self.until = 0.0
        for pump in self.pumps:
            pump.cancel()

    def end(self):
        for writer in self.writers.values():
            writer.close()

    def reset(self):
        """Close both sides by RST."""
        for writer in self.writers.values():
            peer = writer.get_extra_info("socket")
            if peer is not None and peer.fileno() >= 0:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    async def _pump(self, way):
        read = self._frame if self.proxy.protocol == "kafka" else self._chunk
        with suppress(OSError, EOFError, asyncio.IncompleteReadError):
            while message := await read(way):
                label, data = message
                self.proxy.seen[f"{label.partition(' ')[0]} {way}"] += 1
                await self._held(way)
                fault = self.proxy.fault_for(way, label)
                if fault:
                    await self._meet(fault, way, data)
                else:
                    await self._slowly(way, data)

    async def _held(self, way):
        while self.proxy.stopped[way]:
            self.moved.clear()
            await self.moved.wait()

    async def _frame(self, way):
        """Return (label, one whole frame) of Kafka."""
        size = await self.readers[way].readexactly(4)
        data = await self.readers[way].readexactly(int.from_bytes(size, "big"))
        if way == "up":
            api, _, correlation = struct.unpack_from(">hhi", data)
            label = self.asked[correlation] = APIS.get(api, str(api))
        else:
            label = self.asked.pop(int.from_bytes(data[:4], "big", signed=True), "")
            if label in TELL_ADDRESSES:
                data = data.replace(_told(self.proxy.target[1]), _told(self.proxy.port))
        return label, size + data

    async def _chunk(self, way):
        """Return (label, what has come) of HTTP: a request's line is at the beginning of a chunk."""
        data = await self.readers[way].read(PIECE)
        if way == "up" and (line := REQUEST.match(data)):
            self.last = f"{line[1].decode()} {line[2].decode()}"
        return (self.last, data) if data else None

    async def _slowly(self, way, data):
        """Pass on, through what still lies on this way of the connection."""
        fault, until = self.slow.get(way, (None, 0.0))
        if fault and asyncio.get_running_loop().time() < until:
            await getattr(self, f"_{fault.kind}")(fault, way, data)
        else:
            await self._send(way, data)

    async def _meet(self, fault, way, data):
        if fault.kind in ("latency", "bandwidth", "slicer"):
            self.slow[way] = fault, asyncio.get_running_loop().time() + fault.seconds
        await getattr(self, f"_{fault.kind}")(fault, way, data)

    async def _send(self, way, data):
        self.writers[way].write(data)
        await self.writers[way].drain()

    async def _notice(self, fault, way, data):
        await self._send(way, data)

    async def _latency(self, fault, way, data):
        await asyncio.sleep(self.proxy.dice.uniform(0.1, 0.4) * fault.seconds)
        await self._send(way, data)

    async def _bandwidth(self, fault, way, data):
        """Take about `seconds` for the message, whatever its length."""
        step = max(1, len(data) // 8)
        for at in range(0, len(data), step):
            await self._send(way, data[at : at + step])
            await asyncio.sleep(fault.seconds / 8)

    async def _slicer(self, fault, way, data):
        for at in range(min(SLICES, len(data))):
            await self._send(way, data[at : at + 1])
            await asyncio.sleep(0.001)
        await self._send(way, data[SLICES:])

    async def _slow_close(self, fault, way, data):
        """Pass the message on, close towards the target, and towards the client only after `seconds`."""
        await self._send(way, data)
        self.until = asyncio.get_running_loop().time() + fault.seconds
        self.writers["up"].close()

    async def _timeout(self, fault, way, data):
        """Swallow the message and all that follows on this way; close after `seconds`."""
        del data
        until = asyncio.get_running_loop().time() + fault.seconds
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while await self.readers[way].read(PIECE):
                    pass
                await asyncio.sleep(fault.seconds)
        self.end()

    async def _reset(self, fault, way, data):
        del fault, data
        self.reset()
        raise ConnectionResetError

    async def _limit_data(self, fault, way, data):
        await self._send(way, data[: fault.amount])
        self.end()

    async def _down(self, fault, way, data):
        del data, way
        self.proxy.work.add(asyncio.ensure_future(self.proxy._down(fault.seconds)))
        raise ConnectionResetError


def _place(target):
    host, _, port = target.rpartition(":")
    return host, int(port)


def _told(port):
    """Return how Kafka writes an address of this machine: the host, then the port as int32."""
    return b"127.0.0.1" + struct.pack(">i", port)
