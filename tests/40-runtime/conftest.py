"""Fixtures: a bundle with one static program in it, and the runtime under test.

Every test ends with nothing left: no state folder, cgroup, mount or process."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import uuid

import pytest

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent
sys.path.insert(0, str(REPO / "tests/lib"))
from waiting import SLOWER, takes, until  # noqa: E402,F401

BUILD = REPO / os.environ.get("KNARR_BUILD", "build")
PROGRAM = BUILD / "src/app/knarr-run"
LONG = os.environ.get("KNARR_TEST_LONG", "0") == "1"

DEFAULT_CAPS = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
                "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
                "CAP_AUDIT_WRITE"]


def base_config():
    return {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/ct", "exit", "0"], "cwd": "/",
                    "env": ["PATH=/bin:/usr/bin", "A=b"],
                    "capabilities": {k: DEFAULT_CAPS for k in ("bounding", "effective", "permitted")}},
        "root": {"path": "rootfs"},
        "hostname": "knarr-test",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


@pytest.fixture(scope="session")
def helpers():
    subprocess.run([str(REPO / "tests/helpers/make"), str(BUILD)], check=True)
    return {n: BUILD / "tests-helpers" / n for n in ("ct", "deny")}


def cgroup_folders():
    found = set()
    for root, dirs, _ in os.walk("/sys/fs/cgroup"):
        found.update(os.path.join(root, d) for d in dirs)
    return found


def mounts(tmp):
    """Mounts that have to do with a test's folder. Others come and go with what else the machine does."""
    return pathlib.Path("/proc/self/mountinfo").read_text().count(str(tmp))


class Result:
    def __init__(self, p):
        self.code, self.out, self.err = p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")

    def fact(self, key):
        for line in self.out.splitlines():
            if line.split(" ")[0] == key:
                return line[len(key) + 1:]
        raise AssertionError(f"no fact {key} in {self.out!r} (stderr {self.err!r})")


class Runtime:
    def __init__(self, tmp, helpers):
        self.tmp, self.helpers = tmp, helpers
        self.root = tmp / "state"
        self.bundle = tmp / "bundle"
        (self.bundle / "rootfs").mkdir(parents=True)
        shutil.copy(helpers["ct"], self.bundle / "rootfs/ct")
        self.config = base_config()
        self.id = "t" + uuid.uuid4().hex[:12]
        self.env = dict(os.environ)
        self.prefix = []

    @property
    def rootfs(self):
        return self.bundle / "rootfs"

    def set(self, path, value):
        at = self.config
        *head, last = path.split(".")
        for k in head:
            at = at.setdefault(k, {})
        at[last] = value

    def args(self, *words):
        self.config["process"]["args"] = ["/ct", *words]

    def ns(self, kind, path=None):
        spaces = [n for n in self.config["linux"]["namespaces"] if n["type"] != kind]
        spaces.append({"type": kind, "path": path} if path else {"type": kind})
        self.config["linux"]["namespaces"] = spaces

    def user_ns(self, uids=100000, gids=100000):
        """A user namespace of 65,536; the mapped root finds its way to the root file system and its mount points."""
        self.ns("user")
        self.set("linux.uidMappings", [{"containerID": 0, "hostID": uids, "size": 65536}])
        self.set("linux.gidMappings", [{"containerID": 0, "hostID": gids, "size": 65536}])
        for p in [self.tmp, self.bundle, self.rootfs]:
            os.chmod(p, 0o755)
        for d in ("proc", "dev", "sys"):
            (self.rootfs / d).mkdir(exist_ok=True)

    def no_ns(self, *kinds):
        self.config["linux"]["namespaces"] = [n for n in self.config["linux"]["namespaces"] if n["type"] not in kinds]

    def mount(self, **m):
        self.config["mounts"].append(m)

    def save(self):
        (self.bundle / "config.json").write_text(json.dumps(self.config))

    def call(self, *words, check=None, input=None, timeout=60, env=None, **kw):
        p = subprocess.run([*self.prefix, str(PROGRAM), "runtime", "--root", str(self.root), *words],
                           input=input, capture_output=True, timeout=timeout * SLOWER, env={**self.env, **(env or {})},
                           cwd=self.bundle, **kw)
        r = Result(p)
        if check is not None:
            assert r.code == check, (words, r.code, r.out, r.err)
        return r

    def run(self, *ct, check=0, env=None, input=None, options=(), **kw):
        if ct:
            self.args(*ct)
        self.save()
        return self.call("run", *options, self.id, check=check, env=env, input=input, **kw)

    # A container's first process inherits standard output: pipes would stay open as long as it lives.
    def quiet(self, *words, check=0, env=None):
        out = tempfile.TemporaryFile()
        err = tempfile.TemporaryFile()
        p = subprocess.run([*self.prefix, str(PROGRAM), "runtime", "--root", str(self.root), *words], stdin=subprocess.DEVNULL,
                           stdout=out, stderr=err, cwd=self.bundle, timeout=60 * SLOWER, env={**self.env, **(env or {})})
        out.seek(0)
        err.seek(0)
        p.stdout, p.stderr = out.read(), err.read()
        r = Result(p)
        if check is not None:
            assert r.code == check, (words, r.code, r.out, r.err)
        return r

    def create(self, *ct, check=0, env=None, options=()):
        if ct:
            self.args(*ct)
        self.save()
        return self.quiet("create", *options, self.id, check=check, env=env)

    def start(self, check=0, **kw):
        return self.quiet("start", self.id, check=check, **kw)

    def up(self, *ct):
        self.create(*(ct or ("sleep", "1000")))
        return self.start()

    def state(self):
        return json.loads(self.call("state", self.id, check=0).out)

    def wait_status(self, want):
        until(lambda: self.state()["status"] == want)

    def processes(self):
        return json.loads(self.call("ps", "-f", "json", self.id, check=0).out)

    def delete(self, check=0):
        return self.quiet("delete", "--force", self.id, check=check)


@pytest.fixture
def rt(helpers):
    tmp = pathlib.Path(tempfile.mkdtemp(prefix="knarr-rt-"))
    before_groups, before_mounts = cgroup_folders(), mounts(tmp)
    r = Runtime(tmp, helpers)
    yield r
    r.prefix = []
    r.quiet("delete", "--force", r.id, check=None)
    left = [p for p in (r.root.iterdir() if r.root.exists() else []) if p.name != "seccomp"]
    groups = {g for g in cgroup_folders() - before_groups if r.id in g and not g.endswith(".slice")}
    now_mounts = mounts(tmp)
    shutil.rmtree(tmp, ignore_errors=True)
    assert not left, f"state left: {left}"
    assert not groups, f"cgroups left: {groups}"
    assert now_mounts == before_mounts, "mounts left"


def dead(pid):
    """Gone, or not reaped: its parent, process 1, takes its time."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def processes_with(text):
    found = []
    for p in pathlib.Path("/proc").iterdir():
        if p.name.isdigit():
            try:
                words = (p / "cmdline").read_bytes().decode(errors="replace")
                # Under cgroup v1 the kernel starts systemd's agent with the name of every group that became empty.
                if text in words and "cgroups-agent" not in words:
                    found.append(int(p.name))
            except OSError:
                pass
    return found
