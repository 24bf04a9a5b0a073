"""Errors say which step, which path and why; and leave nothing behind (the fixture looks)."""
import os
import struct

import pytest


def put(rt, name, data, mode=0o755):
    f = rt.rootfs / name
    f.parent.mkdir(parents=True, exist_ok=True)
    f.write_bytes(data)
    f.chmod(mode)
    rt.config["process"]["args"] = ["/" + name]
    return rt.run(check=1).err.replace('\\"', '"').replace("\\\\", "\\")


def elf(machine=62, interp=None, cls=2):
    head = b"\x7fELF" + bytes([cls, 1, 1]) + b"\0" * 9 + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0x400000, 64, 0, 0, 64, 56, 1 if interp else 0, 0, 0, 0)
    if interp:
        name = interp.encode() + b"\0"
        head += struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(name), len(name), 1) + name
    return head + b"\0" * 64


def test_missing_program(rt):
    rt.config["process"]["args"] = ["/not/there"]
    assert 'exec: \\"/not/there\\": stat /not/there: no such file or directory' in rt.run(check=1).err
    rt.config["process"]["args"] = ["nope"]
    assert 'exec: \\"nope\\": executable file not found in $PATH' in rt.run(check=1).err


def test_missing_program_is_an_error_of_create(rt):
    rt.config["process"]["args"] = ["/not/there"]
    assert "no such file" in rt.create(check=1).err


def test_not_executable(rt):
    assert 'exec: "/data": permission denied' in put(rt, "data", b"x", 0o644)
    (rt.rootfs / "dir").mkdir()
    rt.config["process"]["args"] = ["/dir"]
    assert "is a directory" in rt.run(check=1).err


def test_missing_script_interpreter(rt):
    assert 'the script\'s interpreter "/bin/bash" is not in the container' in put(rt, "s", b"#!/bin/bash -e\n")


def test_script_with_crlf(rt):
    assert 'ends in CRLF, so its interpreter would be "/bin/sh\\r"; save it with LF' in put(rt, "s", b"#!/bin/sh\r\necho\r\n")


def test_other_architecture(rt):
    assert "exec format error: it is built for aarch64, this machine is x86_64" in put(rt, "e", elf(machine=183))


def test_missing_elf_interpreter(rt):
    assert 'its interpreter "/lib/ld-musl-x86_64.so.1" is not in the container' in put(rt, "e", elf(interp="/lib/ld-musl-x86_64.so.1"))


def test_no_format(rt):
    assert "neither an ELF program nor a script with a #! line" in put(rt, "t", b"plain text\n")
    assert "the file is empty" in put(rt, "t", b"")


def test_start_reports_what_exec_says(rt):
    (rt.rootfs / "s").write_text("#!/gone\n")
    (rt.rootfs / "s").chmod(0o755)
    rt.config["process"]["args"] = ["/s"]
    rt.create()
    assert "/gone" in rt.start(check=1).err
    rt.wait_status("stopped")


@pytest.mark.parametrize("mount,words", [
    (dict(destination="/x", type="nofs", source="x"), ["mount nofs to /x in container", "the kernel knows no file system"]),
    (dict(destination="/x", source="/no/such/source", options=["bind"]), ["mount /no/such/source to /x in container", "open /no/such/source", "No such file"]),
    (dict(destination="/x", type="tmpfs", source="t", options=["size=banana"]), ["mount tmpfs to /x in container", "size=banana", "Invalid argument"]),
    (dict(destination="/ct/below", type="tmpfs", source="t"), ["mount tmpfs to /ct/below in container", "Not a directory"]),
    (dict(destination="/ct", source="/etc", options=["bind"]), ["mount /etc to /ct in container", "one is a folder, the other a file"]),
])
def test_mount_errors_name_step_path_and_cause(rt, mount, words):
    rt.mount(**mount)
    err = rt.run(check=1).err
    for w in words:
        assert w in err, (w, err)


def test_bad_json_and_missing_files(rt):
    rt.save()
    (rt.bundle / "config.json").write_text("{")
    assert "config.json: line 1" in rt.quiet("create", rt.id, check=1).err
    (rt.bundle / "config.json").unlink()
    assert "JSON specification file" in rt.quiet("create", rt.id, check=1).err
    rt.save()
    os.rename(rt.rootfs, rt.bundle / "elsewhere")
    assert "root.path" in rt.quiet("create", rt.id, check=1).err
    os.rename(rt.bundle / "elsewhere", rt.rootfs)
    assert "bundle" in rt.quiet("create", "--bundle", "/no/bundle", rt.id, check=1).err


def test_labels_without_the_kernel_s_help(rt):
    if os.path.exists("/sys/kernel/security/apparmor") or os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("this kernel has AppArmor or SELinux")
    rt.set("process.apparmorProfile", "x")
    assert "process.apparmorProfile" in rt.run(check=1).err
    del rt.config["process"]["apparmorProfile"]
    rt.set("process.selinuxLabel", "x")
    assert "process.selinuxLabel" in rt.run(check=1).err


def test_failing_pid_file_takes_everything_back(rt):
    assert "pid file" in rt.create("sleep", "100", check=1, options=["--pid-file", "/no/such/dir/pid"]).err


def test_missing_console_socket(rt):
    rt.set("process.terminal", True)
    assert "console socket /no/socket" in rt.create("tty", check=1, options=["--console-socket", "/no/socket"]).err


def test_unmapped_user(rt):
    rt.ns("user")
    rt.set("linux.uidMappings", [{"containerID": 0, "hostID": 100000, "size": 10}])
    rt.set("linux.gidMappings", [{"containerID": 0, "hostID": 100000, "size": 10}])
    rt.set("process.user", {"uid": 11, "gid": 0})
    assert "process.user.uid: 11 is not mapped" in rt.run(check=1).err
