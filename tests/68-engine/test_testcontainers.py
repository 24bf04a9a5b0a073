"""testcontainers (npm, 10): what programs' own tests do with a daemon. The cases stand in testcontainers.js. No reaper is run: it is an
image of Docker Hub's; what it would take away the cases take away."""
import os
import pathlib
import subprocess

import pytest
from conftest import *

HERE = pathlib.Path(__file__).parent
ASIDE = pathlib.Path(os.environ.get("KNARR_NPM", pathlib.Path.home() / ".cache/knarr-npm"))
CASES = ["logs", "ports", "health", "copies", "options", "networks", "builds", "commits", "reuse", "absent", "compose"]


def test_every_case_is_run():
    text = (HERE / "testcontainers.js").read_text()
    assert re.findall(r"^\tasync (\w+)\(\)", text, re.M) == CASES


@pytest.mark.parametrize("case", CASES)
def test_testcontainers(bridged, tmp_path, case):
    d = bridged
    if not (ASIDE / "node_modules/testcontainers").exists():
        pytest.skip("npm could not fetch testcontainers" if shutil.which("npm") and shutil.which("node") else "no npm here (packages/test)")
    if case == "compose" and not shutil.which("docker-compose"):
        pytest.skip("docker-compose is not installed (packages/test)")
    import_busybox(d, "box:1")
    env = {**ENV, "DOCKER_HOST": f"unix://{d.sock}", "DOCKER_CONFIG": str(d.dir / "cli"), "TESTCONTAINERS_RYUK_DISABLED": "true",
           "NODE_PATH": str(ASIDE / "node_modules"), "HOME": str(tmp_path), "KNARR_SLOWER": str(SLOWER)}
    # dockerd gives all rights that there are, and fails where it has fewer itself; ours gives those that it has.
    own = int(re.search(r"CapBnd:\t(\w+)", pathlib.Path("/proc/self/status").read_text()).group(1), 16)
    if d.name == "knarr" or own == (2 << int(pathlib.Path("/proc/sys/kernel/cap_last_cap").read_text())) - 1:
        env["ALL_RIGHTS"] = "1"
    (tmp_path / "case").mkdir()
    # As somebody on the daemon's host would run it: it has a network namespace of its own.
    inside = [w.format(d.process.pid) for w in d.inside]
    try:
        p = subprocess.run([*inside, "node", HERE / "testcontainers.js", case, tmp_path / "case"], capture_output=True, text=True, timeout=180 * SLOWER,
                           env=env, cwd=tmp_path)
        assert p.returncode == 0 and p.stdout.strip().endswith("done"), p.stdout + p.stderr + d.tail()
        assert d.out("ps", "-q") == ""
    finally:
        left = d.out("ps", "-aq", check=None).split()
        if left:
            d.cli("rm", "-fv", *left, check=None)
        d.cli("network", "prune", "-f", check=None)
