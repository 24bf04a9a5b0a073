"""Docker Hub as it would answer, in namespaces of its own: hub.py."""
import sys

from conftest import *


def test_hub(tmp_path):
    p = subprocess.run(["unshare", "--net", "--mount", "--propagation", "private", "/usr/bin/python3", REPO / "tests/65-image/hub.py", tmp_path],
                       capture_output=True, text=True, timeout=300)
    print(p.stdout, p.stderr, file=sys.stderr)
    assert p.returncode == 0 and p.stdout == "hub: all as it should be\n"
