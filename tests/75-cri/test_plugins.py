"""CNI plugins that misbehave: that hang, close their outputs, fail, are not there when an engine returns."""
import json
import pathlib
import shutil
import signal
import threading
import time

import pytest

from conftest import SLOWER, Refused, m, make_engine, until
from test_pods import refused

AT_ONCE = 60  # who waits for a plugin that hangs waits two minutes
PLUGIN = """#!/bin/sh
d={folder}
[ -e $d/lists ] && (ls -l /proc/$$/fd >>$d/descriptors)
config=$(cat)
echo "$CNI_COMMAND $CNI_CONTAINERID" >>$d/runs
for p in $(cat $d/now-$CNI_CONTAINERID 2>/dev/null); do tr '\\0' '\\n' 2>/dev/null </proc/$p/environ | grep -qx "CNI_CONTAINERID=$CNI_CONTAINERID" && echo "$CNI_COMMAND beside $p" >>$d/beside; done
echo $$ >>$d/now-$CNI_CONTAINERID
printf '%s\\n' "$config" >$d/config-$CNI_COMMAND
[ -e $d/hold-$CNI_COMMAND ] && {{ [ -e $d/deaf ] && exec >&- 2>&-; exec sleep 1000; }}
while [ -e $d/wait-$CNI_COMMAND ]; do sleep 0.1; done
[ -e $d/fail-$CNI_COMMAND ] && {{ echo '{{"code": 11, "msg": "not now"}}'; exit 1; }}
[ -e $d/leaves ] && {{ sleep 1000 & echo $! >>$d/left-behind; }}
[ $CNI_COMMAND = ADD ] && {{ mkdir -p $d/held; : >$d/held/$CNI_CONTAINERID; }}
[ $CNI_COMMAND = DEL ] && rm -f $d/held/$CNI_CONTAINERID
[ $CNI_COMMAND = ADD ] && echo '{{"cniVersion": "1.0.0", "ips": [{{"address": "10.1.2.3/24"}}]}}'
exit 0
"""


class Plugin:
    """What the files of its folder say: hold-COMMAND hangs (deaf: with its outputs closed), wait-COMMAND waits until the file is gone,
    fail-COMMAND fails; leaves: a process that keeps its outputs open; lists: its descriptors into a file."""

    def __init__(self, k):
        self.dir = k.dir / "plugin"
        (self.dir / "bin").mkdir(parents=True)
        p = self.dir / "bin/odd"
        p.write_text(PLUGIN.format(folder=self.dir))
        p.chmod(0o755)

    def set(self, *names):
        for f in self.dir.iterdir():
            if f.name.startswith(("hold-", "wait-", "fail-", "deaf", "leaves", "lists")):
                f.unlink()
        for n in names:
            (self.dir / n).touch()

    def runs(self, command):
        f = self.dir / "runs"
        return [x.split()[1] for x in (f.read_text().splitlines() if f.exists() else ()) if x.startswith(command)]

    def held(self):
        return sorted(x.name for x in (self.dir / "held").iterdir()) if (self.dir / "held").exists() else []

    def end(self):
        """Those that hang: found by their parent's folder in what they were started with."""
        import os
        for p in filter(str.isdigit, os.listdir("/proc")):
            try:
                if f"CNI_PATH={self.dir}".encode() in pathlib.Path(f"/proc/{p}/environ").read_bytes():
                    os.kill(int(p), signal.SIGKILL)
            except OSError:
                pass


@pytest.fixture
def k():
    e = make_engine()
    plugin = None
    try:
        e.stop()
        e.plugin = plugin = Plugin(e)
        e.plugins = plugin.dir / "bin"
        (e.conf / "10-odd.conflist").write_text(json.dumps({"cniVersion": "1.0.0", "name": "odd", "plugins": [
            {"type": "odd", "capabilities": {"ipRanges": True}}]}))
        e.start()
        e.load()
        yield e
        plugin.set()
        e.clean()
        e.nothing_left()
        assert not plugin.held()
    finally:
        try:
            if plugin:
                plugin.set()
                plugin.end()
            e.close()
        finally:
            shutil.rmtree(e.dir, ignore_errors=True)


def in_background(call):
    def run():
        try:
            call()
        except (Refused, ValueError):
            pass
    t = threading.Thread(target=run, daemon=True)
    t.start()
    return t


def test_ranges_reach_plugins(k):
    """Both families of a node; one that cannot be read is refused."""
    def update(cidr):
        k.UpdateRuntimeConfig(runtime_config=m.RuntimeConfig(network_config=m.NetworkConfig(pod_cidr=cidr)))
    update("10.1.0.0/24,fd00:1::/64")
    refused(lambda: update("10.1.0.0/24,fd00:1::"), "INVALID_ARGUMENT", 'invalid pod CIDR "fd00:1::"')
    k.run_pod()
    config = json.loads((k.plugin.dir / "config-ADD").read_text())
    assert config["runtimeConfig"]["ipRanges"] == [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]


def test_ranges_are_replaced_while_a_pod_is_made(k):
    """What a pod's plugins are told is the pod's own: also DEL hears the ranges of its ADD."""
    def update(cidr):
        k.UpdateRuntimeConfig(runtime_config=m.RuntimeConfig(network_config=m.NetworkConfig(pod_cidr=cidr)))
    update("10.1.0.0/24")
    k.plugin.set("wait-ADD")
    made = in_background(lambda: k.run_pod())
    until(lambda: k.plugin.runs("ADD"))
    for i in range(200):
        update(f"10.{i}.0.0/16,fd00:{i}::/64")
    k.plugin.set()
    made.join(20 * SLOWER)
    p, = k.ListPodSandbox().items
    k.RemovePodSandbox(pod_sandbox_id=p.id)
    config = json.loads((k.plugin.dir / "config-DEL").read_text())
    assert config["runtimeConfig"]["ipRanges"] == [[{"subnet": "10.1.0.0/24"}]]


def test_plugins_that_hang_hold_up_nobody_else(k):
    """More of them than there are workers: containers of both faces, probes and lists go on."""
    pod = k.run_pod()
    k.plugin.set("hold-ADD")
    waiting = [in_background(lambda: k.run_pod(within=100 * SLOWER)) for _ in range(12)]
    until(lambda: len(k.plugin.runs("ADD")) == 13)
    began = time.monotonic()
    c = k.run(pod, "sleep 1000")
    assert k.sh(c, "echo fine") == "fine"
    assert k.ListImages().images
    assert k.docker("run", "--rm", "--network", "none", "busybox", "echo", "here") == "here"
    assert time.monotonic() - began < AT_ONCE
    k.plugin.set()
    k.plugin.end()
    for t in waiting:
        t.join(20 * SLOWER)


def test_the_engine_ends_while_plugins_hang(k):
    k.plugin.set("hold-ADD", "hold-DEL")
    waiting = in_background(lambda: k.run_pod(within=100 * SLOWER))
    until(lambda: k.plugin.runs("ADD"))
    began = time.monotonic()
    assert k.stop() == 0
    assert time.monotonic() - began < AT_ONCE
    waiting.join(20 * SLOWER)
    began = time.monotonic()
    k.start()  # DEL is owed, and hangs
    assert time.monotonic() - began < AT_ONCE and k.docker("version", "-f", "{{.Server.Version}}")
    until(lambda: k.plugin.runs("DEL"))
    assert k.stop() == 0
    k.plugin.set()
    k.start()
    until(lambda: not k.left())


def test_the_engine_starts_while_plugins_hang(k):
    """Three sandboxes were half made: what they hold is given back when the plugin answers, and nobody waits for that."""
    k.plugin.set("hold-ADD")
    waiting = [in_background(lambda: k.run_pod(within=100 * SLOWER)) for _ in range(3)]
    until(lambda: len(k.plugin.runs("ADD")) == 3)
    k.stop(signal.SIGKILL)
    for t in waiting:
        t.join(20 * SLOWER)
    k.plugin.set("hold-DEL")
    began = time.monotonic()
    k.start()
    assert time.monotonic() - began < AT_ONCE
    until(lambda: k.plugin.runs("DEL"))
    k.plugin.set()
    k.plugin.end()
    until(lambda: set(k.plugin.runs("DEL")) >= set(k.plugin.runs("ADD")))
    k.run_pod()  # the one that was ended is tried again
    until(lambda: len(list((k.data / "cri/sandboxes").iterdir())) == 1)


def test_a_plugin_that_closes_its_outputs(k):
    """It has said nothing and goes on: its time is over like any other's, and the engine does not wait for it."""
    k.plugin.set("hold-ADD", "deaf")
    waiting = in_background(lambda: k.run_pod(within=100 * SLOWER))
    until(lambda: k.plugin.runs("ADD"))
    time.sleep(0.5)
    began = time.monotonic()
    assert k.stop() == 0
    assert time.monotonic() - began < AT_ONCE
    waiting.join(20 * SLOWER)
    k.plugin.set()
    k.start()
    until(lambda: not k.left())


def test_a_plugin_that_leaves_a_process(k):
    """It has ended and answered; what it started keeps its outputs open."""
    k.plugin.set("leaves")
    began = time.monotonic()
    k.run_pod()
    assert time.monotonic() - began < AT_ONCE


def test_a_failed_del_is_owed(k):
    """Nobody will ask for the sandbox of a failed RunPodSandbox again: DEL is repeated until the plugin has heard it."""
    k.plugin.set("fail-ADD", "fail-DEL")
    refused(lambda: k.run_pod(), "INTERNAL", "not now")
    assert len(list((k.data / "cri/sandboxes").iterdir())) == 1
    lost, = set(k.plugin.runs("ADD"))
    k.plugin.set()
    n = len(k.plugin.runs("DEL"))
    k.run_pod()
    until(lambda: k.plugin.runs("DEL")[n:] == [lost])
    until(lambda: len(list((k.data / "cri/sandboxes").iterdir())) == 1)


def test_a_failed_del_is_owed_after_a_death(k):
    k.stop()
    k.start(KNARR_FAIL="cri.net.added=kill")
    with pytest.raises(Refused):
        k.run_pod()
    k.process.wait(20 * SLOWER)
    lost, = k.plugin.held()
    k.plugin.set("fail-DEL")
    k.channel.close()
    k.start()
    until(lambda: "is not taken back completely" in k.tail())
    assert k.plugin.held() == [lost]
    k.stop()
    k.plugin.set()
    k.start()
    until(lambda: not k.plugin.held() and not k.left())


def running(k):
    """Containers that run, by their monitors' word: a sandbox nobody was told of is in no list."""
    found = []
    for x in (k.data / "cri/containers").iterdir():
        try:
            found += [x.name] if json.loads((x / "state/monitor.json").read_text())["containerPid"] > 0 else []
        except (FileNotFoundError, NotADirectoryError):
            pass
    return found


def test_a_death_while_plugins_run(k):
    """The pause runs already and its network is not whole: nobody was told of such a sandbox, so it goes, and DEL is paid."""
    k.plugin.set("hold-ADD")
    in_background(lambda: k.run_pod())
    until(lambda: k.plugin.runs("ADD") and running(k))
    lost, = k.plugin.runs("ADD")
    k.plugin.end()  # it has no result; the engine is faster than what follows, or not
    k.stop(signal.SIGKILL)
    k.plugin.set()
    k.start()
    # Killed between the end of the pause and that of its record, the engine leaves what looks like any sandbox that has stopped; it is removed
    # as the kubelet removes those.
    for p in k.ListPodSandbox().items:
        assert p.state == 1  # NOTREADY
        k.RemovePodSandbox(pod_sandbox_id=p.id)
    until(lambda: not k.ListPodSandbox().items)
    until(lambda: lost in k.plugin.runs("DEL") and not k.left())


def test_an_add_of_a_killed_engine_does_not_outlast_its_del(k):
    """Its plugin is still at work when the next engine is there: what it would make after DEL nobody gives back."""
    k.plugin.set("wait-ADD")
    in_background(lambda: k.run_pod())
    until(lambda: k.plugin.runs("ADD"))
    lost, = k.plugin.runs("ADD")
    k.stop(signal.SIGKILL)
    k.start()
    until(lambda: lost in k.plugin.runs("DEL"))
    k.plugin.set()  # ADD would go on now
    until(lambda: not k.left())
    time.sleep(0.5)
    assert not k.plugin.held() and not (k.plugin.dir / "beside").exists()
    assert "a network plugin of an engine before this one is ended" in k.tail()


def test_a_check_of_a_killed_engine_is_ended_too(k):
    pod = k.run_pod()
    k.plugin.set("wait-CHECK")
    k.stop()
    k.start()
    until(lambda: k.plugin.runs("CHECK") == [pod[0]])
    k.stop(signal.SIGKILL)
    k.start()
    until(lambda: k.plugin.runs("CHECK") == [pod[0]] * 2)  # the second engine's asks alone
    k.RemovePodSandbox(pod_sandbox_id=pod[0])
    assert not (k.plugin.dir / "beside").exists() and not k.plugin.held()


def test_what_a_plugin_leaves_behind_goes_on(k):
    """It has ended and answered. What it started has its descriptors, that of the sandbox too, and is nobody's to end."""
    k.plugin.set("leaves")
    pod = k.run_pod()
    k.plugin.set()
    k.stop(signal.SIGKILL)
    k.start()
    until(lambda: k.plugin.runs("CHECK"))
    k.RemovePodSandbox(pod_sandbox_id=pod[0])
    left, = (k.plugin.dir / "left-behind").read_text().split()
    assert f"sandboxes/{pod[0]}" in str(pathlib.Path(f"/proc/{left}/fd/3").readlink())
    assert "is ended" not in k.tail()


def test_a_stop_while_plugins_run(k):
    """The engine ends the plugin and stops; what the pause and the plugin leave is the next one's to take away."""
    k.plugin.set("hold-ADD")
    in_background(lambda: k.run_pod())
    until(lambda: k.plugin.runs("ADD") and running(k))
    assert k.stop() == 0, k.tail()
    k.plugin.set()
    k.start()
    until(lambda: not k.ListPodSandbox().items and not k.left())


def test_a_plugin_that_fails_takes_the_pause_along(k):
    k.plugin.set("wait-ADD", "fail-ADD")
    made = in_background(lambda: refused(lambda: k.run_pod(), "INTERNAL", "not now"))
    until(lambda: k.plugin.runs("ADD") and running(k))
    (k.plugin.dir / "wait-ADD").unlink()
    made.join(20 * SLOWER)
    assert not made.is_alive()
    until(lambda: not k.left())


def test_sysctls_of_the_network_come_behind_the_plugins(k):
    """One of an interface needs the interface; and what a plugin sets is the pod's to change."""
    k.plugin.set("wait-ADD")
    config = k.pod_config()
    config.linux.sysctls["net.ipv4.ip_forward"] = "1"
    made = in_background(lambda: k.run_pod(config))
    until(lambda: k.plugin.runs("ADD"))
    time.sleep(0.5)
    assert not running(k)
    k.plugin.set()
    made.join(20 * SLOWER)
    assert len(k.ListPodSandbox().items) == 1


def test_a_plugin_gets_its_descriptors(k):
    """The three, and the folder whose lock says that it is at work. Also while the loop's thread reads the folder of networks, over and over: what it opens meanwhile is its own."""
    done = threading.Event()

    def look():
        while not done.is_set():
            (k.conf / "10-odd.conflist").touch()
            k.Status()
    looking = in_background(look)
    k.plugin.set("lists")
    try:
        for _ in range(8):
            k.RemovePodSandbox(pod_sandbox_id=k.run_pod()[0])
    finally:
        done.set()
        looking.join(20 * SLOWER)
    rows = [x.split() for x in (k.plugin.dir / "descriptors").read_text().splitlines() if " -> " in x]
    lock = [x[-1] for x in rows if x[-3] == "3"]
    assert len(lock) == 16 and all(x.startswith(f"{k.data}/cri/sandboxes/") for x in lock), lock
    rest = [x[-3:] for x in rows if int(x[-3]) > 3 and str(k.plugin.dir) not in x[-1]]  # the shell reads its script by one of its own
    assert len(rows) >= 4 * 16 and not rest, rest


@pytest.mark.parametrize("how", ["StopPodSandbox", "RemovePodSandbox"])
def test_a_check_does_not_run_beside_del(k, how):
    """An engine that returned looks at its sandboxes' networks. One that is taken away meanwhile is not looked at any more."""
    pod, other = k.run_pod(), k.run_pod()
    k.plugin.set("hold-CHECK")
    k.stop()
    k.start()
    until(lambda: k.plugin.runs("CHECK"))
    first, = k.plugin.runs("CHECK")
    began = time.monotonic()
    getattr(k, how)(pod_sandbox_id=first)
    assert time.monotonic() - began < AT_ONCE
    assert k.plugin.runs("DEL") == [first] and not (k.plugin.dir / "beside").exists(), (k.plugin.dir / "beside").read_text()
    second, = {pod[0], other[0]} - {first}
    until(lambda: k.plugin.runs("CHECK") == [first, second])  # the next one's turn has come
    assert "is not as its plugins made it" not in k.tail()
    k.RemovePodSandbox(pod_sandbox_id=second)
    assert not (k.plugin.dir / "beside").exists(), (k.plugin.dir / "beside").read_text()


def test_remove_waits_for_del(k):
    """A sandbox is not forgotten while its plugin says no; one that is not installed any more is not waited for."""
    a, b = k.run_pod(), k.run_pod()
    k.plugin.set("fail-DEL")
    for p in (a, b):
        refused(lambda: k.StopPodSandbox(pod_sandbox_id=p[0]), "INTERNAL", "failed to destroy network for sandbox")
        refused(lambda: k.RemovePodSandbox(pod_sandbox_id=p[0]), "INTERNAL", "not now")
    assert len(k.ListPodSandbox().items) == 2 and len(k.plugin.held()) == 2
    k.plugin.set()
    k.RemovePodSandbox(pod_sandbox_id=a[0])
    assert k.plugin.held() == [b[0]]
    (k.plugins / "odd").rename(k.plugins / "away")
    k.RemovePodSandbox(pod_sandbox_id=b[0])
    assert not k.ListPodSandbox().items
    (k.plugins / "away").rename(k.plugins / "odd")
    (k.plugin.dir / "held" / b[0]).unlink()
