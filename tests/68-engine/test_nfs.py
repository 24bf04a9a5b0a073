"""Volumes of type nfs against a real server: the kernel's own (Debian's nfs-kernel-server), in the suite's network namespace, with its files
in a mount namespace of its own. Our machines' kernels have neither server nor client; the virtual machine's has both (tests/suites/60-vm)."""
import threading
import time

import pytest
from conftest import *

pytestmark = pytest.mark.usefixtures("busybox", "tidy")
PATIENCE = 120  # the guest's processor is emulated, and a client that finds its server again takes its time


def available():
    """Why there is no server here, or "". Modules are loaded only where the programs for them are installed."""
    for program in ("rpc.nfsd", "rpc.mountd", "exportfs", "rpcbind"):
        if not shutil.which(program, path="/usr/sbin:/sbin"):
            return f"no {program} (nfs-kernel-server)"
    if os.path.exists("/run/rpcbind.sock"):
        return "this machine's own rpcbind would be told of our server"
    for module in ("nfs", "nfsd"):
        p = subprocess.run(["modprobe", module], capture_output=True, text=True)
        if not re.search(rf"^(nodev)?\t{module}$", pathlib.Path("/proc/filesystems").read_text(), re.M):
            return f"this kernel has no {module}: {p.stderr.strip()}"
    return ""


class Server:
    """Exports folder/files as :/ of version 4 and under its own path to version 3."""

    def __init__(self, folder):
        self.folder, self.files = folder, folder / "files"
        (self.files / "data").mkdir(parents=True)
        (self.files / "data").chmod(0o777)
        self.log = open(folder / "log", "ab")
        # rpcbind's and the server's state are in this namespace; /proc/fs/nfsd is of the network namespace that mounts it.
        self.inside("mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/lib/nfs; mkdir /var/lib/nfs/sm; touch /var/lib/nfs/{etab,rmtab}; "
                    "mount -t nfsd nfsd /proc/fs/nfsd; exec sleep infinity", hold=True)
        until(lambda: "nfsd /proc/fs/nfsd" in self.mounts(), PATIENCE)
        self.helpers = [self.inside("exec rpcbind -f -w", hold=True)]
        self.inside(f"exportfs -i -o rw,no_root_squash,insecure,no_subtree_check,fsid=0 127.0.0.1:{self.files}")
        self.helpers.append(self.inside("exec rpc.mountd -F", hold=True))
        self.up()

    holder = None

    def mounts(self):
        return pathlib.Path(f"/proc/{self.holder.pid}/mounts").read_text()

    def inside(self, words, hold=False):
        enter = ["nsenter", "-t", str(self.holder.pid), "-m"] if self.holder else ["unshare", "-m", "--propagation", "private"]
        env = {**os.environ, "PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
        if not hold:
            return subprocess.run([*enter, "bash", "-ec", words], env=env, check=True, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                  timeout=PATIENCE)
        p = subprocess.Popen([*enter, "bash", "-ec", words], env=env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.holder = self.holder or p
        return p

    def up(self):
        # A server of version 4 lets its old clients come back before others may open files: 10 s are the least, 90 the default.
        self.inside("echo 10 >/proc/fs/nfsd/nfsv4leasetime; echo 10 >/proc/fs/nfsd/nfsv4gracetime; rpc.nfsd -H 127.0.0.1 2")

    def down(self):
        self.inside("rpc.nfsd 0")

    def close(self):
        try:
            self.down()
            self.inside("exportfs -ua")
        finally:
            for p in [*self.helpers, self.holder]:
                p.kill()
                p.wait()
            self.log.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    why = available()
    if why:
        pytest.skip(why)
    s = Server(tmp_path_factory.mktemp("nfs"))
    try:
        yield s
    finally:
        s.close()


def mounted():
    """Places where something of type nfs is mounted."""
    lines = (line.split() for line in pathlib.Path("/proc/self/mounts").read_text().splitlines())
    return [f[1] for f in lines if f[2] in ("nfs", "nfs4")]


VERSIONS = {"4": (":/data", "addr=127.0.0.1,rw,nfsvers=4"), "3": (":{files}/data", "addr=127.0.0.1,rw"),
            "named": (":/data", "addr=localhost,rw,nfsvers=4.2,soft")}


def volume(d, server, name, version="4", more=""):
    device, o = VERSIONS[version]
    d.cli("volume", "create", "--driver", "local", "--opt", "type=nfs", "--opt", f"o={o}{more}",
          "--opt", "device=" + device.format(files=server.files), name)
    return json.loads(d.out("volume", "inspect", name))[0]["Mountpoint"]


@pytest.mark.parametrize("version", VERSIONS)
def test_two_containers_share_what_a_server_has(docker, server, version):
    d = docker
    place = volume(d, server, "shared", version)
    assert mounted() == [] and d.out("run", "--rm", "--network", "none", "-v", "shared:/d", "busybox", "sh", "-c", "echo one >/d/a; ls /d") == "a"
    assert (server.files / "data/a").read_text() == "one\n" and mounted() == []
    for name in ("writes", "reads"):
        d.cli("run", "-d", "--network", "none", "--name", name, "-v", "shared:/d", "busybox", "sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait")
    assert mounted() == [place]
    d.cli("exec", "writes", "sh", "-c", "echo two >/d/b")
    assert d.out("exec", "reads", "cat", "/d/a", "/d/b") == "one\ntwo"
    d.cli("restart", "reads")
    assert d.out("exec", "reads", "cat", "/d/b") == "two" and mounted() == [place]
    assert "volume is in use" in d.fails("volume", "rm", "shared")
    d.cli("stop", "writes")
    assert mounted() == [place]
    d.cli("rm", "-f", "writes", "reads")
    assert mounted() == []
    d.cli("volume", "rm", "shared")
    assert sorted(os.listdir(server.files / "data")) == ["a", "b"]
    for f in ("a", "b"):
        (server.files / "data" / f).unlink()


def test_it_outlives_the_engine(knarr, server):
    import_busybox(knarr)
    place = volume(knarr, server, "kept")
    knarr.cli("run", "-d", "--network", "none", "--name", "on", "-v", "kept:/d", "busybox", "sh", "-c", "while sleep 0.1; do date >/d/now; done")
    knarr.stop(signal.SIGKILL)
    (server.files / "data/now").unlink(missing_ok=True)
    until((server.files / "data/now").exists, PATIENCE)
    knarr.start()
    assert mounted() == [place]
    knarr.cli("run", "--rm", "--network", "none", "-v", "kept:/d", "busybox", "cat", "/d/now")
    assert mounted() == [place]
    knarr.cli("rm", "-f", "on")
    assert mounted() == []
    knarr.cli("volume", "rm", "kept")
    (server.files / "data/now").unlink()


def words(said, place):
    """What the client says of a failed start, from the daemon's words on."""
    text = said.split("Error response from daemon: ", 1)[1].splitlines()[0].rstrip(".")
    return text.replace(place, "PLACE")


def test_why_it_cannot_be_mounted(docker, server):
    d = docker
    place = volume(d, server, "far")
    server.down()
    said = d.fails("run", "--rm", "--network", "none", "-v", "far:/d", "busybox", "true", status=125)
    server.up()
    begin = "error while mounting volume 'PLACE': failed to mount local volume: mount :/data:PLACE, data: "
    assert words(said, place) == begin + "addr=127.0.0.1,nfsvers=4: connection refused"
    assert mounted() == []
    d.cli("run", "--rm", "--network", "none", "-v", "far:/d", "busybox", "touch", "/d/now")
    (server.files / "data/now").unlink()
    d.cli("volume", "rm", "far")
    d.cli("volume", "create", "--opt", "type=nfs", "--opt", "o=addr=127.0.0.1,nfsvers=4", "--opt", "device=:/nosuch", "far")
    # The client takes these words for a program that is not there.
    said = d.fails("run", "--rm", "--network", "none", "-v", "far:/d", "busybox", "true", status=127)
    assert words(said, place) == begin.replace("/data", "/nosuch") + "addr=127.0.0.1,nfsvers=4: no such file or directory"
    d.cli("volume", "rm", "far")


def running(d, name):
    return d.out("inspect", "-f", "{{.State.Running}}", name) == "true"


def test_a_server_that_does_not_answer_holds_nobody_else_up(docker, server):
    """More containers at once than the engine has workers ask for a server whose packets are lost; when they arrive again, they all run."""
    d = docker
    places = {f"lost{i}": volume(d, server, f"silent{i}", more=",timeo=600,retrans=3") for i in range(12)}
    place = volume(d, server, "brief", more=",soft,timeo=50,retrans=1")
    d.cli("create", "--network", "none", "--name", "here", "busybox", "sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait")
    for name in places:
        d.cli("create", "--network", "none", "--name", name, "-v", name.replace("lost", "silent") + ":/d", "busybox", "true")
    subprocess.run(["nft", "add table inet knarr68nfs; add chain inet knarr68nfs in { type filter hook input priority 0; }; "
                    "add rule inet knarr68nfs in tcp dport 2049 drop"], check=True)
    said = {}

    def start(name):
        said[name] = d.cli("start", name, check=None, timeout=PATIENCE * 4).stderr
    threads = [threading.Thread(target=start, args=(name,)) for name in places]
    try:
        for t in threads:
            t.start()
        time.sleep(3)  # they are all in the mount
        assert d.out("volume", "inspect", "-f", "{{.Name}}", "silent7") == "silent7" and "silent7" in d.out("volume", "ls", "-q")
        d.cli("start", "here")
        assert running(d, "here") and d.out("exec", "here", "echo", "yes") == "yes"
        assert d.name == "dockerd" or not running(d, "lost3")  # dockerd's inspect waits until that container's start is over
        d.cli("stop", "here")
        assert len(d.out("ps", "-aq").split()) == 13 and not said, said
        told = d.fails("run", "--rm", "--network", "none", "-v", "brief:/d", "busybox", "true", status=125, timeout=PATIENCE * 2)
    finally:
        subprocess.run(["nft", "delete table inet knarr68nfs"], check=True)
        for t in threads:
            t.join()
    assert words(told, place) == ("error while mounting volume 'PLACE': failed to mount local volume: mount :/data:PLACE, "
                                  "data: addr=127.0.0.1,nfsvers=4,soft,timeo=50,retrans=1: connection timed out")
    assert said == dict.fromkeys(places, "")
    until(lambda: mounted() == [], PATIENCE)
    d.cli("rm", "-f", "here", *places)
    d.cli("volume", "rm", "brief", *(name.replace("lost", "silent") for name in places))


# ---- a server that goes away under containers (decision 0861)

NO_END = "tried to kill container, but did not receive an exit event"
AWAY = {"hard-silent": ("4", ",hard,timeo=50,retrans=2", "silent"), "hard-stopped": ("4", ",hard,timeo=50,retrans=2", "stopped"),
        "hard3-stopped": ("3", ",hard,timeo=50,retrans=2", "stopped"), "soft-silent": ("4", ",soft,timeo=20,retrans=1", "silent")}
LOST = "tcp sport 2049 drop; add rule inet knarr68nfs in tcp dport 2049 drop"


class Going:
    """A server that can go away and come back: its packets are lost both ways, or nobody listens at its port."""

    def __init__(self, server, how):
        self.server, self.how, self.gone = server, how, False

    def go(self):
        self.gone = True
        if self.how == "stopped":
            self.server.down()
            return
        subprocess.run(["nft", "add table inet knarr68nfs; add chain inet knarr68nfs in { type filter hook input priority 0; }; "
                        f"add rule inet knarr68nfs in {LOST}"], check=True)

    def come(self):
        if not self.gone:
            return
        self.gone = False
        if self.how == "stopped":
            self.server.up()
        else:
            subprocess.run(["nft", "delete table inet knarr68nfs"], check=True)


def sleeps(d, name):
    """A process of the container sleeps in the kernel (D of proc(5)), as who waits for a server does."""
    pids = [int(d.out("inspect", "-f", "{{.State.Pid}}", name))]
    for pid in pids:
        try:
            pids += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            if pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "D":
                return True
        except OSError:
            pass  # it has ended meanwhile
    return False


def within(seconds, d, *words, **kw):
    start = time.monotonic()
    p = d.cli(*words, **kw)
    assert time.monotonic() - start < seconds * SLOWER, (words, time.monotonic() - start)
    return p


def status(d, name):
    return d.out("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name)


@pytest.mark.parametrize("kind", AWAY)
def test_a_server_goes_away_under_containers(make_knarr, server, kind):
    """Every question is answered in a bounded time meanwhile, what can be ended is, and what waits goes on when the server is back."""
    version, more, how = AWAY[kind]
    hard, data, d, far = more.startswith(",hard"), server.files / "data", make_knarr(), Going(server, how)
    (data / "kept").write_text("kept\n")
    try:
        import_busybox(d)
        volume(d, server, "away", version, more + ",actimeo=1")
        volume(d, server, "alone", version, more + ",nosharecache")  # with a superblock of its own, which ends with its only container

        def run(name, of, script):
            d.cli("run", "-d", "--network", "none", "--name", name, *(["-v", f"{of}:/d"] if of else []), "busybox", "sh", "-c", script)
        run("writes", "away", "while :; do date >/d/now || echo failed; sleep 0.1; done")
        run("ends", "away", "while :; do date >/d/then || echo failed; sleep 0.1; done")
        run("reads", "away", "while :; do ls /d/ >/dev/null || echo failed; sleep 0.1; done")
        # A shell that keeps the file open as its own output: whoever closes a descriptor of it hands over what was written, and waits for that.
        run("holds", "away", "exec >/d/held; echo first; sync /d/held; until [ -e /tmp/go ]; do sleep 0.1; done; echo second; exec 4>/tmp/wrote; sleep 1000")
        run("has", "away", "sleep 1000")
        run("last", "alone", "cat /d/kept; sleep 1000")
        run("plain", "", "sleep 1000")
        until(lambda: (data / "now").exists() and (data / "then").exists() and d.out("logs", "last") == "kept", PATIENCE)
        until(lambda: (data / "held").exists() and (data / "held").read_text() == "first\n", PATIENCE)
        far.go()
        for name in ("writes", "reads", "ends"):
            until(lambda: sleeps(d, name) if hard else "failed" in d.out("logs", name), PATIENCE)
        d.cli("exec", "holds", "touch", "/tmp/go")  # what it writes now is in memory alone
        until(lambda: d.out("exec", "holds", "ls", "/tmp") == "go\nwrote", PATIENCE)

        for words in (("ps", "-a"), ("ps", "-as"), ("inspect", "writes", "has", "holds"), ("top", "writes"), ("logs", "reads"), ("stats", "--no-stream"),
                      ("volume", "ls"), ("volume", "inspect", "away", "alone"), ("system", "df", "-v"), ("diff", "writes"), ("exec", "has", "true"),
                      ("run", "--rm", "--network", "none", "busybox", "true")):
            within(10, d, *words)
        assert "volume is in use" in within(10, d, "volume", "rm", "away", check=1).stderr
        within(10, d, "stop", "-t", "0", "has")
        within(10, d, "rm", "has")
        within(20, d, "rm", "-f", "reads")
        p = within(30, d, "rm", "-f", "ends", check=None)  # SIGKILL ends it, unless it is in the middle of handing over what it wrote
        assert p.returncode == 0 or NO_END in p.stderr, p.stderr
        p = within(30, d, "stop", "-t", "0", "holds", check=None)  # its end is to hand over what it wrote, and no signal ends that
        assert (NO_END in p.stderr and status(d, "holds") == "running 0") if hard else (p.returncode == 0 or NO_END in p.stderr), p.stderr

        start = time.monotonic()
        assert d.stop() == 0
        d.start()
        assert time.monotonic() - start < 20 * SLOWER
        assert [status(d, x) for x in ("writes", "last", "plain")] == ["running 0"] * 3
        within(30, d, "rm", "-f", "last")
        within(10, d, "volume", "ls")
        within(10, d, "volume", "inspect", "away", "alone")
        within(10, d, "run", "--rm", "--network", "none", "busybox", "true")
        within(10, d, "stop", "-t", "0", "plain")

        far.come()
        back = time.time()
        until(lambda: (data / "now").stat().st_mtime > back + 1, 3 * PATIENCE)
        assert status(d, "writes") == "running 0"
        until(lambda: status(d, "holds") == "exited 137", PATIENCE)
        # A server of version 4 that stopped has forgotten who had its files open (knfsd remembers in the first network namespace alone).
        remembers = version == "3" or how == "silent"
        if hard and remembers:
            assert "failed" not in d.out("logs", "writes") and (data / "held").read_text() == "first\nsecond\n"
        assert (data / "held").read_text().startswith("first\n")
        d.cli("run", "--rm", "--network", "none", "-v", "away:/d", "busybox", "cat", "/d/kept")
        d.cli("rm", "-fv", *d.out("ps", "-aq").split())
        until(lambda: mounted() == [], PATIENCE)
        d.cli("volume", "rm", "away", "alone")
    finally:
        far.come()
        for f in data.iterdir():
            f.unlink()
