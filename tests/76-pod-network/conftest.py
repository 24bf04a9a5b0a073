"""Machines are network namespaces on one segment, pods are namespaces that the plugin connects to them."""
import json
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import tempfile

import pytest

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("KNARR_BUILD", REPO / "build"))
APP = (BUILD if BUILD.is_absolute() else REPO / BUILD) / "src/app"
KNARR, RUN = APP / "knarr", APP / "knarr-run"
sys.path.append(str(REPO / "tests/66-network"))  # wire.py: servers and clients in namespaces
sys.path.insert(0, str(REPO / "tests/lib"))
from spaces import Inside, Space, bridge_hooks, run  # noqa: E402,F401
from waiting import SLOWER, until  # noqa: E402,F401


class Refused(Exception):
    def __init__(self, answer):
        super().__init__(f"{answer['code']}: {answer['msg']}")
        self.code, self.words = answer["code"], answer["msg"]


class Host(Space):
    """A machine: eth0 on the segment 198.51.100.0/24 and 2001:db8::/64, a folder, and the plugin."""

    def __init__(self, folder, switch, number, bridge_nf=0):
        super().__init__("n")
        self.folder, self.pods, self.number = pathlib.Path(folder) / f"host{number}", [], number
        self.folder.mkdir()
        self.address, self.address6 = f"198.51.100.{number}", f"2001:db8::{number}"
        self.ip("link", "set", "lo", "up")
        if switch:
            run("ip", "-n", self.name, "link", "add", "eth0", "type", "veth", "peer", "name", f"p{number}", "netns", switch.name)
            switch.ip("link", "set", f"p{number}", "master", "br0", "up")
        else:
            self.ip("link", "add", "eth0", "type", "dummy")
        self.ip("addr", "add", f"{self.address}/24", "dev", "eth0")
        self.ip("addr", "add", f"{self.address6}/64", "dev", "eth0", "nodad")
        self.ip("link", "set", "eth0", "up")
        # What a link brings along comes when its carrier has been seen, which is a work of the kernel's own.
        until(lambda: self.json("link", "show", "dev", "eth0")[0]["operstate"] != "DOWN" and self.ip("-6", "route", "show", "fe80::/64", "dev", "eth0"))
        self.ip("route", "add", "default", "via", "198.51.100.254")
        self.ip("-6", "route", "add", "default", "via", "2001:db8::fe")
        self.sysctl("net.ipv4.ip_forward", 1)
        self.sysctl("net.ipv6.conf.all.forwarding", 1)
        if bridge_hooks():
            self.sysctl("net.bridge.bridge-nf-call-iptables", bridge_nf)
            self.sysctl("net.bridge.bridge-nf-call-ip6tables", bridge_nf)
        self.state = self.folder / "cni/state"
        self.conf = {"cniVersion": "1.0.0", "name": "knarr", "type": "knarr-cni", "subnets": ["10.244.%d.0/24" % number],
                     "stateDir": str(self.state)}

    def sysctl(self, key, value):
        self.exec("sysctl", "-qw", f"{key}={value}", check=False)

    def cni(self, verb, ident="", netns="", ifname="eth0", fail=None, conf=None, wait=True, **more):
        env = {"CNI_COMMAND": verb, "CNI_CONTAINERID": ident, "CNI_NETNS": netns, "CNI_IFNAME": ifname, "CNI_PATH": "/",
               "PATH": os.environ["PATH"], **({"KNARR_FAIL": fail} if fail else {})}
        child = subprocess.Popen(["nsenter", f"--net={self.path}", RUN, "cni"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, env=env)
        child.stdin.write(json.dumps({**(conf or self.conf), **more}).encode())
        child.stdin.close()
        child.stdin = None
        return self.answer(child) if wait else child

    @staticmethod
    def answer(child):
        out, err = child.communicate(timeout=60 * SLOWER)
        answer = json.loads(out) if out.strip() else None
        if child.returncode > 0:
            raise Refused(answer or {"code": -1, "msg": err.decode()})
        if child.returncode < 0:
            raise EOFError(f"signal {-child.returncode}")
        return answer

    def pod(self, **more):
        p = Pod(self)
        self.pods.append(p)
        try:
            p.result = self.cni("ADD", p.id, p.path, **more)
        except Exception:
            self.pods.remove(p)
            p.close()
            raise
        return p

    def links(self):
        return sorted(link["ifname"] for link in self.json("link"))

    def leases(self):
        folder = self.state / "knarr"
        return sorted(p.name for p in folder.iterdir() if not p.name.startswith("last")) if folder.exists() else []

    def listing(self):
        """What the plugin could leave behind."""
        elements = [line for line in self.exec("nft", "list", "ruleset").stdout.splitlines() if "elements" in line]
        return self.links(), self.ip("route"), self.ip("-6", "route", "show", "table", "main"), self.ip("neigh", "show", "nud", "permanent"), \
            self.leases(), elements

    def close(self):
        for p in list(self.pods):
            p.close()
        super().close()


class Pod(Space):
    def __init__(self, host):
        super().__init__("p")
        self.host, self.id = host, secrets.token_hex(32)

    @property
    def addresses(self):
        return [ip["address"].split("/")[0] for ip in self.result["ips"]]

    @property
    def address(self):
        return self.addresses[0]

    @property
    def outside(self):
        return self.result["interfaces"][0]["name"]

    def remove(self, **more):
        self.host.cni("DEL", self.id, self.path, **more)
        self.close()

    def close(self):
        super().close()
        if self in self.host.pods:
            self.host.pods.remove(self)


@pytest.fixture
def folder():
    path = tempfile.mkdtemp(prefix="knarr-pods-")
    yield pathlib.Path(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(params=[0, 1], ids=["bridge-nf-0", "bridge-nf-1"])
def bridge_nf(request):
    if request.param and not bridge_hooks():
        pytest.skip("this kernel has no br_netfilter")
    return request.param


@pytest.fixture
def world():
    """The segment: a bridge in a namespace of its own that is also the router and has a stranger's address."""
    space = Space("w")
    space.ip("link", "add", "br0", "type", "bridge")
    space.ip("addr", "add", "198.51.100.254/24", "dev", "br0")
    space.ip("addr", "add", "2001:db8::fe/64", "dev", "br0", "nodad")
    space.ip("link", "set", "br0", "up")
    yield space
    space.close()


@pytest.fixture
def host(folder, world, bridge_nf):
    h = Host(folder, world, 1, bridge_nf)
    yield h
    h.close()
