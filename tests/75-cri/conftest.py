"""`knarr engine` with --cri-host in folders of its own, spoken to by Debian's python3-grpcio with messages that protoc makes of our
schema. With KNARR_TEST_LONG=1 Debian's containerd stands beside it: the same tour runs against both."""
import contextlib
import ctypes
import importlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import grpc
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from engine_parts import BUILD, BUSYBOX, ENV, KNARR, LONG, REPO, SLOWER, docker_registry, import_words, rootfs, until  # noqa: E402,F401

PLUGINS = "/usr/lib/cni"  # containernetworking-plugins

# Bridges, rules and ports of ours meet nobody's: everything here lives in a network namespace of its own.
if os.geteuid() == 0:
    assert ctypes.CDLL(None, use_errno=True).unshare(0x40000000) == 0, os.strerror(ctypes.get_errno())  # CLONE_NEWNET
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

sys.path.insert(0, str(REPO / "tools/gen"))
import api_schema  # noqa: E402


def make_messages(folder):
    """cri.proto of src/api/schema/cri.api, compiled. Values of enums get their message's name before them: protobuf wants them unique
    in a package, which upstream's are only by luck."""
    schema = api_schema.read(str(REPO / "src/api/schema"))
    rows = [r for r in schema.cri_messages if r["package"] == "runtime.v1"]
    names = list(dict.fromkeys([r["message"] for r in rows] + [n for _, p, n in schema.messages if p == "runtime.v1"]))

    def block(name, level):
        pad, short = "  " * level, name.split(".")[-1]
        mine = [r for r in rows if r["message"] == name]
        if mine and mine[0]["label"] == "enum":
            return [f"{pad}enum {short} {{"] + [f"{pad}  {name.replace('.', '_')}_{r['field']} = {r['number']};" for r in mine] + [pad + "}"]
        out = [f"{pad}message {short} {{"]
        for inner in names:
            if inner.rpartition(".")[0] == name:
                out += block(inner, level + 1)
        out += [f"{pad}  {'repeated ' if r['label'] == 'rep' else ''}{r['type']} {r['field']} = {r['number']};" for r in mine]
        return out + [pad + "}"]

    lines = ['syntax = "proto3";', "package runtime.v1;"] + [x for n in names if "." not in n for x in block(n, 0)]
    (folder / "cri.proto").write_text("\n".join(lines) + "\n")
    subprocess.run(["protoc", f"--proto_path={folder}", f"--python_out={folder}", "cri.proto"], check=True)
    sys.path.insert(0, str(folder))
    return importlib.import_module("cri_pb2"), [r for r in schema.cri_rpcs if r["package"] == "runtime.v1"]


_messages = pathlib.Path(tempfile.mkdtemp(prefix="knarr-75-proto-"))
try:
    m, RPCS = make_messages(_messages)
finally:
    shutil.rmtree(_messages)


class Refused(Exception):
    def __init__(self, e):
        super().__init__(f"{e.code().name}: {e.details()}")
        self.code, self.text = e.code().name, e.details()


class Runtime:
    """A CRI socket: every method of the schema as a Python method, arguments as the request's fields."""

    def connect(self):
        self.channel = grpc.insecure_channel(f"unix:{self.cri}", options=[("grpc.max_receive_message_length", 64 << 20)])
        for r in RPCS:
            request, response = getattr(m, r["request"]), getattr(m, r["response"])
            kind = self.channel.unary_stream if r["response_stream"] == "y" else self.channel.unary_unary
            stub = kind(f"/runtime.v1.{r['service']}/{r['method']}", request_serializer=request.SerializeToString,
                        response_deserializer=response.FromString)
            setattr(self, r["method"], self._method(stub, request, r["response_stream"] == "y"))

    def _method(self, stub, request, streams):
        def call(within=60 * SLOWER, **fields):
            try:
                return stub(request(**fields), timeout=None if streams else within)
            except grpc.RpcError as e:
                raise Refused(e) from None
        return call

    def tail(self):
        return (self.dir / "log").read_text(errors="replace")[-4000:]

    def wait(self):
        def up():
            assert self.process.poll() is None, self.tail()
            with socket.socket(socket.AF_UNIX) as s:
                return s.connect_ex(self.cri) == 0
        until(up, 60)
        self.connect()

    # ---- what most tests need

    uid = 0

    def group(self, uid):
        return f"{self.cgroup}/pod{uid}"

    def pod_config(self, name="p", **fields):
        Runtime.uid += 1
        uid = f"uid-{os.getpid()}-{Runtime.uid}"
        linux = fields.pop("linux", None) or m.LinuxPodSandboxConfig()
        if not linux.cgroup_parent:
            linux.cgroup_parent = self.group(uid)
        fields.setdefault("log_directory", str(self.dir / "logs" / uid))
        fields.setdefault("hostname", name)
        return m.PodSandboxConfig(metadata=m.PodSandboxMetadata(name=name, uid=uid, namespace="default"), linux=linux, **fields)

    def run_pod(self, config=None, **kw):
        config = config or self.pod_config()
        return self.RunPodSandbox(config=config, **kw).pod_sandbox_id, config

    def make(self, pod, command=(), name="c", image="busybox", **fields):
        """A container in (id, config) of a pod; shell text or a list of words."""
        command = ["sh", "-c", command] if isinstance(command, str) else list(command)
        fields.setdefault("log_path", f"{name}/0.log")
        fields.setdefault("linux", m.LinuxContainerConfig(security_context=m.LinuxContainerSecurityContext()))
        config = m.ContainerConfig(metadata=m.ContainerMetadata(name=name), image=m.ImageSpec(image=image), command=command, **fields)
        return self.CreateContainer(pod_sandbox_id=pod[0], config=config, sandbox_config=pod[1]).container_id

    def run(self, pod, command=(), **fields):
        c = self.make(pod, command, **fields)
        self.StartContainer(container_id=c)
        return c

    def status(self, c):
        return self.ContainerStatus(container_id=c).status

    def ended(self, c, seconds=30):
        until(lambda: self.status(c).state == 2, seconds)
        return self.status(c)

    def log(self, c):
        """What it wrote: (stream, text) lines without times."""
        rows = pathlib.Path(self.status(c).log_path).read_text().splitlines()
        return [(x.split(" ", 3)[1], x.split(" ", 3)[3]) for x in rows]

    def output(self, pod, command, **fields):
        """Runs it to its end: exit code 0 and its standard output."""
        c = self.run(pod, command, name=f"o{time.monotonic_ns()}", **fields)
        s = self.ended(c)
        text = "\n".join(t for stream, t in self.log(c) if stream == "stdout")
        assert s.exit_code == 0, (s.exit_code, s.reason, s.message, self.log(c))
        self.RemoveContainer(container_id=c)
        return text

    def sh(self, c, text, timeout=30 * SLOWER):
        r = self.ExecSync(container_id=c, cmd=["sh", "-c", text], timeout=timeout)
        assert r.exit_code == 0, (r.exit_code, r.stdout, r.stderr)
        return r.stdout.decode().strip()

    def clean(self):
        for p in self.ListPodSandbox().items:
            self.StopPodSandbox(pod_sandbox_id=p.id)
            self.RemovePodSandbox(pod_sandbox_id=p.id)


def bridges():
    return {line.split()[0] for line in subprocess.run(["ip", "-br", "link", "show", "type", "bridge"], capture_output=True, text=True,
                                                        check=True).stdout.splitlines()}


class Knarr(Runtime):
    name = "knarr"

    def __init__(self, folder, conflist=None, env=None):
        self.dir, self.env = folder, env or {}
        self.data, self.sock, self.cri = folder / "data", str(folder / "docker.sock"), str(folder / "cri.sock")
        self.conf = folder / "net.d"
        self.conf.mkdir(parents=True, exist_ok=True)
        self.cgroup, self.groups = f"/knarr-75-{os.getpid()}", []
        if conflist:
            conflist["plugins"][0].get("ipam", {})["dataDir"] = str(folder / "ipam")
            (self.conf / "10-test.conflist").write_text(json.dumps(conflist))
        before = bridges()
        self.start()
        self.bridges = bridges() - before

    def start(self, wait=True, **env):
        self.logfile = open(self.dir / "log", "ab")
        self.process = subprocess.Popen([KNARR, "engine", "--data-dir", self.data, "--host", f"unix://{self.sock}",
                                         "--cri-host", f"unix://{self.cri}", "--cni-conf-dir", self.conf, "--cni-bin-dir", getattr(self, "plugins", PLUGINS)],
                                        stdout=self.logfile, stderr=self.logfile, env={**ENV, **self.env, **env})
        if wait:
            self.wait()

    def wait(self):
        super().wait()
        self.systemd = self.RuntimeConfig().linux.cgroup_driver == 0
        if self.systemd:
            self.cgroup = f"/knarr_75_{os.getpid()}.slice"

    def group(self, uid):
        """As a kubelet gives it: under systemd with the path that systemd makes of the slice's name."""
        if not self.systemd:
            return super().group(uid)
        self.groups.append(f"{self.cgroup}/{self.cgroup[1:].removesuffix('.slice')}-pod{uid.replace('-', '_')}.slice")
        return self.groups[-1]

    def docker(self, *words, stdin=None, check=True):
        p = subprocess.run(["docker", *map(str, words)], env={**ENV, "DOCKER_HOST": f"unix://{self.sock}"}, capture_output=True,
                           input=stdin, timeout=120 * SLOWER)
        assert not check or p.returncode == 0, (words, p.stdout, p.stderr, self.tail())
        return p.stdout.decode().strip() if check else p

    def stop(self, sig=signal.SIGTERM):
        self.channel.close()
        self.process.send_signal(sig)
        status = self.process.wait(60 * SLOWER)
        self.logfile.close()
        return status

    def load(self, name="busybox:latest", *changes):
        return self.docker(*import_words(name, *changes), stdin=BUSYBOX)

    def left(self):
        """What nobody accounts for when there is no pod: namespaces, mounts, groups, processes, addresses, interfaces, folders."""
        found = [x for x in ((self.data / "run/cri/netns").iterdir() if (self.data / "run/cri/netns").exists() else ())]
        found += list((self.data / "cri/sandboxes").iterdir()) + list((self.data / "cri/containers").iterdir())
        found += [x for x in (self.data / "run/cri/containers").iterdir()]
        found += [line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if str(self.data / "run/cri") in line]
        # Groups of containers: folders in a pod's. All of it may go while it is looked at.
        pods = [f"{d}/{n}" for d, dirs, _ in os.walk("/sys/fs/cgroup") if d.endswith(self.cgroup) for n in dirs]
        found += [d for d, dirs, _ in (next(os.walk(p), (p, [], [])) for p in pods) if dirs]
        ipam = self.dir / "ipam"
        found += [x for x in ipam.rglob("10.*")] if ipam.exists() else []
        found += [x for x in subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout.splitlines() if ": veth" in x]
        found += [x for x in (self.data / "snapshots/live").iterdir() if x.name.startswith("cri-")]
        return found

    def told_of(self, ids):
        """What the folders of these containers hold, and what the engine's log has of them (and all of its warnings)."""
        out = []
        for id in ids:
            for f in sorted((self.data / "cri/containers" / id).rglob("*")):
                out.append(f"{f.relative_to(self.data)}: {f.read_text(errors='replace')[-1500:] if f.is_file() else f.lstat().st_mode:}")
        log = (self.dir / "log").read_text(errors="replace").splitlines()
        return out + [x for x in log if " info " not in x or any(id[:12] in x for id in ids)][-60:]

    def nothing_left(self):
        try:
            until(lambda: not self.left(), 60)  # network namespaces of the whole machine go one after the other
        except AssertionError:
            left = self.left()
            ids = {x for y in left for x in re.findall("[0-9a-f]{64}", str(y))}
            raise AssertionError("\n".join(map(str, ["left:", *left, "", *self.told_of(ids)]))) from None

    def close(self):
        try:
            if self.process.poll() is None:
                self.clean()
                assert self.stop() == 0, self.tail()
        except BaseException:
            # Whatever the engine's trouble is, its pods must not stay on this machine: another one takes them away.
            self.process.kill()
            self.process.wait()
            self.start()
            self.clean()
            self.stop()
            raise
        assert "Assertion" not in self.tail(), self.tail()
        for name in self.bridges:  # its networks stay when it stops; of some thirty engines they would be all the pools have
            subprocess.run(["ip", "link", "del", name], check=False, stderr=subprocess.DEVNULL)  # a test may have removed it
        # The pods' groups are a kubelet's work. Other engines of this process may have some in the same place.
        tops = ["/sys/fs/cgroup", *(f"/sys/fs/cgroup/{x}" for x in os.listdir("/sys/fs/cgroup"))]
        slices = {g.rpartition("/")[2] for g in self.groups if any(os.path.isdir(top + g) for top in tops)}
        if slices:
            subprocess.run(["systemctl", "stop", *slices], check=True)
            if not any(x.is_dir() for top in tops for x in pathlib.Path(top + self.cgroup).glob("*")):
                subprocess.run(["systemctl", "stop", self.cgroup[1:]], check=True)
        for top in tops if not self.systemd else ():
            if os.path.isdir(top + self.cgroup):
                subprocess.run(["find", top + self.cgroup, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"], check=True)


def bridge(version="1.0.0"):
    """A conflist of Debian's plugins; addresses are counted in the engine's own folder (make_engine fills it in)."""
    return {"cniVersion": version, "name": "test", "plugins": [
        {"type": "bridge", "bridge": "knarr75", "isGateway": True, "ipMasq": False, "hairpinMode": True,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
        {"type": "portmap", "capabilities": {"portMappings": True}}]}


def make_engine(**kw):
    return Knarr(pathlib.Path(tempfile.mkdtemp(prefix="knarr-75-")), **kw)


@contextlib.contextmanager
def engine(leaves_nothing=False, **kw):
    """An engine with an image, for a fixture."""
    k = make_engine(**kw)
    try:
        k.load()
        yield k
    finally:
        try:
            k.close()
            if leaves_nothing:
                k.nothing_left()
        finally:
            shutil.rmtree(k.dir, ignore_errors=True)


@pytest.fixture(scope="module")
def knarr():
    with engine() as k:
        yield k
