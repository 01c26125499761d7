"""Work beside the event loop, so that heartbeats go on: in a thread, or at once where a thread would cost more."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE = 64  # records whose work takes a few milliseconds: no longer than two threads wait for each other


async def beside(records: int, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `call` returns, for a batch of so many records."""
    if records <= AT_ONCE:
        return call(*args, **kwargs)
    return await asyncio.to_thread(call, *args, **kwargs)
