"""A spawner, an 'engine' (this process) and containers of one static program. Everything made is checked to be gone."""
import array
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import uuid

import pytest

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPO / "tests/lib"))
from waiting import SLOWER, until  # noqa: E402,F401

BUILD = REPO / os.environ.get("KNARR_BUILD", "build")
PROGRAM = BUILD / "src/app/knarr-run"

# monitor.h
(SPAWN, STATUS, WAIT, START, KILL, RESIZE, ATTACH, DETACH, STDIN, CLOSE_STDIN, ROTATE, REOPEN, SOCKETS, QUIT, BUILD_NOW) = range(1, 16)
OK, ERROR, SPAWNED, OUTPUT, STATE, STARTED, WARNING, OOM = range(64, 72)
TAKE_STDIN, TAKE_STDOUT, TAKE_STDERR = 1, 2, 4
HOLD, OPEN_STDIN, STDIN_ONCE, STDIO, TERMINAL, EXEC, LATER = 1, 2, 4, 8, 16, 256, 1024
DOCKER, CRI = 1, 2
HEAD = struct.Struct("=BBHiiI")
FIXED = struct.Struct("=IIQHHBBH")
STATE_STRUCT = struct.Struct("=IiiiqqQQQiIi1024s4x")
PHASES = ["building", "created", "running", "ended"]


class Gone(Exception):
    pass


class Refused(Exception):
    def __init__(self, cls, errnum, text):
        super().__init__(text)
        self.cls, self.errnum, self.text = cls, errnum, text


class State:
    def __init__(self, b):
        (phase, self.pid, self.exit_code, self.signal, self.started_ns, self.finished_ns, self.oom_kills, self.log_bytes, self.lost,
         self.lost_errno, self.clients, self.cls, error) = STATE_STRUCT.unpack(b)
        self.phase, self.error = PHASES[phase], error.split(b"\0")[0].decode()


class Connection:
    def __init__(self, sock):
        self.sock, self.tag, self.output = sock, 0, {1: b"", 2: b""}
        self.sock.settimeout(20 * SLOWER)

    def close(self):
        self.sock.close()

    def send(self, op, a=0, b=0, payload=b"", tag=None):
        self.tag += 1
        tag = self.tag if tag is None else tag
        self.sock.send(HEAD.pack(1, op, tag, a, b, len(payload)) + payload)
        return tag

    def recv(self, fds=0):
        try:
            data, anc, _, _ = self.sock.recvmsg(16384 + 16, socket.CMSG_SPACE(4 * 64))
        except ConnectionResetError:  # it ended with a request of ours unread; what it had sent comes after this
            data, anc, _, _ = self.sock.recvmsg(16384 + 16, socket.CMSG_SPACE(4 * 64))
        got = []
        for level, kind, d in anc:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                a = array.array("i")
                a.frombytes(d[:len(d) - len(d) % 4])
                got += list(a)
        if not data:
            raise Gone
        version, op, tag, a, b, n = HEAD.unpack(data[:16])
        assert version == 1 and n == len(data) - 16
        payload = data[16:]
        if op == OUTPUT:
            self.output[a] += payload
        return op, tag, a, b, payload, got

    def answer(self, tag):
        while True:
            op, t, a, b, payload, fds = self.recv()
            if op == OUTPUT or t != tag:
                continue
            if op == ERROR:
                raise Refused(a, b, payload.decode())
            return State(payload) if op == STATE else fds

    def call(self, op, a=0, b=0, payload=b""):
        return self.answer(self.send(op, a, b, payload))

    def until(self, stream, text):
        while text not in self.output[stream]:
            self.recv()

    def to_end(self):
        try:
            while True:
                self.recv()
        except Gone:
            return self.output


class Container:
    def __init__(self, env, pid, pidfd, control, dirs):
        self.env, self.pid, self.pidfd, self.control, self.state_dir, self.log_dir, self.id = env, pid, pidfd, Connection(control), *dirs
        self.first = None
        self.warnings = []

    def started(self):
        """The first word: the container's number, or Refused."""
        while True:
            op, tag, a, b, payload, _ = self.control.recv()
            if op == WARNING:
                self.warnings.append(payload.decode())
            elif op == ERROR and tag == 0:
                raise Refused(a, b, payload.decode())
            elif op == STARTED:
                self.first = a
                return a

    def connect(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fd = os.open(self.state_dir, os.O_PATH)
        s.connect(f"/proc/self/fd/{fd}/monitor.sock")
        os.close(fd)
        return Connection(s)

    def attach(self, takes=TAKE_STDOUT | TAKE_STDERR, patience_ms=10000):
        c = self.connect()
        c.call(ATTACH, takes, patience_ms)
        return c

    def end(self):
        """What the control socket was waiting for."""
        while True:
            op, tag, _, _, payload, _ = self.control.recv()
            if op == STATE:
                return State(payload)

    def finish(self, seconds=20):
        import select
        p = select.poll()
        p.register(self.pidfd, select.POLLIN)
        assert p.poll(seconds * 1000 * SLOWER), "the monitor does not end"

    def record(self):
        return json.loads((self.state_dir / "exit.json").read_text())

    def log(self, suffix=""):
        return (self.log_dir / ("c.log" + suffix)).read_bytes()

    def docker(self, suffix=""):
        return [json.loads(x) for x in self.log(suffix).splitlines()]

    def rss(self):
        """(private KB, rows of smaps that have private memory): written pages. Those of the program file that nobody wrote are
        the page cache's, also when just one process maps them."""
        # As long as a child that builds lives, it shares our pages.
        children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children")
        until(lambda: len(children.read_text().split()) <= 1)
        total, rows, name, private = 0, {}, "", 0
        for line in pathlib.Path(f"/proc/{self.pid}/smaps").read_text().splitlines():
            w = line.split()
            if not w[0].endswith(":"):
                name, private = (w[5] if len(w) > 5 else "anonymous"), 0
            elif w[0] in ("Private_Clean:", "Private_Dirty:"):
                private += int(w[1])
            elif w[0] == "Anonymous:":
                kb = min(private, int(w[1]))
                total += kb
                if kb:
                    rows[name] = rows.get(name, 0) + kb
        return total, rows


def base_config():
    return {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/ct", "exit", "0"], "cwd": "/", "env": ["PATH=/"],
                    "capabilities": {k: ["CAP_KILL", "CAP_SETUID"] for k in ("bounding", "effective", "permitted")}},
        "root": {"path": "rootfs"},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                   {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
                   {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                    "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]}],
        "linux": {"namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount")]},
    }


class Env:
    def __init__(self, tmp, helpers):
        self.tmp, self.helpers, self.containers = tmp, helpers, []
        self.config = base_config()
        self.spawner = None
        self.start_spawner()

    def start_spawner(self, env=None):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = subprocess.Popen([str(PROGRAM), "spawn", "--fd", str(theirs.fileno())], pass_fds=[theirs.fileno()],
                                        env={**os.environ, **(env or {})})
        theirs.close()
        self.spawner = Connection(ours)

    def packet(self, flags=0, fmt=DOCKER, max_bytes=0, max_files=1, rows=0, cols=0, sockets=0, cid="c", log="c.log", root=None,
               attrs=None):
        texts = [cid, str(root or self.tmp / "runtime"), None, None, log if fmt else None, attrs]
        body = FIXED.pack(flags, max_files, max_bytes, rows, cols, fmt, sockets, 0)
        for t in texts:
            raw = t.encode() + b"\0" if t is not None else b""
            body += struct.pack("=H", len(raw)) + raw
        return HEAD.pack(1, SPAWN, 7, 0, 0, len(body)) + body

    def ask(self, packet, fds):
        self.spawner.sock.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
        op, tag, a, b, payload, got = self.spawner.recv()
        if op == ERROR:
            raise Refused(a, b, payload.decode())
        assert op == SPAWNED and len(got) == 2
        return a, got

    def spawn(self, *args, flags=0, fmt=DOCKER, sockets=(), stdio=(), config=None, dirs=None, **kw):
        cid = "m" + uuid.uuid4().hex[:12]
        base = self.tmp / cid
        config = config or self.config
        if args:
            config["process"]["args"] = list(args)
        config["process"]["terminal"] = bool(flags & TERMINAL)
        (base / "bundle/rootfs").mkdir(parents=True)
        for n, p in self.helpers.items():
            (base / "bundle/rootfs" / n).parent.mkdir(exist_ok=True)
            shutil.copy(p, base / "bundle/rootfs" / n)
        shutil.copy(PROGRAM, base / "bundle/rootfs/knarr-run")
        (base / "bundle/config.json").write_text(json.dumps(config))
        state = dirs.state_dir if dirs else base / "state"
        log = dirs.log_dir if dirs else base / "log"
        for d in (state, log):
            d.mkdir(mode=0o700, exist_ok=True)
        fds = [os.open(p, os.O_RDONLY | os.O_DIRECTORY) for p in [state, base / "bundle"] + ([log] if fmt else [])]
        a, got = self.ask(self.packet(flags, fmt, cid=cid, sockets=len(sockets), **kw),
                          fds + list(stdio) + [s.fileno() for s in sockets])
        for fd in fds:
            os.close(fd)
        c = Container(self, a, got[0], socket.socket(fileno=got[1]), (state, log, cid))
        self.containers.append(c)
        return c

    def exec(self, into, *args, flags=0, fmt=DOCKER, **process):
        """A monitor for one more process in a running container."""
        base = self.tmp / ("x" + uuid.uuid4().hex[:12])
        for d in ("bundle", "state", "log"):
            (base / d).mkdir(parents=True, mode=0o700)
        process = {**self.config["process"], "args": list(args), "terminal": bool(flags & TERMINAL), **process}
        (base / "bundle/process.json").write_text(json.dumps(process))
        fds = [os.open(base / d, os.O_RDONLY | os.O_DIRECTORY) for d in ("state", "bundle", "log")[:3 if fmt else 2]]
        a, got = self.ask(self.packet(flags | EXEC, fmt, cid=into.id), fds)
        for fd in fds:
            os.close(fd)
        c = Container(self, a, got[0], socket.socket(fileno=got[1]), (base / "state", base / "log", into.id))
        self.containers.append(c)
        return c

    def run(self, *args, **kw):
        c = self.spawn(*args, **kw)
        c.started()
        return c

    def clean(self):
        for c in self.containers:
            subprocess.run([str(PROGRAM), "runtime", "--root", str(self.tmp / "runtime"), "delete", "--force", c.id],
                           capture_output=True, timeout=30 * SLOWER)
            try:
                signal.pidfd_send_signal(c.pidfd, signal.SIGKILL)
            except OSError:
                pass
            c.control.close()
            os.close(c.pidfd)
        self.spawner.close()
        self.process.wait(20 * SLOWER)


@pytest.fixture(scope="session")
def helpers():
    subprocess.run([str(REPO / "tests/helpers/make"), str(BUILD)], check=True)
    return {n: BUILD / "tests-helpers" / n for n in ("ct", "streams")}


def groups_of(ids):
    return [os.path.join(r, d) for r, ds, _ in os.walk("/sys/fs/cgroup") for d in ds if any(i in d for i in ids)]


@pytest.fixture
def env(helpers):
    tmp = pathlib.Path(tempfile.mkdtemp(prefix="knarr-mon-"))
    e = Env(tmp, helpers)
    yield e
    e.clean()
    left = list((tmp / "runtime").iterdir()) if (tmp / "runtime").exists() else []
    groups = groups_of([c.id for c in e.containers])
    shutil.rmtree(tmp, ignore_errors=True)
    assert not left and not groups, (left, groups)
    assert str(tmp) not in pathlib.Path("/proc/self/mountinfo").read_text(), "mounts left"


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
