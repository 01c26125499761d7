"""Tables as the sink made them before incidents had versions."""

from dataclasses import replace

from sinks.tables import of_topic
from sinks.writer import DeltaSink
from tests.conformance.hub_events import batch

OLD = {"incidents": 5, "duplicates": 2, "links": 1}
"""How many columns such a table lacks, at its end."""


def narrow(shape):
    """The table as it was."""
    if shape.name not in OLD:
        return shape
    kept = shape.columns[: -OLD[shape.name]]
    return replace(shape, columns=kept, order=tuple(name for name in shape.order if name in {one.name for one in kept}))


def write(store, topic, log, end):
    """Have the sink of that time write a region's tables."""
    tables = {path: narrow(shape) for path, shape in of_topic(topic).items() if shape.name != "versions"}
    DeltaSink(store, topic, 0, tables).write(batch(topic, log, 0, end))
