"""init and pause as process 1."""
import signal
import subprocess

import pytest
from conftest import *
from waiting import takes


def out(c):
    c.finish()
    return "".join(x["log"] for x in c.docker())


def test_init_reaps(env):
    c = env.run("/knarr-run", "init", "--", "/streams", "orphans", "20")
    assert c.end().exit_code == 0
    assert out(c) == "processes 2 zombies 0\n"


def test_without_init_they_stay(env):
    """The proof that the test above sees zombies."""
    c = env.run("/streams", "orphans", "20")
    c.end()
    assert out(c) == "processes 21 zombies 20\n"


@pytest.mark.parametrize("status", [0, 3, 255])
def test_init_status(env, status):
    c = env.run("/knarr-run", "init", "/ct", "exit", str(status))
    assert c.end().exit_code == status


def test_init_signal_status(env):
    assert env.run("/knarr-run", "init", "--", "/ct", "raise", "9").end().exit_code == 137


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT, signal.SIGWINCH,
                                 34, 64])  # SIGRTMIN, which musl keeps for itself, and SIGRTMAX
def test_init_hands_signals_on(env, sig):
    c = env.run("/knarr-run", "init", "--", "/ct", "trap")
    a = c.attach()
    until(lambda: b"ready" in c.log())
    c.connect().call(KILL, sig)
    a.until(1, b"signal %d" % sig)
    assert c.end().exit_code == sig


def test_init_missing_program(env):
    c = env.run("/knarr-run", "init", "--", "/nothing")
    assert c.end().exit_code == 127 and "init: exec /nothing: No such file or directory" in out(c)


def test_init_gives_a_script_without_a_shell_s_name_to_the_shell(env, tmp_path):
    """As execvp(3) of glibc does, and so docker-init: the kernel does not know the format. /bin/sh is our test program here, whose
    first word is what to do."""
    script = tmp_path / "exit"
    script.write_text("no program\n")
    script.chmod(0o755)
    helpers = env.helpers
    env.helpers = {**helpers, "exit": script, "bin/sh": helpers["ct"]}
    assert env.run("/knarr-run", "init", "--", "exit", "5").end().exit_code == 5
    env.helpers = {**helpers, "exit": script}
    c = env.run("/knarr-run", "init", "--", "exit", "5")
    assert c.end().exit_code == 126 and "init: exec exit: Exec format error" in out(c)


def test_init_usage():
    assert subprocess.run([PROGRAM, "init"], capture_output=True).returncode == 125


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_pause(env, sig):
    c = env.run("/knarr-run", "pause")
    until(lambda: takes(c.first, sig))
    assert c.connect().call(STATUS).phase == "running"
    c.connect().call(KILL, sig)
    assert c.end().exit_code == 0


def test_pause_reaps(env):
    """A second container in its pid namespace leaves orphans to it."""
    holder = env.run("/knarr-run", "pause")
    config = base_config()
    for n in config["linux"]["namespaces"]:
        if n["type"] == "pid":
            n["path"] = f"/proc/{holder.first}/ns/pid"
    c = env.run("/streams", "orphans", "10", config=config)
    assert c.end().exit_code == 0
    assert out(c) == "processes 2 zombies 0\n"
