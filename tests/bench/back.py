"""`python -m tests.bench.back`: how soon a worker reads again after `kill -9`, for each stage, beside a real Kafka and S3."""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from tests.integration.whole.rig import Whole, until

STAGES, REST = ("refine", "merge", "sink", "receipts"), 6.0


def seconds(worker) -> float:
    """Kill the worker's process; return how long it takes until the next one is ready."""
    before, begun = len(worker.events("ready")), time.time()
    assert worker.kill_child()
    until(lambda: len(worker.events("ready")) > before)
    return worker.events("ready")[-1].get("time", time.time()) - begun


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.back", description=__doc__)
    parser.add_argument("--kills", type=int, default=5)
    kills = parser.parse_args().kills
    with tempfile.TemporaryDirectory(prefix="back-") as folder:
        whole = Whole(Path(folder) / "data", ["SYN-1", "SYN-2"])
        try:
            whole.create_reporters()
            workers = [whole.worker(stage, "1") for stage in STAGES]
            until(lambda: all(worker.events("ready") for worker in workers))
            print("| stage | median s | longest s |\n|---|---:|---:|")
            for worker in workers:
                took = []
                for _ in range(kills):
                    time.sleep(REST)
                    took.append(seconds(worker))
                print(f"| {worker.stage} | {median(took):.2f} | {max(took):.2f} |", flush=True)
        finally:
            whole.down()


if __name__ == "__main__":
    main()
