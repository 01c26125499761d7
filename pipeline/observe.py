"""The one place that logs and counts: each committed batch makes one line of JSON, and metrics where they are served.

A line names the stage, the lane, offsets and counts; never a field of an event.
"""

import json
import sys
import time
from typing import Any, TextIO

from pipeline.metrics import Metrics, serve
from streams.base import BatchObserved

METRICS = Metrics()


def batch(observed: BatchObserved, stream: TextIO | None = None) -> None:
    """Count one committed batch and write its line."""
    METRICS.batch(observed.stage, observed.records, observed.counts, observed.seconds)
    _line("batch", stream, vars(observed))


def note(event: str, stream: TextIO | None = None, **fields: Any) -> None:
    """Count an event and write its line: the time (UTC, seconds), what happened, and the fields."""
    METRICS.note(event)
    _line(event, stream, fields)


def measured(port: int) -> None:
    """Serve the counts of this process on 127.0.0.1, at /metrics. PortTaken where the port is in use."""
    note("metrics", url=f"http://127.0.0.1:{serve(METRICS, port).server_port}/metrics")


def _line(event: str, stream: TextIO | None, fields: dict[str, Any]) -> None:
    line = {"time": round(time.time(), 3), "event": event, **fields}
    out = stream or sys.stderr
    out.write(json.dumps(line, default=str) + "\n")  # as one piece: several threads write lines
    out.flush()
