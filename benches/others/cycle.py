"""Serves others.py: "cycle COUNT PATH" and "busy COUNT PATH", answered with nanoseconds for one."""

import sys
import time


def filelock_once(path):
    import filelock
    lock = filelock.FileLock(path, timeout=0)

    def once():
        with lock:
            pass
    return once, filelock.Timeout


def portalocker_once(path):
    import portalocker
    flags = portalocker.LOCK_EX | portalocker.LOCK_NB

    def once():
        with portalocker.Lock(path, "a", timeout=0, flags=flags):
            pass
    return once, portalocker.LockException


for line in sys.stdin:
    what, count, path = line.split()
    once, busy = {"filelock": filelock_once, "portalocker": portalocker_once}[sys.argv[1]](path)
    started = time.perf_counter_ns()
    for _ in range(int(count)):
        try:
            once()
        except busy:
            assert what == "busy"
        else:
            assert what == "cycle"
    print((time.perf_counter_ns() - started) / int(count), flush=True)
