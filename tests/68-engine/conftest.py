"""`knarr engine` in folders of its own, and with KNARR_TEST_LONG=1 Debian's dockerd beside it: the same tests run against both."""
import http.client
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from engine_parts import BUILD, BUSYBOX, ENV, KNARR, LONG, REPO, SLOWER, docker_registry, free_port, import_words, rootfs, until  # noqa: E402,F401

V1 = not os.path.exists("/sys/fs/cgroup/cgroup.controllers")
# A disk of this machine, whichever: /dev/loop0 comes with a module.
DISK = next((f"/dev/{x}" for x in sorted(os.listdir("/sys/block")) if os.path.exists(f"/dev/{x}")), "/dev/none")
CLIENT = int(re.search(r"version (\d+)", subprocess.run(["docker", "--version"], capture_output=True, text=True).stdout).group(1))


class Reply:
    def __init__(self, r):
        self.status, self.headers, self.body = r.status, r.headers, r.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def lines(self):
        return [json.loads(x) for x in self.body.split(b"\n") if x.strip()]

    @property
    def message(self):
        return self.json["message"]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60 * SLOWER)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60 * SLOWER)
        self.sock.connect(self.path)


class Waiter:
    def __init__(self, connection, reply):
        self.connection, self.reply = connection, reply

    def answered(self, seconds=0):
        return bool(select.select([self.connection.sock or self.reply], [], [], seconds)[0])

    def answer(self):
        try:
            return json.loads(self.reply.read())
        finally:
            self.connection.close()


class Daemon:
    """A socket, the real client for it, and the API by hand."""
    name = "?"
    inside = []

    def cli(self, *words, check=0, stdin=None, env=None, timeout=120):
        """The docker client. check: the status that must come; None = any."""
        e = {**ENV, "DOCKER_HOST": f"unix://{self.sock}", "DOCKER_CONFIG": str(self.dir / "cli"), **(env or {})}
        p = subprocess.run(["docker", *map(str, words)], env=e, capture_output=True, timeout=timeout * SLOWER,
                           input=stdin if stdin is None or isinstance(stdin, bytes) else stdin.encode())
        p.stdout, p.stderr = (x.decode(errors="replace") for x in (p.stdout, p.stderr))
        if check is not None:
            assert p.returncode == check, (words, p.returncode, p.stdout, p.stderr, self.tail())
        return p

    def out(self, *words, **kw):
        return self.cli(*words, **kw).stdout.strip()

    def fails(self, *words, status=1, **kw):
        return self.cli(*words, check=status, **kw).stderr.strip()

    def api(self, method, path, body=None, version="v1.50", headers=None):
        c = UnixConnection(self.sock)
        h = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            h.setdefault("Content-Type", "application/json")
        c.request(method, (f"/{version}" if version else "") + path, body, h)
        try:
            return Reply(c.getresponse())
        finally:
            c.close()

    def waits(self, name, condition):
        """Somebody who waits for a container, and whom the daemon has heard: what was told then is the answer of .answer()."""
        c = UnixConnection(self.sock)
        c.request("POST", f"/v1.41/containers/{name}/wait?condition={condition}")
        r = c.getresponse()  # its head comes at once
        assert r.status == 200
        return Waiter(c, r)

    def beside(self, *words):
        """A command in the network namespace of the daemon, as somebody on its host would type it: its output."""
        return subprocess.run([w.format(self.process.pid) for w in self.inside] + list(words), capture_output=True, text=True, timeout=30 * SLOWER).stdout

    def tail(self):
        return (self.dir / "log").read_text(errors="replace")[-3000:]

    def wait(self):
        def up():
            assert self.process.poll() is None, self.tail()
            try:
                return self.api("GET", "/_ping", version=None).status == 200
            except OSError:
                return False
        until(up, 60)


class Knarr(Daemon):
    name = "knarr"

    def __init__(self, folder, *flags, env=None):
        self.dir, self.flags, self.env = folder, flags, env or {}
        (folder / "cli").mkdir(parents=True, exist_ok=True)
        self.data = folder / "data"
        self.sock = str(folder / "docker.sock")
        self.start()

    def start(self):
        self.log = open(self.dir / "log", "ab")
        self.process = subprocess.Popen([KNARR, "engine", "--data-dir", self.data, "--host", f"unix://{self.sock}", *self.flags],
                                        stdout=self.log, stderr=self.log, env={**ENV, **self.env})
        self.wait()

    def stop(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        status = self.process.wait(30 * SLOWER)
        self.log.close()
        return status

    def close(self):
        """An engine's bridge stays when it stops, as its containers do. All of a suite share one network namespace, which has room for
        31. A dockerd that wants no bridge has taken docker0 away, whosever it is."""
        bridge = None
        if self.process.poll() is None:
            bridge = self.api("GET", "/networks/bridge").json.get("Options", {}).get("com.docker.network.bridge.name")
            assert self.stop() == 0, self.tail()
        assert "Assertion" not in self.tail(), self.tail()
        if bridge and subprocess.run(["ip", "link", "show", bridge], capture_output=True).returncode == 0:
            subprocess.run(["ip", "link", "del", bridge], check=True)


class Dockerd(Daemon):
    """Debian's. It shares our network namespace and leaves it alone, or (bridged) has one of its own in which it makes bridges."""
    name = "dockerd"

    def __init__(self, folder, bridged=False):
        self.dir = folder
        (folder / "cli").mkdir(parents=True)
        (folder / "daemon.json").write_text("{}")
        self.sock = str(folder / "docker.sock")
        self.log = open(folder / "log", "ab")
        apart = ["unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"] if bridged else []
        alone = [] if bridged else ["--bridge", "none", "--iptables=false", "--ip6tables=false"]
        self.inside = ["nsenter", "-t", "{}", "-n"] if bridged else []
        self.process = subprocess.Popen(
            [*apart, "/usr/sbin/dockerd", "--config-file", folder / "daemon.json", "-H", f"unix://{self.sock}", "--data-root", folder / "data",
             "--exec-root", folder / "exec", "--pidfile", folder / "pid", *alone, "--storage-driver", "overlay2",
             # Under systemd it would want a slice of systemd's, and its socket.
             "--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/knarr-68-{os.getpid()}"],
            stdout=self.log, stderr=self.log, env={**ENV, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        self.wait()

    def api(self, method, path, body=None, version="v1.41", headers=None):
        return super().api(method, path, body, version and min(version, "v1.41"), headers)

    def close(self):
        left = self.out("ps", "-aq", check=None).split()
        if left:
            self.cli("rm", "-f", *left, check=None)
        self.process.terminate()
        try:
            self.process.wait(30 * SLOWER)
        finally:
            self.process.kill()
            self.log.close()
            for line in reversed(pathlib.Path("/proc/self/mountinfo").read_text().splitlines()):
                if line.split()[4].startswith(str(self.dir)):
                    subprocess.run(["umount", "-l", line.split()[4]])


@pytest.fixture
def make_knarr():
    made = []

    def make(*flags, **kw):
        made.append(Knarr(pathlib.Path(tempfile.mkdtemp(prefix="knarr-68-")), *flags, **kw))
        return made[-1]
    yield make
    for k in made:
        try:
            if k.process.poll() is not None:  # what it left running goes by its own hand
                k.start()
            left = k.out("ps", "-aq", check=None).split()
            if left:
                k.cli("rm", "-fv", *left, check=None)
            k.close()
        finally:
            shutil.rmtree(k.dir, ignore_errors=True)


def daemon(kind):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="knarr-68-"))
    d = Knarr(folder) if kind == "knarr" else Dockerd(folder)
    return d


@pytest.fixture(scope="module", params=["knarr", "dockerd"] if LONG else ["knarr"])
def docker(request):
    """Either daemon: what a test with it says holds for both."""
    if request.param == "dockerd" and not shutil.which("dockerd", path="/usr/sbin:/usr/bin"):
        pytest.skip("dockerd is not installed (packages/peers)")
    d = daemon(request.param)
    try:
        yield d
    finally:
        try:
            d.close()
        finally:
            shutil.rmtree(d.dir, ignore_errors=True)


@pytest.fixture(scope="module", params=["knarr", "dockerd"] if LONG else ["knarr"])
def bridged(request):
    """Either daemon, with networks."""
    if request.param == "dockerd" and not shutil.which("dockerd", path="/usr/sbin:/usr/bin"):
        pytest.skip("dockerd is not installed (packages/peers)")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="knarr-68-"))
    d = Knarr(folder) if request.param == "knarr" else Dockerd(folder, bridged=True)
    try:
        yield d
    finally:
        try:
            d.close()
        finally:
            shutil.rmtree(d.dir, ignore_errors=True)


@pytest.fixture(scope="module")
def knarr():
    """Ours alone: what Docker of Debian's age does not have, or what differs on purpose."""
    d = daemon("knarr")
    try:
        yield d
    finally:
        try:
            d.close()
        finally:
            shutil.rmtree(d.dir, ignore_errors=True)


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    yield from docker_registry(tmp_path_factory.mktemp("registry"))


def certificates(folder):
    """ca.pem, server.pem for 127.0.0.1 and client.pem, with their keys."""
    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    for name, extra in (("server", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth"), ("client", "extendedKeyUsage=clientAuth")):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / "ext").write_text(extra)
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.pem", "-extfile", "ext", "-days", "2")


def import_busybox(d, name="busybox:latest", *changes):
    return d.out(*import_words(name, *changes), stdin=BUSYBOX)


# For modules that say so (pytestmark = pytest.mark.usefixtures("busybox", "tidy")).
@pytest.fixture(scope="module")
def busybox(docker):
    import_busybox(docker)
    yield


@pytest.fixture
def tidy(docker):
    yield
    left = docker.out("ps", "-aq", check=None).split()
    if left:
        docker.cli("rm", "-fv", *left, check=None)
