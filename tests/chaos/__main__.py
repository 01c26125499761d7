"""`python -m tests.chaos`: faults on a real Kafka and a real S3, and what the oracle says of it.

Exit 1 where an invariant is violated, a kind of fault fired too seldom, or a way to recover was never taken.
"""

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.chaos.runner import least, rendered, run, scenarios


def main() -> int:
    known = scenarios()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--scenario", default="all", help=f"all, or some by comma: {', '.join(known)}")
    parser.add_argument(
        "--minutes", type=float, help="at most about so many for each; fewer faults then, never below 10"
    )
    parser.add_argument("--cut", action="store_true", help="the numbers of the cut that the tests run")
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--rate", type=float, default=500.0, help="records a second")
    parser.add_argument("--data", type=Path, help="where the worlds live; kept if given")
    parser.add_argument("--results", type=Path, help="write the results as JSON here")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each scenario")
    asked = parser.parse_args()
    names = list(known) if asked.scenario == "all" else asked.scenario.split(",")
    home = asked.data or Path(tempfile.mkdtemp(prefix="chaos-"))
    if old := [name for name in names if (home / name).exists()]:
        parser.error(f"{home / old[0]} holds a world already, and a new one is not to mix with it; take it away first")
    results = []
    for name in names:
        scenario, data = known[name], home / name
        counts = least(scenario, asked.cut, asked.minutes)
        print(f"{name}: about {scenario.minutes} minutes in full; {counts}", file=sys.stderr)
        result = run(scenario, asked.seed, data, counts, asked.rate)
        results.append(result)
        if asked.results:
            asked.results.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
        if asked.json:
            print(json.dumps(asdict(result)), flush=True)
        for line in result.wrong:
            print(f"  RED {line}", file=sys.stderr)
        if asked.data is None and not result.wrong:
            shutil.rmtree(data, ignore_errors=True)
    print(rendered(results), file=sys.stderr if asked.json else sys.stdout)
    return 1 if any(result.wrong for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
