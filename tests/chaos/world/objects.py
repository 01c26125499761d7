"""An HTTP proxy before the real S3 that does what stores do, drawn from a seed, and counts what it did.

The Host header and with it the signature goes through as the client wrote it. Built on tests/integration/sinks/faulty.py.
"""

import http.client
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from http.server import ThreadingHTTPServer

from tests.integration.sinks.faulty import Handler, Proxy

PLACES = {
    "commit": r"^PUT .*/_delta_log/\d+\.json",
    "upload": r"^PUT .*part-.*\.parquet",
    "list": r"^GET .*list-type=2",
    "read": r"^GET .*/_delta_log/(\d+\.json|_last_checkpoint)",
}
ALL = tuple(PLACES)
# What may happen where: a store refuses by 412 only what was conditional, and only a list can be stale.
WHERE = {
    "be_broken": ALL,
    "be_busy": ALL,
    "stall": ALL,
    "cut_the_answer": ("list", "read"),
    "cut_the_body": ("commit", "upload"),
    "reset": ALL,
    "lose_the_answer": ("commit", "upload"),
    "answer_stale": ("list",),
    "claim_a_conflict": ("commit",),
    "claim_a_skew": ("commit", "upload", "list"),
}
KINDS = tuple(WHERE)
REPEATED = 6
RESET = struct.pack("ii", 1, 0)
ERROR = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{}</Code><Message>{}</Message></Error>"


class Storm:
    """Of the requests that may meet a fault, about one in `every` does, by the dice, while faults are left to make.

    `left` counts by kind; a share of `hard` is repeated at the same place, so that it comes through the client's own
    repeats; `met` counts what was done (repeats apart), `places` where.
    """

    def __init__(self, seed, left, every=4, hard=0.25):
        self.dice, self.left, self.every, self.hard = random.Random(seed), Counter(left), every, hard
        self.met, self.places, self.kind, self.again = Counter(), Counter(), "", (0, "", "")

    def takes(self, line):
        """Whether this request ("METHOD path") meets a fault, which then is `kind`; called under the proxy's lock."""
        times, kind, place = self.again
        if times and re.search(PLACES[place], line):
            self.again, self.kind = (times - 1, kind, place), kind
            return True
        place = place_of(line)
        fit = sorted(kind for kind in self.left if place in WHERE[kind])
        if not fit or self.dice.randrange(self.every):
            return False
        self.kind = self.dice.choice(fit)
        self.left -= Counter([self.kind])
        self.met[self.kind] += 1
        self.places[f"{self.kind} {place}"] += 1
        if self.kind != "stall" and self.dice.random() < self.hard:
            self.again = REPEATED, self.kind, place
        return True

    def take_back(self, kind):
        """Count a fault as not made: it had nothing to act on."""
        self.places[f"{kind} {WHERE[kind][0]}"] -= 1
        self.met[kind] -= 1
        self.left[kind] += 1


def place_of(line):
    """Return the name of what is asked: commit, upload, list, read or other."""
    return next((name for name, place in PLACES.items() if re.search(place, line)), "other")


class Store(Proxy):
    """The proxy; set `.fault` to a `Storm`, or to a `Fault` of faulty.py. `stall_seconds` may be changed."""

    def __init__(self, target):
        super().__init__(target)
        self.RequestHandlerClass = Ways
        self.stall_seconds = 2.0
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.server_address[1]}"

    def close(self):
        self.shutdown()
        self.thread.join()
        self.server_close()

    def __exit__(self, *_):
        self.close()

    def __enter__(self):
        return ThreadingHTTPServer.__enter__(self)


class Ways(Handler):
    """Handler's ways to fail, and those that a store has besides."""

    def error(self, status, code, message):
        content = ERROR.format(code, message).encode()
        self.send_response_only(status, code)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content if self.command != "HEAD" else b"")

    def be_broken(self, body):
        self.error(500, "InternalError", "We encountered an internal error. Please try again.")

    def be_busy(self, body):
        self.error(503, "SlowDown", "Please reduce your request rate.")

    def claim_a_conflict(self, body):
        self.error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")

    def claim_a_skew(self, body):
        self.error(
            403, "RequestTimeTooSkewed", "The difference between the request time and the server's is too large."
        )

    def stall(self, body):
        """Do as asked, and answer late: after the client's patience where `stall_seconds` is longer."""
        response, content = self.ask(body)
        time.sleep(self.server.stall_seconds)
        self.tell(response, content)

    def reset(self, body):
        """Let nothing arrive and end by RST."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()

    def cut_the_body(self, body):
        """Bring half of the body to the store and end there: it has to keep nothing of it."""
        connection = http.client.HTTPConnection(self.server.target, timeout=20)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders(body[: len(body) // 2])
        connection.close()
        self.hang_up()

    def answer_stale(self, body):
        """List without the newest object; where there is none to leave out, it was no fault."""
        response, content = self.ask(body)
        at = content.rfind(b"<Contents>")
        if at >= 0:
            content = content[:at] + content[content.index(b"</Contents>", at) + len(b"</Contents>") :]
        elif isinstance(self.server.fault, Storm):
            self.server.fault.take_back("answer_stale")
        self.tell(response, content)

    def tell(self, response, content):
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
