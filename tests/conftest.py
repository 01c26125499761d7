"""Kernels are compiled before the first test, where no time limit counts: on a fresh machine that takes a minute."""

import tracemalloc  # noqa: F401  pytest's hook imports it where the collector runs, and breaks where that happens within that import

from streams import recordbatch, warm


def pytest_collection_finish(session):
    if session.items:
        recordbatch.warm()
        warm.warm()
