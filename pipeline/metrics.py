"""Numbers for Prometheus, over HTTP on this machine only: fed by `pipeline.observe`, kept in memory.

A label names a stage and, of counts, what became of records; never an area, a mission or a party. So no lane is named:
its topic's name is a node's.
"""

import threading
from collections import defaultdict
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from schemas.errors import Stops

LOOPBACK = "127.0.0.1"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

MEANING = {
    "tocsin_batches_total": "Batches committed.",
    "tocsin_records_total": "Records of committed batches.",
    "tocsin_outcomes_total": "Records by what became of them.",
    "tocsin_batch_seconds_total": "Seconds spent, by part of the work.",
    "tocsin_notes_total": "What else happened, by event.",
}


class PortTaken(Stops):
    """Somebody listens on the port already."""


class Metrics:
    """Counters by name and labels; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)

    def batch(self, stage: str, records: int, counts: Mapping[str, int], seconds: Mapping[str, float]) -> None:
        """Count one committed batch."""
        with self._lock:
            self._add("tocsin_batches_total", 1, stage=stage)
            self._add("tocsin_records_total", records, stage=stage)
            for name, count in counts.items():
                self._add("tocsin_outcomes_total", count, stage=stage, outcome=name)
            for name, spent in seconds.items():
                self._add("tocsin_batch_seconds_total", spent, stage=stage, part=name)

    def note(self, event: str) -> None:
        """Count one event that is no batch."""
        with self._lock:
            self._add("tocsin_notes_total", 1, event=event)

    def _add(self, name: str, value: float, **labels: str) -> None:
        self._values[name, tuple(labels.items())] += value

    def text(self) -> str:
        """Return all counters in Prometheus' text format."""
        with self._lock:
            values = sorted(self._values.items())
        lines: list[str] = []
        for (name, labels), value in values:
            if f"# TYPE {name} counter" not in lines:
                lines += [f"# HELP {name} {MEANING[name]}", f"# TYPE {name} counter"]
            shown = ",".join(f'{label}="{text}"' for label, text in labels)
            lines.append(f"{name}{{{shown}}} {value:g}" if value != int(value) else f"{name}{{{shown}}} {int(value)}")
        return "\n".join(lines) + "\n"


def serve(metrics: Metrics, port: int) -> ThreadingHTTPServer:
    """Answer GET /metrics on this machine's own address, in a thread; port 0 is any. PortTaken where it is in use."""

    class Handler(BaseHTTPRequestHandler):
        """One request."""

        def do_GET(self) -> None:
            """Answer."""
            found = self.path == "/metrics"
            body = metrics.text().encode() if found else b"only /metrics is here\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing: one observation a batch is enough."""

    try:
        server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    except OSError as error:
        raise PortTaken(f"Port {port} is taken ({error.strerror}); give another by --metrics, or none.") from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
