"""A full disk is full and a clock that jumps has jumped, as a process sees it; without the fault neither is so."""

import errno
import os
import subprocess
import sys
import time

import pytest

from tests.chaos.world.clocks import DAY, HOUR, Clock
from tests.chaos.world.disks import small

TELL = "import time\nwhile True:\n print(int(time.time()), int(time.monotonic()), flush=True); input()"


def test_a_full_disk_takes_nothing_until_it_is_freed_and_keeps_what_it_had(tmp_path):
    path = tmp_path / "disk" / "file"
    path.parent.mkdir()
    path.write_bytes(bytes(10_000))
    with small(path.parent, 1 << 20) as disk:
        assert path.read_bytes() == bytes(10_000)
        disk.fill()
        assert disk.left() == 0
        with pytest.raises(OSError) as error:
            path.with_name("other").write_bytes(bytes(10_000))
        assert error.value.errno == errno.ENOSPC
        disk.free()
        path.with_name("other").write_bytes(bytes(10_000))
        disk.fill(leave=20_000)
        assert 0 < disk.left() <= 20_480
    assert sorted(one.stat().st_size for one in path.parent.iterdir()) == [10_000, 10_000]


class Told:
    """A process that tells its clocks when asked."""

    def __init__(self, environment):
        command = [sys.executable, "-c", TELL]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, env=os.environ | environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def off(self):
        """Return the seconds by which wall and monotonic clock differ from ours."""
        wall, monotonic = map(int, self.process.stdout.readline().split())
        return wall - time.time(), monotonic - time.monotonic()

    def again(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.off()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize("seconds", [400 * DAY, -400 * DAY, HOUR, -HOUR])
def test_a_clock_jumps_under_a_running_process_and_seconds_stay_true(tmp_path, seconds):
    clock = Clock(tmp_path / "clock")
    with Told(clock.environment) as told, Told({}) as other:
        assert abs(told.off()[0]) < 60
        clock.jump(seconds)
        for _ in range(50):  # it looks at its file once a second
            time.sleep(0.1)
            wall, monotonic = told.again()
            if abs(wall) > 60:
                break
        assert abs(wall - seconds) < 60
        assert abs(monotonic) < 60
        assert abs(other.off()[0]) < 60


def test_processes_started_around_live_by_the_clock_and_others_do_not(tmp_path):
    clock = Clock(tmp_path / "clock")
    clock.jump(HOUR)
    tell = [sys.executable, "-c", "import time; print(time.time())"]
    with clock.around():
        inside = float(subprocess.check_output(tell))
    outside = float(subprocess.check_output(tell))
    assert inside - outside > HOUR - 60
