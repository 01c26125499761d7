"""Cells that a spreadsheet would run as a formula, made harmless and, when they come back, themselves again.

OWASP, CSV injection: a cell that begins with = + - @, TAB or CR; also after blanks and no-break spaces, and after a
line break inside the cell (Symfony CVE-2021-41270). An apostrophe before it makes it text.
"""

import re

_LINE_START = r"(?:\A|(?<=[\r\n]))"
_DANGER = r"'*(?:[^\S\r\n]*[=+\-@＝＋－＠]|[\t\r])"
_UNGUARDED = re.compile(f"{_LINE_START}(?={_DANGER})")
_GUARDED = re.compile(f"{_LINE_START}'(?={_DANGER})")


def guard(cell: str) -> str:
    """Return the cell with an apostrophe wherever a formula could begin."""
    return _UNGUARDED.sub("'", cell)


def unguard(cell: str) -> str:
    """Return what `guard` was given; other cells as they are."""
    return _GUARDED.sub("", cell)
