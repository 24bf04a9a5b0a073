"""Pushing, archives, names."""
import time

import pytest
from conftest import *


@pytest.mark.parametrize("compress", ["+gzip", "+zstd", ""])
def test_push(store, fake, registry, tmp_path, compress):
    f = fake()
    i = Image(base_layer(), top_layer(), compress=compress)
    f.add(i, "src/app", "1")
    store("pull", f"{f.host}/src/app:1")
    name = f"{registry}/pushed/app{compress.replace('+', '-')}"
    store("tag", f"{f.host}/src/app:1", name + ":v1")
    out = store("push", name + ":v1")
    short = [x[7:19] for x in i.layers]
    assert out[0] == f"The push refers to repository [{name}]"
    assert sorted(x for x in out if "Pushed" in x) == sorted(f"{x}: Pushed" for x in short)
    assert out[-1] == f"v1: digest: {i.digest} size: {len(i.manifest_bytes)}"
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}:v1"))
    assert seen["Digest"] == i.digest and seen["Layers"] == i.layers
    assert sorted(x for x in store("push", name + ":v1") if "already" in x) == sorted(f"{x}: Layer already exists" for x in short)
    # into another repository of the same registry: taken over there
    store("tag", name + ":v1", f"{registry}/other{compress[1:]}/app:v2")
    assert f"{short[0]}: Mounted from {name.split('/', 1)[1]}" in store("push", f"{registry}/other{compress[1:]}/app:v2")
    # and back again into an empty store
    fresh = Store(tmp_path / "fresh")
    assert fresh("pull", f"{name}:v1")[-1] == i.config
    assert fresh("pull", f"{registry}/other{compress[1:]}/app:v2")[-1] == i.config


def test_push_words(store, registry, fake):
    assert store.fails("push", f"{registry}/nothing:1") == f"NOT_FOUND: An image does not exist locally with the tag: {registry}/nothing"
    f = fake()
    i = Image(top_layer())
    f.add(i, "x", "1")
    store("pull", f"{f.host}/x:1")
    f.hook = lambda h: "/blobs/" in h.path and (h.error(403, "DENIED", "requested access to the resource is denied") or True)
    assert store.fails("push", f"{f.host}/x:1") == "FORBIDDEN: denied: requested access to the resource is denied"


def random_layer(n, size=300_000):
    return tar_of(entry(f"random{n}", os.urandom(size)))


def pulled(store, fake, *layers):
    f = fake()
    i = Image(*layers, compress="")
    f.add(i, "src", "1")
    store("pull", f"{f.host}/src:1")
    return i, f


def test_push_side_by_side(store, fake):
    i, f = pulled(store, fake, *(random_layer(n) for n in range(9)))
    to = fake()

    def hook(h):
        if h.command == "PATCH":
            eventually(lambda: to.most_active >= 3)
            time.sleep(0.1)
    to.hook = hook
    store("tag", f"{f.host}/src:1", f"{to.host}/dst:1")
    store("push", f"{to.host}/dst:1")
    assert 3 <= to.most_active <= 5
    assert set(to.blobs) == set(i.blobs) and to.manifests["dst", "1"][1] == i.manifest_bytes
    # the same blob twice in one image goes up once
    twin = random_layer(99)
    i, f = pulled(store, fake, twin, random_layer(1), twin)
    to = fake()
    store("tag", f"{f.host}/src:1", f"{to.host}/dst:2")
    out = store("push", f"{to.host}/dst:2")
    assert len([x for x in to.log if x[0] == "PATCH"]) == 3 and len([x for x in out if "Layer already exists" in x]) == 1


def test_push_resumed(store, fake):
    i, f = pulled(store, fake, random_layer(1, 3_000_000))
    size = len(i.blobs[i.layers[0]])
    to = fake()
    to.cut_uploads = [1_000_000, 0, 500_000] # the second closes at once
    store("tag", f"{f.host}/src:1", f"{to.host}/dst:1")
    out = store("push", f"{to.host}/dst:1")
    assert any("Retrying in" in x for x in out) and to.blobs[i.layers[0]] == i.blobs[i.layers[0]]
    ranges = [x[2].get("Content-Range") for x in to.log if x[0] == "PATCH" and int(x[2]["Content-Length"]) > 10_000]
    assert f"1000000-{size - 1}" in ranges and f"1500000-{size - 1}" in ranges and ranges.count(None) == 1
    # the registry forgot the upload: from the beginning
    i, f = pulled(store, fake, random_layer(2, 1_000_000))
    to = fake()
    to.cut_uploads = [500_000]
    to.hook = lambda h: h.command == "GET" and "/uploads/" in h.path and (h.error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown") or True)
    store("tag", f"{f.host}/src:1", f"{to.host}/dst:1")
    store("push", f"{to.host}/dst:1")
    assert to.blobs[i.layers[0]] == i.blobs[i.layers[0]]


def test_push_retries_and_gives_up(store, fake):
    i, f = pulled(store, fake, random_layer(1))
    to = fake()
    left = [2]

    def hook(h):
        if h.command == "POST" and left[0] > 0:
            left[0] -= 1
            h.answer(503)
            return True
        if h.command == "PUT" and "digest=" in h.path and left[0] == 0:
            left[0] -= 1 # below zero nothing fails any more, whichever blob comes next
            h.answer(500)
            return True
    to.hook = hook
    store("tag", f"{f.host}/src:1", f"{to.host}/dst:1")
    store("push", f"{to.host}/dst:1")
    assert set(to.blobs) == set(i.blobs)
    to = fake()
    to.hook = lambda h: h.command == "POST" and (h.answer(503) or True)
    store("tag", f"{f.host}/src:1", f"{to.host}/dst:1")
    assert "503" in store.fails("push", f"{to.host}/dst:1")
    assert 2 * 6 >= len([x for x in to.log if x[0] == "POST"]) >= 6
    to = fake()
    to.hook = lambda h: h.command == "PATCH" and (h.error(400, "SIZE_INVALID", "no") or True)
    store("tag", f"{f.host}/src:1", f"{to.host}/dst:2")
    store.fails("push", f"{to.host}/dst:2")
    assert len([x for x in to.log if x[0] == "PATCH"]) <= 2 # what will stay the same is not tried again


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
@pytest.mark.parametrize("compress", ["+gzip", ""])
def test_load_from_skopeo(any_store, tmp_path, kind, compress):
    i = Image(base_layer(), top_layer(), compress=compress)
    d = folder(i, tmp_path / "l")
    skopeo("copy", f"dir:{d}", f"{kind}:{tmp_path}/a.tar:example.test/app:7")
    out = any_store("load", tmp_path / "a.tar")
    assert "Loaded image: example.test/app:7" in out
    info, = any_store.list()
    assert info["id"] == i.config
    with any_store.mounted("example.test/app:7") as root:
        assert (root / "data/new").read_text() == "new" and not (root / "data/old").exists()


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_save_for_skopeo(store, fake, tmp_path, kind):
    f = fake()
    i = Image(base_layer(), top_layer())
    f.add(i, "app", "1")
    store("pull", f"{f.host}/app:1")
    store("tag", f"{f.host}/app:1", "example.test/app:2")
    store("save", tmp_path / "s.tar", "example.test/app:2")
    ref = f"{kind}:{tmp_path}/s.tar" + (":example.test/app:2" if kind == "docker-archive" else "")
    seen = json.loads(skopeo("inspect", "--config", ref))
    assert seen["rootfs"]["diff_ids"] == [digest(base_layer()), digest(top_layer())]
    skopeo("copy", ref, f"dir:{tmp_path}/d")
    fresh = Store(tmp_path / "fresh")
    assert fresh("load", tmp_path / "s.tar")[-1] == "Loaded image: example.test/app:2"
    assert fresh.list()[0]["manifest"] == store.list()[0]["manifest"]


def test_save_names(store, fake, tmp_path):
    """A name without a tag is all its tags; one image stands once with all of them; an id brings none."""
    f = fake()
    a, b = Image(base_layer()), Image(top_layer())
    f.add(a, "a", "1")
    f.add(b, "b", "1")
    store("pull", f"{f.host}/a:1")
    store("pull", f"{f.host}/b:1")
    for name in ("app:1", "app:2", "other:1"):
        store("tag", f"{f.host}/a:1", name)
    store("tag", f"{f.host}/b:1", "app:3")

    def saved(*names):
        store("save", tmp_path / "s.tar", *names)
        with tarfile.open(tmp_path / "s.tar") as t:
            docker = json.load(t.extractfile("manifest.json"))
            index = json.load(t.extractfile("index.json"))
        seen = sorted((x["Config"][13:], sorted(x["RepoTags"])) for x in docker)
        named = sorted(x.get("annotations", {}).get("io.containerd.image.name", "") for x in index["manifests"])
        return seen, named

    ida, idb = a.config[7:], b.config[7:]
    hub = "docker.io/library/"
    assert saved("app") == (sorted([(ida, ["app:1", "app:2"]), (idb, ["app:3"])]), [hub + "app:1", hub + "app:2", hub + "app:3"])
    assert saved("app:1", "other:1", "app:1") == ([(ida, ["app:1", "other:1"])], [hub + "app:1", hub + "other:1"])
    assert saved(ida[:12]) == ([(ida, [])], [""])
    assert saved("app:2", ida) == ([(ida, ["app:2"])], [hub + "app:2"])
    fresh = Store(tmp_path / "fresh")
    store("save", tmp_path / "s.tar", "app")
    assert sorted(x for x in fresh("load", tmp_path / "s.tar")) == [f"Loaded image: app:{n}" for n in (1, 2, 3)]
    assert "No such image: nothing" in store.fails("save", tmp_path / "s.tar", "nothing")


def test_load_full_disk(tmp_path, fake):
    """A disk that fills up in the middle of a load: an error, nothing half, and room for another after a gc."""
    f, big, small = fake(), Image(random_layer(1, 12 << 20), compress=""), Image(top_layer())
    f.add(big, "big", "1")
    f.add(small, "small", "1")
    source = Store(tmp_path / "source")
    for name in ("big", "small"):
        source("pull", f"{f.host}/{name}:1")
        source("save", tmp_path / f"{name}.tar", f"{f.host}/{name}:1")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], check=True)
    try:
        s = Store(disk / "store", KNARR_BACKEND="copy")
        assert s.fails("load", tmp_path / "big.tar").startswith("NO_SPACE: ")
        assert s.list() == []
        s("gc")
        assert not list((s.path / "snapshots/layers").iterdir()) and not list((s.path / "snapshots/tmp").iterdir())
        s("load", tmp_path / "small.tar")
        assert s.list()[0]["id"] == small.config
    finally:
        subprocess.run(["umount", disk], check=True)


def test_load_bad(store, tmp_path):
    a = tmp_path / "a.tar"
    a.write_bytes(tar_of(entry("x", b"1")))
    assert store.fails("load", a) == "INVALID_REQUEST: not an image archive: it has neither manifest.json nor index.json"
    a.write_bytes(b"")
    assert "INVALID_REQUEST" in store.fails("load", a)
    a.write_bytes(tar_of(entry("manifest.json", b'[{"Config":"../../etc/passwd","Layers":[]}]')))
    assert "configuration that is missing" in store.fails("load", a)
    a.write_bytes(tar_of(entry("manifest.json", b'[{"Config":"c","Layers":["l"]}]'), entry("c", b"{}"), entry("l", kind=tarfile.SYMTYPE, linkname="l")))
    assert "layer l is missing" in store.fails("load", a)
    a.write_bytes(tar_of(entry("blobs/sha256/" + "0" * 64, b"x")))
    assert "has digest" in store.fails("load", a)


@pytest.mark.parametrize("compress", ["", "+gzip", "+zstd"])
def test_import_and_changes(any_store, tmp_path, compress):
    (tmp_path / "root.tar").write_bytes(COMPRESS[compress](base_layer()))
    any_store("import", tmp_path / "root.tar", "made:1", env={"KNARR_CONFIG": '{"Cmd":["/bin/sh"]}'})
    any_store("prepare", "c1", "made:1")
    target = tmp_path / "mnt"
    any_store("mount-snapshot", "c1", target)
    try:
        run = subprocess.run(["chroot", target, "/bin/sh", "-c", "/bin/busybox rm data/old; echo hi > etc/motd; /bin/busybox mkdir -p new/dir"],
                             capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert any_store("changes", "c1") == ["C /data", "D /data/old", "C /etc", "A /etc/motd", "A /new", "A /new/dir"]
    finally:
        any_store("umount", target)


def test_gc(store, fake):
    f = fake()
    a, b = Image(base_layer(), top_layer()), Image(base_layer(), tar_of(entry("other", b"1")))
    f.add(a, "a", "1")
    f.add(b, "b", "1")
    store("pull", f"{f.host}/a:1")
    store("pull", f"{f.host}/b:1")
    time.sleep(0.05)
    assert store("gc") == ["blobs 0 layers 0"]
    out = store("rmi", f"{f.host}/a:1")
    assert out[0] == f"Untagged: {f.host}/a:1" and f"Deleted: {a.config}" in out and f"Untagged: {f.host}/a@{a.digest}" in out
    assert store("gc") == ["blobs 3 layers 1"]
    with store.mounted(f"{f.host}/b:1") as root:
        assert (root / "other").exists() and (root / "bin/busybox").exists()
    store("rmi", f"{f.host}/b:1")
    assert store("gc") == ["blobs 4 layers 2"]
