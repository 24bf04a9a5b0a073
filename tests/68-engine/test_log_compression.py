"""log-opt compress=true: what is rotated becomes name.N.gz, and nobody who reads notices."""
import gzip
import json
import pathlib
import subprocess

import pytest
from conftest import *

NET = ("--network", "none")

both = pytest.mark.usefixtures("busybox", "tidy")


def opts(**words):
    return [w for k, v in words.items() for w in ("--log-opt", f"{k.replace('_', '-')}={v}")]


SMALL = opts(max_size="10k", max_file=4, compress="true")
ALL = opts(max_size="10k", max_file=100, compress="true")


def script(n, pause_every=0, pause=0.1):
    """n lines of which 100 fill a file and a bit."""
    pause = f"[ $((i % {pause_every})) = 0 ] && sleep {pause};" if pause_every else ""
    return f"i=0; while [ $i -lt {n} ]; do echo line $i and what makes it longer; i=$((i+1)); {pause} done"


def path(d, name):
    return pathlib.Path(d.out("inspect", "-f", "{{.LogPath}}", name))


def files(d, name):
    """The log's files, oldest first, without what is made just now; "" for the current one, "2.gz", "1"."""
    p = path(d, name)
    ends = [x.name[len(p.name):].lstrip(".") for x in p.parent.iterdir() if x.name.startswith(p.name) and not x.name.endswith(".tmp")]
    return sorted(ends, key=lambda e: -int(e.split(".")[0] or 0))


def current(p):
    """Of the log's first file, which has no name between two renames."""
    try:
        return p.read_text()
    except FileNotFoundError:
        return ""


def settled(d, name, count=None):
    """Until all that was rotated is compressed."""
    until(lambda: all(not e or e.endswith(".gz") for e in files(d, name)) and (count is None or len(files(d, name)) == count), 30)
    return files(d, name)


def records(d, name):
    """What is in the files, whatever reads them."""
    p = path(d, name)
    out = []
    for end in files(d, name):
        one = p.with_name(f"{p.name}.{end}" if end else p.name)
        out += [json.loads(x)["log"] for x in (gzip.open if end.endswith(".gz") else open)(one, "rt")]
    return out


def numbers(text):
    return [int(x.split()[1]) for x in (text.splitlines() if isinstance(text, str) else text)]


def in_a_row(got, last, first=None):
    assert got and got == list(range(got[0], last + 1)), (got[:3], got[-3:], [(a, b) for a, b in zip(got, got[1:]) if b != a + 1][:5])
    assert first is None or got[0] == first


@both
def test_files_and_tails(docker):
    d = docker
    d.cli("run", "--name", "small", *NET, *SMALL, "busybox", "sh", "-c", script(2000, 50))
    assert json.loads(d.out("inspect", "small"))[0]["HostConfig"]["LogConfig"]["Config"] == {
        "max-size": "10k", "max-file": "4", "compress": "true"}
    assert settled(d, "small", 4) == ["3.gz", "2.gz", "1.gz", ""]
    kept = numbers(records(d, "small"))
    in_a_row(kept, 1999)
    assert len(kept) > 250
    assert numbers(d.out("logs", "small")) == kept
    for n in (1, 20, 150, 230, len(kept) - 1, len(kept), len(kept) + 1, 10000):
        assert numbers(d.out("logs", "--tail", n, "small")) == kept[-n:], n
    assert d.out("logs", "--tail", "0", "small") == ""
    assert numbers(d.out("logs", "-f", "small")) == kept
    stamped = d.out("logs", "-t", "small").splitlines()
    at = next(i for i in range(120, len(stamped)) if stamped[i].split()[0] != stamped[i - 1].split()[0])
    since = stamped[at].split()[0]
    later = numbers(x.split(" ", 1)[1] for x in d.out("logs", "-t", "--since", since, "small").splitlines())
    assert later == kept[at:] or (d.name == "dockerd" and later and later == kept[-len(later):])  # 20.10 leaves files out that it should read
    until_ = [x for x in stamped if x.split()[0] <= since]
    assert d.out("logs", "-t", "--until", since, "small").splitlines() == until_


def test_following(knarr):
    """One who follows gets each line once, in order, whatever is rotated and compressed meanwhile. dockerd 20.10 gives some twice and
    others not at all."""
    d = knarr
    import_busybox(d)
    # Four files are kept: who follows is there before the second is begun, and reads faster than they go.
    (d.dir / "follows").mkdir()
    d.cli("run", "-d", "--name", "followed", "-v", f"{d.dir}/follows:/word", *NET, *SMALL, "busybox", "sh", "-c",
          "echo here; while [ ! -e /word/go ]; do sleep 0.1; done; " + script(3000, 50, 0.1 * min(SLOWER, 10)))
    follower = subprocess.Popen(["docker", "logs", "-f", "followed"], stdout=subprocess.PIPE, text=True, env={**ENV, "DOCKER_HOST": f"unix://{d.sock}"})
    assert follower.stdout.readline() == "here\n"
    (d.dir / "follows/go").write_text("")
    in_a_row(numbers(follower.communicate(timeout=60 * SLOWER)[0]), 2999, 0)
    assert settled(d, "followed", 4) == ["3.gz", "2.gz", "1.gz", ""]
    d.cli("rm", "followed")


@both
def test_a_second_start_goes_on(docker):
    d = docker
    d.cli("run", "--name", "twice", *NET, *ALL, "busybox", "sh", "-c", script(500, 100))
    d.cli("start", "-a", "twice")
    settled(d, "twice")
    got = numbers(d.out("logs", "twice"))
    assert got == [*range(500), *range(500)]
    assert numbers(d.out("logs", "--tail", 700, "twice")) == got[-700:]


@both
@pytest.mark.parametrize("words,why", [
    (opts(max_size="1m", compress="true"), "compress cannot be true when max-file is less than 2 or max-size is not set"),
    (opts(max_size="1m", max_file=1, compress="1"), "compress cannot be true when max-file is less than 2 or max-size is not set"),
    (opts(max_file=1, compress="TRUE"), "compress cannot be true when max-file is less than 2 or max-size is not set"),
    (opts(compress="maybe"), 'strconv.ParseBool: parsing "maybe": invalid syntax'),
])
def test_refused(docker, words, why):
    p = docker.cli("run", *words, *NET, "busybox", "true", check=125)
    assert f"failed to initialize logging driver: {why}" in p.stderr


def test_with_our_defaults(knarr):
    """dockerd has no size of its own, and refuses; here the log is 10 MB x 3 anyway."""
    import_busybox(knarr)
    knarr.cli("run", "--name", "plain", *NET, *opts(compress="true"), "busybox", "true")
    assert json.loads(knarr.out("inspect", "plain"))[0]["HostConfig"]["LogConfig"]["Config"] == {
        "compress": "true", "max-size": "10m", "max-file": "3"}
    assert files(knarr, "plain") == [""]
    knarr.cli("rm", "plain")


def test_what_was_rotated_while_the_engine_was_away(make_knarr):
    k = make_knarr()
    import_busybox(k)
    (k.dir / "word").mkdir()
    wait = ("-v", f"{k.dir}/word:/word", "busybox", "sh", "-c", "while [ ! -e /word/go ]; do sleep 0.1; done; " + script(1500))
    k.cli("run", "-d", "--name", "runs", *NET, *ALL, *wait[:-1], wait[-1] + "; sleep 1000")
    k.cli("run", "-d", "--name", "ends", *NET, *ALL, *wait)
    paths = {n: path(k, n) for n in ("runs", "ends")}
    assert k.stop() == 0
    (k.dir / "word/go").write_text("")
    until(lambda: all(len(list(p.parent.glob(p.name + ".*"))) >= 10 and current(p).count("line 1499 ") == 1 for p in paths.values()))
    assert all(not list(p.parent.glob("*.gz")) for p in paths.values())
    k.start()
    for n in paths:
        assert len(settled(k, n)) > 10
        in_a_row(numbers(k.out("logs", n)), 1499, 0)
    # and it goes on being watched
    k.cli("exec", "-d", "runs", "sh", "-c", "(" + script(300) + ") > /proc/1/fd/1")
    until(lambda: numbers(k.out("logs", "runs"))[-1] == 299)
    settled(k, "runs")
    got = numbers(k.out("logs", "runs"))
    assert sorted(got) == sorted([*range(1500), *range(300)])


def test_removed_while_it_is_compressed(make_knarr):
    k = make_knarr(env={"KNARR_FAIL": f"logs.compress.synced=sleep:{400 * min(SLOWER, 10)}"})
    import_busybox(k)
    for n in range(3):
        k.cli("run", "-d", "--name", "busy", *NET, *ALL, "busybox", "sh", "-c", script(400) + "; sleep 1000")
        folder = path(k, "busy").parent
        until(lambda: list(folder.glob("*.gz.tmp")))
        k.cli("rm", "-f", "busy")
        until(lambda: not folder.exists())
    assert "left something behind" not in k.tail() and "uncompressed" not in k.tail(), k.tail()
    # An engine that ends does not wait for a compression, and leaves what the next one mends.
    k.cli("run", "-d", "--name", "last", *NET, *ALL, "busybox", "sh", "-c", script(400) + "; sleep 1000")
    folder = path(k, "last").parent
    until(lambda: list(folder.glob("*.gz.tmp")))
    assert k.stop() == 0
    k.env = {}
    k.start()
    settled(k, "last")
    in_a_row(numbers(k.out("logs", "last")), 399, 0)


POINTS = ("begin", "written", "synced", "renamed", "removed")


@pytest.mark.parametrize("point", POINTS)
def test_killed(make_knarr, point):
    """The engine dies at that step, at its first, second and sixth passage: each line is there once, before and after the rest is done."""
    k = make_knarr()
    import_busybox(k)
    for passage in (1, 2, 6) if LONG else (2,):
        k.stop()
        k.env = {"KNARR_FAIL": f"logs.compress.{point}=kill@{passage}"}
        k.start()
        id = k.out("create", "--name", "killed", *NET, *ALL, "busybox", "sh", "-c", "sleep 1; " + script(1500, 100))
        p = k.data / "containers" / id / f"{id}-json.log"
        k.cli("start", "killed", check=None)  # begin is passed at once
        assert k.process.wait(30 * SLOWER) == -signal.SIGKILL, (point, passage)
        k.log.close()
        k.env = {"KNARR_FAIL": "logs.compress.begin=sleep:1500"}  # first as it was left
        k.start()
        until(lambda: p.exists() and "line 1499 " in k.out("logs", "--tail", "1", "killed"))  # between two renames its name is missing
        in_a_row(numbers(k.out("logs", "killed")), 1499, 0)
        assert numbers(k.out("logs", "--tail", "1490", "killed")) == list(range(10, 1500))
        k.stop()
        k.env = {}
        k.start()
        assert len(settled(k, "killed")) > 10
        assert not list(p.parent.glob("*.tmp"))
        in_a_row(numbers(k.out("logs", "killed")), 1499, 0)
        in_a_row(numbers(records(k, "killed")), 1499, 0)
        k.cli("rm", "-f", "killed")
