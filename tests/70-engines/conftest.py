"""podman and dockerd (Debian's) with --runtime pointed at ours. Each has its own data, sockets, network namespace; everything
that it started is gone at the end, and no cgroup, mount or state folder of its containers is left."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPO / "tests/lib"))
from waiting import SLOWER, until  # noqa: E402,F401

BUILD = REPO / os.environ.get("KNARR_BUILD", "build")


def need(*programs):
    for p in programs:
        if not shutil.which(p, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            pytest.skip(f"{p} is not installed (packages/peers; ./test.sh --all installs it)")


def run(words, check=0, timeout=120, **kw):
    p = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=timeout * SLOWER, **kw)
    if check is not None:
        assert p.returncode == check, (words, p.returncode, p.stdout, p.stderr)
    return p


def groups(name):
    return [os.path.join(r, d) for r, ds, _ in os.walk("/sys/fs/cgroup") for d in ds if name in d]


@pytest.fixture(scope="module")
def tmp():
    d = pathlib.Path(tempfile.mkdtemp(prefix="knarr-eng-", dir="/tmp"))
    yield d
    shutil.rmtree(d, ignore_errors=True)


@pytest.fixture(scope="module")
def runtime(tmp):
    """The name by which runc's command line is reached."""
    subprocess.run([str(REPO / "tests/helpers/make"), str(BUILD)], check=True)
    f = tmp / "knarr-runc"
    f.symlink_to(BUILD / "src/app/knarr-run")
    return f


@pytest.fixture(scope="module")
def rootfs(tmp, runtime):
    root = tmp / "rootfs"
    for d in ("proc", "sys", "dev", "etc", "tmp", "root", "data"):
        (root / d).mkdir(parents=True)
    shutil.copy(BUILD / "tests-helpers/ct", root / "ct")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/ct\nu:x:1000:1000:u:/tmp:/ct\n")
    (root / "etc/group").write_text("root:x:0:\nu:x:1000:\n")
    (root / "tmp").chmod(0o1777)
    (root / "notexec").write_text("x")
    return root


def version_is_new(config):
    """Bundles before 1.0.2 get that text's meaning (docs/decisions/0790), which engines do not expect: they must not write any."""
    version = json.loads(pathlib.Path(config).read_text())["ociVersion"]
    assert [int(n) for n in version.split("-")[0].split(".")] >= [1, 0, 2], version
    return version
