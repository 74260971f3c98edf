"""How OpenMP's threads wait for one another: spinning for a moment, or asleep on a busy machine.

The threads of torch's wheels are those of libgomp, which spin at the end of every parallel region for 300,000
rounds, some 10 ms. On an idle machine that is the fastest way to wait. Where other programs use the cores, a
thread that spins takes the time slice of the thread that it waits for, and a step takes twice its fair share.

``limit_spinning`` sets what libgomp reads when it is loaded, and so must be called before torch is imported:

- always, a spin count of about half a millisecond. Waking a sleeping thread takes some 50 microseconds, so
  that waiting costs at most a tenth more than it did, and load that comes later does little harm;
- if other programs use a quarter of the cores, or a container may use fewer cores than there are threads,
  ``OMP_WAIT_POLICY=passive``: threads sleep at once.

The load is measured over a fifth of a second in /proc/stat: load averages and pressure (/proc/pressure) count
what this user's last command did, and reach minutes back.
"""

import math
import os
import sys
import time
from collections.abc import MutableMapping
from pathlib import Path

POLICIES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # a user's own choice, which is kept
SPIN_COUNT = 10_000  # rounds; libgomp's default is 300,000
SECONDS = 0.2  # in which the load is measured
BUSY_SHARE = 0.25  # of the cores, in use by others, from which threads sleep
STAT = Path("/proc/stat")
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container, in cgroup v2


def limit_spinning(environment: MutableMapping[str, str] = os.environ) -> None:
    """Choose how the threads of this process and its children wait; print it if threads will sleep.

    Nothing is changed if a user has chosen, if there is one thread alone, or once torch has been imported.
    """
    chosen = any(name in environment for name in POLICIES) or environment.get("OMP_NUM_THREADS") == "1"
    if chosen or sys.platform != "linux" or "torch" in sys.modules:
        return
    environment["GOMP_SPINCOUNT"] = str(SPIN_COUNT)
    why = reason_to_sleep()
    if why:
        del environment["GOMP_SPINCOUNT"]  # it would be preferred
        environment["OMP_WAIT_POLICY"] = "passive"
        print(
            f"note: {why}: threads sleep while they wait (OMP_WAIT_POLICY=passive); OMP_WAIT_POLICY=active "
            "has them spin",
            file=sys.stderr,
        )


def reason_to_sleep() -> str:
    """Return why threads should sleep instead of spinning; empty if they should not."""
    cores = len(os.sched_getaffinity(0))
    quota = quota_cores()
    if cores > quota:
        return f"this container may use {quota:.3g} of {cores} cores"
    busy = busy_cores()
    if busy >= BUSY_SHARE * cores:
        return f"other programs use {busy:.1f} of {cores} cores"
    return ""


def quota_cores() -> float:
    """Return how many cores this container may use together; infinity without a limit."""
    try:
        quota, period = QUOTA.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # not there, or "max"
        return math.inf


def busy_cores(seconds: float = SECONDS) -> float:
    """Return how many of the cores that this process may use are in use by others, over some seconds."""
    before, began = busy_ticks(), time.monotonic()
    own = sum(os.times()[:2])
    time.sleep(seconds)
    after, passed = busy_ticks(), time.monotonic() - began
    used = (after - before) / os.sysconf("SC_CLK_TCK") - (sum(os.times()[:2]) - own)
    return max(0.0, used / passed)


def busy_ticks() -> int:
    """Return the ticks in which the cores of this process were in use since the start; 0 if they are unknown.

    User, nice, system, interrupts, and what a virtual machine's host took; not idle, nor waiting for a disk.
    """
    allowed = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    try:
        rows = [line.split() for line in STAT.read_text().splitlines()]
        return sum(sum(int(row[i]) for i in (1, 2, 3, 6, 7, 8)) for row in rows if row and row[0] in allowed)
    except (OSError, ValueError, IndexError):
        return 0
