"""A node with reports, and what is in its journal in clear: for the tests of what happens to them."""

from pipeline.node import versions
from pipeline.node.journal import Journal, Reader
from pipeline.node.record import Recorder
from tests.unit.pipeline.node.test_record import INCIDENT


def report(node, count=1, **facts):
    with Journal(node.journal) as journal, Recorder(node, journal) as recorder:
        for _ in range(count):
            recorder.record("IncidentReported", {"incident": {**INCIDENT, **facts}})
    return node


def history(node, number):
    return versions.history(node, Reader(node.journal), number)


def last(node):
    return Reader(node.journal).mark.last
