"""A server of files that goes away under containers (decision 0861). Who asks it sleeps in the kernel, and no signal ends that. What needs
nothing of it goes on, what cannot be done is said in a bounded time, and an engine that returns takes its containers up."""

import time

import hangfs
import pytest
from conftest import *

pytestmark = pytest.mark.skipif(bool(hangfs.missing()), reason=hangfs.missing())
NET = ("--network", "none")
WRITES = ("sh", "-c", "while :; do date >/d/now; sleep 0.1; done")
NO_END = "tried to kill container, but did not receive an exit event"


@pytest.fixture
def hung(make_knarr, tmp_path):
    """A container that writes into a bind, one that has a volume of it, and one that only has it; then the server is silent."""
    d, fs = make_knarr(), hangfs.Hangfs(tmp_path / "fs").up()
    try:
        import_busybox(d)
        d.cli("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={fs.at}", "there")
        d.cli("run", "-d", *NET, "--name", "writes", "-v", f"{fs.at}:/d", "busybox", *WRITES)
        d.cli("run", "-d", *NET, "--name", "has", "-v", f"{fs.at}:/d", "busybox", "sleep", "1000")
        d.cli("run", "-d", *NET, "--name", "volume", "-v", "there:/d", "busybox", "sleep", "1000")
        d.cli("run", "-d", *NET, "--name", "plain", "busybox", "sleep", "1000")
        until(lambda: (fs.files / "now").exists())
        fs.hang()
        until(fs.asked)
        yield d, fs
        fs.answer()
        until(lambda: state(d, "writes") in ("running", "exited 137"))
        d.cli("rm", "-fv", *d.out("ps", "-aq").split())
        d.cli("volume", "rm", "there")
    finally:
        fs.down()
    assert not [x for x in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if str(fs.at) in x]


def state(d, name):
    status, code = d.out("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name).split()
    return status if status == "running" else f"{status} {code}"


def within(seconds, d, *words, **kw):
    start = time.monotonic()
    p = d.cli(*words, **kw)
    assert time.monotonic() - start < seconds * SLOWER, (words, time.monotonic() - start)
    return p


def beside(d, *words):
    return subprocess.Popen(["docker", *words], env={**ENV, "DOCKER_HOST": f"unix://{d.sock}", "DOCKER_CONFIG": str(d.dir / "cli")},
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_the_rest_goes_on(hung):
    d, fs = hung
    for words in (("ps", "-a"), ("ps", "-as"), ("inspect", "writes", "has", "volume"), ("top", "writes"), ("logs", "writes"), ("stats", "--no-stream"),
                  ("volume", "ls"), ("volume", "inspect", "there"), ("system", "df"), ("system", "df", "-v"), ("diff", "writes"), ("exec", "has", "true"),
                  ("run", "--rm", *NET, "busybox", "true")):
        within(10, d, *words)
    # More of those that wait than the engine has workers.
    waits = [beside(d, "run", "--rm", *NET, "-v", f"{fs.at}:/d", "busybox", "true") for _ in range(10)]
    waits += [beside(d, "cp", "has:/d/now", "-") for _ in range(10)]
    time.sleep(3)
    assert [p.poll() for p in waits] == [None] * 20
    within(10, d, "run", "--rm", *NET, "busybox", "true")
    within(10, d, "stop", "-t", "0", "plain")
    within(10, d, "rm", "plain")
    fs.answer()
    for p in waits:
        out, _ = p.communicate(timeout=60 * SLOWER)
        assert p.returncode == 0, out
    assert state(d, "writes") == "running"


def test_what_cannot_be_ended_is_said_to_be_there(hung):
    d, fs = hung
    assert NO_END in within(20, d, "kill", "writes", check=1).stderr
    assert NO_END in within(30, d, "rm", "-f", "writes", check=1).stderr
    assert "did not become frozen" in within(10, d, "pause", "writes", check=1).stderr
    assert state(d, "writes") == "running"
    within(10, d, "rm", "-f", "has")  # it asks nothing
    fs.answer()
    until(lambda: state(d, "writes") == "exited 137")


def test_an_engine_returns_beside_it(hung):
    """Also when the volume's place is where nobody answers."""
    d, fs = hung
    start = time.monotonic()
    assert d.stop() == 0
    d.start()
    assert time.monotonic() - start < 20 * SLOWER
    assert [state(d, x) for x in ("writes", "has", "volume", "plain")] == ["running"] * 4
    within(10, d, "exec", "has", "true")
    assert "volume is in use" in within(10, d, "volume", "rm", "there", check=1).stderr
    within(10, d, "rm", "-f", "volume")
    fs.answer()
    assert state(d, "writes") == "running"
