"""An engine (containerctl) in folders of its own, with an image of one static program. Everything made is checked to be gone."""
import io
import json
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

import pytest

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPO / "tests/lib"))
from waiting import SLOWER, takes  # noqa: E402,F401

BUILD = REPO / os.environ.get("KNARR_BUILD", "build")
RUNNER = BUILD / "src/app/knarr-run"
CTL = BUILD / "containerctl"
HELPERS = BUILD / "tests-helpers"
PARENT = f"/knarr-containers-test-{os.getpid()}"  # of control groups: several runs may go on at once


class Refused(Exception):
    def __init__(self, text, cls):
        super().__init__(f"{cls}: {text}")
        self.text, self.cls = text, cls


def refused(call, cls, words):
    with pytest.raises(Refused) as e:
        call()
    assert e.value.cls == cls and words in e.value.text, str(e.value)


class Engine:
    """One containerctl process. Calls block until their answer; events and streams are kept as they come."""

    def __init__(self, env, fail=None, settings=None, network=None, reset=False):
        self.env, self.n, self.answers, self.events, self.streams, self.ended = env, 0, {}, [], {}, {}
        environ = dict(os.environ)
        environ.pop("KNARR_FAIL", None)
        if fail:
            environ["KNARR_FAIL"] = fail
        if network:
            environ["KNARR_NETWORK"] = network
        if reset:
            environ["KNARR_NETWORK_RESET"] = "1"
        if settings:
            environ["KNARR_SETTINGS"] = json.dumps(settings)
        self.err = open(env.dir / "stderr", "ab")
        self.p = subprocess.Popen([CTL, env.data, env.run, RUNNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.err, env=environ)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        if self._next(30 * SLOWER).get("ready") is not True:
            raise AssertionError(self.stderr())

    def stderr(self):
        return (self.env.dir / "stderr").read_text()

    def _read(self):
        for line in self.p.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def _next(self, timeout):
        m = self.lines.get(timeout=timeout)
        if m is None:
            self.lines.put(None)
            raise EOFError(f"the engine ended: {self.p.wait()} {self.stderr()}")
        if "event" in m:
            self.events.append(m)
        elif "stream" in m:
            if m.get("end"):
                self.ended[m["stream"]] = m.get("error", "")
            else:
                out = self.streams.setdefault(m["stream"], {1: "", 2: ""})
                out[m["fd"]] += m.get("data", "")
        elif "id" in m:
            self.answers[m["id"]] = m
        return m

    def send(self, op, **args):
        self.n += 1
        self.p.stdin.write(json.dumps({"id": self.n, "op": op, **args}).encode() + b"\n")
        self.p.stdin.flush()
        return self.n

    def answer(self, n, timeout=30):
        end = time.monotonic() + timeout * SLOWER
        while n not in self.answers:
            self._next(max(0.01, end - time.monotonic()))
        m = self.answers.pop(n)
        if "error" in m:
            raise Refused(m["error"], m["class"])
        self.unchanged = m.get("unchanged", False)
        return m.get("result")

    def call(self, op, within=30, **args):
        return self.answer(self.send(op, **args), within)

    def until(self, what, timeout=15):
        """Takes in what comes until what() is true."""
        end = time.monotonic() + timeout * SLOWER
        while not what():
            try:
                self._next(max(0.01, min(0.05, end - time.monotonic())))
            except queue.Empty:
                assert time.monotonic() < end, "it did not come"

    def create(self, *cmd, name="", host=None, image="ct", **config):
        host = {"NetworkMode": "none", **(host or {})}
        return self.call("create", name=name, config={"Image": image, "Cmd": list(cmd), **config}, host=host)["Id"]

    def start(self, name):
        return self.call("start", name=name)

    def wait(self, name, condition="not-running", within=30):
        return self.call("wait", within=within, name=name, condition=condition)["StatusCode"]

    def inspect(self, name):
        return self.call("inspect", name=name)

    def state(self, name):
        return self.inspect(name)["State"]

    def log(self, name, stream=None):
        path = self.inspect(name)["LogPath"]
        text = ""
        for line in open(path):
            v = json.loads(line)
            if stream in (None, v["stream"]):
                text += v["log"]
        return text

    def run(self, *cmd, code=0, **args):
        """Creates, starts, waits, removes; the log."""
        id = self.create(*cmd, **args)
        self.start(id)
        got = self.wait(id)
        text = self.log(id)
        assert got == code, (got, text, self.state(id))
        self.call("remove", name=id)
        return text

    def names(self, id=None):
        return [e["event"] for e in self.events if id in (None, e["container"])]

    def close(self):
        self.p.stdin.close()
        code = self.p.wait(20 * SLOWER)
        self.err.close()
        return code

    def kill(self):
        self.p.kill()
        self.p.wait()
        self.err.close()


def mounts(under):
    return [m.split()[4] for m in open("/proc/self/mountinfo") if str(under) in m.split()[4]]


def groups():
    found = []
    for root in pathlib.Path("/sys/fs/cgroup").iterdir() if pathlib.Path("/sys/fs/cgroup").is_dir() else []:
        for base in (root, pathlib.Path("/sys/fs/cgroup")):
            folder = base / PARENT[1:]
            if folder.is_dir():
                found += [str(p) for p in folder.iterdir() if p.is_dir()]
    return sorted(set(found))


class Env:
    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="knarr-con-"))
        self.data, self.run = self.dir / "data", self.dir / "run"
        self.engines, self.network = [], None

    def engine(self, **args):
        settings = {"cgroup-parent": PARENT, "exec-opts": ["native.cgroupdriver=cgroupfs"], **args.pop("settings", {})}
        e = Engine(self, settings=settings, network=self.network, **args)
        self.engines.append(e)
        return e

    def image(self, e, ref="ct", config=None, files=None):
        path = self.dir / "rootfs.tar"
        with tarfile.open(path, "w") as t:
            for d in ("etc", "tmp", "dev", "proc", "sys", "bin", "data"):
                i = tarfile.TarInfo(d)
                i.type, i.mode = tarfile.DIRTYPE, 0o1777 if d == "tmp" else 0o755
                t.addfile(i)
            for name in ("ct", "streams"):
                data = (HELPERS / name).read_bytes()
                i = tarfile.TarInfo("bin/" + name)
                i.size, i.mode = len(data), 0o755
                t.addfile(i, io.BytesIO(data))
            texts = {"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n",
                     "etc/group": "root:x:0:\nann:x:1000:\nwheel:x:10:ann\naudio:x:29:\n", "bin/plain": "not a program", "data/kept": "of the image",
                     **(files or {})}
            for name, text in texts.items():
                i = tarfile.TarInfo(name)
                i.size, i.mode = len(text), 0o644
                t.addfile(i, io.BytesIO(text.encode()))
        default = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Entrypoint": ["/bin/ct"], "Cmd": ["args", "of-image"]}
        return e.call("import", path=str(path), ref=ref, config=default if config is None else config)

    def left(self):
        """What must not be there when no container is. The files of a removed one go behind the answer."""
        end = time.monotonic() + 10 * SLOWER
        while self.found() and time.monotonic() < end:
            time.sleep(0.02)
        return self.found()

    def found(self):
        found = mounts(self.dir) + groups()
        for d in (self.data / "containers", self.run / "network/netns", self.run / "network/sandboxes", self.run / "containers", self.run / "runtime", self.data / "snapshots/live"):
            if d.is_dir():
                found += [str(p) for p in d.iterdir()]
        return found


@pytest.fixture(scope="session", autouse=True)
def helpers():
    subprocess.run([REPO / "tests/helpers/make", BUILD], check=True)
    yield
    for folder in [pathlib.Path("/sys/fs/cgroup") / PARENT[1:], *pathlib.Path("/sys/fs/cgroup").glob("*" + PARENT)]:
        if folder.is_dir():
            folder.rmdir()


@pytest.fixture
def env():
    v = Env()
    yield v
    for e in v.engines:
        if e.p.poll() is None:
            e.kill()
    last = Engine(v, settings={"cgroup-parent": PARENT, "exec-opts": ["native.cgroupdriver=cgroupfs"]}, network=v.network,
                  reset=bool(v.network))
    for c in last.call("list"):
        last.call("remove", name=c["Id"], force=True, volumes=True)
    assert last.close() == 0
    left = v.left()
    if v.network:
        left += [line for line in subprocess.check_output(["ip", "-o", "link"], text=True).splitlines() if f"-{v.network}-" in line or f":{v.network}:" in line]
        left += [line for line in subprocess.check_output(["nft", "list", "tables"], text=True).splitlines() if v.network in line]
    assert not left, left
    shutil.rmtree(v.dir)


@pytest.fixture
def engine(env):
    e = env.engine()
    env.image(e)
    yield e
    if e.p.poll() is None:
        assert e.close() == 0, e.stderr()
