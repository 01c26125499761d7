import sys

import numpy as np
from numba.core.dispatcher import Dispatcher

from streams.merge import Merge
from streams.refine import Refine
from streams.warm import warm
from tests.unit.streams import plain, raw
from tests.unit.streams.accepted import SECRETS, records, value


def compiled():
    """Return how many versions of each kernel are compiled."""
    return {
        f"{name}.{kernel.__name__}": len(kernel.signatures)
        for name, module in sorted(sys.modules.items())
        if name.startswith(("streams.", "schemas."))
        for kernel in vars(module).values()
        if isinstance(kernel, Dispatcher)
    }


def test_after_warming_no_batch_waits_for_a_compiler():
    warm()
    before = compiled()
    stage = Refine(raw.NODE, 4)
    values = [raw.incident(1), raw.pattern(2), raw.withdrawal(3, 1), raw.incident(4, 1), b"junk", raw.incident(2)]
    state, outcome = stage.step(stage.empty(""), records(values, topic=f"raw.{raw.NODE}"), raw.keyring([1]))
    stage.freeze(stage.restore(stage.thaw(stage.freeze(state)), outcome.delta))
    merge = Merge(SECRETS)
    crowd = [plain.Incident(i, "ML01", 18_000, node=f"N{i % 3}") for i in range(300)]
    given = records([value(row) for row in [*crowd, plain.Pattern(900, "ML01", 18_000, 18_010), crowd[0]]])
    state, outcome = merge.step(merge.empty(""), given)
    assert merge.freeze(merge.thaw(merge.freeze(state)))
    assert len(before) > 30
    assert compiled() == before
    assert np.sum([len(output.values) for output in outcome.outputs]) > 300
