"""A monitor that takes no connection: it is stopped, or slow, and as many as it can have wait already. It holds its container all the same,
so an engine that opens takes that up as running, reaches the monitor when it can, and meanwhile says what it cannot do (decision 0895)."""
import json
import os
import pathlib
import signal
import socket
import time

import pytest

from conftest import SLOWER, Refused, refused
from waiting import until


class Monitor:
    def __init__(self, env, id):
        self.folder = env.data / "containers" / id / "state"
        self.pid = json.loads((self.folder / "monitor.json").read_text())["pid"]
        self.waiting = []

    def connect(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.setblocking(False)
        fd = os.open(self.folder, os.O_DIRECTORY)  # the path is longer than an address
        try:
            s.connect(f"/proc/self/fd/{fd}/monitor.sock")
        finally:
            os.close(fd)
        return s

    def deafen(self):
        os.kill(self.pid, signal.SIGSTOP)
        with pytest.raises(BlockingIOError):
            while True:
                self.waiting.append(self.connect())
        assert len(self.waiting) == 17

    def wake(self):
        os.kill(self.pid, signal.SIGCONT)

    def lives(self):
        """Not gone, nor dead and not reaped by whoever that is left to."""
        try:
            return (pathlib.Path("/proc") / str(self.pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
        except OSError:
            return False

    def leave(self):
        while self.waiting:
            self.waiting.pop().close()


@pytest.fixture
def deaf(env):
    """A running container whose monitor was deafened while no engine was there."""
    made = []

    def make(*cmd, **args):
        e = env.engine()
        env.image(e)
        id = e.create(*cmd, **args)
        e.start(id)
        pid = e.state(id)["Pid"]
        e.kill()
        m = Monitor(env, id)
        made.append(m)
        m.deafen()
        e = env.engine()
        assert "cannot be taken up" not in e.stderr() and "it takes no more connections" in e.stderr(), e.stderr()
        s = e.state(id)
        assert (s["Status"], s["Pid"], s["Error"]) == ("running", pid, ""), s
        return e, id, m
    yield make
    for m in made:
        m.leave()
        if m.lives():
            m.wake()


def answers(e, id):
    try:
        e.call("resize", name=id, rows=10, columns=20)
        return True
    except Refused as r:
        assert r.cls == "UNAVAILABLE", r
        return False


def test_it_runs_on_and_is_reached_later(env, deaf):
    e, id, m = deaf("trap", Tty=True)
    waiting = e.send("wait", name=id)
    x = e.call("exec_create", name=id, config={"Cmd": ["/bin/ct", "exit", "3"], "AttachStdout": True})
    n = e.send("exec_start", name=x)
    e.answer(n)
    e.until(lambda: n in e.ended)
    e.until(lambda: e.call("exec_inspect", name=x)["ExitCode"] == 3)
    e.call("top", name=id)
    e.call("stats", name=id)
    e.call("update", name=id, doc={"CpuShares": 100})
    e.call("pause", name=id)
    e.call("unpause", name=id)
    e.call("rename", name=id, to="other")
    refused(lambda: e.call("attach", name=id), "TOO_MANY", "takes no more connections")
    began = time.monotonic()
    refused(lambda: e.call("resize", name=id, rows=10, columns=20), "UNAVAILABLE", "does not answer")
    assert 4 < time.monotonic() - began < 10 * SLOWER
    # It wakes up, and those who waited have all its places: ours is turned away, again and again, and nothing has ended for that.
    m.wake()
    until(lambda: any(closed(s) for s in m.waiting))
    time.sleep(2)
    assert e.state(id)["Running"] and waiting not in e.answers
    m.leave()
    until(lambda: answers(e, id))
    assert e.answer(waiting)["StatusCode"] == signal.SIGWINCH
    assert e.close() == 0


def closed(s):
    try:
        while s.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    return True


def test_it_is_stopped_and_closed_while_nobody_is_reached(env, deaf):
    """An engine that closes waits for nobody, and the next finds it again."""
    e, id, m = deaf("sleep", "100")
    assert e.close() == 0
    e = env.engine()
    assert e.state(id)["Running"]
    began = time.monotonic()
    e.call("stop", name=id, timeout=0)
    assert time.monotonic() - began < 20 * SLOWER
    assert (e.state(id)["ExitCode"], e.state(id)["Error"]) == (137, "its monitor was killed")
    e.start(id)
    e.call("remove", name=id, force=True)
    assert not env.left()
    assert e.close() == 0


def test_its_own_end_is_told_at_once(env, deaf):
    e, id, m = deaf("sleep", "100")
    waiting = e.send("wait", name=id)
    os.kill(m.pid, signal.SIGKILL)
    assert e.answer(waiting)["StatusCode"] == 137
    assert e.state(id)["Error"] == "its monitor was killed"
    e.call("remove", name=id)
    assert not env.left()
    assert e.close() == 0


def test_a_signal_is_delivered_and_its_end_comes_with_the_monitor(env, deaf):
    e, id, m = deaf("trap")
    waiting = e.send("wait", name=id)
    e.call("kill", name=id, signal="HUP")  # by the engine itself, after it has waited for the monitor
    m.leave()
    m.wake()
    assert e.answer(waiting)["StatusCode"] == 1
    assert e.state(id)["Error"] == "" and e.log(id) == "ready\nsignal 1\n"
    assert e.close() == 0


def test_it_ends_while_it_is_not_reached(env, deaf):
    """The monitor has no place for us when it tells the end: that is read in its folder, which is true."""
    e, id, m = deaf("trap")
    waiting = e.send("wait", name=id)
    m.wake()
    until(lambda: any(closed(s) for s in m.waiting))
    os.kill(e.state(id)["Pid"], signal.SIGUSR1)
    assert e.answer(waiting)["StatusCode"] == 10
    assert e.state(id)["Error"] == ""
    assert e.close() == 0


def test_forced_removal(env, deaf):
    e, id, m = deaf("sleep", "100")
    e.call("remove", name=id, force=True)
    assert not env.left() and not m.lives()
    assert e.close() == 0


def test_how_it_ended_is_known_beside_a_monitor_that_is_silent(env):
    """It ended while no engine was there, and its monitor hangs: exit.json is the last word."""
    held = env.dir / "held"
    e = env.engine(fail=f"monitor.run.recorded=while:{held}")
    env.image(e)
    id = e.create("trap")
    e.start(id)
    inside = e.state(id)["Pid"]
    m = Monitor(env, id)
    e.kill()
    held.touch()
    os.kill(inside, signal.SIGUSR2)
    until((m.folder / "exit.json").exists)
    e = env.engine()
    assert "cannot be taken up" not in e.stderr(), e.stderr()
    s = e.state(id)
    assert (s["Status"], s["ExitCode"], s["Error"]) == ("exited", signal.SIGUSR2, ""), s
    e.start(id)  # the monitor of the run before does not end, and nothing is lost with it
    assert e.state(id)["Running"] and not m.lives()
    e.call("remove", name=id, force=True)
    assert not env.left()
    assert e.close() == 0


def test_its_published_ports_are_served_again(env):
    """The monitor holds the sockets: an engine that could not ask for them serves 127.0.0.1 again once it can."""
    env.network = f"{os.getpid() & 0xffffff:x}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"bip": "10.231.78.1/24", "bridge": ""}
    e = env.engine(settings=settings)
    env.image(e)
    ports = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
    id = e.create("sleep", "100", host={"NetworkMode": "bridge", "PortBindings": ports}, ExposedPorts={"80/tcp": {}})
    e.start(id)
    assert served(port)
    e.kill()
    m = Monitor(env, id)
    m.deafen()
    e = env.engine(settings=settings)
    s = e.inspect(id)
    assert s["State"]["Running"] and s["NetworkSettings"]["Ports"] == ports, s
    assert not served(port)
    m.leave()
    m.wake()
    until(lambda: served(port))
    assert e.inspect(id)["NetworkSettings"]["Ports"] == ports
    e.call("remove", name=id, force=True)
    assert e.close() == 0


def served(port):
    """Somebody takes the connection; in the container nobody listens, so it ends. Else it waits in the queue of the socket."""
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.settimeout(2)
        try:
            return s.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
