"""src/tar against the archives of other hands: GNU tar, bsdtar, Python."""
import pytest
from conftest import *


def listed(path):
    p = subprocess.run([TOOL, "-", "tar-list", path], capture_output=True, text=True)
    assert p.returncode == 0, p.stderr
    out = []
    for line in p.stdout.splitlines():
        e = json.loads(line)
        out.append({**e, "path": bytes.fromhex(e.get("path", "")).decode(errors="surrogateescape"),
                    "link": bytes.fromhex(e.get("link", "")).decode(errors="surrogateescape"),
                    "xattrs": {k: bytes.fromhex(v) for k, v in e["xattrs"].items()}})
    return out


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    d = tmp_path_factory.mktemp("sample") / "d"
    (d / "sub").mkdir(parents=True)
    (d / "f").write_bytes(b"x" * 5000)
    (d / "empty").write_bytes(b"")
    (d / ("long" * 50)).write_text("long name")
    (d / "r\u00e4ucher").write_text("utf-8")
    deep = d / "/".join(["deep" * 10] * 6)
    deep.mkdir(parents=True)
    (deep / "leaf").write_text("leaf")
    os.link(d / "f", d / "sub/hard")
    os.symlink("../" + "t" * 150, d / "sym")
    os.mkfifo(d / "fifo")
    os.mknod(d / "null", 0o20666, os.makedev(1, 3))
    os.chown(d / "empty", 3000000, 4000000)
    os.chmod(d / "f", 0o4755)
    os.utime(d / "f", ns=(0, 1234567890123456789))
    os.setxattr(d / "f", "user.k", b"v\0\n=")
    with open(d / "sparse", "wb") as f:
        f.truncate(3 << 20)
        f.seek(1 << 20)
        f.write(b"island")
    return d


WRITERS = {
    "gnu": ["tar", "--format=gnu"], "gnu sparse": ["tar", "--format=gnu", "-S"], "pax": ["tar", "--format=posix", "--xattrs"],
    "pax sparse 0.0": ["tar", "--format=posix", "-S", "--sparse-version=0.0"],
    "pax sparse 0.1": ["tar", "--format=posix", "-S", "--sparse-version=0.1"],
    "pax sparse 1.0": ["tar", "--format=posix", "-S", "--sparse-version=1.0"],
    "bsdtar pax": ["bsdtar", "--format=pax", "--xattrs"], "bsdtar gnutar": ["bsdtar", "--format=gnutar"],
}


def expected(root):
    """What the file system itself says."""
    out = {}
    for folder, dirs, files in os.walk(root):
        for name in dirs + files:
            p = pathlib.Path(folder) / name
            st = p.lstat()
            regular = p.is_file() and not p.is_symlink()
            out[str(p.relative_to(root.parent))] = (st.st_mode & 0o7777, st.st_uid, st.st_gid, digest(p.read_bytes()) if regular else None,
                                                    os.readlink(p) if p.is_symlink() else None,
                                                    0 if p.is_symlink() else st.st_mtime_ns // 10**9)
    return out


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("compress", ["", "+gzip", "+zstd"])
def test_reads(sample, tmp_path, writer, compress):
    a = tmp_path / "a.tar"
    subprocess.run([*WRITERS[writer], "-cf", a, "-C", sample.parent, "d"], check=True)
    a.write_bytes(COMPRESS[compress](a.read_bytes()))
    want = expected(sample)
    got = {e["path"].rstrip("/"): e for e in listed(a)}
    assert set(got) - {"d"} == set(want)
    links = {e["path"]: e["link"] for e in got.values() if e["kind"] == "hard link"}
    for path, (mode, uid, gid, sha, target, mtime) in want.items():
        e = got[path]
        if path in links:
            assert links[path] in got
            continue
        assert (e["mode"], e["uid"], e["gid"]) == (mode, uid, gid), path
        assert target or e["mtime_ns"] // 10**9 == mtime, path
        if sha:
            assert e["sha256"] == sha, path
        if target:
            assert e["link"] == target
    if "pax" in writer and "sparse" not in writer:
        first = next(e for e in got.values() if e["path"] in ("d/f", "d/sub/hard") and e["kind"] == "file")
        assert first["mtime_ns"] == 1234567890123456789 and first["xattrs"].get("user.k") == b"v\0\n="
    assert got["d/null"]["dev"] == [1, 3] and got["d/fifo"]["kind"] == "fifo"


READERS = {"tar": lambda a, d: subprocess.run(["tar", "--xattrs", "-xpf", a, "-C", d], check=True, capture_output=True),
           "bsdtar": lambda a, d: subprocess.run(["bsdtar", "--xattrs", "-xpf", a, "-C", d], check=True, capture_output=True),
           "python": lambda a, d: tarfile.open(a).extractall(d)}


@pytest.mark.parametrize("reader", READERS)
def test_writes(sample, tmp_path, reader):
    """What we write, others unpack to the tree that it came from."""
    subprocess.run(["tar", "--format=posix", "--xattrs", "-S", "-cf", tmp_path / "a.tar", "-C", sample.parent, "d"], check=True)
    subprocess.run([TOOL, "-", "tar-copy", tmp_path / "a.tar", tmp_path / "b.tar"], check=True)
    out = tmp_path / "out"
    out.mkdir()
    READERS[reader](tmp_path / "b.tar", out)
    assert expected(out / "d") == expected(sample)
    if reader != "python":
        assert os.getxattr(out / "d/f", "user.k") == b"v\0\n="
        assert (out / "d/f").stat().st_mtime_ns == 1234567890123456789
    assert (out / "d/f").stat().st_ino == (out / "d/sub/hard").stat().st_ino


@pytest.mark.parametrize("reader", READERS)
def test_writes_a_long_link_alone(sample, tmp_path, reader):
    """What comes before it in an archive is as the file system lists it: bsdtar forgot the target unless that was a hard link."""
    subprocess.run(["tar", "--format=posix", "-cf", tmp_path / "a.tar", "-C", sample.parent, "d/sym"], check=True)
    subprocess.run([TOOL, "-", "tar-copy", tmp_path / "a.tar", tmp_path / "b.tar"], check=True)
    READERS[reader](tmp_path / "b.tar", tmp_path)
    assert os.readlink(tmp_path / "d/sym") == os.readlink(sample / "sym")


def test_zlib_agrees(sample, tmp_path):
    """ISA-L and zlib see the same archive."""
    a = tmp_path / "a.tar.gz"
    subprocess.run(["tar", "-czf", a, "-C", sample.parent, "d"], check=True)
    fast = listed(a)
    os.environ["KNARR_ZLIB"] = "1"
    try:
        assert listed(a) == fast
    finally:
        del os.environ["KNARR_ZLIB"]


def test_attacks_through_pull_path(any_store, tmp_path):
    """An image whose layer wants out of its folder."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for bad, words in [
        (tar_of(entry("../escape", b"1")), "outside of the root"),
        (tar_of(entry("a", kind=tarfile.LNKTYPE, linkname="/etc/shadow")), "which the layer does not have"),
        (tar_of(entry("w", kind=tarfile.CHRTYPE, devmajor=0, devminor=0)), "0:0"),
    ]:
        (tmp_path / "bad.tar").write_bytes(bad)
        assert words in any_store.fails("import", tmp_path / "bad.tar", "bad:1")
    up = "../" * 20 + str(outside)[1:]
    (tmp_path / "sly.tar").write_bytes(tar_of(entry(str(outside)[1:]), entry("l", kind=tarfile.SYMTYPE, linkname=up), entry("l/x", b"1"),
                                              entry("m", kind=tarfile.SYMTYPE, linkname=str(outside)), entry("m/y", b"1")))
    any_store("import", tmp_path / "sly.tar", "sly:1")
    assert list(outside.iterdir()) == []
    assert len(any_store.list()) == 1
