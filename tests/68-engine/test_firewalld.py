"""Debian's firewalld beside the engine, with its nftables back end and a bus of its own, in a network namespace of their own: published
ports and what containers send pass, also after it started late, reloaded, or was told to let our bridge go."""
import pathlib
import shutil
import subprocess
import tempfile

import pytest
from conftest import *

pytestmark = pytest.mark.skipif(not shutil.which("firewalld", path="/usr/sbin:/usr/bin"), reason="firewalld is not installed (packages/test)")

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={0}/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/></policy>
</busconfig>
"""
APART = ["unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]


class Apart(Knarr):
    """In a network namespace of its own; the host outside is another, at the other end of a cable."""
    inside = ["nsenter", "-t", "{}", "-n"]

    def start(self):
        self.log = open(self.dir / "log", "ab")
        self.process = subprocess.Popen([*APART, KNARR, "engine", "--data-dir", self.data, "--host", f"unix://{self.sock}", *self.flags],
                                        stdout=self.log, stderr=self.log, env={**ENV, **self.env})
        self.wait()


class Firewalld:
    """And its bus."""
    def __init__(self, folder):
        self.dir, self.daemon = folder, None
        self.env = {**ENV, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder}/bus"}
        (folder / "bus.conf").write_text(BUS.format(folder))
        self.log = open(folder / "firewalld.log", "ab")
        self.bus = subprocess.Popen(["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork", "--nopidfile"], stdout=self.log, stderr=self.log)
        until(lambda: (folder / "bus").exists())

    def start(self, beside):
        shutil.copytree("/etc/firewalld", self.dir / "etc", dirs_exist_ok=True)
        self.daemon = subprocess.Popen(["nsenter", "-t", str(beside.process.pid), "-n", "/usr/sbin/firewalld", "--nofork", "--nopid",
                                        "--system-config", self.dir / "etc", "--log-file", self.dir / "log"],
                                       env=self.env, stdout=self.log, stderr=self.log)
        until(lambda: self.cmd("--state") == "running", 60)

    def cmd(self, *words):
        p = subprocess.run(["firewall-cmd", *words], env=self.env, capture_output=True, text=True, timeout=60 * SLOWER)
        return (p.stdout or p.stderr).strip()

    def close(self):
        for p in (self.daemon, self.bus):
            if p:
                p.terminate()
                p.wait(30 * SLOWER)
        self.log.close()


@pytest.fixture(scope="module")
def side():
    """Engine, container that serves, host outside at 10.99.7.2, firewalld not started yet."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="knarr-68-"))
    fire = Firewalld(folder)
    outside = subprocess.Popen(["unshare", "-n", "sh", "-c", "ip link set lo up; mkdir -p $0/www; echo outside > $0/www/index.html; "
                                "exec busybox httpd -f -p 8000 -h $0/www", folder])
    d = Apart(folder, env={"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder}/bus"})
    d.fire, d.outside = fire, outside
    try:
        pids = str(d.process.pid), str(outside.pid)
        until(lambda: len({os.readlink(f"/proc/{p}/ns/net") for p in (*pids, "self")}) == 3)
        subprocess.run(["nsenter", "-t", pids[0], "-n", "ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1", "netns", pids[1]], check=True)
        for pid, name, address in ((pids[0], "up0", "10.99.7.1/24"), (pids[1], "up1", "10.99.7.2/24")):
            subprocess.run(["nsenter", "-t", pid, "-n", "sh", "-c", f"ip addr add {address} dev {name}; ip link set {name} up"], check=True)
        import_busybox(d)
        d.cli("run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c", "echo inside > /tmp/index.html; exec httpd -f -p 80 -h /tmp")
        d.pid_of_web = d.out("inspect", "-f", "{{.State.Pid}}", "web")
        yield d
    finally:
        left = d.out("ps", "-aq", check=None).split()
        if left:
            d.cli("rm", "-fv", *left, check=None)
        d.close()
        outside.kill()
        outside.wait()
        fire.close()
        shutil.rmtree(folder, ignore_errors=True)


def to_container(d, seconds="2"):
    return subprocess.run(["nsenter", "-t", str(d.outside.pid), "-n", "busybox", "timeout", seconds, "busybox", "wget", "-qO-", "http://10.99.7.1:8080/"],
                          capture_output=True, text=True).stdout.strip()


def to_outside(d, seconds="2"):
    return d.cli("exec", "web", "timeout", seconds, "wget", "-qO-", "http://10.99.7.2:8000/", check=None).stdout.strip()


def both(d):
    return to_container(d) == "inside" and to_outside(d) == "outside"


def test_one_that_starts_late(side):
    until(lambda: both(side))
    side.fire.start(side)
    until(lambda: side.fire.cmd("--get-zone-of-interface=docker0") == "trusted")
    assert side.fire.cmd("--get-default-zone") == "public"
    assert "filter_FORWARD" in side.beside("nft", "list", "table", "inet", "firewalld")
    until(lambda: both(side))


def test_a_reload(side):
    for words in ("--reload", "--complete-reload"):
        assert side.fire.cmd(words) == "success"
        until(lambda: side.fire.cmd("--get-zone-of-interface=docker0") == "trusted", 60)
        until(lambda: both(side))


def test_without_the_zone_nothing_passes(side):
    """That the zone is what lets packets through; and that it is put back."""
    side.process.send_signal(signal.SIGSTOP)
    try:
        assert side.fire.cmd("--zone=trusted", "--remove-interface=docker0") == "success"
        p = subprocess.run(["nsenter", "-t", side.pid_of_web, "-n", "busybox", "timeout", "2", "busybox", "wget", "-qO-", "http://10.99.7.2:8000/"],
                           capture_output=True, text=True)
        assert p.returncode != 0 and p.stdout == ""
    finally:
        side.process.send_signal(signal.SIGCONT)
    until(lambda: side.fire.cmd("--get-zone-of-interface=docker0") == "trusted", 60)
    until(lambda: both(side))


def test_networks_come_and_go(side):
    side.cli("network", "create", "-o", "com.docker.network.bridge.name=br-fire", "fire")
    until(lambda: side.fire.cmd("--get-zone-of-interface=br-fire") == "trusted", 60)
    side.cli("network", "connect", "fire", "web")
    assert side.out("run", "--rm", "--network", "fire", "busybox", "wget", "-qO-", "http://web/") == "inside"
    assert side.out("run", "--rm", "--network", "fire", "busybox", "wget", "-qO-", "http://10.99.7.2:8000/") == "outside"
    side.cli("network", "disconnect", "fire", "web")
    side.cli("network", "rm", "fire")
    until(lambda: side.fire.cmd("--get-zone-of-interface=br-fire") == "no zone", 60)
    assert side.fire.cmd("--get-zone-of-interface=docker0") == "trusted"
    until(lambda: both(side))


def test_nothing_is_left_in_its_files(side):
    assert "docker0" not in side.fire.cmd("--permanent", "--zone=trusted", "--list-interfaces")
    assert not any(b"docker0" in f.read_bytes() for f in (side.fire.dir / "etc").rglob("*") if f.is_file())
