"""AppArmor's docker-default, where the kernel has AppArmor (the virtual machine of tests/vm, most Debian machines)."""
import json

import pytest
from conftest import *

NET = ("--network", "none")


@pytest.fixture(scope="module")
def d(docker):
    enabled = pathlib.Path("/sys/module/apparmor/parameters/enabled")
    if not enabled.exists() or enabled.read_text()[0] != "Y" or not shutil.which("apparmor_parser", path="/usr/sbin:/sbin"):
        pytest.skip("this kernel has no AppArmor")
    import_busybox(docker)
    yield docker
    left = docker.out("ps", "-aq", check=None).split()
    if left:
        docker.cli("rm", "-fv", *left, check=None)


def profile(d, name):
    return json.loads(d.out("inspect", name))[0]["AppArmorProfile"]


def test_default_profile(d):
    assert any("apparmor" in x for x in d.api("GET", "/info").json["SecurityOptions"])
    d.cli("run", "-d", "--name", "aa", "--cap-add", "SYS_ADMIN", *NET, "busybox", "sleep", "1000")
    assert profile(d, "aa") == "docker-default"
    for words in (("cat", "/proc/1/attr/current"), ("cat", "/proc/self/attr/current")):
        assert d.out("exec", "aa", *words) == "docker-default (enforce)"
    assert d.cli("exec", "aa", "mount", "-t", "tmpfs", "none", "/tmp", check=None).returncode != 0
    assert d.cli("exec", "--privileged", "aa", "sh", "-c", "echo 1 > /proc/sys/vm/drop_caches", check=None).returncode != 0
    assert d.cli("exec", "aa", "sh", "-c", "kill -0 1 && echo x > /data/f").returncode == 0
    d.cli("stop", "-t", "1", "aa")


def test_other_profiles(d):
    d.cli("run", "-d", "--name", "un", "--security-opt", "apparmor=unconfined", *NET, "busybox", "sleep", "1000")
    d.cli("run", "-d", "--name", "priv", "--privileged", *NET, "busybox", "sleep", "1000")
    for name in ("un", "priv"):
        assert profile(d, name) == "unconfined" and d.out("exec", name, "cat", "/proc/1/attr/current") == "unconfined", name
    d.cli("exec", "priv", "mount", "-t", "tmpfs", "none", "/tmp")
    p = d.cli("run", "--rm", "--security-opt", "apparmor=nosuch", *NET, "busybox", "true", check=None)
    assert p.returncode in (125, 126, 127) and "apparmor" in p.stderr
    d.cli("rm", "-f", "un", "priv")
