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
