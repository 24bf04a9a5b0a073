"""Network namespaces for tests: one to run commands in, the calling thread inside one, and waiting for what becomes true. What the suites
of networks share (66-network, 76-pod-network, 87-commands)."""
import ctypes
import json
import os
import secrets
import subprocess
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def run(*argv, check=True, **more):
    return subprocess.run([str(a) for a in argv], check=check, capture_output=True, text=True, **{"timeout": 60, **more})


def until(what, seconds=10):
    """Waits for what() to become true; answers its value."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.01)


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
