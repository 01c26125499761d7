"""CPU seconds and memory of processes and what they started, from /proc (Linux)."""

import os
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def family(root: int) -> list[int]:
    """Return a process and all that it started and that live."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def cpu(root: int) -> float:
    """Return the CPU seconds of a process, of its children, and of those that have ended."""
    found = [_stat(pid) for pid in family(root)]
    return sum(sum(int(ticks) for ticks in fields[11:15]) for fields in found if fields) / TICK


def peak(root: int) -> float:
    """Return the largest resident memory in MB, the sum of each process' own peak."""
    return sum(_status(pid, "VmHWM") for pid in family(root)) / 1024


def busy() -> float:
    """Return the CPU seconds of the whole machine since it was started."""
    values = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(values) - values[3] - values[4]) / TICK


def settle(root: int, seconds: float = 30.0) -> None:
    """Wait until a process does next to nothing: a broker that has just taken a corpus in still cleans and flushes."""
    until = time.monotonic() + seconds
    calm = 0
    while calm < 2 and time.monotonic() < until:
        before = cpu(root)
        time.sleep(0.5)
        calm = calm + 1 if cpu(root) - before < 0.06 else 0


def machine() -> dict:
    """Return what a reader needs to know of the machine: cores and memory."""
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / (1 << 20)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory),
    }


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def _status(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
