"""Copying bytes within a kernel as memcpy does."""

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic  # type: ignore[untyped-decorator]
def copy(context: Any, out: Any, to: Any, data: Any, at: Any, size: Any) -> Any:  # noqa: ARG001
    """Copy data[at:at+size] to out[to:to+size], both of bytes, checking nothing; twice as fast as slices are."""

    def made(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        target, source = (context.make_array(signature.args[i])(context, builder, given[i]).data for i in (0, 2))
        cgutils.raw_memcpy(
            builder, builder.gep(target, [given[1]]), builder.gep(source, [given[3]]), given[4], itemsize=1
        )
        return context.get_dummy_value()

    return types.void(out, to, data, at, size), made
