"""Spawner and monitor: start, end, records, and who may be killed."""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess

import pytest
from conftest import *


def test_exit_code_and_record(env):
    c = env.run("/ct", "exit", "7")
    s = c.end()
    assert (s.phase, s.exit_code, s.signal, s.oom_kills, s.error) == ("ended", 7, 0, 0, "")
    assert 0 < s.started_ns <= s.finished_ns
    c.finish()
    r = c.record()
    assert (r["exitCode"], r["signal"], r["pid"], r["id"]) == (7, 0, c.first, c.id)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", r["finishedAt"]) and r["startedAt"] <= r["finishedAt"]
    assert not (c.state_dir / "monitor.sock").exists()


def test_signal_is_recorded(env):
    c = env.run("/ct", "sleep", "100")
    c.connect().call(KILL, signal.SIGKILL)
    s = c.end()
    assert (s.exit_code, s.signal) == (137, 9)
    c.finish()
    assert c.record()["signal"] == 9 and c.record()["exitCode"] == 137
    with pytest.raises(OSError):
        c.connect()


def test_kill_is_delivered_and_refused(env):
    c = env.run("/ct", "trap")
    a = c.attach()
    until(lambda: b"ready" in c.log())
    k = c.connect()
    for bad in (0, -1, 65):
        with pytest.raises(Refused):
            k.call(KILL, bad)
    k.call(KILL, signal.SIGUSR2)
    a.until(1, b"signal 12")
    assert c.end().exit_code == 12


def test_oom_is_recorded(env):
    env.config["linux"]["resources"] = {"memory": {"limit": 16 << 20, "swap": 16 << 20}}
    c = env.run("/ct", "eat", "200")
    s = c.end()
    assert (s.signal, s.exit_code) == (9, 137) and s.oom_kills >= 1
    c.finish()
    assert c.record()["oomKilled"] is True and c.record()["oomKills"] >= 1


def oom(connection):
    while True:
        op, tag, a, *_ = connection.recv()
        if op == OOM:
            return a


def test_oom_is_told_while_the_container_runs(env):
    env.config["linux"]["resources"] = {"memory": {"limit": 16 << 20, "swap": 16 << 20}}
    c = env.run("/ct", "sleep", "100")
    late, idle = c.connect(), c.connect()
    late.send(WAIT)
    x = env.exec(c, "/ct", "eat", "200")
    x.started()
    oom(c.control)
    oom(late)
    assert x.end().signal == 9
    until(lambda: c.connect().call(STATUS).oom_kills >= 1)
    s = c.connect().call(STATUS)
    assert s.phase == "running", "the first process was not meant"
    idle.call(STATUS)  # its answer is the first thing that came: who has not asked is not told
    c.connect().call(KILL, signal.SIGKILL)
    assert c.end().oom_kills == s.oom_kills


def test_death_by_lack_of_memory_while_it_is_built_says_so(env):
    env.config["linux"]["resources"] = {"memory": {"limit": 64 << 10, "swap": 64 << 10}}
    env.config["mounts"] += [{"destination": f"/t{i}", "type": "tmpfs", "source": "t"} for i in range(200)]
    c = env.spawn("/ct", "exit", "0")
    with pytest.raises(Refused) as e:
        c.started()
    if "memory" in e.value.text:
        assert "killed by signal 9" in e.value.text and "memory.limit" in e.value.text
    else:  # the kernel refused an allocation (ENOMEM) instead
        assert "Cannot allocate memory" in e.value.text, e.value.text
    c.end()
    c.finish()


# ---- one more process


def test_exec(env):
    c = env.run("/ct", "sleep", "100")
    x = env.exec(c, "/ct", "ids", "--", "cat", "/proc/self/cgroup", "--", "exit", "5")
    assert x.started() > 0
    s = x.end()
    assert (s.phase, s.exit_code, s.signal) == ("ended", 5, 0)
    x.finish()
    assert b"uid 0" in x.log() and x.record()["exitCode"] == 5 and "oomKilled" not in x.record()
    assert c.connect().call(STATUS).phase == "running"


def test_exec_with_input_and_two_streams(env):
    c = env.run("/ct", "sleep", "100")
    x = env.exec(c, "/streams", "cat", flags=HOLD | OPEN_STDIN | STDIN_ONCE)
    assert x.started() == 0
    a, k = x.attach(TAKE_STDIN | TAKE_STDOUT | TAKE_STDERR), x.connect()
    assert k.call(STATUS).phase == "created"
    k.call(START)
    with pytest.raises(Refused, match="started already"):
        k.call(START)
    a.send(STDIN, payload=b"hello\n")
    a.until(1, b"hello\n")
    a.call(CLOSE_STDIN)
    assert a.to_end() == {1: b"hello\n", 2: b"end of input\n"}
    assert x.end().exit_code == 0


def test_exec_with_a_terminal(env):
    c = env.run("/ct", "sleep", "100")
    x = env.exec(c, "/streams", "size", flags=TERMINAL | HOLD)
    x.started()
    a, k = x.attach(TAKE_STDIN | TAKE_STDOUT), x.connect()
    k.call(RESIZE, 33, 77)
    k.call(START)
    a.until(1, b"size 33 77 tty 1\r\n")
    k.call(RESIZE, 50, 132)
    a.until(1, b"size 50 132\r\n")
    assert x.end().exit_code == 0


def test_a_held_exec_that_is_given_up(env):
    c = env.run("/ct", "sleep", "100")
    x = env.exec(c, "/ct", "exit", "0", flags=HOLD)
    x.started()
    x.connect().call(KILL, signal.SIGTERM)
    s = x.end()
    assert s.phase == "ended" and "before it was started" in s.error
    x.finish()
    assert x.record()["errorClass"] == "CANCELLED" and c.connect().call(STATUS).phase == "running"


def test_exec_ends_with_its_container(env):
    c = env.run("/ct", "sleep", "100")
    x = env.exec(c, "/ct", "sleep", "100")
    x.started()
    c.connect().call(KILL, signal.SIGKILL)
    assert c.end().signal == 9 and x.end().signal == 9
    x.finish()
    assert x.record()["signal"] == 9


@pytest.mark.parametrize("what", ["program", "process", "container", "sockets"])
def test_exec_refusals(env, what):
    c = env.run("/ct", "sleep", "100")
    if what == "sockets":
        with pytest.raises(Refused, match="with EXEC none are held"):
            env.ask(env.packet(EXEC, sockets=1), [])
        return
    if what == "container":
        c.connect().call(KILL, signal.SIGKILL)
        c.end()
    bad = {"cwd": 7} if what == "process" else {}
    x = env.exec(c, "/nothing" if what == "program" else "/ct", **bad)
    with pytest.raises(Refused) as e:
        x.started()
    want = {"program": "/nothing", "process": "cwd", "container": "stopped container"}[what]
    assert want in e.value.text
    s = x.end()
    assert s.exit_code == (127 if what == "program" else s.exit_code) != 0
    x.finish()
    assert want in x.record()["error"]


def test_exec_outlives_the_engine(env):
    c = env.run("/ct", "sleep", "100")
    x = env.exec(c, "/ct", "sleep", "1", "--", "exit", "3")
    x.started()
    env.spawner.close()
    env.process.wait(20 * SLOWER)
    x.control.close()
    x.finish()
    assert x.record()["exitCode"] == 3


def test_no_oom_is_recorded_as_such(env):
    env.config["linux"]["resources"] = {"memory": {"limit": 64 << 20}}
    c = env.run("/ct", "exit", "0")
    c.end()
    c.finish()
    assert c.record()["oomKilled"] is False


def test_missing_program_is_told(env):
    c = env.spawn("/nothing", "here")
    with pytest.raises(Refused) as e:
        c.started()
    assert "unable to start container process" in e.value.text and "/nothing" in e.value.text
    assert c.end().exit_code == 127
    c.finish()
    assert c.record()["errorClass"] == "NO_COMMAND" and "/nothing" in c.record()["error"]


def test_bad_config_is_told(env):
    env.config["linux"]["namespaces"] = [{"type": "nonsense"}]
    c = env.spawn("/ct", "exit", "0")
    with pytest.raises(Refused) as e:
        c.started()
    assert "nonsense" in e.value.text
    c.finish()
    assert not (env.tmp / "runtime" / c.id).exists()


def written_later(env, c, *args):
    """The bundle of a container that was spawned without one."""
    config = json.loads(json.dumps(env.config))
    config["process"]["args"] = list(args)
    (c.state_dir.parent / "bundle/config.json").write_text(json.dumps(config))


def hears(c):
    """A socket has its name before somebody listens at it."""
    try:
        c.connect().close()
        return True
    except OSError:
        return False


def spawn_later(env, flags=0, **kw):
    c = env.spawn("/ct", "exit", "9", flags=LATER | flags, **kw)
    (c.state_dir.parent / "bundle/config.json").unlink()
    until(lambda: hears(c))
    return c


@pytest.mark.parametrize("flags", [0, HOLD])
def test_the_bundle_comes_later(env, flags):
    c = spawn_later(env, flags)
    conn = c.connect()
    assert conn.call(STATUS).phase == "building"
    with pytest.raises(Refused, match="being built"):
        conn.call(START)
    with pytest.raises(Refused, match="not running"):
        conn.call(KILL, 9)
    written_later(env, c, "/ct", "exit", "6")
    c.control.send(BUILD_NOW)
    assert c.started() > 0
    if flags:
        with pytest.raises(Refused, match="being built, or was"):
            conn.call(BUILD_NOW)
        conn.call(START)
    assert c.end().exit_code == 6 and c.record()["exitCode"] == 6
    c.finish()


def test_a_bundle_that_never_comes(env):
    """Nobody asks for the build: the monitor and the process that would build end, and the folder tells of nothing."""
    c = spawn_later(env)
    children = pathlib.Path(f"/proc/{c.pid}/task/{c.pid}/children")
    until(lambda: len(children.read_text().split()) == 1 and (c.state_dir / "monitor.sock").exists())
    builder = int(children.read_text())
    other = c.connect()  # somebody who only looks does not keep it
    c.control.close()
    c.finish()
    until(lambda: not alive(builder))
    other.close()
    assert sorted(x.name for x in c.state_dir.iterdir()) == []
    again = env.spawn("/ct", "exit", "5", dirs=c)
    again.started()
    assert again.end().exit_code == 5


def test_a_builder_that_dies_while_it_waits(env):
    c = spawn_later(env)
    children = pathlib.Path(f"/proc/{c.pid}/task/{c.pid}/children")
    until(lambda: len(children.read_text().split()) == 1)
    os.kill(int(children.read_text()), signal.SIGKILL)
    with pytest.raises(Refused, match="was killed"):
        c.started()
    assert c.end().phase == "ended" and c.record()["errorClass"]
    c.finish()


def test_build_is_asked_where_nothing_waits(env):
    c = env.run("/ct", "sleep", "100")
    with pytest.raises(Refused, match="being built, or was"):
        c.connect().call(BUILD_NOW)
    c.connect().call(KILL, 9)
    assert c.end().signal == 9


def test_hold_then_start(env):
    c = env.run("/streams", "lines", "1", "3", "10", flags=HOLD)
    a = c.attach()
    k = c.connect()
    assert k.call(STATUS).phase == "created"
    k.call(START)
    assert a.to_end()[1].count(b"\n") == 3
    s = c.end()
    assert s.exit_code == 0 and s.started_ns


def test_network_that_the_engine_made_beforehand(env):
    """docs/decisions/0411: joined by its path, held, started; the namespace is the engine's and stays."""
    ns = env.tmp / "netns"
    ns.touch()
    subprocess.run(["unshare", f"--net={ns}", "true"], check=True)
    try:
        env.config["linux"]["namespaces"] = [{"type": t} for t in ("pid", "ipc", "uts", "mount")] + [{"type": "network", "path": str(ns)}]
        c = env.run("/ct", "readlink", "/proc/self/ns/net", flags=HOLD)
        assert os.stat(f"/proc/{c.first}/ns/net").st_ino == ns.stat().st_ino
        c.control.call(START)
        assert c.end().exit_code == 0
        assert f"net:[{ns.stat().st_ino}]" in c.docker()[0]["log"]
    finally:
        subprocess.run(["umount", str(ns)], check=True)
    ns.unlink()
    with pytest.raises(Refused, match=f"open network namespace {ns}: No such file"):
        env.spawn("/ct", "exit", "0").started()


def test_start_at_the_word_that_it_is_held(env):
    """The child that built is still there when STARTED is heard; START must not be refused for that."""
    env.spawner.close()
    env.process.wait(20 * SLOWER)
    held = env.tmp / "held"
    held.touch()
    env.start_spawner({"KNARR_FAIL": f"monitor.build.made=while:{held}"})
    c = env.spawn("/ct", "exit", "3", flags=HOLD)
    c.started()
    assert c.connect().call(STATUS).phase == "created"
    tag, other = c.control.send(START), c.connect()
    with pytest.raises(Refused, match="being built or started"):
        other.call(START)
    held.unlink()
    c.control.answer(tag)
    assert c.end().exit_code == 3
    held.touch()
    c = env.spawn("/ct", "exit", "3", flags=HOLD)
    c.started()
    tag = c.control.send(START)
    c.connect().call(KILL, signal.SIGKILL)  # it ends while START still waits
    held.unlink()
    with pytest.raises(Refused, match="stopped|reach|ended before it could start"):
        c.control.answer(tag)
    assert c.end().signal == signal.SIGKILL


def test_hold_and_a_program_that_cannot_run(env):
    c = env.run("/ct", "exit", "0", flags=HOLD)
    os.truncate(c.state_dir.parent / "bundle/rootfs/ct", 3)
    with pytest.raises(Refused) as e:
        c.connect().call(START)
    assert "exec format error" in e.value.text
    assert c.end().exit_code == 126


def test_start_twice_is_refused(env):
    c = env.run("/ct", "sleep", "100")
    with pytest.raises(Refused, match="already"):
        c.connect().call(START)


def test_bad_requests_are_answers(env):
    good = env.packet()
    for bad in (b"x", good[:16], good[:40], good + b"x", b"\x02" + good[1:], HEAD.pack(1, 9, 7, 0, 0, 0), good[:12] + b"\xff" * 4 + good[16:]):
        with pytest.raises(Refused):
            env.ask(bad, [])
    null = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(Refused, match="descriptors"):
        env.ask(good, [null])
    with pytest.raises(Refused, match="no folder"):
        env.ask(good, [null, null, null])
    with pytest.raises(Refused):
        env.ask(good, [null] * 200)
    with pytest.raises(Refused):
        env.ask(b"\x01" * 10000, [])
    os.close(null)
    assert len(os.listdir(f"/proc/{env.process.pid}/fd")) <= 5, "descriptors leaked in the spawner"
    assert env.run("/ct", "exit", "3").end().exit_code == 3


def test_bad_packets_to_the_monitor(env):
    c = env.run("/ct", "sleep", "100")
    for bad in (b"x", HEAD.pack(2, STATUS, 1, 0, 0, 0), HEAD.pack(1, SPAWN, 1, 0, 0, 0), HEAD.pack(1, 200, 1, 0, 0, 0),
                HEAD.pack(1, STATUS, 1, 0, 0, 1), HEAD.pack(1, STATUS, 1, 0, 0, 1) + b"x", b"y" * 9000):
        k = c.connect()
        k.sock.send(bad)
        assert k.recv()[0] == ERROR
        with pytest.raises(Gone):
            k.recv()
    assert c.connect().call(STATUS).phase == "running"


def test_too_many_connections(env):
    c = env.run("/ct", "sleep", "100")
    many = [c.connect() for _ in range(15)]
    assert many[-1].call(STATUS).clients == 16
    extra = c.connect()
    assert extra.recv()[0] == ERROR
    with pytest.raises(Gone):
        extra.recv()
    many[0].close()
    until(lambda: many[1].call(STATUS).clients == 15)
    assert c.connect().call(STATUS).clients == 16


def test_a_second_monitor_for_one_folder_is_refused(env):
    c = env.run("/ct", "sleep", "100")
    d = env.spawn("/ct", "exit", "0", dirs=c)
    with pytest.raises(Refused, match="another monitor"):
        d.started()
    d.finish()
    assert c.connect().call(STATUS).phase == "running" and not (c.state_dir / "exit.json").exists()


def test_spawner_and_engine_killed(env):
    c = env.run("/streams", "forever", "1")
    os.kill(env.process.pid, signal.SIGKILL)
    env.process.wait(20 * SLOWER)
    c.control.close()  # the engine is gone too
    env.spawner.close()
    before = len(c.log())
    until(lambda: len(c.log()) > before + 100)
    assert alive(c.pid) and alive(c.first)
    who = json.loads((c.state_dir / "monitor.json").read_text())
    assert (who["pid"], who["containerPid"], who["id"]) == (c.pid, c.first, c.id)
    ticks = pathlib.Path(f"/proc/{c.pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    assert int(ticks) == who["startTicks"]
    p = subprocess.run([PROGRAM, "monitor", c.state_dir, "status"], capture_output=True, text=True, timeout=20 * SLOWER)
    assert p.returncode == 0 and f"phase=running pid={c.first} " in p.stdout
    k = c.connect()
    w = k.send(WAIT)
    c.connect().call(KILL, 9)
    assert k.answer(w).exit_code == 137
    c.finish()
    p = subprocess.run([PROGRAM, "monitor", c.state_dir], capture_output=True, text=True, timeout=20 * SLOWER)
    assert p.returncode == 0 and "phase=ended" in p.stdout and "exit=137" in p.stdout
    env.start_spawner()


def test_engine_process_killed(env):
    """The engine as a process of its own: SIGKILL, and the spawner ends by itself, the container does not."""
    code = f"""
import os, sys, time
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
from conftest import *
import pathlib
e = Env(pathlib.Path({str(env.tmp)!r}), {{k: pathlib.Path(v) for k, v in {{ {', '.join(f'{k!r}: {str(v)!r}' for k, v in env.helpers.items())} }}.items()}})
c = e.run("/streams", "forever", "1")
print(c.pid, c.first, e.process.pid, c.state_dir, c.id, flush=True)
time.sleep(100)
"""
    p = subprocess.Popen(["/usr/bin/python3", "-c", code], stdout=subprocess.PIPE, text=True)
    monitor, first, spawner, state, cid = p.stdout.readline().split()
    p.kill()
    p.wait()
    p.stdout.close()
    until(lambda: not alive(int(spawner)))
    assert alive(int(monitor)) and alive(int(first))
    pidfd = os.pidfd_open(int(monitor))
    a, b = socket.socketpair()
    c = Container(env, int(monitor), pidfd, a, (pathlib.Path(state), pathlib.Path(state).parent / "log", cid))
    b.close()
    env.containers.append(c)
    assert c.connect().call(STATUS).pid == int(first)
    c.connect().call(KILL, 9)
    c.finish()
    assert c.record()["signal"] == 9


def test_a_killed_monitor_is_lost(env):
    c = env.run("/ct", "sleep", "100")
    os.kill(c.pid, signal.SIGKILL)
    c.finish()
    p = subprocess.run([PROGRAM, "monitor", c.state_dir], capture_output=True, text=True, timeout=20 * SLOWER)
    assert p.returncode == 1 and "its monitor was killed" in p.stderr
    assert alive(c.first)


def test_nothing_but_kill_ends_a_monitor(env):
    c = env.run("/ct", "sleep", "100")
    for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1, signal.SIGQUIT):
        os.kill(c.pid, s)
    assert c.connect().call(STATUS).phase == "running"


def test_the_exit_survives_a_full_disk(env):
    env.spawner.close()
    env.process.wait(20 * SLOWER)
    env.start_spawner({"KNARR_FAIL": "monitor.record=ENOSPC@3"})  # self at set-up, self at start, then the exit
    c = env.run("/ct", "exit", "5")
    assert c.end().exit_code == 5  # told only when it is on disk
    c.finish()
    assert c.record()["exitCode"] == 5


def test_sockets_are_held(env):
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(4)
    port = s.getsockname()[1]
    c = env.run("/ct", "sleep", "100", sockets=[s])
    s.close()
    client = socket.create_connection(("127.0.0.1", port), 5)  # nobody accepts, but it is open
    fds = c.connect().call(SOCKETS)
    assert len(fds) == 1
    again = socket.socket(fileno=fds[0])
    again.settimeout(5)
    peer, _ = again.accept()
    peer.send(b"hello")
    assert client.recv(5) == b"hello"
    for x in (client, peer, again):
        x.close()
    c.connect().call(KILL, 9)
    c.finish()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_the_container_has_nothing_of_ours(env):
    c = env.run("/ct", "fds", flags=OPEN_STDIN)
    c.end()
    c.finish()
    seen = [x["log"] for x in c.docker()]
    assert seen and all(re.match(r"fd [012] |fds? ", x) for x in seen), seen
