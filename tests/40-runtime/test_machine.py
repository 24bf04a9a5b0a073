"""What only some machines have: AppArmor, systemd with cgroup v2, all capabilities. The virtual machine has all of it
(tests/vm/suite); elsewhere these tests say what is missing."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from conftest import PROGRAM, until

CGROUP = pathlib.Path("/sys/fs/cgroup")


def need_apparmor():
    enabled = pathlib.Path("/sys/module/apparmor/parameters/enabled")
    if not enabled.exists() or enabled.read_text().strip() != "Y" or not shutil.which("apparmor_parser"):
        pytest.skip("this machine has no AppArmor")


def need_systemd():
    if not os.path.isdir("/run/systemd/system") or not (CGROUP / "cgroup.controllers").exists():
        pytest.skip("this machine is not under systemd with cgroup v2")


@pytest.fixture
def profile(rt):
    need_apparmor()
    name = "knarr-test-" + rt.id
    f = rt.tmp / "profile"
    f.write_text(f"profile {name} flags=(attach_disconnected,mediate_deleted) {{\n  file,\n  capability,\n  network,\n  mount,\n  signal,\n"
                 "  ptrace,\n  deny /forbidden rw,\n}\n")
    subprocess.run(["apparmor_parser", "-r", "-K", str(f)], check=True)
    yield name
    subprocess.run(["apparmor_parser", "-R", str(f)], check=True)


def test_apparmor_profile_holds_for_run_and_exec(rt, profile):
    (rt.rootfs / "forbidden").write_text("secret")
    (rt.rootfs / "free").write_text("open")
    rt.set("process.apparmorProfile", profile)
    words = ("cat", "/free", "--", "cat", "/forbidden", "--", "cat", "/proc/self/attr/current")
    want = f"opencat /forbidden: Permission denied\n{profile} (enforce)\n"
    assert rt.run(*words, check=None).out == want
    rt.up("sleep", "1000")
    assert rt.call("exec", rt.id, "/ct", *words).out == want
    # A profile of its own for one process; the label of the container's first does not change.
    r = rt.call("exec", "--apparmor", "unconfined", rt.id, "/ct", "cat", "/proc/self/attr/current")
    assert "unconfined" in r.out or "error" in r.err, (r.out, r.err)
    pid = rt.state()["pid"]
    assert profile in pathlib.Path(f"/proc/{pid}/attr/current").read_text()


def test_apparmor_profile_that_is_not_loaded(rt):
    need_apparmor()
    rt.set("process.apparmorProfile", "no-such-profile")
    assert "no-such-profile" in rt.run(check=1).err


def test_apparmor_label_is_not_written_to_a_false_proc(rt, profile):
    """CVE-2019-16884: the image brings a /proc of its own into which the label would go."""
    rt.config["mounts"] = [m for m in rt.config["mounts"] if m["type"] != "proc"]
    (rt.rootfs / "proc/self/attr").mkdir(parents=True)
    (rt.rootfs / "proc/self/attr/exec").write_text("")
    (rt.rootfs / "forbidden").write_text("secret")
    rt.config["linux"]["maskedPaths"] = rt.config["linux"]["readonlyPaths"] = []
    rt.set("process.apparmorProfile", profile)
    assert "Permission denied" in rt.run("cat", "/forbidden", check=None).out


def test_scope_in_a_slice_keeps_its_limits(rt):
    """`slice:prefix:name` is a scope that systemd makes, with Delegate=yes: it leaves what is below alone when it reloads, or starts
    and stops units in the same slice. (The scope's own limits it would write anew.)"""
    need_systemd()
    word = rt.id
    rt.set("linux.cgroupsPath", f"knarr-{word}.slice:t:{word}")
    rt.set("linux.resources", {"memory": {"limit": 64 << 20}, "cpu": {"quota": 50000, "period": 100000}, "pids": {"limit": 20}})
    rt.args("sleep", "1000")
    rt.save()
    scope = CGROUP / f"knarr.slice/knarr-{word}.slice/t-{word}.scope"
    group = scope / "container"

    def shown(what):
        return subprocess.run(["systemctl", "show", "-P", what, scope.name], capture_output=True, text=True).stdout.strip()
    try:
        assert rt.quiet("--systemd-cgroup", "create", rt.id).err == ""
        assert (group / "cgroup.procs").read_text().split() == [str(rt.state()["pid"])]
        rt.start()

        def limits():
            return [(group / f).read_text().strip() for f in ("memory.max", "cpu.max", "pids.max")]
        want = [str(64 << 20), "50000 100000", "20"]
        assert limits() == want
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        subprocess.run(["systemd-run", "--quiet", "--wait", f"--slice=knarr-{word}.slice", "/bin/true"], check=True)
        assert rt.state()["status"] == "running" and limits() == want
        assert shown("Delegate") == "yes" and shown("Slice") == f"knarr-{word}.slice" and rt.id in shown("Description")
        rt.call("update", "--memory", str(48 << 20), rt.id, check=0)
        assert (group / "memory.max").read_text().strip() == str(48 << 20)
        assert rt.call("exec", rt.id, "/ct", "exit", "4").code == 4
        rt.delete()
        # The name at once again, and one whose program cannot run: nothing stays.
        for words, code in ((("exit", "3"), 3), (("exit", "0"), 0)):
            rt.args(*words)
            rt.save()
            assert rt.quiet("--systemd-cgroup", "run", rt.id, check=None).code == code
        rt.config["process"]["args"] = ["/nothing"]
        rt.save()
        assert "/nothing" in rt.quiet("--systemd-cgroup", "run", rt.id, check=1).err
        for n in range(1, 60):  # each step of the parent, after the scope is there too
            r = rt.quiet("--systemd-cgroup", "run", rt.id, check=None, env={"KNARR_FAIL": f"runtime.create=EIO@{n}"})
            if "Input/output error" not in r.err:
                break
        assert 3 < n < 59
        until(lambda: not scope.exists())
    finally:
        rt.delete()
        subprocess.run(["systemctl", "stop", f"knarr-{word}.slice"], check=True)


def test_inside_a_delegated_unit(rt):
    """As the engine does under `Delegate=yes`: itself in a leaf, containers beside it, limits on them."""
    need_systemd()
    unit = f"knarr-test-{rt.id}.service"
    rt.set("linux.resources", {"memory": {"limit": 32 << 20}, "pids": {"limit": 9}})
    rt.args("sleep", "1000")
    rt.save()
    inner = rt.tmp / "inner"
    inner.write_text(f"own=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); mkdir $own/leaf && echo $$ >$own/leaf/cgroup.procs && "
                     f"exec {PROGRAM} runtime --root {rt.root} run --detach --bundle {rt.bundle} {rt.id}\n")
    r = subprocess.run(["systemd-run", "--quiet", f"--unit={unit}", "-p", "Delegate=yes", "-p", "KillMode=process", "-p", "Type=oneshot",
                        "-p", "RemainAfterExit=yes", "/bin/sh", inner], capture_output=True, text=True)
    assert r.returncode == 0, subprocess.run(["journalctl", "-u", unit, "--no-pager"], capture_output=True, text=True).stdout
    try:
        group = CGROUP / f"system.slice/{unit}/{rt.id}"
        assert (group / "memory.max").read_text().strip() == str(32 << 20) and (group / "pids.max").read_text().strip() == "9"
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        assert (group / "memory.max").read_text().strip() == str(32 << 20) and rt.state()["status"] == "running"
        rt.delete()
        assert not group.exists()
    finally:
        rt.delete()
        subprocess.run(["systemctl", "stop", unit], check=True)


def test_device_rules_are_one_program_after_updates(rt):
    """v2: an update puts its program in the place of the one before."""
    if not (CGROUP / "cgroup.controllers").exists():
        pytest.skip("devices are on cgroup v1 here")
    rt.set("linux.resources", {"devices": [{"allow": False, "access": "rwm"}]})
    rt.set("linux.devices", [{"path": "/dev/k", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}])
    rt.up("sleep", "1000")
    exec_open = ("exec", rt.id, "/ct", "open", "/dev/k", "r", "--", "open", "/dev/null", "w")
    assert rt.call(*exec_open).out == "open /dev/k r: Operation not permitted\nopen /dev/null w: ok\n"
    for _ in range(3):
        rt.call("update", "-r", "-", rt.id, check=0, input=json.dumps({"devices": [{"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"}]}).encode())
    assert "open /dev/null w: ok" in rt.call(*exec_open).out


def test_raised_limits_where_the_right_is_there(rt):
    caps = int(re.search(r"CapEff:\s*(\w+)", pathlib.Path("/proc/self/status").read_text())[1], 16)
    if not caps >> 24 & 1:
        pytest.skip("no CAP_SYS_RESOURCE here")
    rt.set("process.rlimits", [{"type": "RLIMIT_NOFILE", "soft": 5000, "hard": 1 << 20}])
    rt.set("process.oomScoreAdj", -500)
    rt.config["process"]["capabilities"]["bounding"] = rt.config["process"]["capabilities"]["bounding"] + ["CAP_SYS_RESOURCE"]
    r = rt.run("rlimits", "--", "cat", "/proc/self/oom_score_adj")
    assert f"rlimit 7 5000 {1 << 20}" in r.out and "-500" in r.out and "stays" not in r.err
