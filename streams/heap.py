"""Keep memory that was freed for the next batch, which needs as much as the one before.

The C library gives large pieces back to the system at once, and to take them again costs a fault for each page: on some
machines more than the work that is done in them.
"""

import ctypes

# Of glibc's malloc.h; no other C library has them.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, ARENA_MAX = -1, -2, -3, -8
LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes; glibc takes no more


def keep() -> bool:
    """Let this process keep what it frees, in one heap for all threads; return whether the C library can do that."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    asked = {
        ARENA_MAX: 1,
        MMAP_THRESHOLD: LARGEST_MMAP_THRESHOLD,
        TRIM_THRESHOLD: 2**31 - 1,
        TOP_PAD: 64 << 20,
    }
    taken = [mallopt(name, value) == 1 for name, value in asked.items()]
    return all(taken)
