"""Network namespaces for tests: one to run commands in, and the calling thread inside one. What the suites of networks share (66-network,
76-pod-network, 87-commands)."""
import atexit
import ctypes
import json
import os
import secrets
import shutil
import subprocess

from waiting import SLOWER

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def run(*argv, check=True, **more):
    return subprocess.run([str(a) for a in argv], check=check, capture_output=True, text=True, **{"timeout": 60 * SLOWER, **more})


def bridge_hooks():
    """Whether frames of a bridge can pass the IP hooks here. br_netfilter is a module that a fresh machine has not loaded; what we load goes
    with us, as it changes what every bridge of the machine does."""
    there = "/proc/sys/net/bridge"
    if not os.path.isdir(there) and shutil.which("modprobe"):
        if subprocess.run(["modprobe", "-q", "br_netfilter"], check=False).returncode == 0:
            atexit.register(subprocess.run, ["modprobe", "-q", "-r", "br_netfilter"], check=False)
    return os.path.isdir(there)


class Inside:
    """The calling thread inside a network namespace, for sockets that belong there."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self.back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        fd = os.open(self.path, os.O_RDONLY)
        assert LIBC.setns(fd, CLONE_NEWNET) == 0
        os.close(fd)

    def __exit__(self, *_):
        assert LIBC.setns(self.back, CLONE_NEWNET) == 0
        os.close(self.back)


class Space:
    """A network namespace with a name that nobody else has."""

    def __init__(self, kind):
        self.name = f"k{kind}-{secrets.token_hex(3)}"
        run("ip", "netns", "add", self.name)
        self.path = f"/run/netns/{self.name}"

    def exec(self, *argv, **more):
        return run("ip", "netns", "exec", self.name, *argv, **more)

    def ip(self, *argv):
        return run("ip", "-n", self.name, *argv).stdout

    def json(self, *argv):
        return json.loads(self.ip("-j", *argv) or "[]")

    def close(self):
        run("ip", "netns", "del", self.name, check=False)
