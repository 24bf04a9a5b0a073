"""A monitor that does not answer: stopped, as one that hangs is. Everything that talks to it is bounded, and nothing is answered that is
not so (decision 0819). The times are of ask.c: 5 s for an answer, 5 s for the word of an end that must be."""
import json
import os
import time

import pytest
from conftest import *

NET = ("--network", "none")


@pytest.fixture(scope="module")
def deaf(knarr):
    import_busybox(knarr)
    stopped = []

    def make(name, *command, words=()):
        knarr.cli("run", "-d", "--name", name, *NET, *words, "busybox", *(command or ("sleep", "1000")))
        id = knarr.out("inspect", "-f", "{{.Id}}", name)
        pid = json.loads((knarr.data / "containers" / id / "state/monitor.json").read_text())["pid"]
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)
        return pid
    yield knarr, make
    left = knarr.out("ps", "-aq").split()
    if left:
        knarr.cli("rm", "-fv", *left)
    for pid in stopped:
        assert not pathlib.Path(f"/proc/{pid}").exists()


def lived(pid):
    """False: gone, or dead and not reaped."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def timed(f):
    start = time.monotonic()
    return f(), time.monotonic() - start


def test_a_forced_removal_gets_out(deaf):
    d, make = deaf
    monitor = make("rm")
    inside = int(d.out("inspect", "-f", "{{.State.Pid}}", "rm"))
    _, seconds = timed(lambda: d.cli("rm", "-f", "rm"))
    assert 9 < seconds < 20 * SLOWER, seconds
    assert not lived(inside) and "No such container: rm" in d.api("GET", "/containers/rm/json").message
    until(lambda: not pathlib.Path(f"/proc/{monitor}").exists())
    assert "a monitor that does not answer is killed" in d.tail()


def test_kill_ends_it_and_says_why(deaf):
    d, make = deaf
    make("kill", words=("--restart", "always"))
    start = time.time()
    _, seconds = timed(lambda: d.cli("kill", "kill"))
    assert seconds < 20 * SLOWER, seconds
    state = json.loads(d.out("inspect", "-f", "{{json .State}}", "kill"))
    assert (state["Status"], state["ExitCode"], state["Error"]) == ("exited", 137, "its monitor was killed"), state
    r = d.api("GET", f"/events?since={start:.6f}&until={time.time():.6f}&filters=" + '{"container":["kill"]}').lines
    assert [x["Action"] for x in r if x["Action"] in ("kill", "die")] == ["kill", "die"]
    d.cli("start", "kill")  # it can be used again, with a monitor of its own
    assert d.out("exec", "kill", "echo", "well") == "well"


def test_stop_still_asks_the_program_first(deaf, tmp_path):
    d, make = deaf
    make("stop", "sh", "-c", "trap 'echo asked >/seen/it; exit 0' TERM; while :; do sleep 0.1; done", words=("-v", f"{tmp_path}:/seen"))
    _, seconds = timed(lambda: d.cli("stop", "-t", "7", "stop"))
    assert seconds < 25 * SLOWER, seconds
    assert (tmp_path / "it").read_text() == "asked\n"
    assert d.out("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "stop") == "exited 137"


def test_another_signal_is_delivered_and_the_rest_says_so(deaf, tmp_path):
    d, make = deaf
    monitor = make("hup", "sh", "-c", "trap 'echo again >>/seen/it' HUP; while :; do sleep 0.1; done", words=("-t", "-v", f"{tmp_path}:/seen"))
    _, seconds = timed(lambda: d.cli("kill", "-s", "HUP", "hup"))
    assert 4 < seconds < 10 * SLOWER, seconds
    until(lambda: (tmp_path / "it").exists())
    r, seconds = timed(lambda: d.api("POST", "/containers/hup/resize?h=10&w=20"))
    assert (r.status, "the monitor of container" in r.message and "does not answer" in r.message) == (503, True) and seconds < 10 * SLOWER, r.body
    # What needs no monitor of the container's goes on as ever: its processes, its groups.
    for words in (("exec", "hup", "true"), ("stats", "--no-stream", "hup"), ("top", "hup"), ("pause", "hup"), ("unpause", "hup"),
                  ("update", "--cpu-shares", "100", "hup"), ("logs", "hup"), ("inspect", "hup")):
        _, seconds = timed(lambda: d.cli(*words))
        assert seconds < 5 * SLOWER, (words, seconds)
    # As many connections as it can have wait: nobody is held up by one more.
    for _ in range(20):
        r, seconds = timed(lambda: attach(d, "hup"))
        assert seconds < 3 * SLOWER and r in (101, 500, 503, 429), r
    assert d.api("GET", "/_ping", version=None).status == 200
    # One that wakes up is as good as ever.
    os.kill(monitor, signal.SIGCONT)
    until(lambda: d.api("POST", "/containers/hup/resize?h=10&w=20").status == 200)
    _, seconds = timed(lambda: d.cli("kill", "hup"))
    assert d.out("inspect", "-f", "{{.State.ExitCode}}{{.State.Error}}", "hup") == "137"


def spawners(d):
    """The engine's children that make monitors (decision 0860)."""
    found = []
    for p in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = int(pathlib.Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == d.process.pid and pathlib.Path(f"/proc/{p}/cmdline").read_bytes().split(b"\0")[1:3] == [b"spawn", b"--fd"]:
                found.append(int(p))
        except (OSError, IndexError):
            pass
    return found


def test_a_spawner_that_does_not_answer_is_replaced(make_knarr):
    """Starts and execs wait for it: ten seconds once, and then another one has made what they asked for."""
    d = make_knarr()
    import_busybox(d)
    d.cli("run", "-d", "--name", "there", *NET, "busybox", "sleep", "1000")
    first, = spawners(d)
    os.kill(first, signal.SIGSTOP)
    start = time.monotonic()
    runs = [subprocess.Popen(["docker", *words], env={**ENV, "DOCKER_HOST": f"unix://{d.sock}", "DOCKER_CONFIG": str(d.dir / "cli")},
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for words in (("run", "--rm", *NET, "busybox", "echo", "well"), ("run", "--rm", "busybox", "echo", "well"), ("exec", "there", "echo", "well"))]
    for words in (("ps",), ("inspect", "there"), ("top", "there"), ("version",)):
        _, seconds = timed(lambda: d.cli(*words))
        assert seconds < 5 * SLOWER, (words, seconds)
    assert [(p.communicate(timeout=40 * SLOWER)[0], p.returncode) for p in runs] == [("well\n", 0)] * 3, d.tail()
    assert 9 < time.monotonic() - start < 25 * SLOWER
    second, = spawners(d)
    assert second != first and not pathlib.Path(f"/proc/{first}").exists()
    assert d.tail().count("the spawner does not answer and is killed") == 1
    _, seconds = timed(lambda: d.cli("exec", "there", "true"))
    assert seconds < 5 * SLOWER
    d.cli("rm", "-f", "there")


def test_a_spawner_that_cloned_and_did_not_tell(make_knarr):
    """The monitor that it made ends, as nobody listens to it; the container's start is done by another."""
    d = make_knarr(env={"KNARR_FAIL": "monitor.spawn.cloned=sleep:60000@2"})
    import_busybox(d)
    d.cli("run", "--rm", *NET, "busybox", "true")
    r, seconds = timed(lambda: d.cli("run", "--name", "late", *NET, "busybox", "echo", "once"))
    assert 9 < seconds < 25 * SLOWER and r.stdout == "once\n", (seconds, r)
    assert d.out("logs", "late") == "once"
    d.cli("rm", "late")


def test_an_engine_ends_beside_a_spawner_that_does_not_answer(make_knarr):
    d = make_knarr()
    import_busybox(d)
    d.cli("run", "-d", "--name", "there", *NET, "busybox", "sleep", "1000")
    first, = spawners(d)
    os.kill(first, signal.SIGSTOP)
    status, seconds = timed(d.stop)
    assert status == 0 and seconds < 12 * SLOWER, (status, seconds)
    assert not lived(first)
    d.start()
    assert d.out("exec", "there", "echo", "well") == "well"
    d.cli("rm", "-f", "there")


def attach(d, name):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10)
    s.connect(d.sock)
    with s:
        s.sendall(f"POST /v1.50/containers/{name}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
        return int(s.recv(4096).split(b" ")[1])


def test_a_slow_one_still_tells_how_it_ended(deaf):
    d, make = deaf
    monitor = make("slow")
    inside = int(d.out("inspect", "-f", "{{.State.Pid}}", "slow"))
    p = subprocess.Popen(["docker", "kill", "slow"], env={**ENV, "DOCKER_HOST": f"unix://{d.sock}", "DOCKER_CONFIG": str(d.dir / "cli")}, stdout=subprocess.PIPE)
    until(lambda: not lived(inside))  # our own signal was sent, its monitor is not given up for five seconds more
    os.kill(monitor, signal.SIGCONT)
    p.communicate(timeout=20 * SLOWER)
    assert p.returncode == 0 and d.out("inspect", "-f", "{{.State.ExitCode}}{{.State.Error}}", "slow") == "137"


def test_an_engine_that_returns_is_not_held_up(make_knarr):
    d = make_knarr()
    import_busybox(d)
    d.cli("run", "-d", "--name", "back", "busybox", "sleep", "1000")
    id, inside = d.out("inspect", "-f", "{{.Id}} {{.State.Pid}}", "back").split()
    monitor = json.loads((d.data / "containers" / id / "state/monitor.json").read_text())["pid"]
    os.kill(monitor, signal.SIGSTOP)
    d.stop()
    _, seconds = timed(d.start)
    assert seconds < 25 * SLOWER, seconds
    assert d.out("inspect", "-f", "{{.State.Status}} {{.State.Pid}}", "back") == f"running {inside}"
    assert "a container's monitor does not answer" in d.tail()
    assert d.out("exec", "back", "echo", "well") == "well"
    os.kill(monitor, signal.SIGCONT)
    d.cli("kill", "back")
    assert d.out("inspect", "-f", "{{.State.ExitCode}}{{.State.Error}}", "back") == "137"
