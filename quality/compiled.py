"""The rules as a short program for the kernel of `quality.rule_kernels`: the twin of `quality.one` that refine runs.

A program is compiled once for each schema from the expressions of the rules; what it cannot express is Unsupported when
it is compiled, never passed over. It reads decoded columns as they are: symbols by their indexes, arrays of symbols as
bit masks, places by their codes in the program's vocabulary (a text of no list has none, and equals no text of a list).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from quality import rule_kernels as kernels
from quality.expr import Expr
from quality.rule import Applies, Severity
from quality.rule_compiler import Draft
from quality.rules import rules_for
from schemas.columns import Columns
from schemas.layout import Layout
from schemas.walk import Unsupported

Int64s = NDArray[np.int64]
Masks = NDArray[np.uint64]
MOST = 64


@dataclass(frozen=True, eq=False)
class Program:
    """What judges the rows of one schema: bit i of a row's mask is set where it breaks the rule `codes[i]`.

    `lines` int64[m, 5]; `constants` int64[c, 2] are registers that always hold one value; `lists` names the arrays of
    texts that are read.
    """

    codes: tuple[str, ...]
    lines: Int64s
    constants: Int64s
    registers: int
    tables: Int64s
    vocabulary: tuple[Masks, Int64s, NDArray[np.int16]]
    lists: tuple[str, ...]

    def run(self, columns: Columns) -> Masks:
        """Return uint64[n]: the rules that each row breaks; a row that could not be decoded breaks none."""
        out = np.zeros(columns.n, np.uint64)
        registers = np.empty((self.registers, kernels.SIZE), np.int64)
        seen = np.zeros(kernels.SLOTS, np.int64)
        registers[self.constants[:, 0]] = self.constants[:, 1:]
        given = columns.arrays(), _together(columns, self.lists), columns.data
        kernels.judge(self.lines, registers, self.tables, self.vocabulary, *given, seen, out)
        out[columns.status != 0] = 0
        return out

    def reasons(self, mask: int) -> list[str]:
        """Return the codes of a row's broken rules, in the order of `RULES`."""
        return [code for bit, code in enumerate(self.codes) if mask >> bit & 1]


def refused(applies: Applies, columns: Columns) -> tuple[Int64s, list[list[str]]]:
    """Return the rows that break a `refuse` rule, int64[k] ascending, and for each the codes in the order of `RULES`."""
    judge = compiled(columns.layout, applies, "refuse")
    masks = judge.run(columns)
    rows = np.flatnonzero(masks)
    return rows, [judge.reasons(mask) for mask in masks[rows].tolist()]


@lru_cache(maxsize=256)
def compiled(layout: Layout, applies: Applies, severity: Severity | None = None) -> Program:
    """Return the program of the rules for rows of a schema, in which the facts are the record `applies`."""
    rules = rules_for(applies, severity)
    return program({rule.code: rule.check for rule in rules}, layout, applies)


def program(checks: dict[str, Expr], layout: Layout, record: str) -> Program:
    """Return the program of some checks by their codes, at most 64; Unsupported where one cannot be expressed."""
    if len(checks) > MOST:
        raise Unsupported(f"{len(checks)} rules do not fit into the {MOST} bits of a mask: judge them in two programs")
    draft = Draft(layout, record)
    for bit, check in enumerate(checks.values()):
        draft.lines.append((kernels.BROKEN, 0, draft.of(check, "verdict").register, bit, 0))
    return Program(tuple(checks), *draft.finished())


def _together(columns: Columns, names: Sequence[str]) -> tuple[Int64s, Int64s]:
    """Return offsets int64[l, n + 1] and items int64[k, 2] of some arrays of texts, all items in one."""
    offsets, items = [np.zeros((0, columns.n + 1), np.int64)], [np.zeros((0, 2), np.int64)]
    for name in names:
        begins, spans = columns.lists(name)
        offsets.append(begins[None] + sum(map(len, items)))
        items.append(spans)
    return np.concatenate(offsets), np.concatenate(items)


__all__ = ["Program", "compiled", "program", "refused"]
