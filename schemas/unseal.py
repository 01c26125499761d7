"""Whole batches of what schemas/seal.py does for one: opening bodies, unwrapping and wrapping keys.

numba kernels call libsodium by the address of its functions (PyNaCl's own copy of the library), without the GIL. The
addresses are arguments, not constants, so that the compiled code can be cached. Plain twins of all are in the tests.
"""

from functools import cache
from typing import Any

import numpy as np
from nacl._sodium import ffi, lib
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from schemas import keyring as keyrings
from schemas.columns import Blob, Columns
from schemas.jit import allocating, kernel
from schemas.keyring import Keyring, frozen
from schemas.wrapping import CASE_KEY

Octets = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Bools = NDArray[np.bool_]

ID = 16
KEY = 32
TAG = 16
NONCE = 24
# What the associated data holds before the node's code: body_schema 8, event_id 16, case_ref 16, sequence 8.
BOUND = 48


@cache
def _address(name: str) -> int:
    """Return the address of a function of libsodium."""
    return int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))


def _calling(arguments: int) -> Any:
    """Return a typing function for `call(address, a, b, …) -> int32`, every argument a machine word."""
    from llvmlite import ir  # type: ignore[import-untyped]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        word = ir.IntType(64)
        function = ir.FunctionType(ir.IntType(32), [word] * arguments)
        return builder.call(builder.inttoptr(args[0], function.as_pointer()), args[1:])

    return types.int32(*[types.uint64] * (arguments + 1)), generate


@intrinsic
def _aead(context, address, a, b, c, d, e, f, g, h, i):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG001
    """Call `crypto_aead_xchacha20poly1305_ietf_decrypt` or `_encrypt` with its nine arguments; 0 is success."""
    return _calling(9)


@kernel
def _number(out: Octets, at: int, value: int) -> None:
    """Write a number in 8 bytes, little endian."""
    for index in range(8):
        out[at + index] = (value >> (8 * index)) & 0xFF


@allocating
def _bind(
    bound: Octets, nonce: Octets, data: Octets, schema: int, event: int, case: int, sequence: int, node: Numbers
) -> Any:
    """Write nonce and associated data as seal.py does; return the length of the associated data."""
    bound[:8] = data[schema : schema + 8]
    bound[8 : 8 + ID] = data[event : event + ID]
    bound[24 : 24 + ID] = data[case : case + ID]
    _number(bound, 40, sequence)
    nonce[:ID] = data[event : event + ID]
    _number(nonce, ID, sequence)
    bound[BOUND : BOUND + node[1] - node[0]] = data[node[0] : node[1]]
    return BOUND + node[1] - node[0]


@allocating
def _open(
    address: int,
    data: Octets,
    rows: Numbers,
    spans: tuple[Numbers, Numbers, Numbers, Numbers, Numbers],
    sequence: Numbers,
    keys: Octets,
    key_rows: Numbers,
    out: Octets,
    bounds: Numbers,
    good: Bools,
) -> None:
    """Open body after body into `out`; a body that does not open takes no space and leaves nothing behind."""
    schemas, events, cases, nodes, bodies = spans
    width = 0
    for row in rows:
        width = max(width, nodes[row, 1] - nodes[row, 0])
    bound, nonce = np.zeros(BOUND + width, np.uint8), np.zeros(NONCE, np.uint8)
    at = 0
    for index, row in enumerate(rows):
        key, length = key_rows[index], bodies[row, 1] - bodies[row, 0]
        if key >= 0 and length >= TAG and cases[row, 1] - cases[row, 0] == ID:
            bound_length = _bind(
                bound, nonce, data, schemas[row, 0], events[row, 0], cases[row, 0], sequence[row], nodes[row]
            )
            code = _aead(
                np.uint64(address),
                np.uint64(out.ctypes.data + at),
                np.uint64(0),
                np.uint64(0),
                np.uint64(data.ctypes.data + bodies[row, 0]),
                np.uint64(length),
                np.uint64(bound.ctypes.data),
                np.uint64(bound_length),
                np.uint64(nonce.ctypes.data),
                np.uint64(keys.ctypes.data + key * KEY),
            )
            if code == 0:
                good[index] = True
                at += length - TAG
        bounds[index + 1] = at


@allocating
def _unwrap(
    address: int, epoch: Octets, bound: Octets, refs: Octets, wrapped: Octets, keys: Octets, good: Bools
) -> None:
    """Unwrap row after row; a key that does not open stays zeros."""
    nonce = np.zeros(NONCE, np.uint8)
    for row in range(len(refs)):
        nonce[:ID] = refs[row]
        code = _aead(
            np.uint64(address),
            np.uint64(keys.ctypes.data + row * KEY),
            np.uint64(0),
            np.uint64(0),
            np.uint64(wrapped.ctypes.data + row * (KEY + TAG)),
            np.uint64(KEY + TAG),
            np.uint64(bound.ctypes.data),
            np.uint64(len(bound)),
            np.uint64(nonce.ctypes.data),
            np.uint64(epoch.ctypes.data),
        )
        good[row] = code == 0


@allocating
def _wrap(address: int, epoch: Octets, bound: Octets, refs: Octets, keys: Octets, wrapped: Octets) -> None:
    """Wrap row after row."""
    nonce = np.zeros(NONCE, np.uint8)
    for row in range(len(refs)):
        nonce[:ID] = refs[row]
        _aead(
            np.uint64(address),
            np.uint64(wrapped.ctypes.data + row * (KEY + TAG)),
            np.uint64(0),
            np.uint64(keys.ctypes.data + row * KEY),
            np.uint64(KEY),
            np.uint64(bound.ctypes.data),
            np.uint64(len(bound)),
            np.uint64(0),
            np.uint64(nonce.ctypes.data),
            np.uint64(epoch.ctypes.data),
        )


def open_batch(columns: Columns, rows: Numbers, keyring: Keyring, key_rows: Numbers) -> tuple[Blob, Bools]:
    """Open the sealed bodies of some rows of decoded Envelopes.

    `rows` int64[k] in any order; `key_rows` int64[k] as keyring.find gives them. Returns k bodies, empty where `good`
    bool[k] is False: no key (-1), no case, or a seal that does not open; neighbours are not hurt.
    The keyring must not change between find and this call.
    """
    schemas, events, cases = (columns.spans(name) for name in ("body_schema", "event_id", "case_ref"))
    nodes, sealed = columns.spans("node"), columns.spans("body")
    rows = np.ascontiguousarray(rows, np.int64)
    wanted = np.ascontiguousarray(key_rows, np.int64)
    if len(wanted) != len(rows) or _beyond(wanted, -1, len(keyring.keys)) or _beyond(rows, 0, columns.n):
        raise IndexError("rows must be of these columns, and key_rows of this keyring, one for each row")
    bodies = sealed[rows]
    out = np.zeros(int(np.maximum(bodies[:, 1] - bodies[:, 0] - TAG, 0).sum()) + 1, np.uint8)
    bounds, good = np.zeros(len(rows) + 1, np.int64), np.zeros(len(rows), np.bool_)
    address = _address("crypto_aead_xchacha20poly1305_ietf_decrypt")
    spans, sequence = (schemas, events, cases, nodes, sealed), columns.ints("sequence")
    _open(address, columns.data, rows, spans, sequence, keyring.keys, wanted, out, bounds, good)
    return Blob(frozen(out[: bounds[-1]]), bounds), good


def unwrap_batch(epoch_key: bytes, refs: Octets, wrapped: Octets) -> tuple[Octets, Bools]:
    """Return keys uint8[n, 32] and good bool[n] for case references uint8[n, 16] and wrapped keys uint8[n, 48]."""
    if refs.shape != (len(refs), ID) or wrapped.shape != (len(refs), KEY + TAG) or len(epoch_key) != KEY:
        raise ValueError("refs uint8[n, 16], wrapped uint8[n, 48] and an epoch key of 32 bytes are needed")
    keys, good = np.zeros((len(refs), KEY), np.uint8), np.zeros(len(refs), np.bool_)
    address = _address("crypto_aead_xchacha20poly1305_ietf_decrypt")
    _unwrap(address, _octets(epoch_key), _octets(CASE_KEY), frozen(refs), frozen(wrapped), keys, good)
    return keys, good


def wrap_batch(epoch_key: bytes, refs: Octets, keys: Octets) -> Octets:
    """Return wrapped keys uint8[n, 48] for case references uint8[n, 16] and keys uint8[n, 32]."""
    if refs.shape != (len(refs), ID) or keys.shape != (len(refs), KEY) or len(epoch_key) != KEY:
        raise ValueError("refs uint8[n, 16], keys uint8[n, 32] and an epoch key of 32 bytes are needed")
    wrapped = np.zeros((len(refs), KEY + TAG), np.uint8)
    address = _address("crypto_aead_xchacha20poly1305_ietf_encrypt")
    _wrap(address, _octets(epoch_key), _octets(CASE_KEY), frozen(refs), frozen(keys), wrapped)
    return wrapped


def warm() -> None:
    """Load or compile every kernel here, before the first batch is waited for."""
    from schemas.columns import compile, decode  # noqa: A004
    from schemas.released import latest

    keyrings.warm()
    nothing = np.zeros(0, np.int64)
    envelopes = decode(compile(latest("Envelope")), np.zeros(0, np.uint8), nothing, nothing)
    keyring = Keyring()
    open_batch(envelopes, nothing, keyring, keyring.find(np.zeros((0, ID), np.uint8)))
    unwrap_batch(bytes(KEY), np.zeros((0, ID), np.uint8), np.zeros((0, KEY + TAG), np.uint8))
    wrap_batch(bytes(KEY), np.zeros((0, ID), np.uint8), np.zeros((0, KEY), np.uint8))


def _beyond(numbers: Numbers, low: int, end: int) -> bool:
    """Return whether any number is outside [low, end): the kernels do not look."""
    return bool(numbers.size) and not (low <= int(numbers.min()) and int(numbers.max()) < end)


def _octets(octets: bytes) -> Octets:
    return frozen(np.frombuffer(octets, np.uint8))


__all__ = ["open_batch", "unwrap_batch", "warm", "wrap_batch"]
