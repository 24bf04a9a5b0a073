"""GOALS row 3: at most 100 KB of private memory, and no allocation once the monitor lives."""
import os
import pathlib
import signal
import threading

from conftest import *


def heap(pid):
    return [l for l in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()
            if "[stack]" not in l and l.split()[1].startswith("rw")]


def test_private_memory_and_no_heap(env):
    c = env.run("/streams", "cat", flags=OPEN_STDIN, max_bytes=100000, max_files=3)
    began = heap(c.pid)
    print("at rest:", c.rss())
    # everything that can touch memory: long and short lines, input, requests, rotation, many connections
    a, i = c.attach(TAKE_STDOUT | TAKE_STDERR), c.attach(TAKE_STDIN)

    def feed():
        for _ in range(100):
            i.send(STDIN, payload=b"<" * 4096)
            i.send(STDIN, payload=b"short\nlines\n" * 100)
    t = threading.Thread(target=feed)
    t.start()
    while len(a.output[1]) < 100 * (4096 + 1200):
        a.recv()
    t.join()
    j = c.attach(TAKE_STDOUT | TAKE_STDERR)
    many = [c.connect() for _ in range(12)]
    for k in many:
        k.call(STATUS)
        k.call(ROTATE)
    try:
        many[0].call(RESIZE, 1, 1)
    except Refused:
        pass
    for k in many:
        k.close()
    assert heap(c.pid) == began, "a mapping grew: something was allocated"
    with_spawner, _ = c.rss()
    # The worst case: pages shared with the spawner become the monitor's own when the spawner is gone.
    os.kill(env.process.pid, signal.SIGKILL)
    env.process.wait(20 * SLOWER)
    alone, rows = c.rss()
    print("private KB: with spawner", with_spawner, "alone", alone, rows)
    assert alone <= 100, rows
    assert c.connect().call(STATUS).phase == "running"
    env.spawner.close()
    env.start_spawner()


def test_memory_goes_down_after_long_lines(env):
    """The most that there can be is two half lines of 16 KB at once; whole lines leave nothing behind."""
    c = env.run("/streams", "cat", flags=OPEN_STDIN)
    a = c.attach(TAKE_STDIN | TAKE_STDOUT)
    before = c.rss()[0]
    for _ in range(4):
        a.send(STDIN, payload=b"x" * 4000)
    until(lambda: len(a.output[1]) == 16000 or a.recv())
    until(lambda: c.rss()[0] >= before + 12)  # who is attached hears of it before the log does
    high = max(c.rss()[0] for _ in range(5))
    print("private KB: before", before, "with a half line", high)
    a.send(STDIN, payload=b"end\n")
    a.until(1, b"end\n")
    until(lambda: c.rss()[0] < high - 8)
    print("private KB: before", before, "with a half line", high, "after", c.rss()[0])


def test_two_half_lines_at_once(env):
    """The most that the lines can take: within the goal as long as a spawner or another monitor shares the pages of start-up,
    at most 116 KB for a last monitor that is alone with two half lines of 16 KB."""
    c = env.run("/streams", "halves", "16000", flags=OPEN_STDIN)
    a = c.attach(TAKE_STDIN)
    for _ in range(3):
        assert c.connect().call(STATUS).phase == "running"
    until(lambda: c.rss()[0] >= 48)
    kb, rows = c.rss()
    assert kb <= 100, rows
    os.kill(env.process.pid, signal.SIGKILL)
    env.process.wait(20 * SLOWER)
    alone, rows = c.rss()
    print("private KB, two half lines: with spawner", kb, "alone", alone, rows)
    assert alone <= 116, rows
    a.send(STDIN, payload=b"x")
    c.end()
    c.finish()
    assert sorted(len(x["log"]) for x in c.docker()) == [16001, 16001]
    env.spawner.close()
    env.start_spawner()


def test_memory_of_many(env):
    many = [env.run("/ct", "sleep", "100") for _ in range(5)]
    each = [c.rss()[0] for c in many]
    print("private KB at rest:", each)
    assert max(each) <= 100


def test_a_monitor_at_rest_wakes_nobody(env):
    import time
    c = env.run("/ct", "sleep", "100")

    def switches():
        return [int(l.split()[1]) for l in pathlib.Path(f"/proc/{c.pid}/status").read_text().splitlines() if "ctxt" in l]

    def settled():
        before = switches()
        time.sleep(0.3)
        return switches() == before
    until(settled)  # what its start left to do is done
    before = switches()
    time.sleep(1.5)
    assert switches() == before
