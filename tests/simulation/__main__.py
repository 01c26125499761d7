"""`python -m tests.simulation --seeds N [--first S] [--processes P]`, or `--seed X --trace` to see one schedule again."""

import argparse
import json
import sys
import time

from rich.progress import Progress

from tests.simulation.run import MUST_HAPPEN, many, one


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20_000, help="how many schedules")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, help="run this one schedule only")
    parser.add_argument("--trace", action="store_true", help="print its whole course")
    return parser.parse_args()


def _single(seed, trace):
    result = one(seed, traced=True)
    if trace:
        print("\n".join(result.trace), file=sys.stderr)
    print(json.dumps({"seed": seed, "digest": result.digest, "violations": result.violations, **result.counts}))
    return bool(result.violations)


def main():
    given = _arguments()
    if given.seed is not None:
        return _single(given.seed, given.trace)
    began = time.perf_counter()
    with Progress(disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("schedules", total=given.seeds)
        failed, happened = many(
            given.first, given.seeds, given.processes, lambda done: progress.update(task, completed=done)
        )
    for seed, violations in failed[:20]:
        print(f"seed {seed}: {violations[0]}", file=sys.stderr)
    missing = [name for name in MUST_HAPPEN if given.seeds >= 5_000 and happened[name] < 10]
    told = {
        "schedules": given.seeds,
        "first": given.first,
        "failed": [seed for seed, _ in failed],
        "never_happened": missing,
        "seconds": round(time.perf_counter() - began, 1),
        "happened": dict(sorted(happened.items())),
    }
    print(json.dumps(told))
    return bool(failed or missing)


if __name__ == "__main__":
    sys.exit(main())
