"""Where a worker's Python spends its time, by py-spy where it is installed; kernels count for the line that calls them."""

import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 3_600  # seconds
TOP = 15


@contextmanager
def profiled(folder: Path, pids: dict[str, int], wanted: bool) -> Iterator[dict[str, dict[str, float]]]:
    """Yield a dictionary that has, when it is over, the share of samples of each function by worker; empty if not wanted."""
    shares: dict[str, dict[str, float]] = {}
    tool = shutil.which("py-spy")
    if wanted and tool is None:
        raise SystemExit("py-spy is not there: install it (pip install py-spy), or run without --profile")
    running = []
    for name, pid in pids.items() if wanted else ():
        command = [str(tool), "record", "--pid", str(pid), "--format", "raw", "--output", str(folder / f"{name}.raw")]
        command += ["--duration", str(LONGEST), "--nonblocking"]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    try:
        yield shares
    finally:
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            process.wait(timeout=60)
    for name in pids if wanted else ():
        shares[name] = _shares((folder / f"{name}.raw").read_text())


def _shares(raw: str) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        counts[stack.rpartition(";")[2]] += int(count)
    total = sum(counts.values())
    return {name: round(count / total, 3) for name, count in counts.most_common(TOP)}
