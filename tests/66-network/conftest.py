"""A network engine in a network namespace of its own; containers are processes inside its sandboxes."""
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import pytest

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("KNARR_BUILD", REPO / "build"))
TOOL = (BUILD if BUILD.is_absolute() else REPO / BUILD) / "netctl"
sys.path.insert(0, str(REPO / "tests/lib"))
from spaces import Inside, bridge_hooks, run  # noqa: E402,F401
from waiting import SLOWER, until  # noqa: E402,F401


class Failed(Exception):
    def __init__(self, answer):
        super().__init__(answer["class"] + ": " + answer["error"])
        self.kind, self.words = answer["class"], answer["error"]


class Host:
    """A machine: a namespace with an outside world at the other end of a cable (198.51.100.2 and 2001:db8::2)."""

    def __init__(self):
        tag = secrets.token_hex(3)
        self.name, self.world = f"kn-{tag}", f"kw-{tag}"
        for ns in (self.name, self.world):
            run("ip", "netns", "add", ns)
            run("ip", "-n", ns, "link", "set", "lo", "up")
        run("ip", "-n", self.name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.world)
        for ns, last in ((self.name, 1), (self.world, 2)):
            run("ip", "-n", ns, "addr", "add", f"198.51.100.{last}/24", "dev", "eth0")
            run("ip", "-n", ns, "addr", "add", f"2001:db8::{last}/64", "dev", "eth0", "nodad")
            run("ip", "-n", ns, "link", "set", "eth0", "up")
        for ns in (self.name, self.world):
            run("ip", "-n", ns, "link", "show", "dev", "eth0")  # asked about, the link is put to use at once
        run("ip", "-n", self.name, "route", "add", "default", "via", "198.51.100.2")
        run("ip", "-n", self.name, "-6", "route", "add", "default", "via", "2001:db8::2")

    def path(self, ns=None):
        return f"/run/netns/{ns or self.name}"

    def ip(self, *argv):
        return run("ip", "-n", self.name, *argv).stdout

    def exec(self, *argv, **more):
        return run("ip", "netns", "exec", self.name, *argv, **more)

    def ruleset(self):
        return self.exec("nft", "list", "ruleset").stdout

    def links(self):
        return sorted(link["ifname"] for link in json.loads(self.ip("-j", "link") or "[]"))

    def close(self):
        for ns in (self.name, self.world):
            run("ip", "netns", "del", ns, check=False)


class Engine:
    """One netctl process."""

    def __init__(self, host, folder, ident="0", settings=None, fail=None, before=()):
        self.host, self.folder, self.ident, self.settings = host, pathlib.Path(folder), ident, settings or {}
        self.before = list(before)  # words of a program that starts the engine's
        self.open(fail)

    def open(self, fail=None):
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 19)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 19)
        env = dict(os.environ)
        if fail:
            env["KNARR_FAIL"] = fail
        self.child = subprocess.Popen(
            ["nsenter", f"--net={self.host.path()}", *self.before, TOOL, str(theirs.fileno()), self.folder / "data", self.folder / "run", self.ident,
             json.dumps(self.settings)], pass_fds=[theirs.fileno()], env=env)
        theirs.close()
        self.sock = mine
        self.sock.settimeout(20 * SLOWER)
        self.events = ""
        return self.answer()[0]

    def answer(self):
        data, fds, _, _ = socket.recv_fds(self.sock, 1 << 18, 64)
        if not data:
            self.child.wait(20 * SLOWER)
            raise EOFError(f"netctl ended with {self.child.returncode}")
        answer = json.loads(data)
        self.events = answer["events"]
        if "class" in answer:
            raise Failed(answer)
        return answer["ok"], fds

    def call(self, op, fds=(), **more):
        data = json.dumps({"op": op, **more}).encode()
        try:
            socket.send_fds(self.sock, [data], list(fds))
        except (BrokenPipeError, ConnectionResetError):
            raise EOFError("netctl is gone") from None
        return self.answer()

    def ok(self, op, **more):
        return self.call(op, **more)[0]

    def create(self, name, **request):
        return self.ok("create", request={"Name": name, **request})

    def start(self, name, ident=None, mode=None, ports=None, exposed=None, networks=None, config=None, **host):
        c = Container(self, name, ident or secrets.token_hex(32))
        c.config = {"Hostname": c.id[:12], "ExposedPorts": {p: {} for p in (exposed or [])}, **(config or {})}
        c.host_config = {"NetworkMode": mode or "default", "PortBindings": ports or {}, **host}
        c.networks = networks
        c.start()
        return c

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(20 * SLOWER)
        self.sock.close()

    def stop(self):
        self.sock.close()
        assert self.child.wait(20 * SLOWER) == 0

    def restart(self, kill=False, fail=None):
        (self.kill if kill else self.stop)()
        self.open(fail)


class Container:
    def __init__(self, engine, name, ident):
        self.engine, self.name, self.id = engine, name, ident
        self.sockets = []
        self.children = []

    def wish(self):
        return {"id": self.id, "name": self.name, "config": self.config, "hostConfig": self.host_config, "networks": self.networks}

    def start(self):
        self.got, self.sockets = self.engine.call("start", **self.wish())
        return self

    def adopt(self):
        self.got, _ = self.engine.call("adopt", fds=self.sockets, id=self.id)

    def connect(self, network, **settings):
        self.got = self.engine.ok("connect", network=network, settings=settings, **self.wish())

    def disconnect(self, network):
        self.got = self.engine.ok("disconnect", network=network, **self.wish())

    def settings(self, network="bridge"):
        return self.got["networks"][network]

    def ip(self, network="bridge"):
        return self.settings(network)["IPAddress"]

    def ip6(self, network="bridge"):
        return self.settings(network)["GlobalIPv6Address"]

    def port(self, key, family=4):
        want = "0.0.0.0" if family == 4 else "::"
        return [int(b["HostPort"]) for b in self.got["ports"][key] if b["HostIp"] == want][0]

    def exec(self, *argv, **more):
        return run("nsenter", f"--net={self.got['netns']}", *argv, **more)

    def inside(self):
        return Inside(self.got["netns"])

    def stop(self):
        for child in self.children:
            child.kill()
            child.wait()
        self.children = []
        for s in self.sockets:
            os.close(s)
        self.sockets = []
        self.engine.ok("stop", id=self.id)


@pytest.fixture(params=[0, 1], ids=["nf0", "nf1"])
def host(request):
    """Every test twice: frames of a bridge pass the IP hooks (br_netfilter) or do not."""
    hooks = bridge_hooks()
    if request.param and not hooks:
        pytest.skip("this kernel has no br_netfilter")
    h = Host()
    try:
        for f in ("iptables", "ip6tables") if hooks else ():
            h.exec("sysctl", "-qw", f"net.bridge.bridge-nf-call-{f}={request.param}")
        yield h
    finally:
        h.close()


@pytest.fixture
def folder():
    path = tempfile.mkdtemp(prefix="knarr-net-")
    yield path
    pins = pathlib.Path(path) / "run" / "netns"
    if pins.is_dir():
        for pin in pins.iterdir():
            while run("umount", "-l", pin, check=False).returncode == 0:
                pass
    shutil.rmtree(path)


@pytest.fixture
def engine(host, folder):
    e = Engine(host, folder)
    yield e
    if e.child.poll() is None:
        e.kill()
