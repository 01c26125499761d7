"""Compile every kernel once, so that no worker waits for it: `python -m pipeline.warm`; one second when it was done."""

from streams import recordbatch, warm

if __name__ == "__main__":
    recordbatch.warm()
    warm.warm()
