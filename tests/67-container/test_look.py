"""top, stats, changes, sizes, the root for archives, export, commit."""
import os
import tarfile
import time

from conftest import mounts, refused


def test_top(engine):
    id = engine.create("sleep", "100")
    refused(lambda: engine.call("top", name=id), "IN_USE", f"container {id} is not running")
    engine.start(id)
    t = engine.call("top", name=id)
    assert t["Titles"] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert [p[7] for p in t["Processes"]] == ["/bin/ct sleep 100"] and int(t["Processes"][0][1]) == engine.state(id)["Pid"]
    t = engine.call("top", name=id, args="-o pid,comm")
    assert t["Titles"] == ["PID", "COMMAND"] and t["Processes"] == [[str(engine.state(id)["Pid"]), "ct"]]
    refused(lambda: engine.call("top", name=id, args="-o comm"), "INTERNAL", "Couldn't find PID field in ps output")
    refused(lambda: engine.call("top", name=id, args="--nosuch"), "INTERNAL", "ps: error: unknown gnu long option")
    engine.call("remove", name=id, force=True)


def test_stats(engine):
    id = engine.create("sleep", "100", name="counted", host={"Memory": 64 << 20, "PidsLimit": 50})
    assert engine.call("stats", name=id)["memory_stats"] == {}
    engine.start(id)
    engine.until(lambda: engine.call("stats", name=id)["pids_stats"]["current"] == 1)
    began = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    s = engine.call("stats", name=id)
    assert s["name"] == "/counted" and s["id"] == id and s["read"] > began and s["memory_stats"]["limit"] == 64 << 20
    assert s["pids_stats"]["current"] == 1 and s["pids_stats"]["limit"] == 50 and s["cpu_stats"]["online_cpus"] == os.cpu_count()
    assert s["cpu_stats"]["system_cpu_usage"] > s["cpu_stats"]["cpu_usage"]["total_usage"] > 0 and s["memory_stats"]["usage"] > 0
    engine.call("remove", name=id, force=True)


def test_changes_and_sizes(engine):
    id = engine.create("write", "/data/new", "12345")
    assert engine.call("changes", name=id) is None
    engine.start(id)
    engine.wait(id)
    changes = {c["Path"]: c["Kind"] for c in engine.call("changes", name=id)}
    assert changes["/data"] == 0 and changes["/data/new"] == 1
    s = engine.call("sizes", name=id)
    assert s["SizeRw"] >= 5 and s["SizeRootFs"] > s["SizeRw"] + 500000


def test_root_of_a_running_and_a_stopped_one(engine, env):
    here = env.dir / "share"
    here.mkdir()
    (here / "in").write_text("x")
    id = engine.create("sleep", "100", User="ann", host={"Binds": [f"{here}:/mnt:ro"]})
    got = engine.call("root", name=id)
    assert got["uid"] == 1000 and got["gid"] == 1000 and not got["read_only"]
    root = f"/proc/{engine.p.pid}/fd/{got['fd']}"
    assert os.listdir(root + "/mnt") == ["in"] and open(root + "/data/kept").read() == "of the image"
    starting = engine.send("start", name=id)
    time.sleep(0.3)
    assert engine.state(id)["Status"] == "created"
    engine.call("root_release", name=id)
    engine.answer(starting)
    got = engine.call("root", name=id)
    assert os.listdir(f"/proc/{engine.p.pid}/fd/{got['fd']}/mnt") == ["in"]
    engine.call("root_release", name=id)
    engine.call("stop", name=id, timeout=0)


def test_a_root_that_nobody_waits_for(engine):
    id = engine.create("sleep", "100", host={"Binds": ["vol:/data"]})
    fds = len(os.listdir(f"/proc/{engine.p.pid}/fd"))
    engine.call("root_left", name=id)
    engine.until(lambda: engine.names("vol")[-2:] == ["mount", "unmount"])
    assert len(os.listdir(f"/proc/{engine.p.pid}/fd")) == fds
    engine.start(id)
    engine.call("stop", name=id, timeout=0)


def test_a_root_that_is_released_into_a_full_pool(env):
    """The first time nobody takes the work: what was mounted for the view is unmounted all the same, and a start waits for that."""
    e = env.engine(fail="container view=EAGAIN@1")
    env.image(e)
    options = {"DriverConfig": {"Name": "local", "Options": {"type": "tmpfs", "device": "tmpfs"}}}
    id = e.create("exit", "0", host={"Mounts": [{"Type": "volume", "Source": "made", "Target": "/mnt", "VolumeOptions": options}]})
    e.call("root", name=id)
    assert [m for m in mounts(env.dir) if "/volumes/" in m]
    e.call("root_release", name=id)
    e.until(lambda: e.names("made")[-1:] == ["unmount"])
    assert not mounts(env.dir)
    e.start(id)
    assert e.wait(id) == 0
    e.call("remove", name=id, volumes=True)
    assert e.close() == 0


def test_export(engine, env):
    id = engine.create("write", "/data/new", "12345", "--", "sleep", "100")
    path = env.dir / "out.tar"
    for running in (False, True):
        if running:
            engine.start(id)
            engine.until(lambda: "/data/new" in [c["Path"] for c in engine.call("changes", name=id) or []])
        engine.call("export", name=id, path=str(path))
        with tarfile.open(path) as t:
            names = set(t.getnames())
        assert {"bin/ct", "data/kept", "etc/passwd"} <= names and ("data/new" in names) == running
    engine.call("remove", name=id, force=True)


def test_commit(engine):
    id = engine.create("write", "/data/new", "12345", Env=["OWN=1"], Hostname="box")
    engine.start(id)
    engine.wait(id)
    image = engine.call("commit", name=id, ref="mine:1", comment="why", changes=[
        'CMD ["cat", "/data/new", "--", "env"]', "ENV A=b 'C=d e'", "LABEL x=\"y z\"", "EXPOSE 80", "WORKDIR /data", "USER ann"])["Id"]
    assert image.startswith("sha256:")
    got = engine.create(image="mine:1")
    c = engine.inspect(got)
    assert c["Image"] == image and c["Config"]["Labels"] == {"x": "y z"} and c["Config"]["ExposedPorts"] == {"80/tcp": {}}
    assert c["Config"]["User"] == "ann" and c["Config"]["WorkingDir"] == "/data"
    engine.start(got)
    assert engine.wait(got) == 0
    text = engine.log(got)
    assert text.startswith("12345") and "OWN=1\n" in text and "A=b\n" in text and "C=d e\n" in text
    refused(lambda: engine.call("commit", name=id, changes=["RUN x"]), "INVALID_REQUEST", "RUN is not a valid change command")
    refused(lambda: engine.call("commit", name=id, ref="BAD"), "INVALID_REQUEST", "repository name (BAD) must be lowercase")


def test_commit_of_a_running_one(engine):
    id = engine.create("sleep", "100")
    engine.start(id)
    engine.call("commit", name=id, ref="live")
    assert engine.state(id)["Status"] == "running"
    engine.call("remove", name=id, force=True)
