"""Damaged records of all contracts on several processes."""

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tests.decode import compare

CHUNK = 20_000


def part(number, count, seed):
    """Return disagreements, counts and the peak memory in bytes of this process."""
    told, happened = compare.check(number, count, seed)
    return told, happened, _peak()


def _peak():
    """Return the most memory that this process had, in bytes; getrusage would tell that of whoever began it, if more."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def many(records, seed, processes, tell=lambda count: None):
    """Compare the readers on `records` records, of all contracts alike; return (disagreements, counts, peak memory)."""
    contracts = list(compare.CONTRACTS)
    size = max(1, min(CHUNK, -(-records // len(contracts))))
    parts = [
        (contracts[i % len(contracts)], min(size, records - at), seed * 1_000_003 + i)
        for i, at in enumerate(range(0, records, size))
    ]
    told, happened, slowest, peak = [], Counter(), 0, 0
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(part, *one) for one in parts]):
            some, counts, memory = future.result()
            told += some
            slowest, peak = max(slowest, counts.pop("nanoseconds", 0)), max(peak, memory)
            happened.update(counts)
            tell(counts["records"])
    happened["nanoseconds"] = slowest
    return told, happened, peak
