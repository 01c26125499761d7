"""What a check found, and how it asks the book."""

import sqlite3
from dataclasses import dataclass, field
from typing import Any

Book = sqlite3.Connection


@dataclass
class Finding:
    """How many things were looked at, and what was wrong, one sentence each."""

    looked: int = 0
    wrong: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def differ(self, what: str, found: Any, wanted: Any) -> None:
        """Note what is in one of two sets only."""
        found, wanted = set(found), set(wanted)
        self.looked += len(wanted)
        for word, rest in (("missing", wanted - found), ("foreign", found - wanted)):
            if rest:
                self.wrong.append(f"{what}: {len(rest)} {word}, for example {shown(min(rest, key=repr))}")

    def rows(self, what: str, found: list[Any]) -> None:
        """Note rows none of which should be there."""
        if found:
            self.wrong.append(f"{what}: {len(found)}, for example {shown(found[0])}")


def shown(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return f"({', '.join(map(shown, value))})" if isinstance(value, tuple) else str(value)


def rows_of(book: Book, query: str, *values: Any) -> list[Any]:
    return book.execute(query, values).fetchall()


def count(book: Book, table: str) -> int:
    return int(rows_of(book, f"SELECT count(*) FROM {table}")[0][0])
