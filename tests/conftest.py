"""Kernels are compiled before the first test, where no time limit counts: on a fresh machine that takes a minute."""

from streams import recordbatch, warm


def pytest_collection_finish(session):
    if session.items:
        recordbatch.warm()
        warm.warm()
