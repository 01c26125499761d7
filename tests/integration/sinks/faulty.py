"""An HTTP proxy before the real object store that does what networks and stores do now and then."""

import http.client
import re
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Fault:
    """The next `times` requests whose "METHOD path" matches meet `kind`."""

    pattern: str
    kind: str
    times: int = 1
    met: int = field(default=0)

    def takes(self, line):
        if self.met < self.times and re.search(self.pattern, line):
            self.met += 1
            return True
        return False


class Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, target):
        super().__init__(("127.0.0.1", 0), Handler)
        self.target = urlsplit(target).netloc
        self.fault = None
        self.lock = threading.Lock()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """A client that goes away in the middle is what these tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_):
        """No talk."""

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            fault = self.server.fault
            kind = fault.kind if fault and fault.takes(f"{self.command} {self.path}") else None
        getattr(self, kind or "pass_on")(body)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = answer  # noqa: N815

    def ask(self, body):
        connection = http.client.HTTPConnection(self.server.target, timeout=20)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response, content

    def pass_on(self, body, keep=lambda content: content):
        response, content = self.ask(body)
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = response.getheader("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        self.wfile.write(keep(content))

    def hang_up(self):
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def lose_the_answer(self, body):
        self.ask(body)
        self.hang_up()

    def arrive_late(self, body):
        self.hang_up()
        time.sleep(0.3)
        self.ask(body)

    def never_arrive(self, body):
        self.hang_up()

    def cut_the_answer(self, body):
        self.pass_on(body, keep=lambda content: content[: len(content) // 2])
        self.hang_up()

    def be_busy(self, body):
        self.send_response_only(503, "Slow Down")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def claim_a_conflict(self, body):
        self.send_response_only(412, "Precondition Failed")
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def before(target):
    """Yield a proxy before the store at `target`; set `.fault` on it."""
    proxy = Proxy(target)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
