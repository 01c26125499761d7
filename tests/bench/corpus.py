"""A corpus on disk: what each node would have sent, as record batches that are ready for the broker, and its truth.

`make` writes it once into `folder/corpus-<form>-<seed>-<events>`. Two forms: `sealed`, as nodes send it; `plain`, the
same envelopes with bodies in clear, to measure without the seals. One case, and so one key, for each incident, as a
node makes them.
"""

import json
from pathlib import Path

import numba
import numpy as np
from nacl._sodium import ffi, lib
from numba import types
from numba.extending import intrinsic

from schemas.released import latest
from schemas.wire import single_object, single_object_prefix
from schemas.wrapping import CASE_KEY, seal_epoch
from tests.bench import batches, truth
from tests.bench.plan import AT, EMPTY, FOREIGN, NODES, PATTERNS, RECORDED, TORN, NodePlan, make, texts
from tests.synthetic import CASE_KINDS, zigzag
from tests.synthetic import text as avro_text

VERSION = 1
BATCH_BYTES = 256 << 10  # as a node's producer cuts them
ROOM = 256  # bytes that an event takes at most
TAG = 16
MILLION = 1_000_000

ENCRYPT = int(ffi.cast("uintptr_t", ffi.addressof(lib, "crypto_aead_xchacha20poly1305_ietf_encrypt")))


def make_corpus(work: Path, form: str, events: int, seed: int = 1, patterns: int = PATTERNS, say=print) -> Path:
    """Return the folder of a corpus; it is made unless it is there."""
    folder = (
        work / f"corpus-{form}-{seed}-{events}"
        if patterns == PATTERNS
        else work / f"corpus-{form}-{seed}-{events}-{patterns}"
    )
    if (folder / "done.json").exists() and json.loads((folder / "done.json").read_text())["version"] == VERSION:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    plans = []
    for number in range(len(NODES)):
        say(f"corpus of {events:,} events, {form}: node {number + 1} of {len(NODES)}")
        share = events // len(NODES) + (number < events % len(NODES))
        own = patterns // len(NODES) + (number < patterns % len(NODES))
        plan = make(seed, number, share, own)
        size = _write(folder, plan, form == "sealed", seed)
        plan.keys = np.zeros((0, 32), np.uint8)  # on the disk now
        plans.append((plan, size))
    say(f"corpus of {events:,} events, {form}: working out the truth")
    known = truth.of([plan for plan, _ in plans])
    known.figures["bytes"] = sum(size for _, size in plans)
    known.save(folder)
    (folder / "done.json").write_text(json.dumps({"version": VERSION, "form": form, "seed": seed, "events": events}))
    return folder


def epoch_key(seed: int, node: str) -> bytes:
    """Return the key under which a node's case keys are wrapped in this corpus."""
    return np.random.default_rng([seed, 77, NODES.index(node)]).bytes(32)


def epoch_batch(seed: int, node: str, region: str, public: bytes) -> bytes:
    """Return the batch with a node's epoch key, sealed for its region."""
    sealed = seal_epoch(public, epoch_key(seed, node))
    value = single_object(latest("EpochKey"), zigzag(1) + avro_text(region) + zigzag(len(sealed)) + sealed)
    key = _octets(b"epoch:1"), np.array([0, 7], np.int64)
    return b"".join(
        batches.build(
            key, (_octets(value), np.array([0, len(value)], np.int64)), np.zeros(1, np.int64), RECORDED, BATCH_BYTES
        )
    )


def _write(folder: Path, plan: NodePlan, sealed: bool, seed: int) -> int:
    """Write a node's batches of `raw` and `keys`; return the bytes of the values in `raw`."""
    data, bounds = _values(plan, sealed)
    n = len(plan.patterns)
    keys = np.concatenate([np.zeros(0, np.uint8), plan.cases.reshape(-1)])
    key_bounds = np.concatenate([np.zeros(n, np.int64), np.arange(len(plan.cases) + 1, dtype=np.int64) * 16])
    rows = np.concatenate([np.arange(n), plan.order + n])
    with (folder / f"raw.{plan.node}").open("wb") as file:
        file.writelines(batches.build((keys, key_bounds), (data, bounds), rows, RECORDED, BATCH_BYTES))
    with (folder / f"keys.{plan.node}").open("wb") as file:
        if sealed:
            rows = np.flatnonzero(plan.junk == 0)
            wrapped = _wrapped(plan, epoch_key(seed, plan.node))
            case_bounds = np.arange(len(plan.cases) + 1, dtype=np.int64) * 16
            file.writelines(batches.build((keys, case_bounds), wrapped, rows, RECORDED, BATCH_BYTES))
    return int(np.diff(bounds)[np.concatenate([np.arange(n), plan.order + n])].sum())


def _values(plan: NodePlan, sealed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return patterns, then events, as data uint8[*] and bounds int64[n+1]."""
    early = [_pattern(plan, k) for k in range(len(plan.patterns))]
    sizes = np.array([len(value) for value in early], np.int64)
    start = int(sizes.sum())
    out = np.empty(start + ROOM * len(plan.ids), np.uint8)
    out[:start] = np.frombuffer(b"".join(early), np.uint8)
    bounds = np.concatenate([[0], np.cumsum(sizes), np.zeros(len(plan.ids), np.int64)]).astype(np.int64)
    items = texts().items
    words = np.frombuffer(b"".join(items), np.uint8)
    ends = np.concatenate([[0], np.cumsum([len(item) for item in items])]).astype(np.int64)
    kind = CASE_KINDS["IncidentReported"]
    release = latest("IncidentReported")
    _lay_events(
        ENCRYPT,
        (plan.ids, plan.cases, plan.keys, plan.sequence, plan.recorded, plan.numbers, plan.junk),
        (words, ends),
        _octets(single_object_prefix(latest("Envelope"))),
        _octets(avro_text(plan.node)),
        _octets(release.fingerprint),
        kind,
        sealed,
        out,
        bounds[len(early) :],
    )
    return out[: bounds[-1]], bounds


def _pattern(plan: NodePlan, k: int) -> bytes:
    body = zigzag(RECORDED) + plan.patterns[k].encode()
    head = plan.pattern_ids[k].tobytes() + avro_text(plan.node) + zigzag(k + 1) + zigzag(CASE_KINDS["PatternObserved"])
    head += b"\x00" + latest("PatternObserved").fingerprint
    return single_object_prefix(latest("Envelope")) + head + zigzag(len(body)) + body


def _wrapped(plan: NodePlan, key: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the CaseKey records of all cases."""
    head = single_object_prefix(latest("CaseKey")) + zigzag(1)
    size = len(head) + 48
    out = np.empty((len(plan.cases), size), np.uint8)
    out[:, : len(head)] = _octets(head)
    _wrap(ENCRYPT, plan.cases, plan.keys, _octets(key), _octets(CASE_KEY), out, len(head))
    return out.reshape(-1), np.arange(len(out) + 1, dtype=np.int64) * size


def _octets(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8).copy()


@intrinsic
def _encrypt(context, address, out, size, body, length, bound, bound_size, nonce, key):
    """Call `crypto_aead_xchacha20poly1305_ietf_encrypt`; by its address, so that what is compiled can be kept."""
    from llvmlite import ir

    def generate(context, builder, signature, args):
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.IntType(32), [word] * 9)
        nothing = ir.Constant(word, 0)
        out, size, body, length, bound, bound_size, nonce, key = args[1:]
        given = [out, size, body, length, bound, bound_size, nothing, nonce, key]
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), given)

    return types.int32(*[types.uint64] * 9), generate


@numba.njit(nogil=True, cache=True)
def _wrap(address, cases, keys, epoch, bound, out, at):
    nonce = np.zeros(24, np.uint8)
    for i in range(len(cases)):
        nonce[:16] = cases[i]
        place = out.ctypes.data + i * out.shape[1] + at
        plain = keys.ctypes.data + i * 32
        against, under = bound.ctypes.data, epoch.ctypes.data
        _encrypt(address, place, 0, plain, 32, against, len(bound), nonce.ctypes.data, under)


@numba.njit(nogil=True, cache=True)
def _long(out, at, value):
    bits = np.uint64((value << 1) ^ (value >> 63))
    while bits >= np.uint64(0x80):
        out[at] = np.uint8(bits & np.uint64(0x7F)) | np.uint8(0x80)
        bits >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(bits)
    return at + 1


@numba.njit(nogil=True, cache=True)
def _word(out, at, words, ends, which):
    size = ends[which + 1] - ends[which]
    at = _long(out, at, size)
    out[at : at + size] = words[ends[which] : ends[which + 1]]
    return at + size


@numba.njit(nogil=True, cache=True)
def _maybe(out, at, words, ends, which):
    if which < 0:
        out[at] = 0
        return at + 1
    out[at] = 2
    return _word(out, at + 1, words, ends, which)


@numba.njit(nogil=True, cache=True)
def _symbols(out, at, mask):
    total = 0
    for k in range(16):
        total += mask >> k & 1
    if total:
        at = _long(out, at, total)
        for k in range(16):
            if mask >> k & 1:
                at = _long(out, at, k)
    out[at] = 0
    return at + 1


COUNTRY, ADMIN1, FORM, PARTY, NEXUS, EYEWITNESS = (
    AT[name] for name in ("country", "admin1", "forms", "party", "nexus", "eyewitness")
)


@numba.njit(nogil=True, cache=True)
def _body(out, at, recorded, numbers, words, ends):
    at = _long(out, at, recorded)
    for k in range(len(numbers)):
        value = np.int64(numbers[k])
        if k == COUNTRY:
            at = _word(out, at, words, ends, value)
        elif k in (ADMIN1, PARTY):
            at = _maybe(out, at, words, ends, value)
        elif k in (FORM, NEXUS):
            at = _symbols(out, at, value)
        elif k == EYEWITNESS:
            out[at] = value
            at += 1
        else:
            at = _long(out, at, value)
    return at


@numba.njit(nogil=True, cache=True)
def _lay_events(address, events, dictionary, prefix, node, schema, kind, sealed, out, bounds):
    ids, cases, keys, sequence, recorded, numbers, junk = events
    words, ends = dictionary
    body, nonce = np.empty(ROOM, np.uint8), np.empty(24, np.uint8)
    bound = np.empty(48 + len(node) - 1, np.uint8)
    bound[:8] = schema
    bound[48:] = node[1:]
    for i in range(len(ids)):
        start = at = bounds[i]
        size = _body(body, 0, recorded[i], numbers[i], words, ends)
        out[at : at + len(prefix)] = prefix
        at += len(prefix)
        out[at : at + 16] = ids[i]
        out[at + 16 : at + 16 + len(node)] = node
        at = _long(out, at + 16 + len(node), sequence[i])
        at = _long(out, at, kind)
        out[at] = 2
        out[at + 1 : at + 17] = cases[i]
        out[at + 17 : at + 25] = schema
        at = _long(out, at + 25, size + TAG if sealed else size)
        if sealed:
            nonce[:16], bound[8:24], bound[24:40] = ids[i], ids[i], cases[i]
            for k in range(8):
                nonce[16 + k] = bound[40 + k] = (sequence[i] >> (8 * k)) & 0xFF
            place, key = out.ctypes.data + at, keys.ctypes.data + i * 32
            against = bound.ctypes.data
            _encrypt(address, place, 0, body.ctypes.data, size, against, len(bound), nonce.ctypes.data, key)
            at += size + TAG
        else:
            out[at : at + size] = body[:size]
            at += size
        if junk[i] == EMPTY:
            at = start
        elif junk[i] == FOREIGN:
            out[start] = 0x7F
        elif junk[i] == TORN:
            at = start + (at - start) // 2
        bounds[i + 1] = at
