"""The table of docs/faults.md, from the results of a run. `python -m tests.chaos.report RESULTS.json ...` writes it.

Each file is what `python -m tests.chaos --results FILE` or `python -m tests.chaos.planted --results FILE` has written;
they are kept beside this module, so that the page says no number that no run has given.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"
KEPT = Path(__file__).with_name("results.json")
BEGIN, END = "<!-- results: begin (python -m tests.chaos.report) -->\n", "<!-- results: end -->\n"


def rendered(kept: dict[str, Any]) -> str:
    """Return the tables."""
    return "\n".join([*_faults(kept["runs"]), "", *_checked(kept["runs"]), "", *_planted(kept["planted"]), ""])


def _faults(runs: list[dict[str, Any]]) -> list[str]:
    lines = ["| scenario | fault | times | records | violations | seed |", "|---|---|---:|---:|---:|---|"]
    total: Counter[str] = Counter()
    for run in runs:
        for kind, count in sorted(run["faults"].items()):
            total[kind] += count
            records = run["notes"].get("records", 0)
            lines.append(f"| {run['name']} | {kind} | {count} | {records:,} | {len(run['wrong'])} | {run['seed']} |")
    wrong = sum(len(run["wrong"]) for run in runs)
    return [*lines, "", f"{total.total()} faults of {len(total)} kinds, {wrong} violations."]


def _checked(runs: list[dict[str, Any]]) -> list[str]:
    looked: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for run in runs:
        for name, check in run["checks"].items():
            looked[name] += check["looked"]
            wrong[name] += len(check["wrong"])
    rows = [f"| {name} | {looked[name]:,} | {wrong[name]} |" for name in looked]
    return ["| invariant | looked at | violations |", "|---|---:|---:|", *rows]


def _planted(verdicts: list[dict[str, Any]]) -> list[str]:
    bugs = [one for one in verdicts if not one["bug"].startswith("(none)")]
    sound = [one for one in verdicts if one["bug"].startswith("(none)")]
    rows = [f"| `{one['bug']}` | {one['stage']} | {one['provocation']} | {_first(one)} |" for one in bugs]
    green = sum(not one["findings"] for one in sound)
    head = ["| planted bug | stage | provoked by | first finding |", "|---|---|---|---|"]
    caught = sum(_first(one) != "not caught" for one in bugs)
    return [
        *head,
        *rows,
        "",
        f"{caught} of {len(bugs)} caught; {green} of {len(sound)} provocations without a bug green.",
    ]


def _first(verdict: dict[str, Any]) -> str:
    findings = [line for line in verdict["findings"] if not line.startswith("(")]
    return findings[0].partition(":")[0] if findings else "not caught"


def page(text: str, tables: str) -> str:
    """Return the page with the tables between its marks."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + "\n" + tables + "\n" + END + rest.partition(END)[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.report", description=__doc__)
    parser.add_argument("results", nargs="*", type=Path, help="take these results in; a scenario replaces its last run")
    parser.add_argument("--check", action="store_true", help="exit 1 where the page is not what the results say")
    asked = parser.parse_args()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {"runs": [], "planted": []}
    for path in asked.results:
        for one in json.loads(path.read_text()):
            kind, key = ("planted", "bug") if "bug" in one else ("runs", "name")
            kept[kind] = [each for each in kept[kind] if each[key] != one[key]] + [one]
    wanted = page(PAGE.read_text(), rendered(kept))
    if asked.check:
        return int(wanted != PAGE.read_text())
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
