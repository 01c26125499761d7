"""Whether the broker has deleted segments is seen by their size, also while others write to the topic."""

from infra.erasing import Erasing


def test_segments_are_gone_when_a_partition_shrinks_whatever_is_written_meanwhile(monkeypatch):
    sizes = iter([{0: 100, 1: 50, 2: 9}, {0: 180, 1: 60, 2: 9}, {0: 170, 1: 70, 2: 9}, {0: 400, 1: 20, 2: 9}])
    monkeypatch.setattr(Erasing, "_sizes", lambda self, topic: next(sizes))
    smaller = Erasing.__new__(Erasing)._smaller(None, {0, 1})
    assert [smaller() for _ in range(3)] == [False, False, True]
