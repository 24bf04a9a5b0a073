"""Known attacks, replayed."""
import ctypes
import hashlib
import os
import pathlib
import shutil
import subprocess
import threading
import time

import pytest

from conftest import LONG, PROGRAM, SLOWER, until


# CVE-2024-21626: a descriptor of the host's, leaked into the container, reached through the working directory
@pytest.mark.parametrize("n", range(3, 20))
def test_no_descriptor_leads_out_through_cwd(rt, n):
    rt.set("process.cwd", f"/proc/self/fd/{n}")
    r = rt.run("pwd", "--", "ls", "..", check=None)
    assert r.code != 0 and "pwd" not in r.out and "process.cwd" in r.err, (r.out, r.err)


def test_no_descriptor_leads_out_through_cwd_of_exec(rt):
    os.symlink("/proc/self/fd", rt.rootfs / "fds")
    rt.up("sleep", "1000")
    for n in range(3, 20):
        for path in (f"/proc/self/fd/{n}", f"/fds/{n}"):
            r = rt.call("exec", "--cwd", path, rt.id, "/ct", "pwd", "--", "ls", ".")
            assert r.code == 255 and "process.cwd" in r.err, (n, r.out, r.err)


def test_a_folder_left_open_by_the_caller_is_closed(rt):
    d = os.open("/etc", os.O_RDONLY)
    rt.set("process.cwd", "/proc/self/fd/7")
    rt.args("ls", ".")
    rt.save()
    r = rt.call("run", rt.id, preexec_fn=lambda: os.dup2(d, 7), close_fds=False)
    assert r.code != 0 and "passwd" not in r.out
    rt.set("process.cwd", "/")
    rt.args("fds")
    rt.save()
    r = rt.call("run", rt.id, check=0, preexec_fn=lambda: os.dup2(d, 7), close_fds=False)
    assert r.out.count("fd ") == 3


def test_a_preserved_folder_cannot_be_the_working_directory(rt):
    d = os.open("/etc", os.O_RDONLY)
    rt.set("process.cwd", "/proc/self/fd/3")
    rt.args("ls", ".")
    rt.save()
    r = rt.call("run", "--preserve-fds", "1", rt.id, preexec_fn=lambda: os.dup2(d, 3), close_fds=False)
    assert r.code != 0 and "passwd" not in r.out


# CVE-2019-5736: the runtime's program file is overwritten from inside
def sha(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


@pytest.fixture
def own_program(rt):
    """A copy of the program that may be destroyed, on a writable file system."""
    copy = rt.tmp / "knarr-run"
    shutil.copy(PROGRAM, copy)
    return copy


def call(rt, program, *words):
    p = subprocess.run([str(program), "runtime", "--root", str(rt.root), *words], capture_output=True, cwd=rt.bundle, timeout=60)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def test_program_cannot_be_overwritten_by_a_watcher(rt, own_program):
    before = sha(own_program)
    rt.set("process.capabilities", {k: rt.config["process"]["capabilities"]["bounding"] + ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"] for k in ("bounding", "effective", "permitted")})
    rt.config["process"]["args"] = ["/ct", "overwrite", "8" if LONG else "4"]
    log = open(rt.tmp / "out", "wb")
    rt.save()
    p = subprocess.Popen([str(own_program), "runtime", "--root", str(rt.root), "run", rt.id], cwd=rt.bundle, stdout=log, stderr=log)
    while not (rt.root / rt.id / "state.json").exists():
        time.sleep(0.01)
    time.sleep(0.2)
    # every exec runs our program inside for a while: through the entry, and as the program itself
    (rt.rootfs / "again").write_text("#!/proc/self/exe\n")
    (rt.rootfs / "again").chmod(0o755)
    while p.poll() is None:
        for words in (["exec", rt.id, "/ct", "exit", "0"], ["exec", rt.id, "/again"], ["exec", rt.id, "/proc/self/exe", "--version"]):
            subprocess.run([str(own_program), "runtime", "--root", str(rt.root), *words], cwd=rt.bundle, capture_output=True)
    out = (rt.tmp / "out").read_text()
    assert "written 0" in out and "seen 0 " not in out, out
    assert sha(own_program) == before


def test_program_cannot_be_overwritten_by_the_image(rt, own_program):
    before = sha(own_program)
    rt.config["process"]["args"] = ["/proc/self/exe", "runtime", "--version"]
    rt.save()
    code, out, err = call(rt, own_program, "run", rt.id)
    assert code == 0 and "knarr-runc version" in out, err  # it may run; what runs is on a read-only mount
    os.symlink("/proc/self/exe", rt.rootfs / "link")
    for program in ("/link", "/proc/1/exe"):
        rt.config["process"]["args"] = [program, "runtime", "--version"]
        rt.save()
        code, out, err = call(rt, own_program, "run", rt.id)
        assert code == 0 and "knarr-runc version" in out, err
    assert sha(own_program) == before


def test_the_protected_program_is_on_a_read_only_mount(rt, own_program):
    rt.up("sleep", "1000")
    p = subprocess.Popen([str(own_program), "runtime", "--root", str(rt.root), "exec", rt.id, "/ct", "sleep", "60"], cwd=rt.bundle)
    until(lambda: len(rt.processes()) == 2)  # then it has begun anew from there
    # As the attacker does: hold the file, wait until nobody executes it any more, then open it for writing.
    held = os.open(f"/proc/{p.pid}/exe", os.O_PATH)
    p.kill()
    p.wait()
    rt.delete()
    with pytest.raises(OSError) as e:
        os.open(f"/proc/self/fd/{held}", os.O_WRONLY)
    assert e.value.errno == 30, e.value  # EROFS
    assert os.fstat(held).st_ino == own_program.stat().st_ino
    os.close(held)


def test_memory_copy_where_mounts_cannot_be_copied(rt, own_program, helpers):
    rt.prefix = [str(helpers["deny"]), "428,442"]  # open_tree, mount_setattr
    rt.args("sleep", "5")
    rt.save()
    p = subprocess.Popen([*rt.prefix, str(own_program), "runtime", "--root", str(rt.root), "run", rt.id], cwd=rt.bundle)
    until((rt.root / rt.id / "state.json").exists)
    assert "memfd:knarr-run" in os.readlink(f"/proc/{p.pid}/exe")
    with pytest.raises(OSError):
        os.open(f"/proc/{p.pid}/exe", os.O_WRONLY)
    assert p.wait(30 * SLOWER) == 0


# CVE-2021-30465: names are swapped for links while mounts are made
def swap_forever(a, b, stop):
    libc = ctypes.CDLL(None, use_errno=True)
    while not stop.is_set():
        libc.renameat2(-100, a.encode(), -100, b.encode(), 2)  # RENAME_EXCHANGE


@pytest.mark.parametrize("deny", [None, "437", "437,428,429,442"], ids=["openat2", "walk", "old-mounts"])
def test_swapped_mount_points_never_lead_out(rt, helpers, deny):
    if deny:
        rt.prefix = [str(helpers["deny"]), deny]
    outside = rt.tmp / "outside"
    (outside / "d").mkdir(parents=True)
    shared = rt.rootfs / "shared"
    (shared / "d").mkdir(parents=True)
    os.symlink(str(outside / "d"), shared / "link")
    os.symlink("/../../../../../.." + str(outside / "d"), shared / "link2")
    stop = threading.Event()
    threads = [threading.Thread(target=swap_forever, args=(str(shared / "d"), str(shared / n), stop)) for n in ("link", "link2")]
    for t in threads:
        t.start()
    marker = rt.tmp / "src"
    marker.mkdir()
    (marker / "marker").write_text("x")
    rt.mount(destination="/shared/d", source=str(marker), options=["bind"])
    rt.mount(destination="/shared/d/sub", type="tmpfs", source="tmpfs")
    rt.save()
    try:
        for i in range(300 if LONG else 60):
            rt.call("run", rt.id)  # may fail when the name is gone at the wrong moment; must not touch the host
            assert not list((outside / "d").iterdir()), "something was made or mounted outside"
            assert str(outside) not in pathlib.Path("/proc/self/mountinfo").read_text()
    finally:
        stop.set()
        for t in threads:
            t.join()


@pytest.mark.parametrize("deny", [None, "437", "437,428,429,442"], ids=["openat2", "walk", "old-mounts"])
@pytest.mark.parametrize("link", ["{out}", "..{out}", "../..{out}", "../../..{out}", "/..{out}", "/../..{out}", "x/../../..{out}"])
def test_links_in_the_image_stay_in_the_image(rt, helpers, deny, link):
    """No race needed: a link that climbs above the root."""
    out = rt.tmp / "outside"
    out.mkdir()
    (rt.rootfs / "x").mkdir()
    (rt.rootfs / str(out)[1:]).mkdir(parents=True)  # the same name inside, so that resolving ends somewhere
    os.symlink(link.format(out=out), rt.rootfs / "link")
    if deny:
        rt.prefix = [str(helpers["deny"]), deny]
    rt.mount(destination="/link/tmpfs", type="tmpfs", source="tmpfs")
    rt.mount(destination="/link/bind", source="/usr", options=["bind"])
    rt.mount(destination="/link/file", source="/etc/passwd", options=["bind"])
    rt.set("linux.devices", [{"path": "/link/device", "type": "c", "major": 1, "minor": 3}])
    rt.set("process.cwd", "/link/cwd")
    rt.config["linux"]["maskedPaths"].append("/link/bind/bin")
    r = rt.run("ls", str(out), "--", "pwd")
    assert sorted(l.split(" ")[0] for l in r.out.splitlines()[:-1]) == ["bind", "cwd", "device", "file", "tmpfs"]
    assert r.out.splitlines()[-1] == f"cwd {out}/cwd"
    assert not list(out.iterdir()), "something was made outside"


# malicious /proc and /sys
@pytest.mark.parametrize("name", ["proc", "sys"])
def test_proc_and_sys_must_not_be_links(rt, name):
    (rt.rootfs / "fake").mkdir()
    os.symlink("fake", rt.rootfs / name)
    assert "symbolic link" in rt.run(check=1).err


@pytest.mark.parametrize("dest", ["/proc", "/proc/self", "/proc/sys", "/proc/sys/kernel", "/proc/../proc/self/attr", "/lnk/self/attr"])
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_proc_cannot_be_replaced(rt, dest, kind):
    os.symlink("proc", rt.rootfs / "lnk")
    src = rt.tmp / "src"
    src.mkdir()
    if kind == "tmpfs":
        rt.mount(destination=dest, type="tmpfs", source="tmpfs")
    else:
        rt.mount(destination=dest, source=str(src), options=["bind"])
    assert "/proc" in rt.run(check=1).err


def test_lxcfs_files_may_be_bound(rt):
    f = rt.tmp / "meminfo"
    f.write_text("MemTotal: 1 kB\n")
    rt.mount(destination="/proc/meminfo", source=str(f), options=["bind", "ro"])
    assert rt.run("cat", "/proc/meminfo").out == "MemTotal: 1 kB\n"


# masked paths
@pytest.mark.parametrize("how", ["image", "volume"])
def test_masks_use_the_host_s_null_device(rt, how):
    """CVE-2025-31133: /dev/null inside is a link to what the attacker wants writable. In a volume that is all of /dev it stays."""
    rt.config["mounts"] = [m for m in rt.config["mounts"] if not m["destination"].startswith("/dev")]
    dev = rt.rootfs / "dev" if how == "image" else rt.tmp / "dev"
    dev.mkdir()
    os.symlink("/proc/sys/kernel/core_pattern", dev / "null")
    if how == "volume":
        rt.mount(destination="/dev", source=str(dev), options=["bind"])
    rt.config["linux"]["maskedPaths"] = ["/proc/kcore", "/proc/keys", "/proc/timer_list"]
    r = rt.run("stat", "/proc/keys", "--", "cat", "/proc/keys")
    assert r.code == 0 and "1,3" in r.out and "core" not in r.out, (r.out, r.err)


def test_masks_cannot_be_lifted(rt):
    r = rt.run("mount", "proc", "/proc", "proc", "--", "cat", "/proc/keys", "--", "open", "/proc/sys/kernel/core_pattern", "w")
    assert "mount /proc: Operation not permitted" in r.out and "Read-only" in r.out


def test_console_target_must_not_be_a_link(rt):
    """CVE-2025-52565: /dev/console as a link would have the terminal bound over something else."""
    rt.config["mounts"] = [m for m in rt.config["mounts"] if m["destination"] not in ("/dev", "/dev/shm")]
    (rt.rootfs / "dev").mkdir()
    os.symlink("/proc/sys/kernel/core_pattern", rt.rootfs / "dev/console")
    rt.set("process.terminal", True)
    r = rt.run("tty", check=None, input=b"")
    assert r.code == 1 and "/dev/console" in r.err


def test_first_process_cannot_be_traced_when_the_pid_namespace_is_shared(rt):
    rt.no_ns("pid")
    rt.config["mounts"] = [m for m in rt.config["mounts"] if m["type"] != "proc"]
    rt.create("sleep", "100")
    pid = rt.state()["pid"]
    drop = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-all", "readlink"]
    assert subprocess.run([*drop, "/proc/self/exe"], capture_output=True).returncode == 0
    assert subprocess.run([*drop, f"/proc/{pid}/exe"], capture_output=True).returncode != 0


def test_start_socket_is_not_for_others(rt):
    rt.create("sleep", "100")
    f = rt.root / rt.id / "start.sock"
    assert f.stat().st_mode & 0o077 == 0
