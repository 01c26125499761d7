"""`python -m tests.decode --records N [--seed S] [--processes P]`: three readers over damaged records of every contract."""

import argparse
import json
import sys
import time

from rich.progress import Progress

from tests.decode import compare
from tests.decode.run import many

GIB = 1 << 30


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=5_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    began = time.perf_counter()
    with Progress(disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("records", total=given.records)
        told, happened, peak = many(
            given.records, given.seed, given.processes, lambda count: progress.advance(task, count)
        )
    print("\n".join(told[:20]), file=sys.stderr)
    slowest = happened.pop("nanoseconds")
    result = {
        "records": happened.pop("records"),
        "by_the_fast_lane": happened.pop("fast"),
        "by_the_avro_package": given.records // compare.SHARE,
        "seed": given.seed,
        "disagreements": len(told),
        "accepted": happened.pop("accepted"),
        "slowest_batch_us_per_record": round(slowest / 1000, 2),
        "peak_mib": peak >> 20,
        "seconds": round(time.perf_counter() - began, 1),
        "refused": dict(sorted(happened.items())),
    }
    print(json.dumps(result))
    return bool(told) or peak > GIB


if __name__ == "__main__":
    sys.exit(main())
