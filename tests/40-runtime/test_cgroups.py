"""Limits arrive in the kernel, in whichever version a controller is."""
import os
import pathlib

import pytest


def own_line(kind):
    for l in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = l.split(":", 2)
        if kind in names.split(",") or (kind == "" and names == ""):
            return path
    return None


def folder(rt, controller):
    """Where the container's folder for a controller is: (path, version)."""
    rel = own_line(controller)
    v1 = pathlib.Path("/sys/fs/cgroup") / controller
    if rel is not None and v1.is_dir() and (v1 / "tasks").exists():
        return pathlib.Path(f"{v1}{rel if rel != '/' else ''}/{rt.id}"), 1
    for base in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        c = pathlib.Path(base) / "cgroup.controllers"
        if c.exists() and (controller in c.read_text().split() or controller == ""):
            beside = os.path.dirname(own_line(""))  # no processes in inner nodes: beside our own group
            return pathlib.Path(f"{base}{beside if beside != '/' else ''}/{rt.id}"), 2
    pytest.skip(f"this machine has no controller {controller}")


def value(rt, controller, v1, v2):
    d, version = folder(rt, controller)
    return (d / (v1 if version == 1 else v2)).read_text().strip()


def test_limits_of_each_controller(rt):
    rt.set("linux.resources", {"memory": {"limit": 64 << 20, "reservation": 32 << 20, "swap": 96 << 20},
                               "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
                               "pids": {"limit": 33}})
    rt.up()
    assert value(rt, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert value(rt, "memory", "memory.soft_limit_in_bytes", "memory.low") == str(32 << 20)
    assert value(rt, "cpu", "cpu.shares", "cpu.weight") in ("512", "20")
    assert value(rt, "cpu", "cpu.cfs_quota_us", "cpu.max") in ("50000", "50000 100000")
    assert value(rt, "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    assert value(rt, "pids", "pids.max", "pids.max") == "33"


def test_rates_of_a_block_device(rt):
    disks = [d for d in pathlib.Path("/sys/block").iterdir() if not d.name.startswith(("loop", "ram")) and (d / "size").read_text() != "0\n"]
    if not disks:
        pytest.skip("this machine has no block device")
    number = (disks[0] / "dev").read_text().strip()
    major, minor = map(int, number.split(":"))
    one = {"major": major, "minor": minor}
    rt.set("linux.resources.blockIO", {"throttleReadBpsDevice": [{**one, "rate": 4 << 20}], "throttleWriteBpsDevice": [{**one, "rate": 2 << 20}],
                                       "throttleReadIOPSDevice": [{**one, "rate": 300}], "throttleWriteIOPSDevice": [{**one, "rate": 200}]})
    rt.up()
    d, version = folder(rt, "blkio" if own_line("blkio") else "io")
    if version == 2:
        assert (d / "io.max").read_text() == f"{number} rbps={4 << 20} wbps={2 << 20} riops=300 wiops=200\n"
        return
    for file, rate in (("read_bps", 4 << 20), ("write_bps", 2 << 20), ("read_iops", 300), ("write_iops", 200)):
        assert (d / f"blkio.throttle.{file}_device").read_text() == f"{number} {rate}\n"


def test_no_killer_for_want_of_memory(rt):
    rt.set("linux.resources.memory", {"limit": 64 << 20, "disableOOMKiller": True})
    d, version = folder(rt, "memory")
    r = rt.create("sleep", "1000")
    if version == 2:
        assert "level=warning" in r.err and "linux.resources.memory.disableOOMKiller: cgroup v2 has no such setting" in r.err
    else:
        assert "oom_kill_disable 1" in (d / "memory.oom_control").read_text() and not r.err


def test_every_process_of_the_container_is_in_every_folder(rt):
    rt.up()
    pid = str(rt.state()["pid"])
    for l in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        num, names, path = l.split(":", 2)
        where = "/sys/fs/cgroup/" + (names.replace("name=", "") or "unified")
        if names and os.path.exists(where + "/tasks") or not names and (os.path.exists(where) or own_line("") is not None and os.path.exists("/sys/fs/cgroup/cgroup.procs")):
            assert path.endswith("/" + rt.id), l


def test_memory_limit_bites(rt):
    rt.set("linux.resources", {"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    assert rt.run("eat", "64", check=None).code == 137


def test_pids_limit_bites(rt):
    rt.set("linux.resources", {"pids": {"limit": 5}})
    assert rt.run("fork", "10").out == "forked 4\n"


def test_hugetlb_where_it_is(rt):
    d, version = folder(rt, "hugetlb")
    rt.set("linux.resources", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]})
    rt.up()
    assert (d / ("hugetlb.2MB.limit_in_bytes" if version == 1 else "hugetlb.2MB.max")).read_text().strip() == str(4 << 20)


def test_unified_key(rt):
    d, version = folder(rt, "hugetlb")
    if version != 2:
        pytest.skip("no controller on v2 here")
    rt.set("linux.resources", {"unified": {"hugetlb.2MB.max": "2097152"}})
    rt.up()
    assert (d / "hugetlb.2MB.max").read_text().strip() == "2097152"


def test_unified_key_on_v1_is_refused(rt):
    if folder(rt, "memory")[1] == 2:
        pytest.skip("memory is on v2 here")
    rt.set("linux.resources", {"unified": {"memory.high": "1"}})
    assert 'linux.resources.unified: \\"memory.high\\" needs its controller on cgroup v2' in rt.run(check=1).err


def test_net_cls_without_the_controller_is_refused(rt):
    if os.path.exists("/sys/fs/cgroup/net_cls"):
        pytest.skip("net_cls is mounted")
    rt.set("linux.resources", {"network": {"classID": 5}})
    assert "linux.resources.network.classID" in rt.run(check=1).err


def test_bad_values_are_errors_with_the_file(rt):
    rt.set("linux.resources", {"cpu": {"cpus": "99"}})
    err = rt.run(check=1).err
    assert "linux.resources.cpu.cpus" in err and "cpuset.cpus" in err


def test_devices(rt):
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"}]
    rt.set("linux.resources", {"devices": rules})
    rt.set("linux.devices", [{"path": "/dev/kmsg2", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666},
                             {"path": "/dev/vd", "type": "b", "major": 254, "minor": 0, "fileMode": 0o666}])
    r = rt.run("open", "/dev/kmsg2", "r", "--", "open", "/dev/vd", "r", "--", "open", "/dev/null", "w", "--", "open", "/dev/zero", "r",
               "--", "mknod", "/dev/x", "10", "229", "--", "open", "/dev/x", "r")
    assert r.out == ("open /dev/kmsg2 r: Operation not permitted\nopen /dev/vd r: Operation not permitted\n"
                     "open /dev/null w: ok\nopen /dev/zero r: ok\nmknod /dev/x: ok\nopen /dev/x r: Operation not permitted\n")


def test_devices_all_allowed(rt):
    rt.set("linux.resources", {"devices": [{"allow": True, "access": "rwm"}, {"allow": False, "type": "c", "major": 1, "minor": 7, "access": "rw"}]})
    rt.set("linux.devices", [{"path": "/dev/k", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}])
    assert rt.run("open", "/dev/k", "r").out == "open /dev/k r: ok\n"


def test_devices_without_any_rules_are_restricted(rt):
    rt.set("linux.devices", [{"path": "/dev/k", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}])
    assert rt.run("open", "/dev/k", "r").out == "open /dev/k r: Operation not permitted\n"


def test_absolute_path_and_exec_below(rt):
    path = f"/knarr-test-abs/{rt.id}"
    rt.set("linux.cgroupsPath", path)
    rt.no_ns("cgroup")
    r = rt.run("cat", "/proc/self/cgroup")
    assert all(l.split(":", 2)[2] == path for l in r.out.splitlines() if "/knarr-test" in l) and r.out.count(path) >= 1
    for p in pathlib.Path("/sys/fs/cgroup").glob("**/knarr-test-abs"):
        p.rmdir()


def test_a_group_with_processes_is_not_taken(rt):
    rt.set("linux.cgroupsPath", f"/{rt.id}")
    rt.up()
    first = rt.id
    rt.id = first + "x"
    assert "container's cgroup is not empty" in rt.create("exit", "0", check=1).err
    rt.id = first
    assert rt.state()["status"] == "running"
