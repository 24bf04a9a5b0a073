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
