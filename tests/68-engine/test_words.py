"""What a person sees when something is asked wrongly, and what is told to who listens: command lines typed at both daemons."""
import json
import subprocess
import time

import pytest
from conftest import *

RUN = ("run", "--rm", "--network", "none")

pytestmark = pytest.mark.usefixtures("busybox", "tidy")


@pytest.mark.parametrize("words,said", [
    (["--volumes-from", "nosuch"], "No such container: nosuch"), (["--pid", "container:nosuch"], "No such container: nosuch"),
    (["--ipc", "container:nosuch"], "No such container: nosuch"),
    (["--cpuset-cpus", "7777"], "Requested CPUs are not available - requested 7777, available: 0"),
    (["--cpuset-mems", "77"], "Requested memory nodes are not available - requested 77, available: 0"),
    (["--cpuset-cpus", "1-0"], "Invalid value 1-0 for cpuset cpus"),
    (["--log-opt", "max-size=x"], "failed to initialize logging driver: invalid size: 'x'"),
    (["--log-opt", "max-size=-1"], "failed to initialize logging driver: invalid size: '-1'"),
    (["--log-opt", "max-size=0"], "failed to initialize logging driver: max-size must be a positive number"),
    (["--log-opt", "max-file=x"], 'failed to initialize logging driver: strconv.Atoi: parsing "x": invalid syntax'),
    (["--log-opt", "mode=loud"], "logger: logging mode not supported: loud"),
    (["--gpus", "all"], 'could not select device driver "" with capabilities: [[gpu]]'),
    (["-v", "{w}:/b:rslave"], "but it is not a shared or slave mount"),
    (["--mount", "type=bind,source={w},target=/b,bind-propagation=rshared"], "but it is not a shared mount")])
def test_refused(docker, tmp_path, words, said):
    """Without a word about an image that is missing, which the client says (and pulls) when a create answers 404."""
    subprocess.run(["mount", "-t", "tmpfs", "t", tmp_path], check=True)
    subprocess.run(["mount", "--make-private", tmp_path], check=True)
    try:
        p = docker.cli(*RUN, *(x.replace("{w}", str(tmp_path)) for x in words), "busybox", "true", check=125)
        assert said in p.stderr and "Unable to find image" not in p.stderr, p.stderr
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_runtimes(docker):
    for name in ("runc", "io.containerd.runc.v2"):
        assert docker.out(*RUN, "--runtime", name, "busybox", "echo", "ran") == "ran"
        assert name in json.loads(docker.out("info", "-f", "{{json .Runtimes}}"))
    words = "unknown or invalid runtime name: bogus" if docker.name == "knarr" else "Unknown runtime specified bogus"
    assert words in docker.cli(*RUN, "--runtime", "bogus", "busybox", "true", check=125).stderr
    i = docker.api("GET", "/info").json
    assert i["DefaultRuntime"] in i["Runtimes"]
    docker.cli("create", "--name", "rr", "busybox")
    assert docker.out("inspect", "-f", "{{.HostConfig.Runtime}}", "rr") == i["DefaultRuntime"]


def test_warnings(docker):
    d = docker
    p = d.cli(*RUN[:2], "--network", "host", "-p", "80:80", "busybox", "true")
    assert "Published ports are discarded when using host network mode" in p.stderr
    p = d.cli(*RUN, "--oom-kill-disable", "busybox", "true", check=None)
    assert "OOM killer is disabled for the container, but no memory limit is set" in p.stderr or "OomKillDisable discarded" in p.stderr


def test_marks_inside(docker):
    """Programs look for these two. They are no change of the container's, and not part of an image that is made of it."""
    d = docker
    assert d.out("run", "--name", "mm", "--network", "none", "-u", "1000", "--read-only", "busybox", "sh", "-c", "cat /.dockerenv; readlink /etc/mtab") == "/proc/mounts"
    assert d.out("diff", "mm") == ""
    d.cli("start", "-a", "mm")
    d.cli("commit", "mm", "marked:1")
    assert d.out("inspect", "-f", "{{len .RootFS.Layers}}", "marked:1") == "1"
    assert d.out("history", "--format", "{{.CreatedBy}}", "marked:1").splitlines()[0] == "sh -c cat /.dockerenv; readlink /etc/mtab"
    d.cli("rmi", "marked:1")


def test_shared_mounts_travel(docker, tmp_path):
    d = docker
    subprocess.run(["mount", "-t", "tmpfs", "t", tmp_path], check=True)
    try:
        subprocess.run(["mount", "--make-rshared", tmp_path], check=True)
        d.cli("run", "-d", "--name", "pp", "--network", "none", "-v", f"{tmp_path}:/b:rslave", "busybox", "sleep", "1000")
        (tmp_path / "x").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "y", tmp_path / "x"], check=True)
        (tmp_path / "x/f").touch()
        assert d.out("exec", "pp", "ls", "/b/x") == "f"
        d.cli("rm", "-f", "pp")
    finally:
        subprocess.run(["umount", "-R", tmp_path])


def test_changes_of_a_running_one(docker):
    d = docker
    id = d.out("run", "-d", "--name", "cc", "--network", "none", "-m", "32m", "--memory-swap", "64m", "busybox", "sleep", "1000")
    assert f"Cannot update container {id}: Memory limit should be smaller than already set memoryswap limit" in d.fails("update", "-m", "128m", "cc")
    assert "Requested CPUs are not available - requested 7777" in d.fails("update", "--cpuset-cpus", "7777", "cc")
    d.cli("restart", "-t", "0", "cc")
    assert d.cli("exec", "-w", "/nosuch", "cc", "true", check=None).stdout.strip() == \
        'OCI runtime exec failed: exec failed: unable to start container process: chdir to cwd ("/nosuch") set in config.json failed: ' \
        "no such file or directory: unknown"
    assert "Invalid escape keys (bogus) provided" in d.fails("exec", "--detach-keys", "bogus", "cc", "true")
    assert 'ps: error: unknown user-defined format specifier "bogus"' in d.fails("top", "cc", "-o", "pid,bogus")
    assert "The linux daemon does not support signal 99" in d.fails("kill", "-s", "99", "cc")
    assert "Invalid signal: BOGUS" in d.fails("kill", "-s", "BOGUS", "cc")
    assert f"Container {id} is not paused" in d.fails("unpause", "cc")
    assert "Invalid container name (/b b)" in d.fails("rename", "cc", "b b")
    d.cli("kill", "cc")
    said = d.fails("kill", "cc")
    assert said.lower() == f"error response from daemon: cannot kill container: cc: container {id} is not running"
    assert f"Container {id} is not paused" in d.fails("unpause", "cc")


def test_list_of_a_name_that_moved_on(docker):
    d = docker
    d.cli("tag", "busybox", "mine:1")
    d.cli("run", "-d", "--name", "xx", "--network", "none", "mine:1", "sleep", "1000")
    assert d.out("ps", "--format", "{{.Image}}", "-f", "name=xx") == "mine:1"
    d.cli("rmi", "mine:1")
    assert d.out("ps", "--format", "{{.Image}}", "-f", "name=xx") == d.out("images", "-q", "busybox")
    assert "strconv.ParseUint: parsing" in d.fails("ps", "--filter", "publish=bogus")


def test_volumes_with_options_stay(docker):
    """What a device or a server holds is somebody's data."""
    d = docker
    d.cli("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "given")
    d.cli("volume", "create", "plain")
    gone = d.api("POST", "/volumes/prune", version="v1.41").json["VolumesDeleted"]
    assert gone == ["plain"] and d.out("volume", "ls", "-q") == "given"
    d.cli("volume", "rm", "given")


def happened(d, since):
    """What /events has of since: "type action" of each, and its attributes."""
    return [(f'{e["Type"]} {e["Action"]}', e["Actor"]["Attributes"])
            for e in d.api("GET", f"/events?since={since}&until={time.time() + 1}").lines]


def test_what_is_told(docker, tmp_path):
    d = docker
    since = f"{time.time():.6f}"
    id = d.out("create", "--name", "ee", "--network", "none", "-v", "named:/d:ro", "-v", "/anon", "-v", "/tmp:/t", "busybox", "cat")
    d.cli("start", "-a", "ee")
    d.cli("cp", "ee:/etc/passwd", "-")
    (tmp_path / "f").write_text("x")
    d.cli("cp", tmp_path / "f", "ee:/tmp/f")
    d.cli("rm", "-v", "ee")
    d.cli("volume", "rm", "named")
    d.cli("volume", "rm", "-f", "nosuch")
    seen = happened(d, since)
    names = [n for n, _ in seen]
    assert set(names) >= {"container attach", "container archive-path", "container extract-to-dir"}
    assert names.count("volume destroy") == 2 and len({n for n, a in seen if n == "volume create"}) == 1
    assert names.index("volume mount") < names.index("container start") < names.index("container die") < names.index("volume unmount")
    mounts = {a["destination"]: a for n, a in seen if n == "volume mount"}
    assert set(mounts) == {"/d", "/anon"} and mounts["/d"]["read/write"] == "false" and mounts["/anon"]["read/write"] == "true"
    assert all(a["container"] == id and a["driver"] == "local" for n, a in seen if n in ("volume mount", "volume unmount"))
    since = f"{time.time():.6f}"
    d.cli("run", "-d", "--name", "yy", "--network", "none", "busybox", "sleep", "1000")
    d.cli("exec", "yy", "true")
    assert "container exec_create: true " in [n for n, _ in happened(d, since)]
    d.cli("commit", "yy", "told:1")
    assert [a["imageRef"] for n, a in happened(d, since) if n == "container commit"] == ["told:1"]
    d.cli("rmi", "told:1")



def test_networks_at_rest(bridged):
    d = bridged
    import_busybox(d)
    d.cli("run", "--name", "rest", "busybox", "true")
    n = json.loads(d.out("inspect", "-f", "{{json .NetworkSettings.Networks}}", "rest"))
    assert list(n) == ["bridge"] and n["bridge"]["NetworkID"] == d.out("network", "inspect", "-f", "{{.Id}}", "bridge") and not n["bridge"]["Aliases"]
    assert d.out("ps", "-a", "--filter", "network=bridge", "--format", "{{.Names}}") == "rest"
    assert "No such container: nosuch" in d.cli("run", "--rm", "--network", "container:nosuch", "busybox", "true", check=125).stderr
    d.cli("rm", "rest")
