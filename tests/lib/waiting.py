"""Waiting for what becomes true, by the clock that nobody sets. Tests that count their checks compare the answer of `eventually`; those
of pytest fail in `until`."""
import os
import time

SLOWER = int(os.environ.get("KNARR_SLOWER", 1))  # tools/slower: limits that end with their condition are stretched


def eventually(what, seconds=20):
    """The first truth that what() gives, or its last answer."""
    end = time.monotonic() + seconds * SLOWER
    while True:
        got = what()
        if got or time.monotonic() > end:
            return got
        time.sleep(0.02)


def until(what, seconds=20):
    """The first truth that what() gives; without one the test fails."""
    got = eventually(what, seconds)
    assert got, f"not within {seconds} s: {got!r}"
    return got


SIGTIMEDWAIT = "128" if os.uname().machine == "x86_64" else "137"


def takes(pid, sig):
    """Whether a process blocks or catches a signal, or waits for some. As process 1 it would not hear of one that comes before."""
    with open(f"/proc/{pid}/status") as f:
        masks = [int(line.split()[1], 16) for line in f if line.startswith(("SigBlk:", "SigCgt:"))]
    with open(f"/proc/{pid}/syscall") as f:  # the signals that are waited for are not blocked meanwhile
        return f.read().split()[0] == SIGTIMEDWAIT or any(mask >> sig - 1 & 1 for mask in masks)
