"""What was freed is kept: arrays made anew take no pages from the system."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from streams import heap
assert heap.keep() is True
def batch():
    parts = [np.ones(300_000) for _ in range(6)]
    return np.concatenate(parts).sum()
batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
def test_a_batch_after_the_first_takes_no_pages_from_the_system():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1_000, "one such batch alone needs seven thousand"
