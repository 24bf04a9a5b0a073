"""Logs, attach, input, terminal."""
import os
import re
import select
import signal
import time

import pytest
from conftest import *

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")


def test_docker_log(env):
    c = env.run("/streams", "bytes", "2", b"a<b>&\"\\\t\x01\xff\xe2\x80\xa8\xc3\xa9\r\nno end".hex())
    c.end()
    c.finish()
    raw = c.log()
    assert raw.startswith(b'{"log":"a\\u003cb\\u003e\\u0026\\"\\\\\\u0009\\u0001\\ufffd\\u2028\xc3\xa9\\r\\n","stream":"stderr","time":"'), raw
    a, b = c.docker()
    assert b["log"] == "no end" and b["stream"] == "stderr"
    assert STAMP.fullmatch(a["time"])


def test_cri_log(env):
    c = env.run("/streams", "bytes", "1", b"one\n\nno end".hex(), fmt=CRI)
    c.end()
    c.finish()
    rows = [x.split(b" ", 3) for x in c.log().splitlines()]
    assert [(r[1], r[2], r[3]) for r in rows] == [(b"stdout", b"F", b"one"), (b"stdout", b"F", b""), (b"stdout", b"F", b"no end")]
    assert all(re.fullmatch(r".*\.\d{9}Z", r[0].decode()) for r in rows)


@pytest.mark.parametrize("fmt", [DOCKER, CRI])
def test_long_lines_are_cut(env, fmt):
    c = env.run("/streams", "lines", "1", "2", "40000", fmt=fmt)
    c.end()
    c.finish()
    if fmt == DOCKER:
        rows = [(x["log"].rstrip("\n"), x["log"].endswith("\n")) for x in c.docker()]
    else:
        rows = [(x.split(b" ", 3)[3].decode(), x.split(b" ", 3)[2] == b"F") for x in c.log().splitlines()]
    assert [len(t) for t, _ in rows] == [16384, 16384, 7232] * 2
    assert [w for _, w in rows] == [False, False, True] * 2
    assert rows[3][0].startswith("1:")


def test_rotation(env):
    c = env.run("/streams", "lines", "1", "2000", "99", max_bytes=20000, max_files=3)
    c.end()
    c.finish()
    assert sorted(p.name for p in c.log_dir.iterdir()) == ["c.log", "c.log.1", "c.log.2"]
    numbers = [int(x["log"].split(":")[0]) for s in (".2", ".1", "") for x in c.docker(s)]
    assert numbers == list(range(numbers[0], 2000))  # nothing missing at the borders, in order
    for s in (".2", ".1"):
        assert 20000 <= len(c.log(s)) < 20000 + 200


def test_one_file_is_emptied(env):
    c = env.run("/streams", "lines", "1", "2000", "99", max_bytes=20000, max_files=1)
    c.end()
    c.finish()
    assert [p.name for p in c.log_dir.iterdir()] == ["c.log"] and len(c.log()) < 20200
    assert c.docker()[-1]["log"].startswith("1999:")


def test_reopen_and_rotate_by_request(env):
    c = env.run("/streams", "cat", flags=OPEN_STDIN, fmt=CRI, max_files=2)
    a = c.attach(TAKE_STDIN | TAKE_STDOUT)
    a.send(STDIN, payload=b"one\n")
    a.until(1, b"one\n")
    os.rename(c.log_dir / "c.log", c.log_dir / "renamed")  # as kubelet does
    k = c.connect()
    k.call(REOPEN)
    a.send(STDIN, payload=b"two\n")
    a.until(1, b"two\n")
    assert b" F one" in (c.log_dir / "renamed").read_bytes() and b" F two" in c.log() and b"one" not in c.log()
    k.call(ROTATE)
    a.send(STDIN, payload=b"three\n")
    a.until(1, b"three\n")
    assert b"two" in c.log(".1") and b"three" in c.log() and b"two" not in c.log()


def test_a_torn_record_is_closed(env):
    first = env.run("/ct", "exit", "0")
    first.finish()
    (first.log_dir / "c.log").write_bytes(b'{"log":"whole\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n{"log":"to')
    c = env.run("/ct", "echo", "next", dirs=first)
    c.finish()
    lines = c.log().splitlines()
    assert lines[1] == b'{"log":"to' and b'"log":"next\\n"' in lines[2]


def test_two_streams_and_two_clients_one_slow(env):
    c = env.run("/streams", "cat", flags=OPEN_STDIN | HOLD)
    good, slow, picky = c.attach(patience_ms=10000), c.attach(patience_ms=0), c.attach(TAKE_STDERR)
    i = c.attach(TAKE_STDIN, 0)
    c.connect().call(START)
    # slow never reads: its queue fills and it is dropped; good has everything, and so has the log
    data = b"".join(b"%07d\n" % n for n in range(100000))
    import threading
    t = threading.Thread(target=lambda: [i.send(STDIN, payload=data[k:k + 4096]) for k in range(0, len(data), 4096)])
    began = time.monotonic()
    t.start()
    while len(good.output[1]) < len(data):
        good.recv()
    t.join()
    took = time.monotonic() - began
    assert good.output[1] == data
    i.send(CLOSE_STDIN)
    assert good.to_end()[2] == b"end of input\n" and picky.to_end() == {1: b"", 2: b"end of input\n"}
    assert 0 < len(slow.to_end()[1]) < len(data), "the slow one should have been dropped"
    c.finish()
    assert "".join(x["log"] for x in c.docker() if x["stream"] == "stdout").encode() == data
    assert took < 10 * SLOWER


def held_up(k):
    """The state of a container whose output waits for a reader: the log has not grown for 0.3 s."""
    size, state = -1, k.call(STATUS)
    while not state.log_bytes or state.log_bytes != size:
        time.sleep(0.3)
        size, state = state.log_bytes, k.call(STATUS)
    return state


def test_a_patient_client_is_waited_for_and_then_dropped(env):
    c = env.run("/streams", "lines", "1", "40000", "99", flags=HOLD)
    patient = c.attach(patience_ms=3000)
    k = c.connect()
    k.call(START)
    held = held_up(k)
    assert held.phase == "running" and 0 < held.log_bytes < 40000 * 99, "the container should be held up as by a pipe"
    s = c.end()  # patience ends, the rest runs into the log
    assert s.exit_code == 0
    c.finish()
    assert len(c.docker()) == 40000
    assert 0 < len(patient.to_end()[1]) < 4000000


def test_a_patient_client_that_reads_gets_everything(env):
    c = env.run("/streams", "lines", "1", "40000", "99", flags=HOLD)
    patient = c.attach(patience_ms=20000)
    w = c.attach(patience_ms=20000)
    tag = w.send(WAIT)
    c.connect().call(START)
    time.sleep(0.5)
    import threading
    t = threading.Thread(target=patient.to_end)
    t.start()
    assert w.answer(tag).exit_code == 0
    assert len(w.output[1]) == 4000000, "WAIT is answered behind the last output"
    t.join()
    assert len(patient.output[1]) == 4000000
    c.finish()


@pytest.mark.parametrize("ask", ["close", "refused", "status", "wait"])
def test_an_answer_waits_behind_output(env, ask):
    """Who asks something while its queue is full of output is not dropped for that: it gets the output to its end, and the answer."""
    c = env.run("/streams", "lines", "1", "40000", "99", flags=HOLD | OPEN_STDIN)
    a = c.attach(TAKE_STDIN | TAKE_STDOUT, patience_ms=20000)
    k = c.connect()
    if ask == "refused":
        k.call(CLOSE_STDIN)
    k.call(START)
    held_up(k)
    tag = a.send({"close": CLOSE_STDIN, "refused": CLOSE_STDIN, "status": STATUS, "wait": WAIT}[ask])
    time.sleep(0.3)
    answers = []
    with pytest.raises(Gone):
        while True:
            op, t, cls, _, payload, _ = a.recv()
            if op != OUTPUT:
                answers.append((op, t, len(a.output[1])))
                assert op != ERROR or b"closed" in payload
    assert len(a.output[1]) == 4000000
    assert [x[:2] for x in answers] == [({"close": OK, "refused": ERROR, "status": STATE, "wait": STATE}[ask], tag)]
    assert ask != "wait" or answers[0][2] == 4000000, "WAIT is answered behind the last output"
    c.finish()


def test_an_answer_waits_no_longer_than_its_patience(env):
    c = env.run("/streams", "lines", "1", "40000", "99", flags=HOLD | OPEN_STDIN)
    a = c.attach(TAKE_STDIN | TAKE_STDOUT, patience_ms=3000)
    k = c.connect()
    k.call(START)
    held_up(k)
    a.send(CLOSE_STDIN)
    assert c.end().exit_code == 0
    c.finish()
    assert 0 < len(a.to_end()[1]) < 4000000


def test_detach(env):
    c = env.run("/streams", "forever", "1")
    a = c.attach()
    a.until(1, b"tick")
    a.call(DETACH)
    a.output[1] = b""
    assert a.call(STATUS).phase == "running"
    time.sleep(0.1)
    assert a.call(STATUS).phase == "running" and a.output[1] == b""
    a.call(ATTACH, TAKE_STDOUT, 0)
    a.until(1, b"tick")


def test_stdin(env):
    c = env.run("/streams", "cat", flags=OPEN_STDIN)
    a = c.attach(TAKE_STDIN | TAKE_STDOUT | TAKE_STDERR)
    a.send(STDIN, payload=b"hello\n")
    a.until(1, b"hello\n")
    a.call(CLOSE_STDIN)
    with pytest.raises((Refused, Gone)) as e:  # on a slow machine it has ended meanwhile, and the monitor too
        a.call(CLOSE_STDIN)
    assert e.type is Gone or "closed" in e.value.text
    assert a.to_end() == {1: b"hello\n", 2: b"end of input\n"}


def test_stdin_that_is_not_taken(env):
    """4 MB into a program that does not read: nothing is lost when it goes on, and nobody else waits."""
    c = env.run("/streams", "cat", flags=OPEN_STDIN | STDIN_ONCE)
    os.kill(c.first, signal.SIGSTOP)
    i = c.attach(TAKE_STDIN)
    i.sock.setblocking(False)
    data, at = os.urandom(4 << 20), 0
    import hashlib
    for _ in range(200):
        try:
            while at < len(data):
                i.send(STDIN, payload=data[at:at + 4096])
                at += 4096
        except BlockingIOError:
            time.sleep(0.001)
    assert at < len(data), "it should have been full"
    assert c.connect().call(STATUS).phase == "running"
    out = c.attach()
    import threading
    t = threading.Thread(target=out.to_end)
    t.start()
    os.kill(c.first, signal.SIGCONT)
    i.sock.settimeout(20 * SLOWER)
    while at < len(data):
        i.send(STDIN, payload=data[at:at + 4096])
        at += 4096
    i.close()  # with STDIN_ONCE that ends the input, behind everything sent
    t.join(30 * SLOWER)
    assert not t.is_alive()
    assert hashlib.sha256(out.output[1]).digest() == hashlib.sha256(data).digest()
    assert out.output[2] == b"end of input\n"
    c.finish()


def test_stdin_refusals(env):
    c = env.run("/ct", "sleep", "100")
    k = c.connect()
    with pytest.raises(Refused, match="not open"):
        k.call(ATTACH, TAKE_STDIN)
    with pytest.raises(Refused, match="before ATTACH"):
        k.call(STDIN, payload=b"x")
    with pytest.raises(Refused, match="no terminal"):
        k.call(RESIZE, 10, 10)
    for a, b in ((0, 0), (8, 0), (1, -1), (2, 600001)):
        with pytest.raises(Refused):
            k.call(ATTACH, a, b)
    with pytest.raises(Refused, match="not ended"):
        k.call(QUIT)


def test_terminal(env):
    c = env.run("/streams", "size", flags=TERMINAL | HOLD, rows=24, cols=80)
    a = c.attach(TAKE_STDIN | TAKE_STDOUT)
    k = c.connect()
    k.call(START)
    a.until(1, b"size 24 80 tty 1\r\n")
    k.call(RESIZE, 50, 132)
    a.until(1, b"size 50 132\r\n")
    assert c.end().exit_code == 0
    c.finish()
    assert [x["log"] for x in c.docker()] == ["size 24 80 tty 1\r\n", "size 50 132\r\n"]


def test_terminal_input_and_interrupt(env):
    c = env.run("/streams", "cat", flags=TERMINAL)
    a = c.attach(TAKE_STDIN | TAKE_STDOUT)
    a.send(STDIN, payload=b"typed\n")
    a.until(1, b"typed\r\ntyped\r\n")  # the echo, then cat
    with pytest.raises(Refused, match="end-of-file"):
        a.call(CLOSE_STDIN)
    a.send(STDIN, payload=b"\x04")
    assert c.end().exit_code == 0
    c.finish()


def test_own_stdio(env):
    r, w = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    c = env.spawn("/ct", "echo", "direct", flags=STDIO, fmt=0, stdio=[null, w, null])
    c.started()
    os.close(w)
    os.close(null)
    with os.fdopen(r, "rb") as f:
        assert f.read() == b"direct\n"  # to the end: the monitor holds no copy
    c.finish()


def test_a_pipe_that_outlives_the_container(env):
    """A shared pid namespace: another process holds the pipe. The end is told at once, the rest is heard for two seconds."""
    env.config["linux"]["namespaces"] = [n for n in env.config["linux"]["namespaces"] if n["type"] != "pid"]
    c = env.run("/ct", "fork", "1")
    s = c.end()
    assert s.exit_code == 0 and not select.select([c.pidfd], [], [], 0)[0], "the end should be told while the pipe is heard"
    c.finish()
    assert 1.9 < time.time() - s.finished_ns / 1e9 < 4 * SLOWER
