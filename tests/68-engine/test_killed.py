"""SIGKILL of the engine at every step of what it does over HTTP, with a bridge network: after its return the state is whole, a container
that ran still runs, and nothing is left over. Short form: each point when it is first passed; long form: each passage."""
import http.client
import os
import re

import pytest
from conftest import *
from waiting import eventually

# Where each operation can be cut off; a point that no passage meets fails the sweep, so this list is kept true.
POINTS = {
    "create": ["container.create.checked", "container.create.snapshot", "container.create.volumes", "container.create.folder",
               "container.create.recorded", "snapshot.prepare.synced", "snapshot.prepare.renamed", "volume.create.filled", "volume.create.renamed",
               "volume.copy.copied", "volume.copy.whole", "io.write_file.before_rename"],
    "start": ["container.start.mounted", "container.start.configured", "container.start.spawn", "container.start.spawned", "container.start.asked", "container.start.held",
              "network.ns.made", "network.ns.pinned", "network.start.linked", "network.start.built", "network.start.published"],
    "stop": ["container.clear.deleted", "container.clear.unmounted", "network.stop.unmapped", "network.stop.unlinked", "network.stop.unpinned"],
    "remove": ["container.remove.committed", "container.remove.volumes", "container.remove.snapshot", "snapshot.remove.renamed",
               "volume.remove.renamed"],
    "commit": ["snapshot.unpack.begun", "snapshot.unpack.entry", "snapshot.unpack.unpacked", "snapshot.commit.recorded", "snapshot.commit.synced",
               "snapshot.commit.renamed", "image.ingest.before_sync", "image.ingest.synced", "image.ingest.renamed", "image.store.written",
               "io.write_file.before_rename"],
    "load": ["image.load.taken", "image.ingest.before_sync", "image.ingest.renamed", "snapshot.unpack.entry", "snapshot.commit.synced",
             "snapshot.commit.renamed", "image.store.written"],
    "pull": ["image.ingest.before_sync", "image.ingest.synced", "image.ingest.renamed", "snapshot.unpack.begun", "snapshot.unpack.unpacked",
             "snapshot.commit.renamed", "image.store.written"],
    "network": ["network.create.made", "network.bridge.made", "network.remove.saved", "network.start.linked",
                "io.write_file.before_rename"],
}

SYSTEMD = os.path.exists("/run/systemd/private")
PARENT = f"knarr68k{os.getpid()}.slice" if SYSTEMD else f"/knarr-68k-{os.getpid()}"


class Gone(Exception):
    pass


def ask(k, method, path, body=None, ok=(200, 201, 204, 304), headers=None):
    """One request; Gone when the engine dies under it."""
    try:
        r = k.api(method, path, body, headers=headers)
    except (http.client.HTTPException, OSError) as e:
        raise Gone from e
    assert r.status in ok, (method, path, r.status, r.body[-500:], k.tail())
    assert b'"errorDetail"' not in r.body, r.body
    return r


HOST = {"NetworkMode": "swept", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}}
BODY = {"Image": "busybox", "Cmd": ["sh", "-c", "echo x > /data/new; exec sleep 1000"], "Volumes": {"/var": {}}, "HostConfig": HOST}


def network(k):
    ask(k, "POST", "/networks/create", {"Name": "swept", "EnableIPv6": False})


class Acts:
    """What each sweep does, behind what it needs first (before the engine can be killed)."""

    @staticmethod
    def create(k):
        ask(k, "POST", "/containers/create?name=sweep", {**BODY, "HostConfig": {**HOST, "Binds": ["named:/etc"]}})

    @staticmethod
    def start(k):
        """With somebody attached, as `docker run` has it."""
        s = socket.socket(socket.AF_UNIX)
        s.connect(k.sock)
        s.settimeout(20 * SLOWER)
        s.sendall(b"POST /v1.50/containers/sweep/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        try:
            if not s.recv(4096):
                raise Gone
            ask(k, "POST", "/containers/sweep/start")
        except OSError as e:
            raise Gone from e
        finally:
            s.close()

    @staticmethod
    def stop(k):
        ask(k, "POST", "/containers/sweep/stop?t=0")

    @staticmethod
    def remove(k):
        ask(k, "DELETE", "/containers/sweep?v=1&force=1")

    @staticmethod
    def commit(k):
        ask(k, "POST", "/commit?container=sweep&repo=swept&tag=1")

    @staticmethod
    def load(k):
        ask(k, "POST", "/images/load?quiet=1", k.saved, headers={"Content-Type": "application/x-tar"})

    @staticmethod
    def pull(k):
        ask(k, "POST", f"/images/create?fromImage={k.registry}/swept&tag=1")

    @staticmethod
    def network(k):
        ask(k, "POST", "/networks/create", {"Name": "second"})
        ask(k, "POST", "/networks/second/connect", {"Container": "sweep"})
        ask(k, "POST", "/networks/second/disconnect", {"Container": "sweep"})
        ask(k, "DELETE", "/networks/second")


def prepare(k, act):
    if act in ("create", "start", "stop", "remove", "commit", "network"):
        network(k)
    if act in ("start", "stop", "remove", "commit", "network"):
        ask(k, "POST", "/containers/create?name=sweep", {**BODY, "HostConfig": {**HOST, "Binds": ["named:/etc"]}})
    if act in ("stop", "commit", "network"):
        ask(k, "POST", "/containers/sweep/start")
        until(lambda: "/data/new" in ask(k, "GET", "/containers/sweep/changes").body.decode())


def tidy(k):
    """By the API alone: whatever the death left is whole enough to be removed."""
    for c in ask(k, "GET", "/containers/json?all=1").json:
        if c["Names"] != ["/keep"]:
            ask(k, "DELETE", f"/containers/{c['Id']}?v=1&force=1")
    for n in ask(k, "GET", "/networks").json:
        if n["Name"] in ("swept", "second"):
            assert n["IPAM"]["Config"][0]["Subnet"]
            ask(k, "DELETE", f"/networks/{n['Id']}")
    for i in ask(k, "GET", "/images/json?all=1").json:
        if "busybox:latest" not in i["RepoTags"]:
            ask(k, "DELETE", f"/images/{i['Id']}?force=1")
    ask(k, "POST", "/volumes/prune", ok=(200,))
    ask(k, "POST", '/volumes/prune?filters={"all":["true"]}', ok=(200,))
    ask(k, "POST", '/images/prune?filters={"dangling":["false"]}', ok=(200,))


def run(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def traces(k):
    """Everything an engine can leave behind."""
    data = k.data

    def names(*parts):
        p = data.joinpath(*parts)
        return sorted(x.name for x in p.iterdir()) if p.is_dir() else []
    # images/ingest may keep half a download under its digest: it is resumed by the next pull, or goes a day later.
    blobs = sorted(str(p.relative_to(data)) for p in (data / "images/blobs").rglob("*") if p.is_file() and re.fullmatch("[0-9a-f]{64}", p.name))
    partial = sorted(str(p.relative_to(data)) for p in data.rglob("*") if p.name.startswith(".") and "overlay" not in str(p) and
                     "snapshots" not in str(p.relative_to(data)) and "_data" not in str(p))
    ours = os.readlink("/proc/self/ns/net")

    def monitors():
        for p in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(p / "exe").endswith("/knarr-run") and os.readlink(p / "ns/net") == ours:
                    yield p.name
            except OSError:
                pass
    return {"containers": names("containers"), "volumes": names("volumes"), "run": names("run", "containers"), "runtime": names("run", "runtime"),
            "exec": names("run", "exec"), "netns": names("run", "network", "netns"), "sandboxes": names("run", "network", "sandboxes"),
            "snapshots": len(names("snapshots", "live")) + len(names("snapshots", "layers")), "blobs": blobs, "partial": partial,
            "mounts": sorted(x.split()[4] for x in open("/proc/self/mountinfo") if str(k.dir) in x.split()[4]),
            "links": sorted(re.findall(r"^\d+: ([^:@]+)", run("ip", "-o", "link"), re.M)),
            "rules": re.sub(r"counter packets \d+ bytes \d+", "", run("nft", "list", "ruleset")),
            "groups": sorted(d for d, _, _ in os.walk("/sys/fs/cgroup") if PARENT + "/" in d),
            "processes": len(list(monitors()))}


def changed(k):
    """Against the beginning. Links of engines before this one may have gone: the kernel ends a namespace when it has time."""
    now = traces(k)
    return {x: (k.calm[x], now[x]) for x in now if now[x] != k.calm[x] and not (x == "links" and set(now[x]) <= set(k.calm[x]))}


@pytest.fixture(scope="module")
def swept(registry):
    k = Knarr(pathlib.Path(tempfile.mkdtemp(prefix="knarr-68-")), "--cgroup-parent", PARENT)
    try:
        import_busybox(k)
        k.registry = registry
        k.cli("run", "-d", "--name", "keep", "-p", "127.0.0.1::80", "busybox", "sh", "-c",
              "echo page > /tmp/index.html; exec httpd -f -h /tmp -p 80")
        keep = k.api("GET", "/containers/keep/json").json
        # an image with a layer of its own, for load and pull
        k.cli("run", "--name", "maker", "--network", "none", "busybox", "sh", "-c", "mkdir /data/d; echo made > /data/d/f")
        k.cli("commit", "maker", f"{registry}/swept:1")
        k.cli("push", f"{registry}/swept:1")
        k.cli("save", "-o", k.dir / "saved", f"{registry}/swept:1")
        k.saved = (k.dir / "saved").read_bytes()
        k.cli("rm", "maker")
        tidy(k)
        k.keep = keep
        k.calm = traces(k)
        yield k
    finally:
        try:
            k.cli("rm", "-fv", *k.out("ps", "-aq", check=None).split(), check=None)
            k.close()
        finally:
            shutil.rmtree(k.dir, ignore_errors=True)
            for d in reversed([d for d, _, _ in os.walk("/sys/fs/cgroup") if PARENT in d and not SYSTEMD]):
                os.rmdir(d)


def again(k, fail=None):
    k.env = {"KNARR_FAIL": fail} if fail else {}
    k.start()


@pytest.mark.parametrize("act", POINTS)
def test_killed(swept, act):
    k = swept
    for point in POINTS[act]:
        for passage in range(1, 9 if LONG else 2):
            prepare(k, act)
            k.stop()
            again(k, f"{point}=kill@{passage}")
            died = False
            try:
                getattr(Acts, act)(k)
                # What goes on behind the answer (an end is cleared away) may still meet the point: the first passage has to come.
                eventually(lambda: k.process.poll() is not None, 20 if passage == 1 else 0.3)
                if k.process.poll() is None:
                    k.stop()
            except Gone:
                k.process.wait(20 * SLOWER)
            died = k.process.returncode != 0
            if died:
                assert k.process.returncode == -signal.SIGKILL, (point, passage, k.tail())
                k.log.close()
            again(k)
            keep = ask(k, "GET", "/containers/keep/json").json
            assert keep["State"]["Running"] and keep["State"]["Pid"] == k.keep["State"]["Pid"], (point, passage)
            for c in ask(k, "GET", "/containers/json?all=1").json:
                state = ask(k, "GET", f"/containers/{c['Id']}/json").json["State"]
                assert state["Status"] in ("created", "running", "exited"), (point, passage, state)
                assert state["Status"] != "running" or os.path.exists(f"/proc/{state['Pid']}")
            tidy(k)
            try:
                until(lambda: not changed(k))
            except AssertionError:
                raise AssertionError((point, passage, changed(k), k.tail())) from None
            port = keep["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]
            assert subprocess.run(["busybox", "wget", "-qO-", f"http://127.0.0.1:{port}/"], capture_output=True, timeout=20 * SLOWER).stdout == b"page\n"
            if not died:
                assert passage > 1, f"{point} is never passed by {act}"
                break
