"""The patterns of rules as tables of states over the bytes of a text, so that a kernel can look for them.

A pattern is built of ASCII characters, classes such as `[0-9]`, groups `(?:…)`, `|`, `?` and `{n}`; all else is
Unsupported. In UTF-8 no byte of another character is ASCII, so bytes and characters find the same. The method is
Glushkov's, The abstract theory of automata, 1961: a state is the set of the places in the pattern that may come next.
"""

import re
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from schemas.walk import Unsupported

States = NDArray[np.int16]
Places = frozenset[int]
FOUND = 0
START = 1
LITERAL = re.compile(r"[ -~](?<![\\.^$*+?{}\[\]|()])")
CLASS = re.compile(r"\[((?:[0-9A-Za-z]-[0-9A-Za-z]|[0-9A-Za-z])+)\]")
TIMES = re.compile(r"\{([1-9][0-9]?)\}")


@cache
def automaton(pattern: str) -> States:
    """Return int16[states, 256], the state after each byte: begin in `START`; in `FOUND` the pattern was found."""
    reading = _Reading(pattern)
    whole = reading.either()
    if whole.empty or reading.at < len(pattern):
        raise reading.unsupported()
    having = [frozenset(place for place, octets in enumerate(reading.octets) if byte in octets) for byte in range(256)]
    numbers, table = {whole.first: START}, [[FOUND] * 256]
    for state in (queue := [whole.first]):
        following = []
        for byte in range(256):
            read = state & having[byte]
            after = whole.first.union(*(reading.follow[place] for place in read))
            if not read & whole.last and after not in numbers:
                numbers[after] = len(numbers) + 1
                queue.append(after)
            following.append(FOUND if read & whole.last else numbers[after])
        table.append(following)
    return np.array(table, np.int16)


@dataclass(frozen=True)
class _Piece:
    """A part of a pattern: whether it may be empty, and the places with which it may begin and end."""

    empty: bool = True
    first: Places = frozenset()
    last: Places = frozenset()


@dataclass
class _Reading:
    """A pattern read up to `at`: the bytes that each place takes, and the places that may follow each."""

    pattern: str
    at: int = 0
    octets: list[Places] = field(default_factory=list)
    follow: list[Places] = field(default_factory=list)

    def unsupported(self) -> Unsupported:
        return Unsupported(
            f"the pattern {self.pattern!r} is not read at character {self.at + 1}: "
            "it may have ASCII characters, classes, (?:groups), |, ? and {n}, and must not be found in an empty text"
        )

    def either(self) -> _Piece:
        found = self.sequence()
        while self.takes("|"):
            other = self.sequence()
            found = _Piece(found.empty or other.empty, found.first | other.first, found.last | other.last)
        return found

    def sequence(self) -> _Piece:
        found = _Piece()
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            found = self.joined(found, self.repeated())
        return found

    def joined(self, one: _Piece, two: _Piece) -> _Piece:
        for place in one.last:
            self.follow[place] |= two.first
        first = one.first | two.first if one.empty else one.first
        return _Piece(one.empty and two.empty, first, one.last | two.last if two.empty else two.last)

    def repeated(self) -> _Piece:
        start = self.at
        found = self.single()
        if self.takes("?"):
            return _Piece(True, found.first, found.last)
        if times := TIMES.match(self.pattern, self.at):
            for _ in range(int(times[1]) - 1):
                self.at = start
                found = self.joined(found, self.single())
            self.at = times.end()
        return found

    def single(self) -> _Piece:
        if self.takes("(?:"):
            found = self.either()
            if not self.takes(")"):
                raise self.unsupported()
            return found
        taken = CLASS.match(self.pattern, self.at) or LITERAL.match(self.pattern, self.at)
        if not taken:
            raise self.unsupported()
        self.at = taken.end()
        one = re.compile(taken[0])
        self.octets.append(frozenset(byte for byte in range(128) if one.fullmatch(chr(byte))))
        self.follow.append(frozenset())
        place = frozenset({len(self.octets) - 1})
        return _Piece(False, place, place)

    def takes(self, text: str) -> bool:
        """Step over `text` if it comes next, and say whether it did."""
        found = self.pattern.startswith(text, self.at)
        self.at += len(text) * found
        return found


__all__ = ["FOUND", "START", "automaton"]
