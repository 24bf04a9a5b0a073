"""What containers hold: cp, diff, export, commit, stats, sizes, volumes on them, and traffic between them."""
import base64
import io
import json
import tarfile

import pytest
from conftest import *

pytestmark = pytest.mark.usefixtures("busybox", "tidy")


def up(d, name, *words, net="none"):
    return d.out("run", "-d", "--name", name, "--network", net, *(words or ("busybox", "sleep", "1000")))


def test_cp(docker, tmp_path):
    d = docker
    up(d, "cpx")
    (tmp_path / "in").write_text("given")
    for name in ("cpx", "stopped"):
        if name == "stopped":
            d.cli("create", "--name", name, "--network", "none", "busybox")
        d.cli("cp", tmp_path / "in", f"{name}:/tmp/got")
        d.cli("cp", f"{name}:/tmp/got", tmp_path / "back")
        assert (tmp_path / "back").read_text() == "given"
        d.cli("cp", f"{name}:/etc", tmp_path / f"etc-{name}")
        assert (tmp_path / f"etc-{name}/passwd").read_text().startswith("root:")
        words = "Could not find the file /none in container" if CLIENT > 20 else f"No such container:path: {name}:/none"
        assert words in d.fails("cp", f"{name}:/none", tmp_path / "x")
        r = d.api("HEAD", f"/containers/{name}/archive?path=/etc/passwd")
        st = json.loads(base64.b64decode(r.headers["X-Docker-Container-Path-Stat"]))
        assert r.status == 200 and st["name"] == "passwd" and st["size"] > 0 and st["mode"] == 0o644
        r = d.api("GET", f"/containers/{name}/archive?path=/etc/passwd")
        assert r.headers["X-Docker-Container-Path-Stat"] and r.headers["Content-Type"] == "application/x-tar"
        assert tarfile.open(fileobj=io.BytesIO(r.body)).getnames() == ["passwd"]
        assert d.api("GET", f"/containers/{name}/archive").status == 400
        assert d.api("HEAD", f"/containers/{name}/archive?path=/none").status == 404
    assert d.out("exec", "cpx", "cat", "/tmp/got") == "given"
    r = d.api("PUT", "/containers/cpx/archive?path=/etc/passwd", bytes(1024), headers={"Content-Type": "application/x-tar"})
    assert r.status == (500 if d.name == "dockerd" else 400) and "extraction point is not a directory" in r.message


def test_diff_and_commit(docker):
    d = docker
    up(d, "chg", "busybox", "sh", "-c", "echo x > /data/new; rm /etc/group; sleep 1000")
    until(lambda: "D /etc/group" in d.out("diff", "chg"))
    assert sorted(d.out("diff", "chg").splitlines()) == ["A /data/new", "C /data", "C /etc", "D /etc/group"]
    d.cli("stop", "-t", "0", "chg")
    id = d.out("commit", "-m", "why", "-a", "me", "-c", "ENV B=2", "-c", "CMD [\"cat\",\"/data/new\"]", "chg", "made:1")
    i = json.loads(d.out("inspect", "made:1"))[0]
    assert i["Id"] == id and i["Comment"] == "why" and i["Author"] == "me" and "B=2" in i["Config"]["Env"] and len(i["RootFS"]["Layers"]) == 2
    assert d.out("run", "--rm", "--network", "none", "made:1") == "x"
    assert d.cli("run", "--rm", "--network", "none", "made:1", "ls", "/etc/group", check=None).returncode != 0
    assert d.out("commit", "chg").startswith("sha256:")


def top_layer(d, name, folder):
    d.cli("save", "-o", folder / "saved", name)
    with tarfile.open(folder / "saved") as t:
        layer = json.load(t.extractfile("manifest.json"))[0]["Layers"][-1]
        with tarfile.open(fileobj=t.extractfile(layer)) as inner:
            return sorted(n.strip("/") for n in inner.getnames())


def test_mount_points_are_no_changes(docker, tmp_path):
    """What containers need to be mounted on is nobody's change; the image has no /etc/hosts nor /sys/fs."""
    d = docker
    d.cli("run", "--name", "mp", "--network", "none", "busybox", "sh", "-c", "echo x > /data/new; echo 1 > /etc/hosts")
    assert d.out("diff", "mp").splitlines() == ["C /data", "A /data/new"]
    d.cli("commit", "mp", "mp:1")
    assert top_layer(d, "mp:1", tmp_path) == ["data", "data/new"]
    d.cli("run", "--name", "vol", "--network", "none", "-v", "/mine/deep", "busybox", "true")
    assert sorted(d.out("diff", "vol").splitlines()) == ["A /mine", "A /mine/deep"]  # that one the user asked for
    d.cli("import", "-", "bare", stdin=bare())
    d.cli("run", "--name", "bare1", "--network", "none", "bare", "/bin/busybox", "true")
    assert d.out("diff", "bare1") == ""
    d.cli("commit", "bare1", "bare:2")
    assert not {n.split("/")[0] for n in top_layer(d, "bare:2", tmp_path)} & {"dev", "etc", "proc", "sys"}


def bare():
    """One program, no folders to mount on."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        t.add("/bin/busybox", "bin/busybox")
    return out.getvalue()


def test_export(docker, tmp_path):
    d = docker
    d.cli("run", "--name", "exp", "--network", "none", "busybox", "sh", "-c", "echo data > /data/f")
    d.cli("export", "-o", tmp_path / "e.tar", "exp")
    with tarfile.open(tmp_path / "e.tar") as t:
        assert t.extractfile("data/f").read() == b"data\n" and "bin/busybox" in t.getnames()
    assert d.out("import", tmp_path / "e.tar", "again:1").startswith("sha256:")


def test_stats(docker):
    d = docker
    up(d, "st", "--memory", "64m", "busybox", "sh", "-c", "while :; do :; done")
    one = d.api("GET", "/containers/st/stats?stream=0&one-shot=1").json
    assert one["name"] == "/st" and one["memory_stats"]["limit"] == 64 << 20 and one["pids_stats"]["current"] >= 1
    assert one["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    two = d.api("GET", "/containers/st/stats?stream=0").json
    assert two["cpu_stats"]["cpu_usage"]["total_usage"] > two["precpu_stats"]["cpu_usage"]["total_usage"] > 0
    c = UnixConnection(d.sock)
    c.request("GET", "/v1.41/containers/st/stats")
    r = c.getresponse()
    lines = [json.loads(r.readline()) for _ in range(2)]
    assert lines[1]["preread"] == lines[0]["read"] and lines[1]["read"] > lines[0]["read"]
    c.close()
    assert "st" in d.out("stats", "--no-stream", "st")
    d.cli("stop", "-t", "0", "st")
    assert d.api("GET", "/containers/st/stats?stream=0&one-shot=1").status == 200


def test_sizes(docker):
    d = docker
    d.cli("run", "--name", "big", "--network", "none", "busybox", "sh", "-c", "head -c 1000000 /dev/zero > /data/big")
    i = d.api("GET", "/containers/big/json?size=1").json
    assert i["SizeRw"] >= 1000000 and i["SizeRootFs"] > i["SizeRw"]
    i = next(x for x in d.api("GET", "/containers/json?all=1&size=1").json if x["Names"] == ["/big"])
    assert i["SizeRw"] >= 1000000
    df = d.api("GET", "/system/df").json
    assert next(x for x in df["Containers"] if x["Names"] == ["/big"])["SizeRw"] >= 1000000
    assert next(x for x in df["Images"] if "busybox:latest" in (x["RepoTags"] or []))["Containers"] == 1
    assert "big" in d.out("system", "df", "-v")


def test_volumes_on_containers(docker, tmp_path):
    d = docker
    d.cli("run", "--rm", "--network", "none", "-v", "keep:/v", "busybox", "sh", "-c", "echo kept > /v/f")
    assert d.out("run", "--rm", "--network", "none", "-v", "keep:/v:ro", "busybox", "cat", "/v/f") == "kept"
    (tmp_path / "host").mkdir()
    (tmp_path / "host/f").write_text("from the host")
    assert d.out("run", "--rm", "--network", "none", "-v", f"{tmp_path}/host:/h", "busybox", "cat", "/h/f") == "from the host"
    up(d, "uses", "-v", "keep:/v", "busybox", "sleep", "100")
    id = d.out("inspect", "-f", "{{.Id}}", "uses")
    r = d.api("DELETE", "/volumes/keep")
    assert r.status == 409 and r.message == f"remove keep: volume is in use - [{id}]"
    assert d.out("ps", "-q", "--no-trunc", "-f", "volume=keep") == id and d.out("ps", "-q", "-f", "volume=other") == ""
    d.cli("rm", "-f", "uses")
    d.cli("volume", "rm", "keep")
    assert "bind source path does not exist" in d.cli("run", "--rm", "--mount", f"type=bind,src={tmp_path}/none,dst=/x", "busybox", check=125).stderr


def test_prune(docker):
    d = docker
    d.cli("run", "--name", "old1", "--label", "keep", "--network", "none", "busybox", "sh", "-c", "head -c 100000 /dev/zero > /data/big")
    id = d.out("create", "--name", "old2", "--network", "none", "busybox")
    up(d, "alive")
    r = d.api("POST", '/containers/prune?filters={"label!":["keep"]}').json
    assert r["ContainersDeleted"] == [id] and r["SpaceReclaimed"] >= 0
    assert sorted(d.out("ps", "-a", "--format", "{{.Names}}").split()) == ["alive", "old1"]
    r = d.api("POST", "/containers/prune").json
    assert len(r["ContainersDeleted"]) == 1 and 100000 <= r["SpaceReclaimed"] < 150000
