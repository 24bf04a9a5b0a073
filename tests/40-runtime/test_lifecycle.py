"""Commands other than run, as other programs call them."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

from conftest import BUILD, PROGRAM, SLOWER, dead, processes_with, takes, until


def test_create_start_state_kill_delete(rt):
    out = rt.rootfs / "out"
    rt.create("write", "/out", "x", "--", "trap", options=["--pid-file", str(rt.tmp / "pid")])
    s = rt.state()
    assert s["status"] == "created" and not out.exists()
    assert (rt.tmp / "pid").read_text() == str(s["pid"])
    assert pathlib.Path(f"/proc/{s['pid']}/exe").exists()
    rt.start()
    rt.wait_status("running")
    assert "cannot start an already running container" in rt.start(check=1).err
    assert "not stopped: running" in rt.quiet("delete", rt.id, check=1).err
    until(out.exists)
    until(lambda: takes(s["pid"], signal.SIGTERM))
    rt.quiet("kill", rt.id, "TERM")
    rt.wait_status("stopped")
    assert rt.state()["pid"] == 0
    assert "container not running" in rt.quiet("kill", rt.id, "TERM", check=1).err
    assert "cannot start a container that has stopped" in rt.start(check=1).err
    rt.quiet("delete", rt.id)
    assert "container does not exist" in rt.quiet("state", rt.id, check=1).err
    assert "container does not exist" in rt.quiet("delete", rt.id, check=1).err
    rt.quiet("delete", "--force", rt.id)


def test_id_is_taken_once(rt):
    rt.create("sleep", "100")
    r = rt.create("sleep", "100", check=1)
    assert "container with given ID already exists" in r.err
    assert rt.state()["status"] == "created"  # the first is untouched


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "x" * 2000])
def test_bad_ids(rt, name):
    rt.save()
    assert rt.quiet("create", name, check=1).err


def test_created_container_can_be_deleted_and_killed(rt):
    rt.create("sleep", "100")
    pid = rt.state()["pid"]
    rt.quiet("delete", rt.id)
    assert dead(pid)
    rt.create("sleep", "100")
    rt.quiet("kill", rt.id, "KILL")
    rt.wait_status("stopped")


def test_delete_forced_kills_all(rt):
    rt.up("fork", "5", "wait")
    rt.delete()
    assert not processes_with(rt.id)


def test_shared_pid_namespace_is_killed_by_cgroup(rt):
    rt.no_ns("pid")
    rt.config["mounts"] = [m for m in rt.config["mounts"] if m["type"] != "proc"]
    rt.up("fork", "3", "wait")
    until(lambda: len(rt.processes()) == 4)
    pids = rt.processes()
    rt.quiet("kill", "--all", rt.id, "KILL")
    rt.wait_status("stopped")
    rt.quiet("delete", rt.id)
    for p in pids:
        assert dead(p)


def test_signals_reach_the_program(rt):
    rt.set("process.terminal", False)
    rt.args("trap")
    rt.save()
    p = subprocess.Popen([str(PROGRAM), "runtime", "--root", str(rt.root), "run", rt.id], cwd=rt.bundle, stdout=subprocess.PIPE)
    assert p.stdout.readline() == b"ready\n"
    p.send_signal(signal.SIGUSR1)
    assert p.wait(20 * SLOWER) == 10
    assert p.stdout.read() == b"signal 10\n"


def test_run_reports_a_killed_program(rt):
    rt.args("echo", "ready", "--", "sleep", "100")
    rt.config["process"]["args"] = ["/ct", "trap"]
    rt.save()
    p = subprocess.Popen([str(PROGRAM), "runtime", "--root", str(rt.root), "run", rt.id], cwd=rt.bundle, stdout=subprocess.PIPE)
    assert p.stdout.readline() == b"ready\n"
    os.kill(rt.state()["pid"], signal.SIGKILL)
    assert p.wait(20 * SLOWER) == 137


def test_pause_resume(rt):
    rt.up("sleep", "1000")
    rt.quiet("pause", rt.id)
    assert rt.state()["status"] == "paused"
    assert "cannot exec in a paused container" in rt.quiet("exec", rt.id, "/ct", "ids", check=255).err
    rt.quiet("resume", rt.id)
    assert rt.state()["status"] == "running"
    assert "container not paused" in rt.quiet("resume", rt.id, check=1).err
    rt.quiet("pause", rt.id)
    rt.quiet("kill", rt.id, "KILL")  # also while frozen
    rt.wait_status("stopped")


def test_list(rt):
    rt.up("sleep", "1000")
    rows = json.loads(rt.call("list", "-f", "json", check=0).out)
    assert [r["id"] for r in rows] == [rt.id] and rows[0]["status"] == "running" and rows[0]["owner"] == "root"
    assert rt.call("list", "-q", check=0).out == rt.id + "\n"
    table = rt.call("list", check=0).out.splitlines()
    assert table[0].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"] and table[1].split()[0] == rt.id
    rt.delete()
    assert rt.call("list", "-f", "json", check=0).out == "null\n"


def test_ps(rt):
    rt.up("fork", "2", "wait")
    until(lambda: len(json.loads(rt.call("ps", "--format", "json", rt.id, check=0).out)) == 3)
    table = rt.call("ps", rt.id, check=0).out.splitlines()
    assert "PID" in table[0] and len(table) == 4


def test_events_stats(rt):
    rt.set("linux.resources", {"memory": {"limit": 64 << 20}, "pids": {"limit": 50}})
    rt.up("eat", "8", "--", "sleep", "1000")
    # It has eaten.
    until(lambda: json.loads(rt.call("events", "--stats", rt.id, check=0).out)["data"]["memory"]["usage"]["usage"] > 8 << 20)
    e = json.loads(rt.call("events", "--stats", rt.id, check=0).out)
    assert e["type"] == "stats" and e["id"] == rt.id
    d = e["data"]
    assert d["cpu"]["usage"]["total"] > 0 and d["pids"] == {"current": 1, "limit": 50}
    assert d["memory"]["usage"]["usage"] > 8 << 20 and d["memory"]["usage"]["limit"] == 64 << 20
    assert d["memory"]["raw"]


def test_events_oom(rt):
    rt.set("linux.resources", {"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    rt.create("read", "--", "fork", "0", "--", "eat", "100", "--", "sleep", "5")
    p = subprocess.Popen([str(PROGRAM), "runtime", "--root", str(rt.root), "events", "--interval", "100ms", rt.id], stdout=subprocess.PIPE)
    assert json.loads(p.stdout.readline())["type"] == "stats"
    rt.start()
    types = [json.loads(l)["type"] for l in p.stdout]
    assert p.wait(20 * SLOWER) == 0 and "oom" in types


def test_update(rt):
    rt.set("linux.resources", {"memory": {"limit": 64 << 20, "swap": 128 << 20}, "cpu": {"shares": 512, "quota": 50000, "period": 100000}, "pids": {"limit": 20}})
    rt.up("sleep", "1000")

    def value(controller, v1, v2):
        for name, f in ((controller, v1), ("unified", v2), ("", v2)):
            p = pathlib.Path("/sys/fs/cgroup") / name / rt.id / f
            for q in [p, *pathlib.Path("/sys/fs/cgroup", name).glob(f"**/{rt.id}/{f}")]:
                if q.exists():
                    return q.read_text().strip()
        raise AssertionError(f"no {v1} or {v2}")
    assert value("memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert value("pids", "pids.max", "pids.max") == "20"
    rt.quiet("update", "--memory", "512m", "--memory-swap", "1g", "--pids-limit", "30", "--cpu-quota", "200000", "--cpu-period", "200000", rt.id)
    assert value("memory", "memory.limit_in_bytes", "memory.max") == str(512 << 20)
    assert value("pids", "pids.max", "pids.max") == "30"
    rt.call("update", "-r", "-", rt.id, input=json.dumps({"memory": {"limit": 32 << 20, "swap": 48 << 20}, "pids": {"limit": -1}, "cpu": {"cpus": "0"}}).encode(), check=0)
    assert value("memory", "memory.limit_in_bytes", "memory.max") == str(32 << 20)
    assert value("pids", "pids.max", "pids.max") == "max"
    assert value("cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    assert "invalid value" in rt.quiet("update", "--memory", "lots", rt.id, check=1).err


# ---- exec

def test_exec_is_in_the_same_container(rt):
    rt.up("sleep", "1000")
    pid = rt.state()["pid"]
    names = ["pid", "net", "ipc", "uts", "mnt", "cgroup", "user"]
    r = rt.call("exec", rt.id, "/ct", "readlink", *[f"/proc/self/ns/{n}" for n in names], check=0)
    assert [l.split(" ")[2] for l in r.out.splitlines()] == [os.readlink(f"/proc/{pid}/ns/{n}") for n in names]
    groups = rt.call("exec", rt.id, "/ct", "cat", "/proc/1/cgroup", check=0).out
    assert rt.call("exec", rt.id, "/ct", "cat", "/proc/self/cgroup", check=0).out == groups
    assert rt.call("exec", rt.id, "/ct", "fds", check=0).out.count("fd ") == 3


def test_exec_options(rt):
    rt.up("sleep", "1000")
    r = rt.call("exec", "--cwd", "/dev", "--env", "A=c", "-e", "N=1", "--user", "7:8", "--additional-gids", "9", "--cap", "CAP_SYS_TIME",
                "--no-new-privs", rt.id, "/ct", "ids", "--", "env", "--", "pwd", "--", "cat", "/proc/self/status", check=0)
    assert (r.fact("uid"), r.fact("gid"), r.fact("groups"), r.fact("nnp")) == ("7", "8", "9", "1")
    assert r.fact("cwd") == "/dev" and "A=c" in r.out.splitlines() and "N=1" in r.out.splitlines() and "A=b" not in r.out.splitlines()
    bounding = [l for l in r.out.splitlines() if l.startswith("CapBnd")][0]
    assert int(bounding.split("\t")[1], 16) >> 25 & 1


def test_exec_process_file_detached_with_pid_file(rt):
    rt.up("sleep", "1000")
    f = rt.tmp / "process.json"
    f.write_text(json.dumps({"args": ["/ct", "write", "/made", "by exec", "--", "sleep", "1000"], "cwd": "/", "env": ["X=1"], "user": {"uid": 0, "gid": 0}}))
    rt.quiet("exec", "--process", str(f), "--detach", "--pid-file", str(rt.tmp / "epid"), rt.id, check=0)
    pid = int((rt.tmp / "epid").read_text())
    assert os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{rt.state()['pid']}/ns/pid")
    until((rt.rootfs / "made").exists)
    assert pid in json.loads(rt.call("ps", "-f", "json", rt.id, check=0).out)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU")
def test_exec_cpu_affinity(rt):
    a, b = sorted(os.sched_getaffinity(0))[:2]
    rt.up("sleep", "1000")
    f = rt.tmp / "process.json"

    def affinity(check=0, **cpus):
        f.write_text(json.dumps({"args": ["/ct", "cat", "/proc/self/status"], "cwd": "/", "execCPUAffinity": cpus}))
        r = rt.call("exec", "--process", str(f), rt.id, check=check)
        return [l.split()[1] for l in r.out.splitlines() if l.startswith("Cpus_allowed_list")][0] if check == 0 else r.err
    assert affinity(initial=str(a)) == str(a) and affinity(initial=str(b)) == str(b)
    assert affinity(final=str(b)) == str(b) and affinity(initial=str(a), final=str(b)) == str(b)
    assert "process.execCPUAffinity: 1000" in affinity(check=255, final="1000")
    # Of the container's group the first CPU is taken away: where exec comes from may be outside of it.
    rt.call("update", "--cpuset-cpus", str(b), rt.id, check=0)
    assert affinity(initial=str(a)) == affinity(initial=str(a), final=str(b)) == affinity() == str(b)
    assert f"process.execCPUAffinity: {a}" in affinity(check=255, final=str(a))


def test_exec_exit_status_and_errors(rt):
    rt.up("sleep", "1000")
    assert rt.call("exec", rt.id, "/ct", "exit", "5").code == 5
    r = rt.call("exec", rt.id, "nothing")
    assert r.code == 255 and 'exec: \\"nothing\\": executable file not found in $PATH' in r.err
    assert rt.call("exec", rt.id, "/ct", "raise", "9").code == 137
    rt.quiet("kill", rt.id, "KILL")
    rt.wait_status("stopped")
    assert "cannot exec in a stopped container" in rt.call("exec", rt.id, "/ct", "ids", check=255).err
    assert "container does not exist" in rt.call("exec", rt.id + "x", "/ct", "ids", check=255).err


def test_exec_terminal(rt):
    rt.up("sleep", "1000")
    path = str(rt.tmp / "console.sock")
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen(1)
    rt.quiet("exec", "--tty", "--detach", "--console-socket", path, rt.id, "/ct", "tty", check=0)
    c, _ = s.accept()
    _, fds, _, _ = socket.recv_fds(c, 100, 1)
    out = b""
    try:
        while b"\n" not in out:
            out += os.read(fds[0], 100)
    except OSError:
        pass
    os.close(fds[0])
    assert b"tty 1 /dev/pts/0" in out
    assert "tty 1" in rt.call("exec", "-t", rt.id, "/ct", "tty", check=0, input=b"").out


def test_exec_in_a_user_namespace(rt):
    rt.user_ns()
    rt.set("process.rlimits", [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}])
    rt.up("sleep", "1000")
    pid = rt.state()["pid"]
    r = rt.call("exec", "-u", "5", rt.id, "/ct", "ids", "--", "readlink", "/proc/self/ns/user", "--", "rlimits", check=0)
    assert r.fact("uid") == "5" and os.readlink(f"/proc/{pid}/ns/user") in r.out and "rlimit 7 50 60" in r.out


def test_exec_inherits_seccomp(rt):
    rt.set("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22}]})
    rt.up("sleep", "1000")
    assert rt.call("exec", rt.id, "/ct", "syscall", "140", check=0).out == "syscall 140 EINVAL\n"


# ---- hooks

HOOK = """#!/bin/sh
state=$(cat)
echo "$1 $state" >>{log}
readlink /proc/self/ns/mnt >>{log}.ns
exit {code}
"""


def hooks(rt, points, code=0, **extra):
    log = rt.tmp / "hooks"
    script = rt.tmp / "hook.sh"
    script.write_text(HOOK.format(log=log, code=code))
    script.chmod(0o755)
    rt.config["hooks"] = {p: [{"path": str(script), "args": ["hook", p], "env": ["PATH=/bin:/usr/bin"], **extra}] for p in points}
    return log


def test_hooks_run_in_order_with_the_state(rt):
    log = hooks(rt, ["prestart", "createRuntime", "createContainer", "poststart", "poststop"])
    rt.set("annotations", {"k": "v"})
    rt.create("sleep", "1000")
    pid = rt.state()["pid"]
    before = log.read_text().splitlines()
    assert [l.split(" ")[0] for l in before] == ["prestart", "createRuntime", "createContainer"]
    for l in before:
        s = json.loads(l.split(" ", 1)[1])
        assert s["id"] == rt.id and s["pid"] == pid and s["bundle"] == str(rt.bundle) and s["annotations"] == {"k": "v"} and s["status"] == "creating"
    ns = (rt.tmp / "hooks.ns").read_text().splitlines()
    assert ns[0] == ns[1] == os.readlink("/proc/self/ns/mnt") and ns[2] == os.readlink(f"/proc/{pid}/ns/mnt")
    rt.start()
    rt.delete()
    all_ = [json.loads(l.split(" ", 1)[1])["status"] for l in log.read_text().splitlines()]
    assert all_[3:] == ["running", "stopped"]


def test_start_container_hook_runs_inside_with_the_program_s_rights(rt):
    rt.config["hooks"] = {"startContainer": [{"path": "/ct", "args": ["ct", "cat", "/proc/self/status", "--", "cat", "/proc/self/cgroup", "--", "exit", "3"]}]}
    r = rt.run("exit", "0", check=1)
    assert "startContainer hook #0 (/ct): exit status 3" in r.err
    rt.config["hooks"] = {"startContainer": [{"path": "/ct", "args": ["ct", "write", "/hooked", "x"]}]}
    rt.set("process.user", {"uid": 1000, "gid": 1000})
    os.chmod(rt.rootfs, 0o777)
    rt.run("exit", "0")
    assert (rt.rootfs / "hooked").stat().st_uid == 1000


@pytest.mark.parametrize("point", ["prestart", "createRuntime", "createContainer"])
def test_a_failing_hook_stops_the_creation(rt, point):
    hooks(rt, [point], code=4)
    r = rt.create("sleep", "100", check=1)
    assert f"error running {point} hook #0" in r.err and "exit status 4" in r.err
    assert not rt.root.joinpath(rt.id).exists()


def test_a_failing_poststop_hook_is_a_warning(rt):
    hooks(rt, ["poststop"], code=4)
    rt.up("sleep", "1000")
    r = rt.delete()
    assert "level=warning" in r.err and "poststop" in r.err


def test_a_failing_poststart_hook_stops_the_container(rt):
    """runtime.md, Lifecycle, step 9: an error, and on to step 12: destroyed, and the poststop hooks run."""
    log = hooks(rt, ["poststart", "poststop"], code=4)
    rt.create("sleep", "1000")
    pid = rt.state()["pid"]
    r = rt.start(check=1)
    assert "poststart hook #0" in r.err and "exit status 4" in r.err
    assert [json.loads(l.split(" ", 1)[1])["status"] for l in log.read_text().splitlines()] == ["running", "stopped"]
    assert dead(pid)
    assert not rt.root.joinpath(rt.id).exists()
    assert "does not exist" in rt.call("state", rt.id, check=1).err
    log.unlink()
    assert "poststart hook #0" in rt.run("sleep", "1000", check=1).err
    assert [l.split(" ")[0] for l in log.read_text().splitlines()] == ["poststart", "poststop"]
    assert not rt.root.joinpath(rt.id).exists()


def test_hook_timeout(rt):
    seconds = str(100000 + os.getpid())  # another run of this test beside us has another
    rt.config["hooks"] = {"prestart": [{"path": "/bin/sleep", "args": ["sleep", seconds], "timeout": 1}]}
    t = time.monotonic()
    r = rt.create("sleep", "100", check=1)
    assert "ran past specified timeout of 1 s" in r.err and time.monotonic() - t < 5 * SLOWER
    assert not processes_with("sleep\000" + seconds)


def test_hook_that_ends_in_time_without_pidfds(rt, helpers):
    rt.prefix = [str(helpers["deny"]), "434"]  # pidfd_open
    rt.config["hooks"] = {"prestart": [{"path": "/bin/sleep", "args": ["sleep", "0.2"], "timeout": 30}]}
    t = time.monotonic()
    assert rt.run("exit", "0").code == 0 and time.monotonic() - t < 20 * SLOWER
    rt.config["hooks"]["prestart"][0].update(args=["sleep", "1000"], timeout=1)
    assert "ran past specified timeout of 1 s" in rt.run("exit", "0", check=1).err


def test_hook_that_is_missing(rt):
    rt.config["hooks"] = {"prestart": [{"path": "/no/such/hook"}]}
    assert "(/no/such/hook): execute: No such file or directory" in rt.create("sleep", "100", check=1).err


def test_changes_of_the_bundle_after_create_have_no_effect(rt):
    log = hooks(rt, ["poststop"])
    rt.create("sleep", "1000")
    (rt.bundle / "config.json").unlink()
    rt.start()
    rt.call("exec", rt.id, "/ct", "ids", check=0)
    rt.delete()
    assert log.read_text().startswith("poststop")


# ---- log, features, spec

def test_json_log_has_the_error_as_containerd_reads_it(rt):
    rt.config["process"]["args"] = ["/nothing"]
    rt.save()
    log = rt.tmp / "log.json"
    p = rt.quiet("--log", str(log), "--log-format", "json", "create", rt.id, check=1)
    lines = [json.loads(l) for l in log.read_text().splitlines()]
    assert lines[-1]["level"] == "error" and 'exec: "/nothing": stat /nothing: no such file or directory' in lines[-1]["msg"]
    assert lines[-1]["time"].endswith("Z") and "no such file" in p.err


def test_features(rt):
    f = json.loads(rt.call("features", check=0).out)
    assert f["ociVersionMax"] == "1.2.0" and "rro" in f["mountOptions"] and f["linux"]["seccomp"]["enabled"]
    assert set(f["linux"]["namespaces"]) == {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}
    assert f["linux"]["mountExtensions"]["idmap"]["enabled"] and f["linux"]["cgroup"]["systemd"]


def test_three_names(rt):
    """knarr-run runtime, knarr runtime (which executes it) and knarr-runc are one."""
    link = rt.tmp / "knarr-runc"
    link.symlink_to(BUILD / "src/app/knarr-run")
    rt.up("sleep", "1000")
    said = {subprocess.run([*words, "--root", str(rt.root), "state", rt.id], check=True, capture_output=True).stdout
            for words in ([str(PROGRAM), "runtime"], [str(BUILD / "src/app/knarr"), "runtime"], [str(link)])}
    assert len(said) == 1 and json.loads(said.pop())["status"] == "running"


def test_version(rt):
    out = rt.call("--version", check=0).out
    assert "spec: 1.2.0" in out and "libseccomp:" in out


@pytest.mark.parametrize("rootless", [False, True])
def test_spec_writes_a_configuration_that_runs(rt, rootless):
    rt.call("spec", "--bundle", str(rt.bundle), *(["--rootless"] if rootless else []), check=0)
    c = json.loads((rt.bundle / "config.json").read_text())
    assert "exists" in rt.call("spec", "--bundle", str(rt.bundle), check=1).err
    c["process"]["terminal"] = False
    c["process"]["args"] = ["/ct", "echo", "works"]
    (rt.bundle / "config.json").write_text(json.dumps(c))
    assert rt.call("run", rt.id, check=0).out == "works\n"


def test_usage_errors(rt):
    assert "flag provided but not defined" in rt.call("create", "--nope", "x", check=1).err
    assert rt.call("nope").code == 3
    assert "container id cannot be empty" in rt.call("start", check=1).err
    assert "invalid log-format" in rt.call("--log-format", "xml", "list", check=1).err
    assert "unknown signal" in rt.call("kill", "x", "NOSUCH", check=1).err
