"""Options of the json-file driver, and drivers."""
import json

import pytest
from conftest import *

NET = ("--network", "none")

pytestmark = pytest.mark.usefixtures("busybox", "tidy")


def opts(*words):
    return [w for x in words for w in ("--log-opt", x)]


def test_labels_environment_and_tag(docker):
    d = docker
    d.cli("run", "--name", "full", *NET, "--label", "team=a b", "--label", "other=1", "-e", "STAGE=x&y", "-e", "SECRET=no", "-e", "APP_1=z",
          *opts("labels=team,none", "env=STAGE", "env-regex=^APP_", "tag={{.Name}}/{{.ID}}"), "busybox", "echo", "hello")
    id = d.out("inspect", "-f", "{{.Id}}", "full")
    line = json.loads(open(d.out("inspect", "-f", "{{.LogPath}}", "full")).readline())
    assert line["log"] == "hello\n" and line["stream"] == "stdout"
    assert line["attrs"] == {"team": "a b", "STAGE": "x&y", "APP_1": "z", "tag": f"full/{id[:12]}"}
    assert d.cli("logs", "--details", "full").stdout == f"APP_1=z,STAGE=x%26y,tag=full%2F{id[:12]},team=a+b hello\n"
    assert d.cli("logs", "full").stdout == "hello\n"


def test_labels_regex_and_image_tag(docker):
    d = docker
    d.cli("run", "--name", "re", *NET, "--label", "com.a=1", "--label", "com.b=2", "--label", "org=3",
          *opts("labels-regex=^com", "tag={{ .ImageName }}|{{.DaemonName}}|{{.FullID}}"), "busybox", "echo", "x")
    id = d.out("inspect", "-f", "{{.Id}}", "re")
    line = json.loads(open(d.out("inspect", "-f", "{{.LogPath}}", "re")).readline())
    assert line["attrs"] == {"com.a": "1", "com.b": "2", "tag": f"busybox|docker|{id}"}


def test_none_and_what_is_refused(docker):
    d = docker
    assert d.cli("run", "--name", "quiet", "--log-driver", "none", *NET, "busybox", "echo", "seen").stdout == "seen\n"
    assert "configured logging driver does not support reading" in d.fails("logs", "quiet")
    assert d.out("inspect", "-f", "{{.LogPath}}", "quiet") == ""
    p = d.cli("run", "--log-driver", "nosuch", *NET, "busybox", "true", check=125)
    assert 'error looking up logging plugin nosuch: plugin "nosuch" not found' in p.stderr
    p = d.cli("run", *opts("bogus=1"), *NET, "busybox", "true", check=125)
    assert "unknown log opt 'bogus' for json-file log driver" in p.stderr
    p = d.cli("run", *opts("tag={{.Nothing}}"), *NET, "busybox", "true", check=125)
    assert "log-tag" in p.stderr


def test_refused_here(knarr):
    """Named, so that nobody believes to have what is not there."""
    import_busybox(knarr)
    for words, why in ((("--log-driver", "local"), 'plugin "local" not found'),
                       (("--runtime", "crun"), "unknown or invalid runtime name: crun"),
                       (("--storage-opt", "size=1G"), "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"),
                       ((*opts("labels=big"), "--label", "big=" + "x" * 1100), "at most 1023"), (opts("env-regex=("), "env-regex")):
        p = knarr.cli("run", *words, *NET, "busybox", "true", check=None)
        assert p.returncode in (125, 1) and why in p.stderr, (words, p.stderr)
    for flag in ("--userns-remap=default", "--storage-opt=size=1G", "--add-runtime=x=/x", "--selinux-enabled"):
        p = subprocess.run([KNARR, "engine", "--data-dir", knarr.dir / "other", flag], capture_output=True, text=True, timeout=20)
        assert p.returncode == 125 and "not supported" in p.stderr, (flag, p.stderr)
    assert not (knarr.dir / "other").exists()
