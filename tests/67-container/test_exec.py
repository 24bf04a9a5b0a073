"""exec and attach: streams both ways, terminals, codes, words, events."""
import os
import re
import signal

import pytest

from conftest import refused


@pytest.fixture
def box(engine):
    id = engine.create("sleep", "1000", name="box", Env=["A=1"], User="ann", WorkingDir="/tmp")
    engine.start(id)
    return id


def run_exec(engine, *cmd, **config):
    x = engine.call("exec_create", name="box", config={"Cmd": list(cmd), "AttachStdout": True, "AttachStderr": True, **config})
    n = engine.send("exec_start", name=x)
    engine.answer(n)
    engine.until(lambda: n in engine.ended)
    engine.until(lambda: not engine.call("exec_inspect", name=x)["Running"])
    return engine.call("exec_inspect", name=x)["ExitCode"], engine.streams.get(n, {1: "", 2: ""})


def test_exec(engine, box):
    code, out = run_exec(engine, "/bin/ct", "args", "x", "--", "exit", "4")
    assert code == 4 and out[1] == "arg args\narg x\n"
    names = [n for n in engine.names(box) if n.startswith("exec")]
    assert names == ["exec_create: /bin/ct args x -- exit 4", "exec_start: /bin/ct args x -- exit 4", "exec_die"]
    code, out = run_exec(engine, "/bin/ct", "env", "--", "ids", "--", "pwd", Env=["B=2"])
    assert "A=1\n" in out[1] and "B=2\n" in out[1] and "uid 1000\n" in out[1] and "cwd /tmp\n" in out[1]
    code, out = run_exec(engine, "/bin/ct", "ids", "--", "pwd", User="root", WorkingDir="/etc")
    assert "uid 0\n" in out[1] and "cwd /etc\n" in out[1]


def test_exec_privileged(engine, box):
    code, out = run_exec(engine, "/bin/ct", "cat", "/proc/self/status", Privileged=True, User="root")
    everything = re.search("CapBnd:\t(.*)", open("/proc/self/status").read())[1]
    assert f"CapEff:\t{everything}" in out[1]


def test_exec_input_and_streams(engine, box):
    x = engine.call("exec_create", name="box", config={"Cmd": ["/bin/streams", "cat"], "AttachStdin": True, "AttachStdout": True, "AttachStderr": True})
    n = engine.send("exec_start", name=x, stdin=True)
    engine.answer(n)
    engine.call("input", stream=n, data="hello\n")
    engine.call("input_end", stream=n)
    engine.until(lambda: n in engine.ended)
    assert "hello" in engine.streams[n][1]
    code, out = run_exec(engine, "/bin/streams", "lines", "2", "1000", "100")
    assert code == 0 and len(out[2]) == 1000 * 101 and out[1] == ""


def test_exec_terminal(engine, box):
    x = engine.call("exec_create", name="box", config={"Cmd": ["/bin/streams", "size"], "Tty": True, "AttachStdout": True, "ConsoleSize": [30, 100]})
    n = engine.send("exec_start", name=x)
    engine.answer(n)
    engine.until(lambda: "size 30 100 tty 1" in engine.streams.get(n, {}).get(1, ""))
    engine.call("exec_resize", name=x, rows=20, columns=50)
    engine.until(lambda: n in engine.ended)
    assert "size 20 50" in engine.streams[n][1]


def test_exec_errors(engine, box):
    refused(lambda: engine.call("exec_create", name="box", config={"Cmd": []}), "INVALID_REQUEST", "No exec command specified")
    refused(lambda: engine.call("exec_start", name="0" * 64), "NOT_FOUND", "No such exec instance: " + "0" * 64)
    for cmd, code, words in (("nosuch", 127, 'executable file not found in $PATH'), ("/bin/plain", 126, "permission denied")):
        x = engine.call("exec_create", name="box", config={"Cmd": [cmd], "AttachStdout": True})
        refused(lambda: engine.call("exec_start", name=x), "INVALID_REQUEST", words)
        assert engine.call("exec_inspect", name=x)["ExitCode"] == code
        refused(lambda: engine.call("exec_start", name=x), "IN_USE", "has already run")
    engine.call("pause", name="box")
    refused(lambda: engine.call("exec_create", name="box", config={"Cmd": ["x"]}), "IN_USE", "is paused, unpause the container before exec")
    engine.call("unpause", name="box")
    engine.call("kill", name="box")
    engine.wait("box")
    refused(lambda: engine.call("exec_create", name="box", config={"Cmd": ["x"]}), "IN_USE", f"container {box} is not running")


def test_exec_detached(engine, box):
    x = engine.call("exec_create", name="box", config={"Cmd": ["/bin/ct", "sleep", "50"]})
    engine.call("exec_start", name=x, watched=False)
    got = engine.call("exec_inspect", name=x)
    assert got["Running"] and got["Pid"] > 0 and got["ExitCode"] is None and got["ContainerID"] == box
    assert engine.inspect("box")["ExecIDs"] == [x]
    engine.call("kill", name="box")
    engine.wait("box")
    engine.until(lambda: not engine.call("exec_inspect", name=x)["Running"])
    assert engine.call("exec_inspect", name=x)["ExitCode"] == 137


def test_attach_before_start(engine):
    id = engine.create("args", "all of it", "--", "exit", "3")
    n = engine.send("attach", name=id)
    engine.answer(n)
    engine.start(id)
    assert engine.wait(id) == 3
    engine.until(lambda: n in engine.ended)
    assert engine.streams[n][1] == "arg args\narg all of it\n"


def test_attach_input(engine):
    id = engine.create("exec", "/bin/streams", "cat", OpenStdin=True, StdinOnce=True)
    n = engine.send("attach", name=id, stdin=True)
    engine.answer(n)
    engine.start(id)
    engine.call("input", stream=n, data="to the program\n")
    engine.call("input_end", stream=n)
    assert engine.wait(id) == 0
    engine.until(lambda: n in engine.ended)
    assert "to the program" in engine.streams[n][1]


def test_attach_to_running_and_resize(engine):
    id = engine.create("read", "--", "exec", "/bin/streams", "size", Tty=True, OpenStdin=True)
    engine.start(id)
    n = engine.send("attach", name=id, stdin=True)
    engine.answer(n)
    engine.call("input", stream=n, data="late\n")
    engine.until(lambda: "tty 1" in engine.streams.get(n, {}).get(1, ""))
    engine.call("resize", name=id, rows=33, columns=111)
    assert engine.wait(id) == 0
    engine.until(lambda: n in engine.ended)
    assert "late" in engine.streams[n][1] and "33 111" in engine.streams[n][1]
    refused(lambda: engine.call("resize", name=id, rows=3, columns=3), "IN_USE", "is not running")


def test_attach_many_and_failing_start(engine):
    id = engine.create("args", "x")
    ns = [engine.send("attach", name=id) for _ in range(3)]
    for n in ns:
        engine.answer(n)
    engine.start(id)
    engine.until(lambda: all(n in engine.ended for n in ns))
    assert all(engine.streams[n][1] == "arg args\narg x\n" for n in ns)
    id = engine.create(Entrypoint=["/nosuch"])
    n = engine.send("attach", name=id)
    engine.answer(n)
    refused(lambda: engine.start(id), "INVALID_REQUEST", "no such file or directory")
    engine.until(lambda: n in engine.ended)
    assert "no such file" in engine.ended[n]


def test_health(engine):
    ms = 1000000
    check = {"Test": ["CMD", "/bin/ct", "cat", "/data/ok"], "Interval": 100 * ms, "Timeout": 5000 * ms, "Retries": 2}
    id = engine.create("sleep", "1000", Healthcheck={**check, "Interval": 3600000 * ms})
    engine.start(id)
    assert engine.state(id)["Health"]["Status"] == "starting"  # nobody has looked yet
    engine.call("remove", name=id, force=True)
    id = engine.create("sleep", "1000", name="well", Healthcheck=check)
    engine.start(id)
    engine.until(lambda: "health_status: unhealthy" in engine.names(id))
    h = engine.state(id)["Health"]
    assert h["FailingStreak"] >= 2 and h["Log"][0]["ExitCode"] == 1 and "No such file" in h["Log"][0]["Output"]
    x = engine.call("exec_create", name=id, config={"Cmd": ["/bin/ct", "write", "/data/ok", "fine"], "AttachStdout": True})
    engine.call("exec_start", name=x)
    engine.until(lambda: "health_status: healthy" in engine.names(id))
    last = engine.state(id)["Health"]["Log"][-1]["Start"]
    engine.until(lambda: [x["Output"] for x in engine.state(id)["Health"]["Log"]] == ["fine"] * 5)
    engine.until(lambda: engine.state(id)["Health"]["Log"][0]["Start"] > last)
    h = engine.state(id)["Health"]
    assert h["FailingStreak"] == 0 and len(h["Log"]) == 5 and h["Log"][-1]["Output"] == "fine"
    assert "(healthy)" in engine.call("list")[0]["Status"]
    engine.call("stop", name=id, timeout=0)


def test_health_timeout(engine):
    ms = 1000000
    id = engine.create("sleep", "1000", Healthcheck={"Test": ["CMD", "/bin/ct", "sleep", "100"], "Interval": 50 * ms, "Timeout": 300 * ms, "Retries": 1})
    engine.start(id)
    engine.until(lambda: "health_status: unhealthy" in engine.names(id))
    entry = engine.state(id)["Health"]["Log"][0]
    assert entry["ExitCode"] == -1 and entry["Output"] == "Health check exceeded timeout (300ms)"
    engine.call("remove", name=id, force=True)


@pytest.mark.parametrize("how", ["alone", "with a child"])
def test_a_killed_one_is_reaped(engine, how):
    """Whatever process 1 does (this one reaps nobody): an exec belongs to a monitor of its own. What an exec has started is process 1's, as
    everywhere: dockerd 20.10 with runc leaves the same."""
    id = engine.create("sleep", "100")
    engine.start(id)
    first = engine.state(id)["Pid"]
    x = engine.call("exec_create", name=id, config={"Cmd": ["/bin/ct", *(["fork", "1", "100"] if how == "with a child" else ["sleep", "100"])]})
    engine.call("exec_start", name=x, watched=False)
    pid = engine.call("exec_inspect", name=x)["Pid"]
    children = set(open(f"/proc/{pid}/task/{pid}/children").read().split())
    os.kill(pid, signal.SIGKILL)
    engine.until(lambda: engine.call("exec_inspect", name=x)["ExitCode"] == 137)
    assert not os.path.exists(f"/proc/{pid}")
    assert set(open(f"/proc/{first}/task/{first}/children").read().split()) == children
    engine.call("remove", name=id, force=True)
