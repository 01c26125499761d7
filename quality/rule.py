"""What a rule is."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from quality.expr import Expr

Severity: TypeAlias = Literal["refuse", "warn"]
Applies: TypeAlias = Literal["incident", "pattern"]


@dataclass(frozen=True)
class Rule:
    """One rule: `check` is what must hold; the sentences say to the person at the node what to do.

    A broken `refuse` rule sends the event to quarantine; a broken `warn` rule is told, and the event goes on.
    """

    code: str
    severity: Severity
    applies: Applies
    check: Expr
    en: str
    fr: str
    ar: str


__all__ = ["Applies", "Rule", "Severity"]
