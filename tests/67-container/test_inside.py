"""What a container sees: users, environment, capabilities, mounts, limits, devices, names."""
import os
import re

from conftest import refused


def facts(text):
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)


def status(engine, **args):
    text = engine.run("cat", "/proc/self/status", **args)
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_users(engine):
    for user, uid, gid, groups in (("", 0, 0, {"0"}), ("ann", 1000, 1000, {"1000", "10"}), ("1000", 1000, 1000, {"1000", "10"}),
                                   ("ann:audio", 1000, 29, {"29"}), ("5:6", 5, 6, {"6"}), ("77", 77, 0, {"0"})):
        f = facts(engine.run("ids", User=user))
        assert (int(f["uid"]), int(f["gid"]), set(f["groups"].split())) == (uid, gid, groups), user
    f = facts(engine.run("ids", User="ann", host={"GroupAdd": ["audio", "555"]}))
    assert set(f["groups"].split()) == {"1000", "10", "29", "555"}
    for user, words in (("bob", "unable to find user bob: no matching entries in passwd file"),
                        ("ann:nogroup", "unable to find group nogroup: no matching entries in group file"),
                        ("99999999999", "uids and gids must be in range 0-2147483647")):
        id = engine.create("ids", User=user)
        refused(lambda: engine.start(id), "INVALID_REQUEST", words)


def test_environment(engine):
    env = set(engine.run("env", Env=["A=1", "PATH=/bin"], User="ann", Hostname="box").splitlines())
    assert env == {"A=1", "PATH=/bin", "HOSTNAME=box", "HOME=/home/ann"}
    env = engine.run("env", Env=["HOME=/mine"], Tty=True).split("\r\n")
    assert "HOME=/mine" in env and "TERM=xterm" in env


def test_names_and_folder(engine):
    text = engine.run("uname", "--", "pwd", "--", "cat", "/etc/hostname", Hostname="box", Domainname="example", WorkingDir="/made/here")
    assert "nodename box\ndomainname example\n" in text and "cwd /made/here\nbox\n" in text
    id = engine.create("uname")
    assert engine.inspect(id)["Config"]["Hostname"] == id[:12]


def test_default_capabilities(engine):
    s = status(engine)
    assert s["CapEff"] == s["CapBnd"] == "00000000a80425fb" and s["CapInh"] == "0000000000000000"
    assert s["Seccomp"] == "2" and s["NoNewPrivs"] == "0"


def test_capability_options(engine):
    assert status(engine, host={"CapDrop": ["ALL"], "CapAdd": ["NET_ADMIN"]})["CapBnd"] == f"{1 << 12:016x}"
    assert status(engine, host={"CapDrop": ["CAP_CHOWN"]})["CapBnd"] == f"{0xa80425fb & ~1:016x}"
    everything = int(re.search("CapBnd:\t(.*)", open("/proc/self/status").read())[1], 16)
    assert status(engine, host={"CapAdd": ["all"], "CapDrop": ["CHOWN"]})["CapBnd"] == f"{everything & ~1:016x}"
    s = status(engine, host={"Privileged": True})
    assert s["CapEff"] == f"{everything:016x}" and s["Seccomp"] == "0"
    assert status(engine, User="ann")["CapEff"] == "0000000000000000"


def test_security_options(engine):
    assert status(engine, host={"SecurityOpt": ["no-new-privileges"]})["NoNewPrivs"] == "1"
    assert status(engine, host={"SecurityOpt": ["seccomp=unconfined"]})["Seccomp"] == "0"
    profile = '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["getpriority"],"action":"SCMP_ACT_ERRNO","errnoRet":5},' \
              '{"names":["getpid"],"action":"SCMP_ACT_ERRNO","errnoRet":6,"includes":{"caps":["CAP_SYS_ADMIN"]}}]}'
    assert engine.run("syscall", "140", "39", host={"SecurityOpt": ["seccomp=" + profile]}) == "syscall 140 EIO\nsyscall 39 ok\n"


def test_default_seccomp_profile(engine):
    # 175 init_module, 169 reboot, 272 unshare, 250 keyctl, 435 clone3, 425 io_uring_setup; 39 getpid
    text = engine.run("syscall", "175", "169", "272", "250", "435", "425", "39")
    words = dict(line.split()[1:] for line in text.splitlines())
    assert words == {"175": "EPERM", "169": "EPERM", "272": "EPERM", "250": "EPERM", "435": "ENOSYS", "425": "EPERM", "39": "ok"}


def test_mounts(engine):
    text = engine.run("cat", "/proc/self/mountinfo")
    at = {line.split()[4]: line for line in text.splitlines()}
    for target in ("/", "/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"):
        assert target in at, target
    assert "size=65536k" in at["/dev/shm"] and " ro," in at["/sys"] and at["/proc/sys"].split()[5].startswith("ro")
    masked = [p for p in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/sys/firmware") if os.path.exists(p)]
    assert masked and all(path in at for path in masked)
    text = engine.run("ls", "/dev")
    names = {line.split()[0] for line in text.splitlines()}
    assert names >= {"null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "ptmx", "fd", "stdin", "stdout", "stderr", "mqueue"}


def test_privileged_sees_everything(engine):
    at = {line.split()[4]: line for line in engine.run("cat", "/proc/self/mountinfo", host={"Privileged": True}).splitlines()}
    assert "/proc/kcore" not in at and "/proc/sys" not in at and " rw," in at["/sys"]


def test_shm_tmpfs_readonly(engine):
    text = engine.run("cat", "/proc/self/mountinfo", "--", "open", "/mine", "a", "--", "open", "/run/x", "a", "--", "open", "/dev/shm/x", "a",
                      host={"ShmSize": 1 << 20, "Tmpfs": {"/run": "size=64k,mode=700"}, "ReadonlyRootfs": True})
    assert "size=1024k" in text and "size=64k" in text
    assert "open /mine a: Read-only file system\nopen /run/x a: ok\nopen /dev/shm/x a: ok\n" in text


def test_limits(engine):
    text = engine.run("rlimits", host={"Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}, {"Name": "core", "Soft": -1, "Hard": -1}]})
    assert "rlimit 7 100 200\n" in text and f"rlimit 4 {2 ** 64 - 1} {2 ** 64 - 1}\n" in text
    assert engine.run("cat", "/proc/self/oom_score_adj", host={"OomScoreAdj": 300}) == "300\n"
    refused(lambda: engine.create("x", host={"Ulimits": [{"Name": "magic", "Soft": 1, "Hard": 1}]}), "INVALID_REQUEST", "invalid ulimit type: magic")


def test_sysctls_and_hosts(engine):
    text = engine.run("cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/kernel/shm_rmid_forced", "/etc/hosts",
                      host={"Sysctls": {"kernel.shm_rmid_forced": "1"}, "ExtraHosts": ["db:10.0.0.9"]})
    assert text.startswith("0\n1\n127.0.0.1\tlocalhost") and "10.0.0.9\tdb\n" in text


def test_devices(engine):
    text = engine.run("ls", "/dev", "--", "open", "/dev/mine", "r", host={"Devices": [{"PathOnHost": "/dev/zero", "PathInContainer": "/dev/mine",
                                                                                      "CgroupPermissions": "r"}]})
    assert "mine 020666 0:0 1,5" in text and "open /dev/mine r: ok" in text
    id = engine.create("x", host={"Devices": [{"PathOnHost": "/dev/nosuch", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}]})
    refused(lambda: engine.start(id), "INVALID_REQUEST", 'error gathering device information while adding custom device "/dev/nosuch": no such file or directory')


def test_namespaces_of_others(engine):
    a = engine.create("sleep", "100", host={"IpcMode": "shareable"})
    b = engine.create("readlink", "/proc/self/ns/net", "/proc/self/ns/pid", "/proc/self/ns/ipc", "--", "ls", "/dev/shm",
                      host={"NetworkMode": "container:" + a, "PidMode": "container:" + a, "IpcMode": "container:" + a})
    refused(lambda: engine.start(b), "IN_USE", f"cannot join PID of a non running container: {a}")
    engine.start(a)
    pid = engine.state(a)["Pid"]
    open(f"/proc/{pid}/root/dev/shm/shared", "w").close()
    engine.start(b)
    assert engine.wait(b) == 0
    text = engine.log(b)
    for ns in ("net", "pid", "ipc"):
        assert os.readlink(f"/proc/{pid}/ns/{ns}") in text
    assert "shared" in text
    engine.call("remove", name=a, force=True)


def test_host_namespaces(engine):
    text = engine.run("readlink", "/proc/self/ns/net", "/proc/self/ns/pid", "/proc/self/ns/ipc", "/proc/self/ns/uts",
                      host={"NetworkMode": "host", "PidMode": "host", "IpcMode": "host", "UTSMode": "host"})
    for ns in ("net", "pid", "ipc", "uts"):
        assert os.readlink(f"/proc/self/ns/{ns}") in text


def test_memory_kill(engine):
    id = engine.create("eat", "200", host={"Memory": 32 << 20, "MemorySwap": 32 << 20})
    engine.start(id)
    code = engine.wait(id)
    assert code == 137 and engine.state(id)["OOMKilled"] and "oom" in engine.names(id)
