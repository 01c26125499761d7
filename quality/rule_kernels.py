"""The kernels that judge a batch: the lines of a `quality.compiled.Program` run over its rows, without the GIL.

A line is (op, to, a, b, c): it writes register `to` for `SIZE` rows at a time, from registers or from a column. A
register holds numbers, days, indexes of symbols, bit masks, codes of texts or verdicts, int64. `NULL` stands for null;
a verdict is 0 for false, 1 for null and 2 for true, so that Kleene's and, or and not are the least, the largest and 2
minus. Shapes: `ints` int64[i, n]; `spans` int64[s, n, 2] of (start, end) in `data` uint8[*], read-only; `valid`
bool[v, n]; `counts` int64[l, n]. The plain twin of all is `quality.one`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quality.automaton import FOUND, START
from schemas.jit import inlined
from schemas.kernels import Bools, Numbers, Octets

NULL = -(1 << 63)
SIZE = 512
DAY = 86_400_000
FALSE, UNKNOWN, TRUE = 0, 1, 2
LONGEST = 7
SLOTS = 2048

# a: slot of the column (ITEMS: of counts), b: of its nulls or -1; FINDS c: number of the first state.
NUMBER, DAYS_OF, ABSENT, ITEMS, CODE, CHARS, FINDS = range(7)
# a: number of the list of texts; ALL_AMONG b: table.
ALL_AMONG, DISTINCT = range(7, 9)
# a, b: registers; AMONG and LOOKUP b: table; BROKEN a: register, b: bit.
EQUAL, ORDERED, AND, OR, NOT, MISSING, SUM, LESS, WITHIN, HAS = range(9, 19)
MONTH, DAY_OF_MONTH, WEEKDAY, BITS, AMONG, LOOKUP, BROKEN = range(19, 26)

Words = NDArray[np.uint64]
States = NDArray[np.int16]


@inlined
def word_of(data: Octets, start: int, end: int) -> Any:
    """Return a text of at most `LONGEST` bytes as a word that is never 0: its bytes, and its length plus one."""
    word = np.uint64(end - start + 1) << np.uint64(8 * LONGEST)
    if end > start:
        for k in range(LONGEST):  # no branch on the length: to guess it wrong costs more than to read on
            byte = np.uint64(data[min(start + k, end - 1)])
            word |= byte * np.uint64(start + k < end) << np.uint64(8 * k)
    return word


@inlined
def _slot_of(word: Any, slots: int) -> Any:
    """Return where the search for a text begins in a table of `slots`, a power of two."""
    return np.int64((word * np.uint64(0xD6E8FEB86659FD93)) >> np.uint64(32)) & (slots - 1)


@inlined
def _code_of(data: Octets, start: int, end: int, words: Words, codes: Numbers) -> Any:
    """Return the code of a text, -1 where it is not in the table: `words` uint64[2^k], 0 where free, has `codes`."""
    if end - start > LONGEST:
        return -1
    word = word_of(data, start, end)
    at = _slot_of(word, len(words))
    while words[at] != word:
        if words[at] == 0:
            return -1
        at = (at + 1) & (len(words) - 1)
    return codes[at]


@inlined
def _finds(data: Octets, start: int, end: int, states: States, first: int) -> bool:
    """Say whether an automaton, whose states begin at row `first` of `states` int16[*, 256], finds its pattern."""
    state = START
    for k in range(start, end):
        if state == START:  # noqa: SIM108 - most bytes begin nothing; so none waits for the one before
            state = states[first + START, data[k]]
        else:
            state = states[first + state, data[k]]
        if state == FOUND:
            return True
    return False


@inlined
def _chars(data: Octets, start: int, end: int) -> int:
    """Count the characters of a text in UTF-8."""
    count = 0
    for k in range(start, end):
        count += (data[k] & 0xC0) != 0x80
    return count


@inlined
def _same(data: Octets, one: Numbers, two: Numbers) -> bool:
    if one[1] - one[0] != two[1] - two[0]:
        return False
    for k in range(one[1] - one[0]):  # noqa: SIM110 - numba knows no generator here
        if data[one[0] + k] != data[two[0] + k]:
            return False
    return True


@inlined
def _distinct(data: Octets, items: Numbers, first: int, last: int, seen: Numbers) -> bool:
    """Say whether no two of items[first:last] are the same; `seen` int64[SLOTS] is for its own use."""
    slots = 2
    while slots < 2 * (last - first):
        slots *= 2
    seen[:slots] = 0
    for index in range(first, last):
        mixed = np.uint64(0xCBF29CE484222325)
        for k in range(items[index, 0], items[index, 1]):
            mixed = (mixed ^ np.uint64(data[k])) * np.uint64(0x100000001B3)
        at = np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(slots - 1))
        while seen[at] != 0:
            if _same(data, items[seen[at] - 1], items[index]):
                return False
            at = (at + 1) & (slots - 1)
        seen[at] = index + 1
    return True


@inlined
def civil(day: int) -> Any:
    """Return (month, day of the month) of a day since 1970-01-01, from the year 0 on.

    Neri and Schneider, Euclidean affine functions and their application to calendar algorithms, 2023.
    """
    of_era = (np.uint64(4) * np.uint64(day + 719_468) + np.uint64(3)) % np.uint64(146_097)
    of_year = ((of_era | np.uint64(3)) * np.uint64(2_939_745) & np.uint64(0xFFFFFFFF)) // np.uint64(4 * 2_939_745)
    scaled = np.uint64(2_141) * of_year + np.uint64(197_913)
    month, of_month = np.int64(scaled >> np.uint64(16)), np.int64((scaled & np.uint64(0xFFFF)) // np.uint64(2_141))
    return month - 12 if of_year >= 306 else month, of_month + 1


@inlined
def place(given: Words, words: Words, codes: Numbers) -> None:
    """Enter the texts `given` uint64[c], each once, into the table `words` and `codes`, all zeros."""
    for code in range(len(given)):
        at = _slot_of(given[code], len(words))
        while words[at] != 0:
            at = (at + 1) & (len(words) - 1)
        words[at], codes[at] = given[code], code


@inlined
def _bits(mask: int) -> int:
    """Count the bits of a mask."""
    count = 0
    while mask != 0:
        mask &= mask - 1
        count += 1
    return count


@inlined
def _numbers(op: int, to: Numbers, values: Numbers, valid: Bools, null: int, low: int, high: int) -> None:
    """Read numbers, days of timestamps or counts from row `low` to `high`, or whether they are null."""
    for i in range(low, high):
        if op == ABSENT:
            to[i - low] = FALSE if valid[null, i] else TRUE
        elif null >= 0 and not valid[null, i]:
            to[i - low] = NULL
        else:
            to[i - low] = values[i] // DAY if op == DAYS_OF else values[i]


@inlined
def _texts(
    op: int,
    to: Numbers,
    spans: Numbers,
    valid: Bools,
    null: int,
    low: int,
    high: int,
    data: Octets,
    vocabulary: Any,
    first: int,
) -> None:
    """Read of texts their codes, how many characters they have, or whether a pattern is found in them."""
    words, codes, states = vocabulary
    for i in range(low, high):
        start, end = spans[i, 0], spans[i, 1]
        if null >= 0 and not valid[null, i]:
            to[i - low] = UNKNOWN if op == FINDS else NULL
        elif op == CODE:
            to[i - low] = _code_of(data, start, end, words, codes)
        elif op == CHARS:
            to[i - low] = _chars(data, start, end)
        else:
            to[i - low] = TRUE if _finds(data, start, end, states, first) else FALSE


@inlined
def _lists(
    op: int,
    to: Numbers,
    offsets: Numbers,
    items: Numbers,
    low: int,
    high: int,
    data: Octets,
    vocabulary: Any,
    table: Numbers,
    seen: Numbers,
) -> None:
    """Read of lists of texts, row i having items[offsets[i]:offsets[i + 1]], what holds for all their items."""
    words, codes, _ = vocabulary
    for i in range(low, high):
        first, last = offsets[i], offsets[i + 1]
        if op == DISTINCT:
            to[i - low] = TRUE if _distinct(data, items, first, last, seen) else FALSE
        else:
            to[i - low] = TRUE
            for k in range(first, last):
                code = _code_of(data, items[k, 0], items[k, 1], words, codes)
                to[i - low] = min(to[i - low], table[code + 1])


@inlined
def _verdict(op: int, to: Numbers, one: Numbers, two: Numbers, size: int) -> None:
    """Compare two registers, or join two verdicts."""
    if op == EQUAL:
        for i in range(size):
            to[i] = UNKNOWN if one[i] == NULL or two[i] == NULL else TRUE * (one[i] == two[i])
    elif op == ORDERED:
        for i in range(size):
            to[i] = UNKNOWN if one[i] == NULL or two[i] == NULL else TRUE * (one[i] <= two[i])
    elif op == AND:
        for i in range(size):
            to[i] = min(one[i], two[i])
    elif op == OR:
        for i in range(size):
            to[i] = max(one[i], two[i])
    elif op == NOT:
        for i in range(size):
            to[i] = TRUE - one[i]
    else:
        for i in range(size):
            to[i] = TRUE * (one[i] == NULL)


@inlined
def _reckon(op: int, to: Numbers, one: Numbers, two: Numbers, size: int) -> None:
    """Reckon with two registers: their sum or difference, or two masks."""
    for i in range(size):
        if op == WITHIN:
            to[i] = TRUE * ((one[i] & ~two[i]) == 0)
        elif op == HAS:
            to[i] = TRUE * ((one[i] & two[i]) != 0)
        elif one[i] == NULL or two[i] == NULL:
            to[i] = NULL
        else:
            to[i] = one[i] + two[i] if op == SUM else one[i] - two[i]


@inlined
def _of_one(op: int, to: Numbers, one: Numbers, table: Numbers, size: int) -> None:
    """Take a part of a day, count the bits of a mask, or look up a code."""
    for i in range(size):
        if one[i] == NULL:
            to[i] = UNKNOWN if op == AMONG else NULL
        elif op >= AMONG:
            to[i] = table[one[i] + 1]
        elif op == WEEKDAY:
            to[i] = (one[i] + 3) % 7 + 1
        elif op == BITS:
            to[i] = _bits(one[i])
        else:
            month, day = civil(one[i])
            to[i] = month if op == MONTH else day


@inlined
def _work(op: int, to: Numbers, one: Numbers, two: Numbers, table: Numbers, size: int) -> None:
    if op <= MISSING:
        _verdict(op, to, one, two, size)
    elif op <= HAS:
        _reckon(op, to, one, two, size)
    else:
        _of_one(op, to, one, table, size)


@inlined
def judge(
    lines: Numbers,
    registers: Numbers,
    tables: Numbers,
    vocabulary: Any,
    columns: Any,
    lists: Any,
    data: Octets,
    seen: Numbers,
    out: Words,
) -> None:
    """Set the bit of each rule that a row breaks, for n rows: `out` uint64[n], zeros.

    `registers` int64[r, SIZE] has the constants already; `tables` int64[t, c + 1] is by code + 1; `vocabulary` is words,
    codes and states; `columns` are ints, spans, valid and counts; `lists` offsets int64[l, n + 1] and items int64[k, 2];
    `seen` int64[SLOTS], zeros, is room for the items of one list.
    """
    ints, spans, valid, counts = columns
    offsets, items = lists
    for low in range(0, len(out), SIZE):
        high = min(low + SIZE, len(out))
        for line in range(len(lines)):
            op, a, b, c = lines[line, 0], lines[line, 2], lines[line, 3], lines[line, 4]
            to = registers[lines[line, 1]]
            if op < ITEMS:
                _numbers(op, to, ints[a], valid, b, low, high)
            elif op == ITEMS:
                _numbers(op, to, counts[a], valid, b, low, high)
            elif op <= FINDS:
                _texts(op, to, spans[a], valid, b, low, high, data, vocabulary, c)
            elif op <= DISTINCT:
                _lists(op, to, offsets[a], items, low, high, data, vocabulary, tables[b], seen)
            elif op == BROKEN:
                for i in range(high - low):
                    out[low + i] |= np.uint64(registers[a, i] != TRUE) << np.uint64(b)
            elif op >= AMONG:
                _of_one(op, to, registers[a], tables[b], high - low)
            else:
                _work(op, to, registers[a], registers[b], tables[0], high - low)
