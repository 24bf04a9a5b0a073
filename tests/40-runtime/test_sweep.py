"""Each step fails in turn: the error says which, and nothing is left (state, cgroup, mount, process, file)."""
import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest

from conftest import LONG, PROGRAM, SLOWER, cgroup_folders, mounts, processes_with


def snapshot(rt):
    return ({g for g in cgroup_folders() if rt.id in g}, mounts(rt.tmp), len(processes_with(rt.id)),
            [p.name for p in rt.root.iterdir() if p.name != "seccomp"] if rt.root.exists() else [],
            sorted(p.name for p in rt.tmp.iterdir() if p.name != "state"))


def rich(rt):
    src = rt.tmp / "src"
    src.mkdir(exist_ok=True)
    rt.mount(destination="/b", source=str(src), options=["rbind", "ro"])
    rt.mount(destination="/sys/fs/cgroup", type="cgroup", source="cgroup", options=["ro"])
    rt.set("linux.resources", {"memory": {"limit": 64 << 20}, "pids": {"limit": 50}, "devices": [{"allow": False, "access": "rwm"}]})
    rt.set("linux.sysctl", {"net.core.somaxconn": "99"})
    rt.set("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}])
    rt.set("root.readonly", True)
    rt.set("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO"}]})
    hook = {"path": "/bin/true"}
    rt.config["hooks"] = {"createRuntime": [hook], "createContainer": [hook], "poststart": [hook], "poststop": [hook]}


POINTS = ["runtime.step", "runtime.create", "sys.cgroup.make", "sys.cgroup.limit", "sys.cgroup.devices", "runtime.state.make",
          "runtime.state.write", "runtime.source.open", "runtime.rlimit", "runtime.filter", "runtime.exec"]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("how", ["run", "create"])
def test_sweep(rt, point, how):
    rich(rt)
    rt.args("exit", "0")
    rt.save()
    before = snapshot(rt)
    n = 0
    step = 1 if LONG or point != "runtime.step" else 2
    failed = 0
    while n < 200:
        n += step
        r = rt.quiet(how, rt.id, check=None, env={"KNARR_FAIL": f"{point}=EIO@{n}"})
        if r.code == 0:
            break
        failed += 1
        assert r.code == 1 and "Input/output error" in r.err, (point, n, r.err)
        assert snapshot(rt) == before, (point, n, r.err)
    rt.quiet("delete", "--force", rt.id)
    if how == "create" and point in ("runtime.filter", "runtime.exec", "runtime.hook"):
        return  # they come after `start`
    assert failed >= 1 and n < 200, (point, failed)


def test_sweep_of_hooks(rt):
    rich(rt)
    rt.args("exit", "0")
    rt.save()
    before = snapshot(rt)
    for n in (1, 2):
        r = rt.quiet("run", rt.id, check=1, env={"KNARR_FAIL": f"runtime.hook=EIO@{n}"})
        assert "hook #0 (/bin/true)" in r.err
        assert snapshot(rt) == before


def test_sweep_of_start(rt):
    for point in ("runtime.exec",):
        rich(rt)
        rt.create("sleep", "100", env={"KNARR_FAIL": f"{point}=EACCES"})
        assert "permission denied" in rt.start(check=1).err
        rt.wait_status("stopped")
        rt.quiet("delete", rt.id)


def test_killed_builder_leaves_what_delete_removes(rt):
    rich(rt)
    rt.args("sleep", "100")
    rt.save()
    before = snapshot(rt)
    for n in range(1, 30 if LONG else 12):
        r = rt.quiet("create", rt.id, check=None, env={"KNARR_FAIL": f"runtime.create=kill@{n}"})
        if r.code == 0:
            break
        assert r.code == -9
        rt.quiet("delete", "--force", rt.id)
        now = snapshot(rt)
        assert now[1] == before[1] and now[3] == before[3], n
        # Groups that were made before the state was written are taken over by the next attempt, or removed here. The first
        # process, if there is one, is just finding out that its builder is gone.
        end = time.monotonic() + 10 * SLOWER
        for g in sorted(now[0], key=len, reverse=True):
            while os.path.exists(g):
                try:
                    os.rmdir(g)
                except OSError:
                    assert time.monotonic() < end, (n, g, pathlib.Path(g, "cgroup.procs").read_text())
                    time.sleep(0.01)


@pytest.mark.parametrize("point", ["runtime.create", "runtime.step"])
def test_a_bundle_that_vanishes_midway(rt, point):
    """Removed while a step of the parent or of the first process sleeps: an error or a container, and nothing left of either."""
    rich(rt)
    rt.args("sleep", "100")
    kept = rt.tmp / "kept"
    rt.save()
    shutil.copytree(rt.bundle, kept)
    before = snapshot(rt)
    failed = made = 0
    begun = time.monotonic()
    rt.quiet("create", "--bundle", rt.bundle, rt.id)
    takes = time.monotonic() - begun  # an emulated processor is far from its step when another has done them all
    rt.quiet("delete", "--force", rt.id)
    for n in range(1, 60, 1 if LONG else 3):
        slow = {**rt.env, "KNARR_FAIL": f"{point}=sleep:{200 + int(2000 * takes)}@{n}"}
        err = rt.tmp / "said"
        with err.open("w") as out:
            p = subprocess.Popen([str(PROGRAM), "runtime", "--root", str(rt.root), "create", "--bundle", str(rt.bundle), rt.id],
                                 env=slow, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        time.sleep(0.1 + takes)
        early = p.poll() is not None  # no such step
        while rt.bundle.exists():  # on a busy machine the step has slept long enough, and files are made while we remove
            shutil.rmtree(rt.bundle, ignore_errors=True)
        code = p.wait(20 * SLOWER)
        said = err.read_text()
        err.unlink()
        assert code == 0 or (code == 1 and "level=error" in said), (n, code, said)
        failed += code != 0
        made += code == 0
        rt.bundle.mkdir()  # where our own calls have their working directory
        rt.quiet("delete", "--force", rt.id)
        shutil.copytree(kept, rt.bundle, dirs_exist_ok=True)
        assert snapshot(rt) == before, (n, said)
        if early:
            break
    assert failed >= 1 and made >= 1, (failed, made)


@pytest.mark.parametrize("n", range(1, 3))
def test_sweep_of_exec(rt, n):
    rt.up("sleep", "1000")
    r = rt.quiet("exec", rt.id, "/ct", "exit", "0", check=None, env={"KNARR_FAIL": f"runtime.exec.step=EIO@{n}"})
    assert r.code == (255 if n == 1 else 0)
    assert len(json.loads(rt.call("ps", "-f", "json", rt.id, check=0).out)) == 1
    assert rt.state()["status"] == "running"


def test_exec_whose_program_is_faster_than_the_intermediate_process(rt):
    rt.up("sleep", "1000")
    slow = {"KNARR_FAIL": "runtime.stage=sleep:300"}
    assert rt.call("exec", rt.id, "/ct", "exit", "7", env=slow).code == 7
    assert "no-such" in rt.call("exec", rt.id, "/no-such", check=255, env=slow).err


@pytest.mark.parametrize("numbers", ["437", "428", "442", "428,429,442", "430,431,432", "436", "437,428,429,442,436", "434,424"],
                         ids=["openat2", "open_tree", "mount_setattr", "new-mounts", "fsopen", "close_range", "all", "pidfd"])
def test_fallbacks(rt, helpers, numbers):
    """The same container, with system calls that the kernel does not have."""
    src = rt.tmp / "src"
    src.mkdir()
    (src / "f").write_text("content")
    rt.mount(destination="/b", source=str(src), options=["rbind", "ro", "nosuid"])
    rt.mount(destination="/etc/file", source=str(src / "f"), options=["bind"])
    (rt.rootfs / "secret").write_text("s")
    rt.config["linux"]["maskedPaths"] += ["/secret"]
    rt.set("process.cwd", "/made/here")
    rt.prefix = [str(helpers["deny"]), numbers]
    words = ("cat", "/b/f", "/etc/file", "/secret", "--", "open", "/b/x", "a", "--", "open", "/proc/sys/kernel/panic", "w", "--", "pwd", "--", "fds",
             "--", "stat", "/dev/null")
    if "434" in numbers:
        # without pidfds: clone3 still gives one for a new container; exec and start need pidfd_open
        assert rt.run(*words).out.startswith("contentcontent")
        return
    r = rt.run(*words)
    assert r.out.startswith("contentcontentopen /b/x a: Read-only file system\nopen /proc/sys/kernel/panic w: Read-only file system\ncwd /made/here\n")
    assert r.out.count("\nfd ") == 3 and "1,3" in r.out
    rt.up("sleep", "1000")
    assert rt.call("exec", rt.id, "/ct", "pwd", check=0).out == "cwd /made/here\n"
