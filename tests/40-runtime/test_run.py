"""What a container is, seen from inside."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time

import pytest

from conftest import until


def test_exit_status_is_the_program_s(rt):
    assert rt.run("exit", "0").code == 0
    assert rt.run("exit", "7", check=7)


def test_output_and_input_pass(rt):
    r = rt.run("read", input=b"hello")
    assert r.out == "read hello"or r.out == "read hello\n"


def test_pid_one_in_its_own_session(rt):
    r = rt.run("ids")
    assert r.fact("pid") == "1" and r.fact("ppid") == "0" and r.fact("sid") == "1"


def test_namespaces_are_new_and_named(rt):
    names = ["pid", "net", "ipc", "uts", "mnt", "cgroup", "user", "time"]
    r = rt.run("readlink", *[f"/proc/self/ns/{n}" for n in names])
    for line in r.out.splitlines():
        _, path, value = line.split(" ")
        n = path.rsplit("/", 1)[1]
        same = os.readlink(f"/proc/self/ns/{n}") == value
        assert same == (n in ("user", "time")), n


def test_hostname_and_domainname(rt):
    rt.set("domainname", "example.org")
    r = rt.run("uname")
    assert r.fact("nodename") == "knarr-test" and r.fact("domainname") == "example.org"


def test_environment_arguments_folder(rt):
    rt.set("process.cwd", "/made/for/me")
    r = rt.run("env", "--", "pwd", "--", "args", "x y", "")
    assert "A=b" in r.out.splitlines() and "HOME=/" in r.out.splitlines()
    assert r.fact("cwd") == "/made/for/me"
    assert "arg x y\narg \n" in r.out


def test_home_comes_from_passwd(rt):
    (rt.rootfs / "etc").mkdir()
    (rt.rootfs / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nu:x:5:5::/home/u:/bin/sh\n")
    rt.set("process.user", {"uid": 5, "gid": 5})
    assert "HOME=/home/u" in rt.run("env").out.splitlines()


def test_user_groups_umask_nnp(rt):
    rt.set("process.user", {"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o77})
    rt.set("process.noNewPrivileges", True)
    r = rt.run("ids")
    assert (r.fact("uid"), r.fact("gid"), r.fact("groups")) == ("1000", "1001", "5 6")
    assert r.fact("umask") == "077" and r.fact("nnp") == "1"


def caps_of(r):
    return {l.split(":")[0][3:]: int(l.split("\t")[1], 16) for l in r.out.splitlines() if l.startswith("Cap")}


def test_capabilities_all_five_sets(rt):
    rt.set("process.capabilities", {"bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
                                    "effective": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"]})
    rt.set("process.user", {"uid": 1000, "gid": 1000})
    c = caps_of(rt.run("cat", "/proc/self/status"))
    assert c["Bnd"] == 1 << 5 | 1 | 1 << 13
    assert c["Inh"] == 1 and c["Amb"] == 1
    assert c["Prm"] == 1 and c["Eff"] == 1  # what exec leaves of them for a program without file capabilities


def test_capabilities_that_cannot_be_granted_are_warnings(rt):
    own = [l for l in pathlib.Path("/proc/self/status").read_text().splitlines() if l.startswith("CapPrm")][0]
    own = int(own.split()[1], 16)
    names = ["CAP_SYS_RESOURCE", "CAP_KILL"]
    rt.set("process.capabilities", {k: names + ["CAP_OF_THE_FUTURE"] for k in ("bounding", "permitted", "effective", "inheritable")})
    r = rt.run("cat", "/proc/self/status")
    c = caps_of(r)
    assert c["Prm"] == (1 << 5 | 1 << 24) & own and "unknown, not granted: CAP_OF_THE_FUTURE" in r.err
    assert ("not granted, because this machine does not give them: CAP_SYS_RESOURCE" in r.err) == (not own >> 24 & 1)


def test_no_capabilities_object_means_none(rt):
    del rt.config["process"]["capabilities"]
    c = caps_of(rt.run("cat", "/proc/self/status"))
    assert c["Bnd"] == c["Prm"] == c["Eff"] == c["Inh"] == c["Amb"] == 0


def test_rlimits(rt):
    rt.set("process.rlimits", [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}])
    r = rt.run("rlimits")
    assert "rlimit 7 100 200" in r.out.splitlines() and "rlimit 4 0 0" in r.out.splitlines()


def has_cap(bit):
    for l in pathlib.Path("/proc/self/status").read_text().splitlines():
        if l.startswith("CapEff"):
            return int(l.split()[1], 16) >> bit & 1
    return 0


@pytest.mark.skipif(has_cap(24), reason="this machine gives CAP_SYS_RESOURCE: raising works")
def test_raising_a_hard_limit_is_one_clear_warning(rt):
    rt.set("process.rlimits", [{"type": "RLIMIT_NOFILE", "soft": 1 << 30, "hard": 1 << 30}])
    r = rt.run("rlimits")
    assert r.err.count("level=warning") == 1 and "RLIMIT_NOFILE stays at" in r.err and "CAP_SYS_RESOURCE" in r.err


def test_oom_score(rt):
    rt.set("process.oomScoreAdj", 100)
    assert rt.run("cat", "/proc/self/oom_score_adj").out == "100\n"


@pytest.mark.skipif(has_cap(24), reason="this machine gives CAP_SYS_RESOURCE: lowering works")
def test_lowering_the_oom_score_is_one_clear_warning(rt):
    rt.set("process.oomScoreAdj", -1000)
    r = rt.run("cat", "/proc/self/oom_score_adj")
    assert r.err.count("level=warning") == 1 and "process.oomScoreAdj: stays at" in r.err


def test_scheduler_io_priority_personality(rt):
    rt.set("process.scheduler", {"policy": "SCHED_BATCH", "nice": 5})
    rt.set("process.ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 6})
    rt.set("linux.personality", {"domain": "LINUX32"})
    r = rt.run("sched", "--", "uname")
    assert r.fact("policy") == "3" and r.fact("nice") == "5" and r.fact("ioprio") == str(2 << 13 | 6)
    assert r.fact("machine") == "i686"


def test_time_offsets(rt):
    rt.ns("time")
    rt.set("linux.timeOffsets", {"monotonic": {"secs": 100000}, "boottime": {"secs": 200000, "nanosecs": 5}})
    host = time.clock_gettime(time.CLOCK_MONOTONIC), time.clock_gettime(time.CLOCK_BOOTTIME)
    r = rt.run("clock")
    assert 99990 < int(r.fact("monotonic")) - host[0] < 100030
    assert 199990 < int(r.fact("boottime")) - host[1] < 200030


def test_sysctl(rt):
    rt.set("linux.sysctl", {"net.ipv4.ip_forward": "1", "kernel.shmmni": "1234", "net/core/somaxconn": "77"})
    before = pathlib.Path("/proc/sys/net/core/somaxconn").read_text()
    r = rt.run("cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shmmni", "/proc/sys/net/core/somaxconn")
    assert r.out == "1\n1234\n77\n"
    assert pathlib.Path("/proc/sys/net/core/somaxconn").read_text() == before


def test_loopback_is_up(rt):
    assert "127.0.0.1" in rt.run("cat", "/proc/net/fib_trie").out


def test_devices_and_links(rt):
    rt.set("linux.devices", [{"path": "/dev/made", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 3, "gid": 4},
                             {"path": "/dev/sub/pipe", "type": "p", "fileMode": 0o600}])
    rows = {l.split(" ")[0]: l.split(" ")[1:] for l in rt.run("ls", "/dev").out.splitlines()}
    for name, minor in (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)):
        assert rows[name][:3] == ["020666", "0:0", f"1,{minor}"]
    assert rows["tty"][2] == "5,0" and rows["made"][:3] == ["020640", "3:4", "1,3"]
    assert rows["ptmx"][3] == "pts/ptmx" and rows["fd"][3] == "/proc/self/fd" and rows["stderr"][3] == "/proc/self/fd/2"
    assert rt.run("stat", "/dev/sub/pipe").out.startswith("stat /dev/sub/pipe: 010600")


def test_masked_and_read_only_paths(rt):
    (rt.rootfs / "secret").write_text("s")
    (rt.rootfs / "hidden").mkdir()
    (rt.rootfs / "hidden/x").write_text("s")
    (rt.rootfs / "ro").mkdir()
    rt.config["linux"]["maskedPaths"] += ["/secret", "/hidden", "/not-there"]
    rt.config["linux"]["readonlyPaths"] += ["/ro", "/also-not-there"]
    r = rt.run("cat", "/secret", "--", "ls", "/hidden", "--", "open", "/ro/x", "a", "--", "open", "/proc/sys/kernel/panic", "w",
               "--", "cat", "/proc/keys")
    assert r.out == "open /ro/x a: Read-only file system\nopen /proc/sys/kernel/panic w: Read-only file system\n"


def test_read_only_root(rt):
    rt.set("root.readonly", True)
    assert rt.run("open", "/x", "a").out == "open /x a: Read-only file system\n"


def mount_lines(r):
    return {l.split(" ")[4]: l.split(" ")[5] + " " + l.split(" - ")[1] for l in r.out.splitlines() if " - " in l}


def test_mount_types_and_options(rt):
    src = rt.tmp / "src"
    src.mkdir()
    (src / "f").write_text("content")
    rt.mount(destination="/bind", type="bind", source=str(src), options=["rbind", "ro", "nosuid", "nodev", "noexec"])
    rt.mount(destination="/new/deep/file", source=str(src / "f"), options=["bind"])
    rt.mount(destination="/t", type="tmpfs", source="tmpfs", options=["size=1m", "noexec", "noatime"])
    rt.mount(destination="/mq", type="mqueue", source="mqueue")
    rt.mount(destination="/rel", source="rootfs", options=["bind", "rro"])  # relative to the bundle
    m = mount_lines(rt.run("cat", "/proc/self/mountinfo"))
    assert m["/bind"].startswith("ro,nosuid,nodev,noexec")
    assert m["/t"].startswith("rw,noexec,noatime") and "size=1024k" in m["/t"]
    assert "mqueue" in m["/mq"] and m["/rel"].startswith("ro")
    assert rt.run("cat", "/new/deep/file").out == "content"
    assert "Read-only" in rt.run("open", "/bind/f", "w").out


def test_recursive_attributes(rt):
    src = rt.tmp / "src"
    (src / "sub").mkdir(parents=True)
    rt.mount(destination="/a", type="tmpfs", source="tmpfs")
    subprocess.run(["mount", "-t", "tmpfs", "t", str(src / "sub")], check=True)
    try:
        rt.mount(destination="/rec", source=str(src), options=["rbind", "rro", "rnosuid"])
        rt.mount(destination="/plain", source=str(src), options=["rbind", "ro"])
        m = mount_lines(rt.run("cat", "/proc/self/mountinfo"))
        assert m["/rec"].startswith("ro,nosuid") and m["/rec/sub"].startswith("ro,nosuid")
        assert m["/plain"].startswith("ro") and m["/plain/sub"].startswith("rw")
    finally:
        subprocess.run(["umount", str(src / "sub")], check=True)


def test_propagation(rt):
    def shared(line):
        return line.split(" - ")[0].split(" ")[6:]
    src = rt.tmp / "src"
    src.mkdir()
    for o, want in (("private", ""), ("shared", "shared:"), ("unbindable", "unbindable")):
        rt.mount(destination="/" + o, source=str(src), options=["bind", o])
    for l in rt.run("cat", "/proc/self/mountinfo").out.splitlines():
        p = l.split(" ")[4]
        if p == "/private":
            assert shared(l) == []
        elif p == "/shared":
            assert any(x.startswith("shared:") for x in shared(l))
        elif p == "/unbindable":
            assert "unbindable" in shared(l)


@pytest.mark.parametrize("kind", ["shared", "slave", "private", "unbindable"])
def test_root_propagation(rt, kind):
    rt.set("linux.rootfsPropagation", kind)
    fields = next(l for l in rt.run("cat", "/proc/self/mountinfo").out.splitlines() if l.split(" ")[4] == "/").split(" - ")[0].split(" ")[6:]
    if kind == "shared":
        assert any(f.startswith("shared:") for f in fields)
    elif kind == "unbindable":
        assert fields == ["unbindable"]
    else:
        assert not any(f.startswith("shared:") for f in fields)


def test_tmpfs_copy_up(rt):
    d = rt.rootfs / "data/sub"
    d.mkdir(parents=True)
    (d / "f").write_text("kept")
    os.symlink("sub/f", rt.rootfs / "data/link")
    os.chmod(rt.rootfs / "data/sub", 0o750)
    rt.mount(destination="/data", type="tmpfs", source="tmpfs", options=["tmpcopyup", "ro"])
    r = rt.run("cat", "/data/sub/f", "--", "open", "/data/x", "a", "--", "stat", "/data/sub", "--", "readlink", "/data/link")
    assert r.out.startswith("keptopen /data/x a: Read-only file system\nstat /data/sub: 040750")
    assert r.fact("readlink") == "/data/link sub/f"
    assert (d / "f").read_text() == "kept"


def idmap_possible(tmp):
    return os.uname().release.split(".")[0] >= "5"


def test_idmapped_mount(rt):
    src = rt.tmp / "src"
    src.mkdir()
    (src / "f").write_text("x")
    os.chown(src / "f", 1000, 2000)
    maps = dict(uidMappings=[{"containerID": 1000, "hostID": 5000, "size": 1}, {"containerID": 0, "hostID": 0, "size": 1}],
                gidMappings=[{"containerID": 2000, "hostID": 6000, "size": 1}, {"containerID": 0, "hostID": 0, "size": 1}])
    rt.mount(destination="/m", source=str(src), options=["bind", "idmap"], **maps)
    assert " 5000:6000 " in rt.run("stat", "/m/f").out


def test_user_namespace(rt):
    rt.user_ns(gids=200000)
    rt.set("process.user", {"uid": 3, "gid": 4, "additionalGids": [7]})
    r = rt.run("ids", "--", "cat", "/proc/self/uid_map", "--", "stat", "/dev/null", "--", "open", "/dev/zero", "r")
    assert (r.fact("uid"), r.fact("gid"), r.fact("groups")) == ("3", "4", "7")
    assert "         0     100000      65536" in r.out
    assert "1,3" in r.out and "open /dev/zero r: ok" in r.out


def test_user_namespace_with_the_host_s_network_gets_sysfs_bound(rt):
    rt.user_ns()
    rt.no_ns("network")
    m = mount_lines(rt.run("cat", "/proc/self/mountinfo"))
    assert "sysfs" in m["/sys"] and m["/sys"].startswith("ro")


def test_joining_namespaces_by_path(rt):
    p = subprocess.Popen(["unshare", "-n", "-i", "-u", "sleep", "100"])
    try:
        # unshare(1) makes them one after the other, and is sleep when it has.
        until(lambda: os.readlink(f"/proc/{p.pid}/exe") == os.path.realpath(shutil.which("sleep")))
        for kind, f in (("network", "net"), ("ipc", "ipc"), ("uts", "uts")):
            rt.ns(kind, f"/proc/{p.pid}/ns/{f}")
        r = rt.run("readlink", "/proc/self/ns/net", "/proc/self/ns/ipc", "/proc/self/ns/uts")
        assert [l.split(" ")[2] for l in r.out.splitlines()] == [os.readlink(f"/proc/{p.pid}/ns/{f}") for f in ("net", "ipc", "uts")]
    finally:
        p.kill()
        p.wait()


def test_joining_pid_and_user_namespaces(rt):
    rt.user_ns()
    rt.up()
    pid = rt.state()["pid"]
    saved, saved_id = json.loads(json.dumps(rt.config)), rt.id
    try:
        rt.id = saved_id + "b"
        for kind, f in (("user", "user"), ("pid", "pid"), ("ipc", "ipc"), ("uts", "uts")):
            rt.ns(kind, f"/proc/{pid}/ns/{f}")
        del rt.config["linux"]["uidMappings"], rt.config["linux"]["gidMappings"], rt.config["hostname"]
        r = rt.run("readlink", "/proc/self/ns/user", "/proc/self/ns/pid", "--", "ids")
        assert r.out.splitlines()[0].split(" ")[2] == os.readlink(f"/proc/{pid}/ns/user")
        assert r.out.splitlines()[1].split(" ")[2] == os.readlink(f"/proc/{pid}/ns/pid")
        assert int(r.fact("pid")) > 1
    finally:
        rt.id, rt.config = saved_id, saved
        rt.delete()


def test_keyring_is_not_shared(rt):
    assert "_ses." + rt.id in rt.run("keyring").out
    rt.run("keyring", options=["--no-new-keyring"])
    rt.up("sleep", "1000")
    assert "_ses." + rt.id in rt.call("exec", rt.id, "/ct", "keyring", check=0).out


def test_cgroup_mount_shows_the_container_s_own(rt):
    rt.mount(destination="/sys/fs/cgroup", type="cgroup", source="cgroup", options=["nosuid", "noexec", "nodev", "relatime", "ro"])
    r = rt.run("cat", "/proc/self/cgroup", "--", "ls", "/sys/fs/cgroup")
    assert all(l.endswith(":/") for l in r.out.splitlines() if l[:1].isdigit())
    rt.no_ns("cgroup")
    r = rt.run("cat", "/proc/self/cgroup", "--", "ls", "/sys/fs/cgroup")
    assert rt.id in r.out


def test_terminal_through_console_socket(rt):
    rt.set("process.terminal", True)
    rt.set("process.consoleSize", {"width": 100, "height": 40})
    path = str(rt.tmp / "console.sock")
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen(1)
    rt.create("tty", options=["--console-socket", path])
    c, _ = s.accept()
    data, fds, _, _ = socket.recv_fds(c, 100, 1)
    assert data == b"/dev/ptmx" and len(fds) == 1
    rt.start()
    rt.wait_status("stopped")
    out = b""
    try:
        while len(out) < 200:
            got = os.read(fds[0], 100)
            if not got:
                break
            out += got
    except OSError:
        pass
    assert b"tty 1 /dev/pts/0" in out and b"console same" in out
    os.close(fds[0])


def test_terminal_relayed_in_the_foreground(rt):
    rt.set("process.terminal", True)
    r = rt.run("tty", input=b"")
    assert "tty 1 /dev/pts/0" in r.out


def test_terminal_without_a_socket_is_refused(rt):
    rt.set("process.terminal", True)
    r = rt.create("tty", check=1)
    assert "cannot allocate tty if runc will detach without setting console socket" in r.err


def test_preserved_descriptors(rt):
    r, w = os.pipe()
    os.set_inheritable(r, True)
    rt.args("fds")
    rt.save()
    p = rt.call("run", "--preserve-fds", "1", rt.id, check=0, pass_fds=[r] if r == 3 else [], preexec_fn=lambda: os.dup2(r, 3), close_fds=False)
    assert [l.split()[1] for l in p.out.splitlines()] == ["0", "1", "2", "3"]
    p = rt.call("run", rt.id, check=0, preexec_fn=lambda: os.dup2(r, 9), close_fds=False)
    assert [l.split()[1] for l in p.out.splitlines()] == ["0", "1", "2"]


def test_annotations_are_in_the_state(rt):
    rt.set("annotations", {"a.b": "c"})
    rt.create("exit", "0")
    s = rt.state()
    assert s["annotations"] == {"a.b": "c"} and s["ociVersion"] == "1.0.2" and s["bundle"] == str(rt.bundle)
    assert s["status"] == "created" and s["pid"] > 0 and s["id"] == rt.id


def test_no_pivot(rt):
    assert rt.run("ls", "/", options=["--no-pivot"]).out.count("ct ") == 1


def test_without_mount_namespace_mounts_go_with_the_container(rt):
    rt.no_ns("mount", "cgroup", "pid", "network", "ipc", "uts")
    del rt.config["hostname"]
    rt.set("linux.maskedPaths", [])
    rt.set("linux.readonlyPaths", [])

    def mounts():
        """Namespaces that others name, and what lies in others' folders, come and go on a machine that is not ours alone."""
        lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
        return [l for l in lines if str(rt.tmp) in l or not l.split(" ")[4].startswith(("/run/netns/", "/tmp/"))]
    before = mounts()
    r = rt.run("ls", "/", "--", "readlink", "/proc/self/ns/mnt")
    assert "ct " in r.out and os.readlink("/proc/self/ns/mnt") in r.out
    assert mounts() == before
    rt.mount(destination="/x", type="nofs", source="x")
    rt.run(check=1)
    assert mounts() == before


def test_systemd_cgroup_path_is_made_directly(rt):
    rt.set("linux.cgroupsPath", f"knarrtest.slice:knarr:{rt.id}")
    rt.no_ns("cgroup")
    rt.args("cat", "/proc/self/cgroup")
    rt.save()
    r = rt.call("--systemd-cgroup", "run", rt.id, check=0)
    assert f"/knarrtest.slice/knarr-{rt.id}.scope" in r.out
    for d in pathlib.Path("/sys/fs/cgroup").glob("**/knarrtest.slice"):
        d.rmdir()


def test_rootless(rt):
    """Everything as a user without any right: own map, no cgroup that could be written."""
    import shutil
    from conftest import PROGRAM
    home = rt.tmp / "home"
    shutil.copytree(rt.bundle, home)
    program = home / "knarr-runc"
    shutil.copy(PROGRAM, program)
    subprocess.run(["chown", "-R", "12345:12345", str(home)], check=True)
    os.chmod(rt.tmp, 0o755)
    user = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "env", f"XDG_RUNTIME_DIR={home}", str(program)]

    def call(*words, code=0):
        p = subprocess.run([*user, *words], cwd=home, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        assert p.returncode == code, (words, p.stdout, p.stderr)
        return p.stdout.decode()
    call("spec", "--rootless")
    c = json.loads((home / "config.json").read_text())
    c["process"]["terminal"] = False
    c["process"]["args"] = ["/ct", "ids", "--", "cat", "/proc/self/uid_map", "--", "stat", "/dev/null", "--", "cat", "/proc/keys"]
    (home / "config.json").write_text(json.dumps(c))
    out = call("run", "r1")
    assert "uid 0\n" in out and "         0      12345          1" in out and "1,3" in out
    c["process"]["args"] = ["/ct", "sleep", "1000"]
    (home / "config.json").write_text(json.dumps(c))
    p = subprocess.run([*user, "run", "-d", "r2"], cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=60)
    assert p.returncode == 0
    try:
        assert "uid 0\n" in call("exec", "r2", "/ct", "ids")
        assert json.loads(call("list", "-f", "json"))[0]["owner"] == "12345"
    finally:
        call("delete", "--force", "r2")
    assert list((home / "knarr/runtime").iterdir()) == []
