"""All rules, each stated once; `one`, `verdict`, `compiled` and `suite` are renderings of them, so is `docs/reference/rules.md`.

A `refuse` rule that is broken sends the event to quarantine, a `warn` rule only tells the person. How null counts is
said in `quality.expr`. `SUITE` names the rules as they stand: it goes with each batch and each quarantined record.
It covers code, severity and check, not the lists of places that a check looks up.
"""

from functools import cache
from hashlib import blake2b

from quality.expr import Call, Expr, Field
from quality.incident_rules import INCIDENT_RULES
from quality.pattern_rules import PATTERN_RULES
from quality.rule import Applies, Rule, Severity

RULES: tuple[Rule, ...] = INCIDENT_RULES + PATTERN_RULES


def _digest() -> str:
    """Return the name of the rules as they stand: a digest of all that decides a verdict."""
    stated = "\n".join(f"{rule.code} {rule.severity} {rule.check!r}" for rule in RULES)
    return "rules-" + blake2b(stated.encode(), digest_size=6).hexdigest()


SUITE: str = _digest()


@cache
def rules_for(applies: Applies, severity: Severity | None = None) -> tuple[Rule, ...]:
    """Return the rules for incidents or patterns, all or those of one severity."""
    return tuple(rule for rule in RULES if rule.applies == applies and severity in (None, rule.severity))


@cache
def fields(applies: Applies) -> tuple[str, ...]:
    """Return the fields that the rules need: those of the contract and `recorded_on`."""
    return tuple(sorted(set().union(*(fields_of(rule.check) for rule in rules_for(applies)))))


def fields_of(expr: Expr) -> frozenset[str]:
    """Return the fields that an expression names."""
    if isinstance(expr, Field):
        return frozenset({expr.name})
    return frozenset().union(*map(fields_of, expr.args)) if isinstance(expr, Call) else frozenset()


def sentence(code: str, lang: str) -> str:
    """Return what a rule tells the person, in `en`, `fr` or `ar`; KeyError for a code that is no rule's."""
    rule = {rule.code: rule for rule in RULES}[code]
    return {"en": rule.en, "fr": rule.fr, "ar": rule.ar}[lang]


def render() -> str:
    """Return the page `docs/reference/rules.md`."""
    head = (
        "# Rules\n\nRendered from `quality/rules.py`; do not edit. "
        "A broken rule *refuses* the event (it goes to quarantine with all its reasons) or *warns*.\n"
        "A field that a rule needs and that is missing breaks the rule.\n"
    )
    return head + "".join(_section(applies) for applies in ("incident", "pattern"))


def _section(applies: Applies) -> str:
    """Return one table of the page."""
    rows = (
        f"| `{rule.code}` | {rule.severity} | {', '.join(sorted(fields_of(rule.check)))} | {rule.en} | {rule.fr} "
        f'| <bdi lang="ar" dir="rtl">{rule.ar}</bdi> |\n'
        for rule in rules_for(applies)
    )
    head = f"\n## {applies.capitalize()}s\n\n| code | severity | fields | English | Français | العربية |\n"
    return head + "|---|---|---|---|---|---|\n" + "".join(rows)


__all__ = ["RULES", "SUITE", "Rule", "fields", "fields_of", "render", "rules_for", "sentence"]
