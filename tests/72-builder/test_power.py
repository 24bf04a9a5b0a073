"""A machine that goes dark in the middle of a build: what its file system had not written is lost, and nothing half-made is taken for whole.

The engine's folder lies on a file system in a file. At a point of the build the engine is killed and the file is copied as it is: what
the block device was given is in the copy, what was only in memory is not. The copy is mounted in its place, under another boot id, and
the next engine has to find its way. (tests/vm has disks that lose what was not flushed too; here every point takes seconds.)"""
import io
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

import pytest
from conftest import engine
from test_build import context_of, post, quiet

BODY = ("FROM busybox AS a\nRUN echo a >/a; seq 1 20000 >/numbers\nFROM busybox\nRUN --mount=type=cache,target=/k,from=busybox,source=/bin cp /k/busybox /y; echo 1 >/one\n"
        "COPY x /x\nWORKDIR /w\nCOPY --from=a /a /numbers /\n")
POINTS = ["builder.context.read", "builder.cache.filled", "builder.layer.written", "builder.run.created", "builder.run.ended", "builder.step.config",
          "builder.step.manifest", "builder.step.registered", "image.ingest.before_sync", "image.ingest.renamed", "image.store.written", "after the answer"]
SHORT = ["builder.cache.filled", "builder.step.manifest", "builder.step.registered", "after the answer"]


def sh(*words):
    subprocess.run(list(map(str, words)), check=True, capture_output=True)


class Disk:
    """A file system in a file, mounted at .at."""

    def __init__(self, folder):
        self.file, self.at, self.folder = folder / "disk", folder / "at", folder
        self.at.mkdir()
        with open(self.file, "wb") as f:
            f.truncate(400 << 20)
        sh("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.file)
        self.mount()

    def mount(self):
        sh("mount", "-o", "loop,commit=600", self.file, self.at)  # nothing is written because time passes

    def _written(self):
        at = os.stat(self.at).st_dev
        counts = pathlib.Path(f"/sys/dev/block/{os.major(at)}:{os.minor(at)}/stat").read_text().split()
        return counts[4], counts[6], counts[8]  # requests, sectors, under way

    def goes_dark(self):
        """Power goes at one moment, but a copy takes its time, and others (a step's program, its monitor, the kernel) go on writing: a
        copy with the journal of the beginning and the blocks of the end is no disk that ever was. So it counts when nothing was
        written meanwhile. A file that is written right before, and must be lost, shows that it has teeth."""
        self.copy = self.folder / "dark"
        for n in range(100):
            self.late = b"%09d\n" % n * 10000
            (self.at / "late").write_bytes(self.late)
            before = self._written()
            sh("cp", "--sparse=always", self.file, self.copy)
            if self._written() == before and before[2] == "0":
                return
        raise AssertionError("the disk is never at rest")

    def comes_back(self):
        sh("umount", self.at)
        self.copy.rename(self.file)
        self.mount()


def start_on_another_boot(d, folder):
    boot = folder / "boot_id"
    boot.write_text("11111111-2222-3333-4444-555555555555\n")
    d.log = open(d.dir / "log", "ab")
    d.process = subprocess.Popen(["unshare", "-m", "sh", "-c", 'mount --bind "$0" /proc/sys/kernel/random/boot_id; exec "$@"', boot, engine.KNARR, "engine",
                                  "--data-dir", d.data, "--host", f"unix://{d.sock}"], stdout=d.log, stderr=d.log, env=engine.ENV)
    d.wait()


def whole(d):
    """Every image can be read to its last byte, and its layers are those that its configuration names (save verifies the digests)."""
    ids = sorted(set(d.out("images", "-aq", "--no-trunc").split()))
    for id in ids:
        if not d.api("GET", f"/images/{id}/json").json["RootFS"].get("Layers"):
            continue
        with tarfile.open(fileobj=io.BytesIO(d.cli("save", id).raw)) as t:
            for i in t:
                if i.isreg():
                    t.extractfile(i).read()
    return ids


@pytest.fixture
def folder():
    at = pathlib.Path(tempfile.mkdtemp(prefix="knarr-72-"))  # short: the engine's folders have sockets in them
    yield at
    shutil.rmtree(at, ignore_errors=True)


@pytest.mark.skipif(not pathlib.Path("/dev/loop-control").exists() or not shutil.which("mkfs.ext4", path="/usr/sbin:/sbin"), reason="no loop devices here")
@pytest.mark.parametrize("point", POINTS if engine.LONG else SHORT)
def test_goes_dark(folder, point):
    disk, d = Disk(folder), None
    try:
        d = engine.Knarr(disk.at)
        engine.import_busybox(d)
        assert b"Successfully tagged" in post(d, context_of("FROM busybox\nCOPY x /before\n", ("x", b"before", {})), "t=before").body
        assert d.stop() == 0
        d.env = {} if point == "after the answer" else {"KNARR_FAIL": f"{point}=kill"}
        d.start()
        body = context_of(BODY, ("x", b"1", {}))
        try:
            done = b"Successfully tagged" in post(d, body, "t=t").body
        except Exception:  # the engine is gone
            done = False
        assert done == (point == "after the answer")
        if done:
            d.process.kill()
        d.process.wait(20 * engine.SLOWER)
        disk.goes_dark()
        # The machine that this pretends to be has no container left: this one's are cleared away before its disk goes.
        d.env = {}
        d.start()
        engine.until(lambda: d.out("ps", "-aq") == "")
        assert d.stop() == 0
        disk.comes_back()
        late = disk.at / "late"
        assert not late.exists() or late.read_bytes() != disk.late, "nothing was lost: this test has no teeth"
        start_on_another_boot(d, folder)
        engine.until(lambda: d.out("ps", "-aq") == "")
        quiet(d)
        assert len(whole(d)) >= 2
        assert d.out("run", "--rm", "--network", "none", "before", "cat", "/before") == "before"
        if done:  # what was said is true
            assert d.out("run", "--rm", "--network", "none", "t", "sh", "-c", "cat /x /one /a; tail -n 1 /numbers") == "11\na\n20000"
        r = post(d, body, "t=t")
        assert b"Successfully tagged" in r.body, r.body
        assert not done or r.body.count(b"Using cache") == 5, r.body
        assert d.out("run", "--rm", "--network", "none", "t", "sh", "-c", "cat /x /one /a; tail -n 1 /numbers; cmp /y /bin/busybox && pwd") == "11\na\n20000\n/w"
        whole(d)
        quiet(d)
        d.close()
    finally:
        if d and d.process.poll() is None:
            d.process.kill()
            d.process.wait(20 * engine.SLOWER)
        subprocess.run(["umount", "-l", disk.at], capture_output=True)
