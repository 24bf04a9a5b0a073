"""Filters: compiled, kept, loaded; notification."""
import json
import os
import socket
import struct
import threading

NR = {"getpriority": 140, "mkdir": 83, "getpid": 39, "uname": 63}


def deny(*names, errno=13, **more):
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": errno}], **more}


def test_errno_and_default(rt):
    rt.set("linux.seccomp", deny("getpriority", "unknown_to_everybody"))
    assert rt.run("syscall", "140", "39").out == "syscall 140 EACCES\nsyscall 39 ok\n"


def test_arguments(rt):
    rt.set("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                             "syscalls": [{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
                                           "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]},
                                          {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
                                           "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]}]})
    assert rt.run("syscall", "140", "135").out == "syscall 140 EIO\nsyscall 135 ok\n"


def test_kill(rt):
    rt.set("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getpriority"], "action": "SCMP_ACT_KILL_PROCESS"}]})
    assert rt.run("syscall", "140", check=None).code == 128 + 31


ALLOWED = ["read", "write", "exit", "exit_group", "execve", "brk", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64",
           "readlink", "readlinkat", "getrandom", "mprotect", "newfstatat", "fstat", "ioctl", "mmap", "munmap", "rt_sigaction", "rt_sigprocmask", "close",
           "capset", "prctl", "setgroups", "setresuid", "setresgid", "capget", "chdir", "getcwd", "stat", "lstat", "faccessat", "faccessat2", "access",
           "sendmsg", "recvmsg", "close_range", "openat", "open", "lseek", "getpid", "setuid", "setgid", "umask", "futex"]


def test_unknown_newer_calls_are_enosys_not_eperm(rt):
    for nnp in (False, True):
        rt.set("process.noNewPrivileges", nnp)
        rt.set("linux.seccomp", {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": [{"names": ALLOWED, "action": "SCMP_ACT_ALLOW"}]})
        assert rt.run("syscall", "83", "999").out == "syscall 83 EPERM\nsyscall 999 ENOSYS\n"


def test_the_filter_need_not_allow_what_waiting_needs(rt):
    rt.set("linux.seccomp", {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ALLOWED, "action": "SCMP_ACT_ALLOW"}]})
    for nnp in (False, True):
        rt.set("process.noNewPrivileges", nnp)
        rt.create("exit", "0")
        rt.start()
        rt.wait_status("stopped")
        rt.delete()


def test_compiled_once(rt):
    rt.set("linux.seccomp", deny("getpriority"))
    rt.run("syscall", "140")
    cache = list((rt.root / "seccomp").iterdir())
    assert len(cache) == 1
    before = cache[0].stat().st_mtime_ns
    rt.run("syscall", "140")
    assert cache[0].stat().st_mtime_ns == before
    data = cache[0].read_bytes()
    cache[0].write_bytes(data[:-8])  # damaged: compiled anew, never loaded
    assert rt.run("syscall", "140").out == "syscall 140 EACCES\n"
    assert cache[0].read_bytes() == data


def test_notify(rt):
    path = str(rt.tmp / "listener.sock")
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen(1)
    got = {}

    def agent():
        c, _ = s.accept()
        data, fds, _, _ = socket.recv_fds(c, 65536, 1)
        got["state"], got["fd"] = json.loads(data), fds[0]
        import fcntl
        notif = bytearray(80)
        fcntl.ioctl(fds[0], 0xC0502100, notif)  # SECCOMP_IOCTL_NOTIF_RECV
        ident, pid, _, nr = struct.unpack_from("<QIIi", notif)
        got["nr"] = nr
        resp = bytearray(struct.pack("<QqiI", ident, 0, -71, 0))
        fcntl.ioctl(fds[0], 0xC0182101, resp)  # SECCOMP_IOCTL_NOTIF_SEND
    for how in ("run", "create"):
        t = threading.Thread(target=agent, daemon=True)
        t.start()
        rt.set("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "meta",
                                 "syscalls": [{"names": ["getpriority"], "action": "SCMP_ACT_NOTIFY"}]})
        if how == "run":
            assert rt.run("syscall", "140").out == "syscall 140 EPROTO\n"
        else:
            rt.create("syscall", "140")
            rt.start()
            rt.wait_status("stopped")
        t.join(5)
        assert got["nr"] == 140 and got["state"]["metadata"] == "meta" and got["state"]["fds"] == ["seccompFd"]
        assert got["state"]["state"]["id"] == rt.id and got["state"]["pid"] == got["state"]["state"]["pid"]
        os.close(got["fd"])
        rt.delete()
