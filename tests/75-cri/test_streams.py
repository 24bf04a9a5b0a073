"""Exec, attach and port-forward: SPDY/3.1 as kubectl's library speaks it, WebSocket v5 and v4, ExecSync."""
import asyncio
import contextlib
import http.client
import json
import os
import subprocess
import threading
import time
import urllib.parse

import pytest
import websockets

import spdy
from conftest import SLOWER, bridge, engine, until
from test_pods import pid, refused


@pytest.fixture(scope="module")
def k():
    with engine(conflist=bridge()) as e:
        yield e


@pytest.fixture(scope="module")
def pod(k):
    return k.run_pod()


@pytest.fixture(scope="module")
def c(k, pod):
    return k.run(pod, "sleep 1000", name="main")


# ---- ExecSync

def test_exec_sync(k, c):
    r = k.ExecSync(container_id=c, cmd=["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (r.stdout, r.stderr, r.exit_code) == (b"out\n", b"err\n", 3)
    r = k.ExecSync(container_id=c, cmd=["head", "-c", "3000000", "/dev/zero"], timeout=60 * SLOWER)
    assert len(r.stdout) == 3000000 and r.exit_code == 0
    began = time.monotonic()
    e = refused(lambda: k.ExecSync(container_id=c, cmd=["sleep", "100"], timeout=1), "DEADLINE_EXCEEDED", "timeout 1s exceeded")
    assert 1 <= time.monotonic() - began < 20 * SLOWER, e
    until(lambda: "sleep 100\0" not in processes(k, c))
    refused(lambda: k.ExecSync(container_id=c, cmd=["/none"]), "INTERNAL", "failed to exec in container: failed to start exec")
    refused(lambda: k.ExecSync(container_id=c), "INVALID_ARGUMENT", "cmd must not be empty")
    refused(lambda: k.ExecSync(container_id="none", cmd=["true"]), "NOT_FOUND")


def processes(k, c):
    group = open(f"/proc/{pid(k, c)}/cgroup").read()
    out = ""
    for p in filter(str.isdigit, os.listdir("/proc")):
        try:
            if open(f"/proc/{p}/cgroup").read() == group:
                out += open(f"/proc/{p}/cmdline").read().replace("\0", " ").strip() + "\0"
        except OSError:
            pass
    return out


def test_exec_sync_ends_with_its_client(k, c):
    """A hook has no timeout: who has left hears nothing of it, so it is not left running."""
    refused(lambda: k.ExecSync(container_id=c, cmd=["sh", "-c", "sleep 787 & exec sleep 787"], within=1.5), "DEADLINE_EXCEEDED")
    until(lambda: processes(k, c).count("sleep 787\0") <= 1)
    assert k.ExecSync(container_id=c, cmd=["true"]).exit_code == 0
    refused(lambda: k.ExecSync(container_id=c, cmd=["sleep", "788"], within=0.02), "DEADLINE_EXCEEDED")  # perhaps not yet started
    time.sleep(0.5)
    until(lambda: "sleep 788\0" not in processes(k, c))


def test_exec_sync_of_what_leaves_a_child(k, c):
    """Its pipes stay open: the answer waits, but not beyond the timeout."""
    refused(lambda: k.ExecSync(container_id=c, cmd=["sh", "-c", "sleep 5 & echo x"], timeout=1), "DEADLINE_EXCEEDED")


def test_exec_sync_output_is_bounded(k, c):
    r = k.ExecSync(container_id=c, cmd=["sh", "-c", "head -c 18000000 /dev/zero; exit 1"], timeout=60 * SLOWER, within=100 * SLOWER)
    assert len(r.stdout) == 16 << 20 and r.exit_code == 1


# ---- SPDY

def test_exec(k, c):
    url = k.Exec(container_id=c, cmd=["sh", "-c", "cat; echo err >&2; exit 5"], stdin=True, stdout=True, stderr=True).url
    assert url.startswith("http://127.0.0.1:")
    s, t = spdy.exec_session(url, "stdin", "stdout", "stderr")
    t["stdin"].send(b"hello ")
    t["stdin"].send(b"there", last=True)
    assert t["stdout"].read() == b"hello there" and t["stderr"].read() == b"err\n"
    st = spdy.status(t)
    assert st["status"] == "Failure" and st["reason"] == "NonZeroExitCode" and st["details"]["causes"] == [{"reason": "ExitCode", "message": "5"}]
    assert st["message"].startswith("command terminated with non-zero exit code")
    assert s.gone.wait(20 * SLOWER)
    again = spdy.Session(url, spdy.V4)
    assert again.status == 404  # a token is good once


def test_exec_success_and_failure(k, c):
    s, t = spdy.exec_session(k.Exec(container_id=c, cmd=["true"], stdout=True).url, "stdout")
    assert spdy.status(t) == {"metadata": {}, "status": "Success"}
    s, t = spdy.exec_session(k.Exec(container_id=c, cmd=["/none"], stdout=True).url, "stdout")
    st = spdy.status(t)
    assert st["status"] == "Failure" and st["reason"] == "InternalError" and "no such file" in st["message"]


def test_exec_large_both_ways(k, c):
    data = os.urandom(1 << 20)
    s, t = spdy.exec_session(k.Exec(container_id=c, cmd=["cat"], stdin=True, stdout=True).url, "stdin", "stdout")
    for i in range(0, len(data), 30000):
        t["stdin"].send(data[i:i + 30000])
    t["stdin"].send(b"", last=True)
    assert t["stdout"].read(60) == data


def test_exec_of_a_slow_reader_loses_nothing(k, c):
    """The client closes the program's input while everything between it and the program is full of output."""
    command = ["sh", "-c", "head -c 30000000 /dev/zero; cat; echo end"]
    s, t = spdy.exec_session(k.Exec(container_id=c, cmd=command, stdin=True, stdout=True).url, "stdin", "stdout")
    s.reads.clear()
    time.sleep(1.5)
    t["stdin"].send(b"said", last=True)
    time.sleep(0.5)
    s.reads.set()
    data = t["stdout"].read(60)
    assert (len(data), data[-8:]) == (30000008, b"saidend\n")
    assert spdy.status(t)["status"] == "Success"


def test_exec_with_a_terminal(k, c):
    s, t = spdy.exec_session(k.Exec(container_id=c, cmd=["sh"], stdin=True, stdout=True, tty=True).url, "stdin", "stdout", "resize")
    t["resize"].send(b'{"Width":91,"Height":33}')
    t["stdin"].send(b"until stty size | grep -x 33.91; do sleep 0.1; done; tty; exit 2\n")
    out = t["stdout"].read()
    assert b"33 91" in out and b"/dev/pts/" in out
    assert spdy.status(t)["details"]["causes"][0]["message"] == "2"


def test_old_protocols(k, c):
    s, t = spdy.exec_session(k.Exec(container_id=c, cmd=["sh", "-c", "exit 7"], stdout=True).url, "stdout", protocols=["v2.channel.k8s.io"])
    assert b"exit status 7" in t["error"].read()
    s = spdy.Session(k.Exec(container_id=c, cmd=["true"], stdout=True).url, ["v9.channel.k8s.io"])
    assert s.status == 403 and "v4.channel.k8s.io" in s.head


def test_client_leaves(k, c):
    s, t = spdy.exec_session(k.Exec(container_id=c, cmd=["sleep", "777"], stdout=True).url, "stdout")
    until(lambda: "sleep 777\0" in processes(k, c))
    s.close()
    until(lambda: "sleep 777\0" not in processes(k, c))


def test_requests(k, c):
    refused(lambda: k.Exec(container_id=c, cmd=["true"]), "INVALID_ARGUMENT", "one of stdin, stdout, or stderr must be set")
    refused(lambda: k.Exec(container_id=c, cmd=["true"], stdout=True, stderr=True, tty=True), "INVALID_ARGUMENT", "tty and stderr cannot both be true")
    refused(lambda: k.Exec(container_id="none", cmd=["true"], stdout=True), "NOT_FOUND")
    url = urllib.parse.urlsplit(k.Exec(container_id=c, cmd=["true"], stdout=True).url)
    for path, code in ((url.path, 400), ("/", 400)):
        h = http.client.HTTPConnection(url.hostname, url.port, timeout=20 * SLOWER)
        h.request("GET", path)
        assert h.getresponse().status == code, path
    assert spdy.Session(f"http://{url.netloc}/attach{url.path[5:]}", spdy.V4).status == 404  # another kind
    assert spdy.Session(f"http://{url.netloc}/exec/{'0' * 32}", spdy.V4).status == 404


def test_attach(k, pod):
    c = k.run(pod, "while read x; do echo got $x; echo e >&2; done; echo end", name="reads", stdin=True, stdin_once=True)
    s, t = spdy.exec_session(k.Attach(container_id=c, stdin=True, stdout=True, stderr=True).url, "stdin", "stdout", "stderr")
    t["stdin"].send(b"one\n")
    until(lambda: t["stdout"].data == b"got one\n" and t["stderr"].data == b"e\n")
    t["stdin"].send(b"two\n", last=True)
    assert t["stdout"].read() == b"got one\ngot two\nend\n"
    assert spdy.status(t)["status"] == "Success"
    assert k.ended(c).exit_code == 0
    assert ("stdout", "got two") in k.log(c)
    refused(lambda: k.Attach(container_id=c, stdout=True), "FAILED_PRECONDITION", "is not running")


def test_attach_and_leave(k, pod):
    c = k.run(pod, "while :; do echo tick; sleep 0.1; done", name="ticks")
    s, t = spdy.exec_session(k.Attach(container_id=c, stdout=True).url, "stdout")
    until(lambda: b"tick" in t["stdout"].data)
    s.close()
    time.sleep(0.3)
    assert k.status(c).state == 1
    k.RemoveContainer(container_id=c)


# ---- WebSocket

def ws(url, protocol, talk):
    async def run():
        async with websockets.connect(url.replace("http:", "ws:"), subprotocols=[protocol], max_size=None, ping_interval=None,
                                      open_timeout=20 * SLOWER, close_timeout=20 * SLOWER) as w:
            assert w.subprotocol == protocol
            got = {i: b"" for i in range(5)}
            await talk(w)
            try:
                async for message in w:
                    got[message[0]] += message[1:]
            except websockets.ConnectionClosed:
                pass
            assert w.close_code == 1000, w.close_code
            return got
    return asyncio.run(asyncio.wait_for(run(), 60 * SLOWER))


def test_websocket_v5(k, c):
    async def talk(w):
        await w.send(b"\x00hello")
        await w.send(b"\xff\x00")
    got = ws(k.Exec(container_id=c, cmd=["sh", "-c", "cat; echo e >&2; exit 4"], stdin=True, stdout=True, stderr=True).url, "v5.channel.k8s.io", talk)
    assert got[1] == b"hello" and got[2] == b"e\n"
    assert json.loads(got[3])["details"]["causes"][0]["message"] == "4"


def test_websocket_v4_with_a_terminal(k, c):
    async def talk(w):
        await w.send(b'\x04{"Width":70,"Height":20}')
        await w.send(b"\x00until stty size | grep -x 20.70; do sleep 0.1; done; exit\n")
    got = ws(k.Exec(container_id=c, cmd=["sh"], stdin=True, stdout=True, tty=True).url, "v4.channel.k8s.io", talk)
    assert b"20 70" in got[1] and json.loads(got[3])["status"] == "Success"


def test_websocket_attach(k, pod):
    c = k.run(pod, "read x; echo got $x", name="ws-reads", stdin=True)

    async def talk(w):
        await w.send(b"\x00there\n")
    assert ws(k.Attach(container_id=c, stdin=True, stdout=True).url, "v4.channel.k8s.io", talk)[1] == b"got there\n"


# ---- port forward

def forward(s, port, n):
    e = s.open(streamtype="error", port=str(port), requestID=str(n))
    return e, s.open(streamtype="data", port=str(port), requestID=str(n))


def test_port_forward(k, pod):
    c = k.run(pod, "nc -ll -p 7000 -e cat", name="echo")
    k.sh(c, "until netstat -ltn | grep -q :7000; do sleep 0.1; done")
    s = spdy.Session(k.PortForward(pod_sandbox_id=pod[0], port=[7000]).url, ["portforward.k8s.io"])
    assert s.status == 101 and s.headers["x-stream-protocol-version"] == "portforward.k8s.io"
    data = os.urandom(300000)
    for n in range(3):
        e, d = forward(s, 7000, n)
        for i in range(0, len(data), 30000):
            d.send(data[i:i + 30000])
        d.send(b"", last=True)
        assert d.read(60) == data and e.read() == b"", n
    e, d = forward(s, 7999, 9)
    assert b"failed to connect to localhost:7999 inside the pod: Connection refused" in e.read()
    assert d.read() == b""
    s.close()
    assert spdy.Session(k.PortForward(pod_sandbox_id=pod[0]).url, ["other"]).status == 403
    refused(lambda: k.PortForward(pod_sandbox_id="none"), "NOT_FOUND")
    k.RemoveContainer(container_id=c)


SERVERS = """
import socket, sys, threading, time
def server(family, address, port, backlog=16):
    s = socket.socket(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, port))
    s.listen(backlog)
    return s
def echo(s):
    def one(c):
        while data := c.recv(65536):
            c.sendall(data)
        c.close()
    while True:
        threading.Thread(target=one, args=(s.accept()[0],), daemon=True).start()
deaf, full = server(socket.AF_INET, "127.0.0.1", 7100), server(socket.AF_INET, "127.0.0.1", 7102, 0)
for s in (server(socket.AF_INET, "127.0.0.1", 7101), server(socket.AF_INET6, "::1", 7102)):
    threading.Thread(target=echo, args=(s,), daemon=True).start()
held = [socket.socket() for _ in range(4)]
for s in held:  # the queue of the listener is full: whoever comes now is not answered
    s.setblocking(False)
    s.connect_ex(("127.0.0.1", 7102))
print("ready", flush=True)
for line in sys.stdin:
    if line == "accept\\n":
        c = deaf.accept()[0]
    elif line == "end\\n":
        c.shutdown(socket.SHUT_WR)
    elif line == "refuse\\n":
        for s in (full, *held):
            s.close()
    elif line == "gone\\n":  # by a reset, though there is much that was not read
        c.setblocking(False)
        end = time.monotonic() + 10 * int(sys.argv[1])
        while time.monotonic() < end:
            try:
                c.send(b"?")
            except BlockingIOError:
                pass
            except OSError:
                break
            time.sleep(0.02)
        else:
            print("it is still there", flush=True)
    print("done", flush=True)
"""


@pytest.fixture
def servers(k, pod):
    """In the pod's network: port 7100 does not read, 7101 answers, 7102 answers at ::1 and has a full queue at 127.0.0.1."""
    p = subprocess.Popen(["nsenter", f"--net={k.data}/run/cri/netns/{pod[0]}", "/usr/bin/python3", "-c", SERVERS, str(SLOWER)],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(word):
        p.stdin.write(word + "\n")
        p.stdin.flush()
        assert p.stdout.readline() == "done\n"
    try:
        assert p.stdout.readline() == "ready\n"
        yield say
    finally:
        p.kill()
        p.wait()


def test_port_forward_of_one_that_does_not_read(k, pod, servers):
    """What waits for it is bounded, whatever another forward of the same connection does; and its end sets the others free."""
    def rss():
        return int([x for x in open(f"/proc/{k.process.pid}/status") if x.startswith("VmRSS")][0].split()[1])
    s = spdy.Session(k.PortForward(pod_sandbox_id=pod[0], port=[7100, 7101]).url, ["portforward.k8s.io"])
    (_, deaf), (_, other) = forward(s, 7100, 1), forward(s, 7101, 2)
    servers("accept")
    other.send(b"hello")
    until(lambda: other.data == b"hello")
    before = rss()

    def push():
        try:
            for _ in range(3000):
                deaf.send(bytes(30000))
                other.send(b"x" * 10)
        except OSError:
            pass
    pushing = threading.Thread(target=push, daemon=True)
    pushing.start()
    at = [-1, 0]
    while at[-2] != at[-1]:  # until nothing moves
        time.sleep(0.5)
        at.append(len(other.data))
    assert pushing.is_alive() and rss() - before < 10000, (before, rss())
    servers("end")
    assert deaf.ended.wait(20 * SLOWER)
    pushing.join(60 * SLOWER)
    assert not pushing.is_alive()
    until(lambda: len(other.data) == 5 + 30000)
    s.close()


def test_port_forward_ends_with_a_client_that_is_not_read(k, pod, servers):
    """A server does not read, so nothing is read from the client: that the client has left is seen nevertheless, by the server too."""
    def sockets():
        found = 0
        for n in os.listdir(f"/proc/{k.process.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found += os.readlink(f"/proc/{k.process.pid}/fd/{n}").startswith("socket:")
        return found
    before = sockets()
    s = spdy.Session(k.PortForward(pod_sandbox_id=pod[0], port=[7100, 7101]).url, ["portforward.k8s.io"])
    (_, deaf), (_, other) = forward(s, 7100, 1), forward(s, 7101, 2)
    servers("accept")
    n = 0
    while True:  # until nothing is read any more: what the other one is sent behind it does not come back
        deaf.send(bytes(30000))
        n += 1
        other.send(b"x")
        try:
            until(lambda: len(other.data) == n, 1)
        except AssertionError:
            break
    s.close()
    servers("gone")
    until(lambda: sockets() <= before)  # one of them may have been the end of a stream before


def test_port_forward_to_the_other_loopback(k, pod, servers):
    """127.0.0.1 refuses only after a while."""
    s = spdy.Session(k.PortForward(pod_sandbox_id=pod[0], port=[7102]).url, ["portforward.k8s.io"])
    e, d = forward(s, 7102, 1)
    d.send(b"hello")
    time.sleep(0.3)
    assert not d.data and not e.ended.is_set()
    servers("refuse")
    until(lambda: d.data == b"hello")
    d.send(b"", last=True)
    assert d.read() == b"hello" and e.read() == b""
    s.close()
