"""The engine is killed, with containers running and at every step of what it does; the next one puts everything right."""
import calendar
import json
import os
import signal
import time

import pytest

from conftest import SLOWER, groups
from waiting import until


def test_running_containers_are_found_again(env):
    e = env.engine()
    env.image(e)
    id = e.create("sleep", "100", name="stays", host={"PidsLimit": 50})
    e.start(id)
    pid = e.state(id)["Pid"]
    paused = e.create("sleep", "100")
    e.start(paused)
    e.call("pause", name=paused)
    e.kill()
    e = env.engine()
    s = e.state("stays")
    assert s["Running"] and s["Pid"] == pid and e.state(paused)["Paused"]
    x = e.call("exec_create", name="stays", config={"Cmd": ["/bin/ct", "exit", "3"], "AttachStdout": True})
    e.call("exec_start", name=x)
    waiting = e.send("wait", name="stays")
    e.call("kill", name="stays")
    assert e.answer(waiting)["StatusCode"] == 137
    e.call("unpause", name=paused)
    e.call("remove", name=paused, force=True)
    assert e.close() == 0


def test_an_engine_that_stops_leaves_them_running(env):
    e = env.engine()
    env.image(e)
    id = e.create("sleep", "100")
    e.start(id)
    pid = e.state(id)["Pid"]
    assert e.close() == 0
    os.kill(pid, 0)
    e = env.engine()
    assert e.state(id)["Pid"] == pid
    e.call("stop", name=id, timeout=0)
    assert e.close() == 0


def test_what_ended_meanwhile_has_its_true_end(env):
    e = env.engine()
    env.image(e)
    id = e.create("sleep", "1", "--", "exit", "5")
    removed = e.create("sleep", "1", host={"AutoRemove": True})
    again = e.create("sleep", "1", host={"RestartPolicy": {"Name": "always"}})
    stopped = e.create("sleep", "1", host={"RestartPolicy": {"Name": "unless-stopped"}})
    for c in (removed, again, stopped, id):
        began = time.time()
        e.start(c)
    e.call("stop", name=stopped, timeout=0)
    e.kill()
    until(lambda: not list((env.data / "containers").glob("*/state/monitor.sock")))  # which is taken away behind the last word of an end
    time.sleep(1.5)  # so that the time of an end is another than that of the engine that reads of it
    after = time.time()
    e = env.engine()
    s = e.state(id)
    assert s["ExitCode"] == 5 and s["Status"] == "exited"
    finished = calendar.timegm(time.strptime(s["FinishedAt"][:19], "%Y-%m-%dT%H:%M:%S"))
    assert began < finished + 1 and finished < after - 1
    e.until(lambda: e.state(again)["Running"])
    e.until(lambda: len(e.call("list")) == 3)
    assert e.state(stopped)["Status"] == "exited"
    e.call("remove", name=again, force=True)
    assert e.close() == 0


def test_a_killed_monitor(engine):
    id = engine.create("sleep", "100")
    engine.start(id)
    monitor = json.load(open(engine.env.data / "containers" / id / "state/monitor.json"))["pid"]
    os.kill(monitor, signal.SIGKILL)
    assert engine.wait(id) == 137
    assert engine.state(id)["Error"] == "its monitor was killed" and engine.state(id)["Status"] == "exited"


def test_a_monitor_that_was_killed_behind_the_death(env):
    e = env.engine()
    env.image(e)
    id = e.create("sleep", "100")
    e.start(id)
    began = e.state(id)["StartedAt"]
    e.kill()
    monitor = json.load(open(env.data / "containers" / id / "state/monitor.json"))["pid"]
    os.kill(monitor, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{monitor}"))
    e = env.engine()
    s = e.state(id)
    assert (s["Status"], s["ExitCode"], s["Error"], s["StartedAt"]) == ("exited", 137, "its monitor was killed", began), s
    assert s["FinishedAt"] > began, s
    assert e.close() == 0


def test_changed_while_it_is_cleared_away(env):
    """It is at rest already: the change is one of its record, which whoever clears away has no eye on (a sanitizer tells), and the end stays."""
    held = env.dir / "held"
    e = env.engine(fail=f"container.clear.deleted=while:{held}")
    env.image(e)
    id = e.create("sleep", "100", host={"Binds": ["vol:/data"]})
    e.start(id)
    held.touch()
    killed = e.send("kill", name=id)
    until(lambda: not (env.run / "runtime" / id).exists())
    e.call("update", name=id, doc={"Memory": 64 << 20, "MemorySwap": -1})
    e.call("rename", name=id, to="other")
    held.unlink()
    e.answer(killed)
    assert e.state("other")["Status"] == "exited" and e.inspect("other")["HostConfig"]["Memory"] == 64 << 20
    e.kill()
    e = env.engine()
    s = e.state("other")
    assert s["Status"] == "exited" and s["ExitCode"] == 137, s
    e.call("remove", name="other")
    assert not env.left()
    assert e.close() == 0


def test_a_killed_spawner(engine):
    children = open(f"/proc/{engine.p.pid}/task/{engine.p.pid}/children").read().split()
    spawners = [int(pid) for pid in children if b"spawn" in open(f"/proc/{pid}/cmdline", "rb").read()]
    assert spawners
    for pid in spawners:
        os.kill(pid, signal.SIGKILL)
    assert engine.run("args", "x") == "arg args\narg x\n"


POINTS = ["container.create.checked", "container.create.snapshot", "container.create.volumes", "container.create.folder", "container.create.recorded",
          "container.start.mounted", "container.start.configured", "container.start.spawn", "container.start.spawned", "container.start.asked", "container.start.held",
          "container.clear.deleted", "container.clear.unmounted", "container.remove.committed", "container.remove.volumes", "container.remove.snapshot"]


@pytest.mark.parametrize("point,nocopy", [(p, False) for p in POINTS] + [(p, True) for p in POINTS if ".clear." in p])
def test_killed_at(env, point, nocopy):
    e = env.engine()
    env.image(e)
    assert e.close() == 0
    e = env.engine(fail=point + "=kill")
    done = None
    with pytest.raises((EOFError, BrokenPipeError)):
        id = e.create("args", "x", name="victim", host={"Binds": ["vol:/data" + (":nocopy" if nocopy else "")]})
        done = "created"
        if point.endswith("held"):
            e.answer(e.send("attach", name=id))
        e.start(id)
        done = "started"
        e.wait(id)
        done = "ended"
        e.call("remove", name=id)
        done = "removed"
        while point == "container.remove.snapshot":  # behind the answer
            e.call("list")
            time.sleep(0.01)
    e = env.engine()
    left = [c["Id"] for c in e.call("list")]
    if point.startswith("container.create"):
        assert len(left) == (1 if point.endswith("recorded") else 0)
    elif point.startswith("container.remove"):
        assert not left
    elif point.startswith("container.clear"):  # create clears away too, after it has filled volumes
        assert (not left and done is None) if not nocopy else (len(left) == 1 and done == "started")
    else:
        assert len(left) == 1 and done in ("created", "started", "ended"), done
    for c in left:
        if e.state(c)["Running"]:
            e.wait(c)
        e.start(c)
        assert e.wait(c) == 0
        e.call("remove", name=c)
    id = e.create("args", "x", name="victim")
    e.start(id)
    assert e.wait(id) == 0
    e.call("remove", name="victim")
    assert not env.left()
    assert e.close() == 0


def test_killed_while_it_writes(env):
    """Whatever file it writes when it is killed, what it has written so far keeps nobody from removing the container."""
    e = env.engine()
    env.image(e)
    assert e.close() == 0
    n, died = 0, True
    while died:
        n += 1
        try:
            e = env.engine(fail=f"io.write_file.before_rename=kill@{n}")
            id = e.create("args", "x", host={"Binds": ["vol:/data"]})
            e.start(id)
            e.wait(id)
            e.call("remove", name=id)
            died = False
        except (EOFError, BrokenPipeError):
            e = env.engine()
            for c in e.call("list"):
                e.call("remove", name=c["Id"], force=True)
        assert not env.left(), n
        assert e.close() == 0
    assert n > 5 and "cannot be taken up" not in e.stderr()


# Of a monitor that is slow: not begun, or building.
SLOW = {"monitor": "monitor.run.begin=sleep:700", "builder": "runtime.create=sleep:700@1"}


@pytest.mark.parametrize("who", SLOW)
@pytest.mark.parametrize("again", [False, True])
def test_a_monitor_that_begins_behind_the_death(env, who, again):
    """Its build was asked for: the next engine waits for it, whatever the folder tells of the run before, and watches it."""
    e = env.engine()
    env.image(e)
    id = e.create("sleep", "100")
    if again:
        e.start(id)
        e.call("stop", name=id, timeout=0)
    assert e.close() == 0
    e = env.engine(fail=f"{SLOW[who]};container.start.asked=kill")
    with pytest.raises(EOFError):
        e.start(id)
    e = env.engine()
    s = e.state(id)
    assert s["Running"] and s["ExitCode"] == 0, s
    e.call("stop", name=id, timeout=0)
    assert e.state(id)["ExitCode"] == 137
    e.call("remove", name=id)
    assert not env.left()
    assert e.close() == 0


def test_a_monitor_that_nobody_wants_behind_the_death(env):
    """No build was asked for: it takes itself away, and the next engine does not clear up beside it."""
    e = env.engine()
    env.image(e)
    id = e.create("exit", "3")
    e.start(id)
    assert e.wait(id) == 3
    assert e.close() == 0
    e = env.engine(fail=f"{SLOW['monitor']};container.start.spawned=kill")
    with pytest.raises(EOFError):
        e.start(id)
    e = env.engine()
    assert e.state(id)["Status"] == "exited" and e.state(id)["ExitCode"] == 3
    e.start(id)
    assert e.wait(id) == 3
    e.call("remove", name=id)
    assert not env.left()
    assert e.close() == 0


@pytest.mark.parametrize("what", ["a container", "one with ports", "an exec"])
def test_what_the_spawner_has_not_made_yet(env, what):
    """The spawner is asked, and slow, and its engine dies: nothing comes into being behind the next one's back."""
    env.network = f"{os.getpid() & 0xffffff:x}" if what == "one with ports" else None
    host = {"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]}} if env.network else {}
    e = env.engine()
    env.image(e)
    id = e.create("sleep", "100", host=host, ExposedPorts={"80/tcp": {}} if env.network else {})
    if what == "an exec":
        e.start(id)
    assert e.close() == 0
    held = env.dir / "held"
    held.touch()
    e = env.engine(fail=f"monitor.spawn.locked=while:{held}")
    if what == "an exec":
        x = e.call("exec_create", name=id, config={"Cmd": ["/bin/ct", "sleep", "77"]})
        folder = env.run / "exec" / x
        e.send("exec_start", name=x)
    else:
        folder = env.data / "containers" / id / "state"
        e.send("start", name=id)
    e.until(folder.exists)
    time.sleep(0.1)  # the request is on its way
    e.kill()
    held.unlink()
    e = env.engine()
    s = e.state(id)
    assert (s["Running"], s["Status"]) == ((True, "running") if what == "an exec" else (False, "created"))
    if what == "an exec":
        assert not [p for p in e.call("top", name=id)["Processes"] if p[-1].endswith("sleep 77")]
    else:
        e.start(id)
    e.call("remove", name=id, force=True)
    assert not env.left() and not list((env.run / "exec").iterdir())
    assert e.close() == 0


def test_one_that_cannot_be_found_again_can_be_removed(env):
    e = env.engine()
    env.image(e)
    ids = [e.create("sleep", "100"), e.create("sleep", "100")]
    for id in ids:
        e.start(id)
    e.kill()
    for id in ids:
        (env.data / "containers" / id / "state/monitor.sock").unlink()  # it lives, and cannot be asked
    e = env.engine()
    assert e.stderr().count("cannot be taken up") == 2
    assert [e.state(id)["Status"] for id in ids] == ["exited", "exited"]
    e.call("remove", name=ids[0])
    e.start(ids[1])
    assert e.state(ids[1])["Running"]
    e.call("remove", name=ids[1], force=True)
    assert not env.left()
    assert e.close() == 0


@pytest.mark.parametrize("left", ["", "{", '{"version":1,"id":'])
def test_power_goes_while_it_runs(env, left):
    """RUN on a disk: what was not synced is empty or cut after a power cut, and nobody who could answer is there."""
    e = env.engine()
    env.image(e)
    ids = [e.create("sleep", "100", name=n) for n in ("removed", "started")]
    for id in ids:
        e.start(id)
        os.kill(json.load(open(env.data / "containers" / id / "state/monitor.json"))["pid"], signal.SIGSTOP)
    e.kill()
    for id in ids:
        monitor = json.load(open(env.data / "containers" / id / "state/monitor.json"))
        os.kill(monitor["pid"], signal.SIGKILL)
        os.kill(monitor["containerPid"], signal.SIGKILL)
        torn = [env.data / "containers" / id / "state/monitor.json", *(env.run / "runtime" / id / n for n in ("state.json", "config.json"))]
        for f in torn:
            f.write_text(left)
    for g in groups():  # they went, too
        end = time.monotonic() + 10 * SLOWER
        while os.path.isdir(g):
            try:
                os.rmdir(g)
            except OSError:  # its process is still ending
                assert time.monotonic() < end, g
                time.sleep(0.02)
    e = env.engine()
    assert "cannot be taken up" not in e.stderr()
    assert [(e.state(id)["Status"], e.state(id)["ExitCode"]) for id in ids] == [("exited", 255)] * 2
    e.call("remove", name=ids[0])
    e.start(ids[1])
    e.call("remove", name=ids[1], force=True)
    assert not env.left()
    assert e.close() == 0


def test_killed_at_any_moment(env):
    """Many rounds of everything at once, killed at a random moment; nothing is left and everybody is found again."""
    import random
    e = env.engine()
    env.image(e)
    rnd = random.Random(5)
    for _ in range(8):
        for i in range(4):
            e.send("create", name=f"c{rnd.randrange(6)}", config={"Image": "ct", "Cmd": ["sleep", "1"]}, host={"NetworkMode": "none"})
        for i in range(6):
            e.send("start", name=f"c{i}")
        for i in range(3):
            e.send("remove", name=f"c{rnd.randrange(6)}", force=True)
        time.sleep(rnd.random() * 0.1)
        e.kill()
        e = env.engine()
        for c in e.call("list"):
            assert c["State"] in ("created", "running", "exited"), c
    for c in e.call("list"):
        e.call("remove", name=c["Id"], force=True)
    assert not env.left()
    assert e.close() == 0
