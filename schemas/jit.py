"""How a loop over numbers is compiled: numba, without the GIL, typed at its first call, kept on disk.

Each kernel is small, touches arrays only, and has a plain Python twin in its test. It uses kernels and constants of its
own module only, for the cache on disk looks at no other file.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Return `function` compiled; it makes no array of its own, so that no references are counted: atomically, that is dear.

    Slices are set to numbers, not to other slices, for that takes a room of its own where the two overlap.
    """
    compiled: F = njit(cache=True, nogil=True, _nrt=False)(function)
    return compiled


def inlined(function: F) -> F:
    """Return `function` compiled into each kernel that calls it: arrays are otherwise passed by value, seven words each."""
    compiled: F = njit(cache=True, nogil=True, forceinline=True, _nrt=False)(function)
    return compiled


def allocating(function: F) -> F:
    """Return `function` compiled so that it can make arrays; if another kernel calls it, that one must be allocating too."""
    compiled: F = njit(cache=True, nogil=True)(function)
    return compiled
