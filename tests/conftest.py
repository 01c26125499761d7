"""What goes before the first test: long files are put in front, and kernels compiled, where no time limit counts.

On a fresh machine compiling takes a minute.
"""

import tracemalloc  # noqa: F401  pytest's hook imports it where the collector runs, and breaks where that happens within that import
from collections import defaultdict

import pytest

from streams import recordbatch, warm


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Have files come first whose tests may take longest: side by side, none of them is left alone at the end."""
    longest = defaultdict(int)
    for item in items:
        own = item.get_closest_marker("timeout")
        longest[item.path] = max(longest[item.path], own.args[0] if own else 0)
    items.sort(key=lambda item: -longest[item.path])


def pytest_collection_finish(session):
    if session.items:
        recordbatch.warm()
        warm.warm()
