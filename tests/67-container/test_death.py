"""The engine is killed, with containers running and at every step of what it does; the next one puts everything right."""
import json
import os
import signal
import time

import pytest

from conftest import Refused


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
    for c in (id, removed, again, stopped):
        e.start(c)
    e.call("stop", name=stopped, timeout=0)
    e.kill()
    time.sleep(2)
    after = time.time()
    e = env.engine()
    s = e.state(id)
    assert s["ExitCode"] == 5 and s["Status"] == "exited"
    finished = time.mktime(time.strptime(s["FinishedAt"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert after - 3 < finished < after - 0.5
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


def test_a_killed_spawner(engine):
    children = open(f"/proc/{engine.p.pid}/task/{engine.p.pid}/children").read().split()
    for pid in children:
        if b"spawn" in open(f"/proc/{pid}/cmdline", "rb").read():
            os.kill(int(pid), signal.SIGKILL)
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
