"""Volumes, bind mounts, tmpfs: what create decides, what a start finds, what removal takes along."""
import os
import subprocess

from conftest import refused


def test_bind(engine, env):
    here = env.dir / "share"
    here.mkdir()
    (here / "file").write_text("from the host\n")
    text = engine.run("cat", "/mnt/file", "--", "open", "/mnt/new", "a", host={"Binds": [f"{here}:/mnt"]})
    assert text == "from the host\nopen /mnt/new a: ok\n" and (here / "new").exists()
    text = engine.run("open", "/mnt/other", "a", host={"Binds": [f"{here}:/mnt:ro"]})
    assert text == "open /mnt/other a: Read-only file system\n"
    engine.run("args", host={"Binds": [f"{env.dir}/made/here:/mnt"]})
    assert (env.dir / "made/here").is_dir()
    refused(lambda: engine.create("args", host={"Mounts": [{"Type": "bind", "Source": str(env.dir / "nosuch"), "Target": "/mnt"}]}), "INVALID_REQUEST",
            f'invalid mount config for type "bind": bind source path does not exist: {env.dir}/nosuch')
    refused(lambda: engine.create("args", host={"Binds": ["a:b:c:d"]}), "INVALID_REQUEST", "invalid volume specification")


def test_a_bind_of_our_own_folder_where_nothing_is_shared(env):
    """It would follow the host by itself, and is private where it cannot; who asked for that is told."""
    subprocess.run(["mount", "--bind", env.dir, env.dir], check=True)
    subprocess.run(["mount", "--make-private", env.dir], check=True)
    try:
        e = env.engine()
        env.image(e)
        quiet, said = (e.create("sleep", "100", host={"Binds": [f"{env.data}:/host{how}"]}) for how in ("", ":rslave"))
        e.start(quiet)
        refused(lambda: e.start(said), "INVALID_REQUEST", "but it is not a shared or slave mount")
        for c in (quiet, said):
            e.call("remove", name=c, force=True)
        assert e.close() == 0
    finally:
        subprocess.run(["umount", env.dir], check=True)


def test_named_volume_and_copy_up(engine):
    id = engine.create("write", "/data/mine", "kept", "--", "cat", "/data/kept", host={"Binds": ["vol:/data"]})
    m = engine.inspect(id)["Mounts"][0]
    assert m["Type"] == "volume" and m["Name"] == "vol" and m["Destination"] == "/data" and m["RW"] and m["Source"].endswith("/vol/_data")
    engine.start(id)
    engine.wait(id)
    assert "of the image" in engine.log(id)
    assert engine.run("cat", "/other/mine", host={"Binds": ["vol:/other"]}) == "kept"
    engine.call("remove", name=id, volumes=True)
    assert [v["Name"] for v in engine.call("volumes")] == ["vol"]


def test_anonymous_volumes(engine, env):
    env.image(engine, ref="vol", config={"Entrypoint": ["/bin/ct"], "Volumes": {"/data": {}}})
    a, b = engine.create("args", image="vol"), engine.create("args", image="vol")
    names = [v["Name"] for v in engine.call("volumes")]
    assert len(names) == 2 and all(len(n) == 64 for n in names)
    engine.call("remove", name=a, volumes=True)
    assert len(engine.call("volumes")) == 1
    engine.call("remove", name=b)
    assert len(engine.call("volumes")) == 1


def test_volumes_from(engine):
    a = engine.create("write", "/data/mine", "shared", name="first", host={"Binds": ["vol2:/data"]})
    engine.start(a)
    engine.wait(a)
    assert engine.run("cat", "/data/mine", "--", "open", "/data/x", "a", host={"VolumesFrom": ["first:ro"]}) == \
        "sharedopen /data/x a: Read-only file system\n"
    refused(lambda: engine.create("args", host={"VolumesFrom": ["nobody"]}), "INVALID_REQUEST", "No such container: nobody")


def test_tmpfs_mount(engine):
    text = engine.run("cat", "/proc/self/mountinfo", host={"Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 65536, "Mode": 0o700}}]})
    line = next(x for x in text.splitlines() if " /t " in x)
    assert "tmpfs" in line and "size=64k" in line and "mode=700" in line


def test_failed_create_leaves_no_volume(engine):
    refused(lambda: engine.create("args", host={"Binds": ["fresh:/a"], "Mounts": [{"Type": "bind", "Source": "/nosuch/x", "Target": "/b"}]}),
            "INVALID_REQUEST", "bind source path does not exist")
    assert all(not os.listdir(os.path.join(os.path.dirname(v["Mountpoint"]), "users")) for v in engine.call("volumes"))
