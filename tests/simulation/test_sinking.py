from collections import Counter

import pytest

from sinks.delta import Commits
from tests.simulation.sinking import Place, in_memory

SCHEDULES = 600


def failing(seeds):
    happened = Counter()
    with in_memory():
        for seed in seeds:
            place = Place(seed)
            found = place.run()
            happened.update(place.counts)
            if found:
                return seed, found, happened
    return None, [], happened


@pytest.mark.timeout(240)
def test_no_schedule_of_writers_loses_or_doubles_a_row():
    seed, found, happened = failing(range(SCHEDULES))
    assert not found, f"seed {seed}: {found}"
    for what in ("died", "overtaken", "commit refused", "commit answer lost", "log not read", "upload answer lost"):
        assert happened[what] >= 10


def refreshed(self, *given, real=Commits._attempt):
    self._handle.seen = len(self._handle.log)
    return real(self, *given)


def twice(self, start, end, file):
    return self._attempt(start, end, file) or self._reload()


def anywhere(self, start, end):
    return True


BUGS = {
    "the handle is refreshed before the commit": [(Commits, "_attempt", refreshed)],
    "the answer is believed, not the log": [(Commits, "_settled", anywhere)],
    "a conflict is not looked at": [(Commits, "commit", twice)],
    "the position is the log's, not the handle's": [
        (Commits, "position", lambda self: self._handle.log[-1][2] if self._handle.log else 0)
    ],
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_of_the_sink_is_found(name, monkeypatch):
    for change in BUGS[name]:
        monkeypatch.setattr(*change)
    assert failing(range(400))[1]
