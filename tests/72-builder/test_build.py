"""What a person sees of a build, its cache, and what becomes of one that is cut short."""
import contextlib
import hashlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time
from urllib.parse import quote

import pytest
from conftest import Cli, engine, tar


def steps(out):
    return re.findall(r"^Step (\d+)/(\d+) : (.*)$", out, re.M)


def cached(out):
    """Numbers of the steps that were hits."""
    hits, now = [], 0
    for line in out.splitlines():
        if line.startswith("Step "):
            now = int(line.split()[1].split("/")[0])
        if "Using cache" in line:
            hits.append(now)
    return hits


def post(d, body, query="", headers=None):
    r = d.api("POST", f"/build?{query}", body, headers={"Content-Type": "application/x-tar", **(headers or {})})
    return r


def context_of(text, *more):
    return tar([("Dockerfile", text.encode(), {}), *more])


def quiet(d):
    """Nothing of a build is left but images."""
    assert d.out("ps", "-aq") == ""
    work = d.data / "builder/work"
    assert list(work.iterdir()) == [], list(work.iterdir())
    assert not [l for l in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if str(work) in l]
    assert list((d.data / "images/ingest").iterdir()) == [], list((d.data / "images/ingest").iterdir())


def test_stream(cli, knarr):
    p = cli.build("-t", "s1", "-t", "s2:x", text="FROM busybox\nENV A=1\nRUN echo out; echo err >&2\nCOPY a.txt /\n")
    want = r""".*Step 1/4 : FROM busybox
 ---> [0-9a-f]{12}
Step 2/4 : ENV A=1
 ---> [0-9a-f]{12}
Step 3/4 : RUN echo out; echo err >&2
 ---> Running in [0-9a-f]{12}
(out\n\x1b\[91merr\n\x1b\[0m|\x1b\[91merr\n\x1b\[0mout\n)Removing intermediate container [0-9a-f]{12}
 ---> [0-9a-f]{12}
Step 4/4 : COPY a\.txt /
 ---> [0-9a-f]{12}
Successfully built [0-9a-f]{12}
Successfully tagged s1:latest
Successfully tagged s2:x
\[Advice\] Dockerfile:1: FROM busybox means another image tomorrow: name a version
$"""
    assert re.match(want, p.stdout, re.S), p.stdout
    again = cli.build("-t", "s1", text="FROM busybox\nENV A=1\nRUN echo out; echo err >&2\nCOPY a.txt /\n")
    assert again.stdout.count(" ---> Using cache\n") == 3 and "Running in" not in again.stdout
    quiet(knarr)


def test_quiet_iidfile(cli, tmp_path):
    p = cli.build("-q", "-t", "q", text="FROM busybox\nRUN echo x\n")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", p.stdout), p.stdout
    file = tmp_path / "iid"
    cli.build("--iidfile", file, text="FROM busybox\nRUN echo x\n")
    assert file.read_text() == p.stdout.strip()
    p = cli.build("-q", "--force-rm", text="FROM busybox\nRUN echo the reason; exit 5\n", check=5)
    assert "the reason" in p.stdout + p.stderr and "returned a non-zero code: 5" in p.stderr


def test_error_says_where(cli):
    p = cli.build("--force-rm", text="FROM busybox\nRUN true\n\nRUN echo last words; \\\n  exit 7\n", check=7)
    assert "last words\n" in p.stdout
    assert "Dockerfile:4\n--------------------\n" in p.stdout and "   4 | >>> RUN echo last words; \\\n   5 | >>>   exit 7\n" in p.stdout, p.stdout
    assert "The command '/bin/sh -c echo last words;   exit 7' returned a non-zero code: 7" in p.stderr


def test_failed_container_stays_unless_forced(cli, knarr):
    cli.build(text="FROM busybox\nRUN exit 1\n", check=1)
    left = knarr.out("ps", "-aq").split()
    assert len(left) == 1
    knarr.cli("rm", *left)
    cli.build("--force-rm", text="FROM busybox\nRUN exit 1\n", check=1)
    quiet(knarr)
    cli.build("--rm=false", "--no-cache", text="FROM busybox\nRUN true\nRUN true\n")
    left = knarr.out("ps", "-aq").split()
    assert len(left) == 2
    knarr.cli("rm", *left)
    quiet(knarr)


def with_triggers(d, triggers, tag):
    """An image as another builder may have made it: nobody looked at its OnBuild."""
    layer = tar([("f", b"1", {})])
    config = {"architecture": "amd64", "os": "linux", "config": {"OnBuild": triggers}, "history": [{"created_by": "x"}],
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}
    manifest = [{"Config": "c.json", "RepoTags": [tag], "Layers": ["l.tar"]}]
    d.cli("load", stdin=tar([("c.json", json.dumps(config).encode(), {}), ("l.tar", layer, {}), ("manifest.json", json.dumps(manifest).encode(), {})]))


REFUSED = (("FROM x", "FROM isn't allowed as an ONBUILD trigger"), ("MAINTAINER x", "MAINTAINER isn't allowed as an ONBUILD trigger"),
           ("ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"))


def test_triggers_of_any_image(knarr, cli):
    """An image's OnBuild is anybody's text: what no Dockerfile may ask for is refused, and the engine goes on."""
    for trigger, words in REFUSED:
        with_triggers(knarr, [trigger], "triggers:latest")
        p = cli.build(text="FROM triggers\n", check=1)
        assert words in p.stderr, p.stderr
        assert knarr.api("GET", "/_ping").status == 200
    knarr.cli("rmi", "-f", "triggers")


def triggers_by_change(d):
    """commit --change and import --change refuse them, in dockerd's words."""
    c = d.out("create", "--network", "none", "busybox", "true")
    try:
        for trigger, words in (*REFUSED, ("from x", "FROM isn't allowed as an ONBUILD trigger"), ("", "ONBUILD requires at least one argument")):
            p = d.cli("import", "--change", f"ONBUILD {trigger}", "-", "changed", stdin=tar([("f", b"1", {})]), check=1)
            assert words in p.stderr, (trigger, p.stderr)
            p = d.cli("commit", "--change", f"ONBUILD {trigger}", c, "changed", check=1)
            assert words in p.stderr, (trigger, p.stderr)
        d.cli("commit", "--change", "ONBUILD RUN x", c, "changed")
        assert d.api("GET", "/images/changed/json").json["Config"]["OnBuild"] == ["RUN x"]
    finally:
        d.cli("rm", c)
    d.cli("rmi", "-f", "changed")


def test_triggers_by_change(knarr):
    triggers_by_change(knarr)


# ---- the cache

BASE = "FROM busybox\nCOPY a.txt /a\nRUN echo 1 >/r\nCOPY dir /d\nARG V=1\nRUN echo $V >/v\nCMD x\n"


def test_cache_by_content(cli, tmp_path):
    cli.build(text=BASE)
    assert cached(cli.build(text=BASE).stdout) == [2, 3, 4, 5, 6, 7]
    # What is not copied does not matter; neither do times.
    assert cached(cli.build(text=BASE, files={"b.txt": "other\n"}).stdout) == [2, 3, 4, 5, 6, 7]
    assert cached(cli.build(text=BASE, files={"a.txt": "other\n"}).stdout) == []
    assert cached(cli.build(text=BASE, files={"dir/sub/y": "other\n"}).stdout) == [2, 3]
    assert cached(cli.build(text=BASE, files={"dir/new": ""}).stdout) == [2, 3]
    assert cached(cli.build("--build-arg", "V=2", text=BASE).stdout) == [2, 3, 4, 5]
    assert cached(cli.build("--no-cache", text=BASE).stdout) == []
    changed = BASE.replace("CMD x", "CMD y")
    assert cached(cli.build(text=changed).stdout) == [2, 3, 4, 5, 6]


def test_cache_by_mode_and_name(cli, knarr):
    def made(mode=0o644, name="f", kind=None):
        more = {"mode": mode, **({"type": kind, "linkname": "y"} if kind else {})}
        r = post(knarr, context_of("FROM busybox\nCOPY d /d\n", ("d/" + name, b"1", more)), "rm=1")
        return cached("".join(l.get("stream", "") for l in r.lines))
    assert made() == []
    assert made() == [2]
    assert made(mode=0o600) == []
    assert made(name="g") == []
    assert made(kind=b"2") == []
    assert made() == [2]


def test_cache_of_scratch_and_stages(cli):
    text = "FROM scratch\nCOPY a.txt /\n"
    one = cli.build("-q", text=text).stdout
    assert cli.build("-q", text=text).stdout == one
    text = "FROM busybox AS s\nRUN echo 1 >/x\nFROM busybox\nCOPY --from=s /x /y\n"
    cli.build(text=text)
    assert cached(cli.build(text=text).stdout) == [2, 4]
    text = text.replace("echo 1", "echo  1")  # another command, the same file
    assert cached(cli.build(text=text).stdout) == [4]


def test_cache_of_scratch_is_made_here(make_knarr, tmp_path):
    """An image that was loaded has no parent either, and its configuration says what its author liked (CVE-2024-24557)."""
    one, two = make_knarr(), make_knarr()
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir(), b.mkdir()
    text = "FROM scratch\nCOPY a.txt /\nLABEL a=b\n"
    Cli(one, a).build("-t", "t", text=text)
    one.cli("tag", one.out("history", "-q", "--no-trunc", "t").split()[1], "first")
    two.cli("load", stdin=one.cli("save", "first", "t").raw)
    c = Cli(two, b)
    assert cached(c.build(text=text).stdout) == []
    assert cached(c.build(text=text).stdout) == [2, 3]


def test_cache_of_scratch_by_platform(knarr):
    """A step upon nothing inherits no platform: the build's is part of what it is."""
    body, made = context_of("FROM scratch\nCOPY x /platform\n", ("x", b"of a platform", {})), []
    for platform in ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/arm64"):
        r = post(knarr, body, f"platform={platform}")
        doc = knarr.api("GET", f"/images/{r.lines[-1]['stream'].split()[-1]}/json" if "stream" in r.lines[-1] else "/").json
        assert "/".join(filter(None, (doc["Os"], doc["Architecture"], doc.get("Variant")))) == platform, doc
        made.append((doc["Id"], b"Using cache" in r.body))
    assert [c for _, c in made] == [False, False, False, False, True] and made[1][0] == made[4][0], made


def test_cache_by_epoch(make_knarr, tmp_path):
    """SOURCE_DATE_EPOCH is a promise about times, which a hit of another time would not keep."""
    d = make_knarr()
    engine.import_busybox(d)
    c = Cli(d, tmp_path)
    text = "FROM busybox\nCOPY a.txt /\nRUN touch /now\nLABEL a=b\n"

    def made(epoch):
        p = c.build("-t", "t", *(["--build-arg", f"SOURCE_DATE_EPOCH={epoch}"] if epoch else []), text=text)
        return cached(p.stdout), d.api("GET", "/images/t/json").json["Created"]
    assert made(None)[0] == []
    assert made(1600000000) == ([], "2020-09-13T12:26:40Z")
    assert made(1500000000) == ([], "2017-07-14T02:40:00Z")
    assert made(1600000000) == ([2, 3, 4], "2020-09-13T12:26:40Z")
    assert made(1500000000) == ([2, 3, 4], "2017-07-14T02:40:00Z")
    p = c.build("--build-arg", "SOURCE_DATE_EPOCH=9300000000", text=text, check=1)
    assert "invalid SOURCE_DATE_EPOCH" in p.stderr, p.stderr


def test_cache_survives_restart_and_mounts_count(make_knarr, tmp_path):
    d = make_knarr()
    engine.import_busybox(d)
    c = Cli(d, tmp_path)
    text = "FROM busybox\nRUN --mount=target=/c cp /c/a.txt /x\n"
    c.build(text=text)
    assert d.stop() == 0
    d.start()
    assert cached(c.build(text=text).stdout) == [2]
    assert cached(c.build(text=text, files={"b.txt": "other\n"}).stdout) == []


make_knarr = engine.make_knarr


def test_cache_from(make_knarr, tmp_path):
    one, two = make_knarr(), make_knarr()
    for d in (one, two):
        engine.import_busybox(d)
    saved = one.cli("save", "busybox").raw
    two.cli("load", stdin=saved)
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir(), b.mkdir()
    text = "FROM busybox\nENV A=1\nRUN echo 1 >/r\nCOPY a.txt /a\n"
    Cli(one, a).build("-t", "t", text=text)
    two.cli("load", stdin=one.cli("save", "t").raw)
    c = Cli(two, b)
    assert cached(c.build(text=text, check=0).stdout) == []  # nobody said that it may be used
    two.cli("image", "prune", "-f")
    p = c.build("--cache-from", "t", "-t", "u", text=text)
    assert cached(p.stdout) == [2, 3, 4], p.stdout
    p = c.build("--cache-from", "t", text=text, files={"a.txt": "other\n"})
    assert cached(p.stdout) == [2, 3], p.stdout


def test_prune(make_knarr, tmp_path):
    """Cache mounts go; images are `image prune`'s, with a name or without."""
    d = make_knarr()
    engine.import_busybox(d)
    c = Cli(d, tmp_path)
    text = "FROM busybox\nRUN --mount=type=cache,target=/c dd if=/dev/zero of=/c/z bs=1k count=300 2>/dev/null\n"
    c.build("-t", "kept", text=text)
    nameless = c.build("-q", text="FROM busybox\nRUN echo lost >/f\n").stdout.strip()
    df = d.api("GET", "/system/df").json["BuildCache"]
    assert len(df) == 1 and df[0]["Size"] == 300 * 1024 and not df[0]["InUse"], df
    before = d.out("images", "-aq", "--no-trunc").split()
    assert nameless in before
    r = d.api("POST", "/build/prune").json
    assert r == {"CachesDeleted": [df[0]["ID"]], "SpaceReclaimed": 300 * 1024}, r
    assert d.api("GET", "/system/df").json["BuildCache"] == []
    assert d.out("images", "-aq", "--no-trunc").split() == before
    assert cached(c.build(text=text).stdout) == [2]
    assert d.api("POST", "/build/prune").json == {"CachesDeleted": None, "SpaceReclaimed": 0}
    d.cli("image", "prune", "-f")
    assert nameless not in d.out("images", "-aq", "--no-trunc").split()


def test_cache_mount_is_whole_or_not_there(make_knarr, tmp_path):
    """One that could not be filled is no cache, neither for the next build nor after the engine was killed."""
    d = make_knarr()
    engine.import_busybox(d)
    c = Cli(d, tmp_path)
    text = "FROM busybox\nRUN --mount=type=cache,target=/c,from=busybox,source=%s ls /c\n"
    for _ in range(2):
        assert "failed to mount" in c.build("--force-rm", text=text % "/typo", check=1).stderr
    quiet(d)
    assert "passwd" in c.build(text=text % "/etc").stdout
    owned = "FROM busybox\nRUN --mount=type=cache,target=/u,uid=1000,gid=2000,mode=0700 stat -c %u:%g:%a /u\n"
    assert d.stop() == 0
    d.env = {"KNARR_FAIL": "builder.cache.filled=kill"}
    d.start()
    c.build(text=owned, check=None)
    d.process.wait(20 * engine.SLOWER)
    d.env = {}
    d.start()
    quiet(d)
    assert "\n1000:2000:700\n" in c.build(text=owned).stdout
    assert "\n1000:2000:700\n" in c.build("--no-cache", text=owned).stdout


def test_reproducible(make_knarr, tmp_path):
    ids = []
    text = "FROM scratch\nADD root.tar /\nRUN [\"/bin/busybox\", \"touch\", \"/now\"]\nWORKDIR /w/x\nCOPY a.txt /\nLABEL a=b\n"
    for n in range(2):
        d = make_knarr()
        (tmp_path / str(n)).mkdir()
        p = Cli(d, tmp_path / str(n)).build("-q", "--build-arg", "SOURCE_DATE_EPOCH=1600000000", text=text, files={"root.tar": engine.BUSYBOX})
        ids.append(p.stdout)
        d.cli("tag", p.stdout.strip(), "t")
        assert d.api("GET", "/images/t/json").json["Created"].startswith("2020-09-13T12:26:40")
        time.sleep(1.1)
    assert ids[0] == ids[1]


# ---- the API by hand

def test_answers(knarr):
    r = post(knarr, context_of("FORM x\n"))
    assert r.status == 400 and "unknown instruction: FORM (did you mean FROM?)" in r.message
    r = post(knarr, context_of("FROM busybox\n"), "dockerfile=nope")
    assert r.status == 400 and "Cannot locate specified Dockerfile: nope" in r.message, r.body
    r = post(knarr, b"this is no archive, and longer than a block" * 100)
    assert r.status in (400, 500) and r.message
    r = post(knarr, context_of("FROM busybox\n"), "t=UPPER")
    assert r.status == 400 and "must be lowercase" in r.message
    r = post(knarr, context_of("FROM busybox\n"), "version=2")
    assert r.status == 501 and "run DOCKER_BUILDKIT=0 docker build" in r.message
    r = post(knarr, context_of("FROM busybox\n"), "squash=1")
    assert r.status == 400 and "squash" in r.message
    r = post(knarr, context_of("FROM busybox\n"), "buildargs=%7B")
    assert r.status == 400 and "error reading build args" in r.message
    for what, value, kind in (("labels", 5, "number"), ("labels", {}, "object"), ("labels", True, "bool"), ("buildargs", ["x"], "array"), ("buildargs", 1.5, "number")):
        r = post(knarr, context_of("FROM busybox\n"), f"{what}=" + quote(json.dumps({"a": value})))
        assert r.status == 400 and f"cannot unmarshal {kind} into Go value of type string" in r.message, (what, value, r.body)
    r = post(knarr, context_of("FROM busybox\nARG A=1\n"), "t=nulls&labels=" + quote('{"a":null,"b":"x"}') + "&buildargs=" + quote('{"A":null}'))
    assert b"Successfully tagged" in r.body and knarr.api("GET", "/images/nulls/json").json["Config"]["Labels"] == {"a": "", "b": "x"}, r.body
    for path in ("/session", "/grpc"):
        r = knarr.api("POST", path)
        assert r.status == 501 and "DOCKER_BUILDKIT=0" in r.message
    r = post(knarr, context_of("FROM busybox\nRUN exit 3\n"), "forcerm=1")
    assert r.status == 200 and r.lines[-1] == {"errorDetail": {"code": 3, "message": "The command '/bin/sh -c exit 3' returned a non-zero code: 3"},
                                              "error": "The command '/bin/sh -c exit 3' returned a non-zero code: 3"}
    r = post(knarr, context_of("FROM busybox\nLABEL a=b\n"), "t=x&t=x:latest&t=y")
    assert [l["aux"]["ID"] for l in r.lines if "aux" in l] and r.body.count(b"Successfully tagged") == 2
    quiet(knarr)


def test_context_archives(knarr, cli):
    import bz2
    import gzip
    import lzma
    body = context_of("FROM busybox\nCOPY x /x\n", ("x", b"1", {}))
    assert post(knarr, gzip.compress(body)).lines[-1].get("stream")
    for press in (bz2, lzma):
        assert "Successfully built" in post(knarr, press.compress(body)).lines[-2].get("stream", "")
    for name, more in (("../up", {}), ("a/../../up", {})):
        r = post(knarr, context_of("FROM busybox\nCOPY . /x\n", (name, b"1", more)))
        assert r.status == 400 and "outside the build context" in r.message, r.body
    r = post(knarr, context_of("FROM busybox\nCOPY . /x\n", ("l", b"", {"type": b"2", "linkname": "/etc"}), ("l/evil", b"1", {})))
    assert r.status == 400 and "no folder" in r.message, r.body
    r = post(knarr, body[:600])
    assert r.status >= 400
    p = cli.build(text=None, fresh=False, stdin=b"FROM busybox\nLABEL stdin=1\n", where="-")
    assert "Successfully built" in p.stdout
    quiet(knarr)


def test_remote(knarr, web):
    web.files["/Dockerfile"] = b"FROM busybox\nLABEL remote=1\n"
    web.files["/ctx.tar.gz"] = __import__("gzip").compress(context_of("FROM busybox\nCOPY x /x\n", ("x", b"1", {})))
    base = f"http://127.0.0.1:{web.server_port}"
    for path in ("/Dockerfile", "/ctx.tar.gz"):
        r = knarr.api("POST", f"/build?remote={base}{path}")
        assert "Successfully built" in r.lines[-2].get("stream", "") + r.lines[-1].get("stream", ""), r.body
    r = knarr.api("POST", f"/build?remote={base}/nope")
    assert "status 404 Not Found: not here" in r.message, r.body
    r = post(knarr, context_of(f"FROM busybox\nADD {base}/moved /x/\nADD --checksum=sha256:{'0' * 64} {base}/file.bin /y\n"))
    assert "digest mismatch" in r.lines[-1]["error"], r.body


# ---- cut short

SLOW = "FROM busybox\nRUN echo be''gun; sleep 60\n"


def begin(d, body, query=""):
    s = socket.socket(socket.AF_UNIX)
    s.connect(d.sock)
    s.sendall(f"POST /v1.41/build?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-tar\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return s


def read_until(s, word, seconds=20):
    s.settimeout(seconds * engine.SLOWER)
    got = b""
    while word not in got:
        piece = s.recv(65536)
        assert piece, got
        got += piece
    return got


def rest_of(s, seconds=60):
    """What comes until the other side ends."""
    s.settimeout(seconds * engine.SLOWER)
    got = b""
    while piece := s.recv(65536):
        got += piece
    s.close()
    return got


def cancel(d, s, name, within=30):
    """Cancels the build of that name, whose answer comes by s; gives the rest of it."""
    began = time.monotonic()
    assert d.api("POST", f"/build/cancel?id={name}").status == 204
    got = rest_of(s)
    assert time.monotonic() - began < within * engine.SLOWER
    return got


def threads(d):
    return len(list(pathlib.Path(f"/proc/{d.process.pid}/task").iterdir()))


def settled_threads(d):
    """Of an engine that has nothing to do: those of what was asked before it may still be ending."""
    last = []

    def still():
        last.append(threads(d))
        time.sleep(0.1)
        return len(last) > 5 and len(set(last[-5:])) == 1
    engine.until(still)
    return last[-1]


def test_client_leaves(knarr):
    knarr.out("ps")
    before = settled_threads(knarr)
    s = begin(knarr, context_of(SLOW))
    read_until(s, b"begun")
    s.close()
    engine.until(lambda: knarr.out("ps", "-aq") == "")
    engine.until(lambda: not list((knarr.data / "builder/work").iterdir()))
    # In the middle of the context, too: its thread ends.
    engine.until(lambda: threads(knarr) == before)
    body = context_of(SLOW)
    s = socket.socket(socket.AF_UNIX)
    s.connect(knarr.sock)
    s.sendall(f"POST /v1.41/build HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:700])
    engine.until(lambda: threads(knarr) > before)
    s.close()
    engine.until(lambda: threads(knarr) == before)
    quiet(knarr)


def test_cancel(knarr):
    s = begin(knarr, context_of(SLOW), "buildid=abc")
    read_until(s, b"begun")
    got = cancel(knarr, s, "abc")
    assert b'"error":"the build was cancelled"' in got and b"Successfully" not in got, got
    engine.until(lambda: knarr.out("ps", "-aq") == "")
    assert knarr.api("POST", "/build/cancel").status == 400


@pytest.mark.skipif(not pathlib.Path("/sys/fs/cgroup/freezer").exists(), reason="what version 2 of control groups has frozen can be killed")
def test_a_step_that_does_not_end_keeps_its_cache_mount(make_knarr):
    """Killed, and no end of it was heard of: its container may still write there, so nobody else gets in."""
    d = make_knarr()
    engine.import_busybox(d)
    text = "FROM busybox\nRUN --mount=type=cache,target=/c,sharing=locked,id=stuck echo be''gun; sleep 60\n"
    s = begin(d, context_of(text), "buildid=stuck")
    read_until(s, b"begun")
    pid = d.out("inspect", "-f", "{{.State.Pid}}", d.out("ps", "-aq"))
    path = [l.split(":")[2] for l in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines() if ":freezer:" in l][0]
    freezer = pathlib.Path(f"/sys/fs/cgroup/freezer{path}/freezer.state")
    freezer.write_text("FROZEN")
    try:
        cancel(d, s, "stuck")
        s = begin(d, context_of(text), "buildid=next&nocache=1")
        read_until(s, b"Step 2/2")
        s.settimeout(3)
        with pytest.raises(TimeoutError):
            read_until(s, b"begun", 3)
        s.close()
    finally:
        freezer.write_text("THAWED")
    assert d.stop() == 0
    d.start()
    engine.until(lambda: d.out("ps", "-aq") == "")
    quiet(d)


def monitor_of(d, container):
    pid = d.out("inspect", "-f", "{{.State.Pid}}", container)
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


@pytest.mark.parametrize("ends", [False, True])
def test_a_monitor_that_is_stopped(make_knarr, ends):
    """Nobody tells how the step ended, nor takes the wish to kill it: the build ends nevertheless, cancelled or with a word about it."""
    d = make_knarr()
    engine.import_busybox(d)
    d.env = {}
    s = begin(d, context_of("FROM busybox\nRUN --mount=type=cache,target=/c,id=go echo be''gun; until test -e /c/go; do sleep .1; done\n"), "buildid=quiet&forcerm=1")
    read_until(s, b"begun")
    (mark,) = [p.parent for p in (d.data / "builder/cache").glob("*/id") if p.read_text() == "go"]
    monitor = monitor_of(d, d.out("ps", "-q"))
    os.kill(monitor, signal.SIGSTOP)
    try:
        began = time.monotonic()
        if ends:
            (mark / "data/go").touch()
            assert b"the step has ended, but its monitor is stopped" in rest_of(s)
        else:
            assert b"the build was cancelled" in cancel(d, s, "quiet", 40)
        assert 5 < time.monotonic() - began < 40 * engine.SLOWER
    finally:
        with contextlib.suppress(ProcessLookupError):  # a build's end kills its container, and who does not answer that (decision 0819)
            os.kill(monitor, signal.SIGCONT)
    assert d.stop() == 0
    d.start()
    engine.until(lambda: d.out("ps", "-aq") == "")
    quiet(d)


def test_umask_of_the_caller(make_knarr):
    """Whoever starts the engine may let nobody else read what they make; what the engine makes for containers is walked by their users."""
    d = make_knarr()
    engine.import_busybox(d)
    assert d.stop() == 0
    was = os.umask(0o077)
    try:
        d.start()
    finally:
        os.umask(was)
    orphan = tar([("a/b/f", b"1", {})])  # without its folders
    r = post(d, context_of("FROM busybox\nWORKDIR /w/x\nCOPY x /d/e/x\nADD t.tar /t\nVOLUME /v\n", ("x", b"1", {}), ("t.tar", orphan, {})), "t=open")
    assert b"Successfully tagged" in r.body, r.body
    see = "stat -c %a /w /w/x /d /d/e /t /t/a /t/a/b /v /mnt/named /p /p/a /p/a/b && cat /d/e/x /t/a/b/f /p/a/b/f"
    c = d.out("create", "--network", "none", "-u", "1000", "-v", "named:/mnt/named", "open", "sh", "-c", see)
    d.cli("cp", "-", f"{c}:/", stdin=tar([("p/a/b/f", b"1", {})]))
    assert d.out("start", "-a", c).split() == ["755"] * 12 + ["111"]
    d.cli("rm", c)
    d.cli("volume", "rm", "named")
    quiet(d)


def test_engine_stops_in_a_step(make_knarr):
    d = make_knarr()
    engine.import_busybox(d)
    s = begin(d, context_of(SLOW))
    read_until(s, b"begun")
    began = time.monotonic()
    assert d.stop() == 0
    assert time.monotonic() - began < 15 * engine.SLOWER
    d.start()
    engine.until(lambda: d.out("ps", "-aq") == "")
    quiet(d)


def sparse(size):
    """A file of one byte and a hole."""
    return {"pax_headers": {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "hole", "GNU.sparse.size": str(size),
                            "GNU.sparse.map": "0,1"}}


def test_holes(make_knarr):
    """A hole costs its author nothing; the engine does not pay for it either, and can be stopped while it reads one."""
    d = make_knarr()
    engine.import_busybox(d)
    for size in (1 << 62, (1 << 40) + 1):
        r = post(d, context_of("FROM busybox\nCOPY hole /\n", ("hole", b"x", sparse(size))))
        assert r.status >= 400 and "larger than" in r.message, r.body
        inner = tar([("hole", b"x", sparse(size))])
        r = post(d, context_of("FROM busybox\nADD t.tar /\n", ("t.tar", inner, {})))
        assert "more than" in r.lines[-1].get("error", ""), r.body
    r = post(d, context_of("FROM busybox\nCOPY hole /\nRUN stat -c %s /hole\n", ("hole", b"x", sparse(1 << 20))))
    assert b"1048576" in r.body, r.body
    s = begin(d, context_of("FROM busybox\nCOPY hole /\n", ("hole", b"x", sparse((1 << 40) - 1))))
    time.sleep(0.5)
    began = time.monotonic()
    assert d.stop() == 0 and time.monotonic() - began < 30 * engine.SLOWER
    s.close()
    d.start()
    quiet(d)


def test_cancel_while_reading(knarr):
    """The digest of what COPY brings is not waited for."""
    knarr.cli("import", "-", "holes", stdin=tar([("hole", b"x", sparse(1 << 40))]))
    s = begin(knarr, context_of("FROM busybox\nCOPY --from=holes /hole /\n"), "buildid=reading")
    read_until(s, b"Step 2/2")
    time.sleep(0.3)
    cancel(knarr, s, "reading")
    knarr.cli("rmi", "-f", "holes")
    quiet(knarr)


def test_cancel_while_unpacking(make_knarr):
    """A layer that was written is not unpacked for nobody, nor is its image there."""
    d = make_knarr()
    engine.import_busybox(d)
    assert d.stop() == 0
    held = d.dir / "held"
    held.touch()
    d.env = {"KNARR_FAIL": f"builder.step.manifest=while:{held}"}
    d.start()
    before = d.out("images", "-aq")
    s = begin(d, context_of("FROM busybox\nCOPY x /\n", ("x", b"1", {})), "buildid=unpacking")
    read_until(s, b"Step 2/2")
    engine.until(lambda: len(list((d.data / "images/blobs/sha256").iterdir())) >= 5)
    assert d.api("POST", "/build/cancel?id=unpacking").status == 204
    held.unlink()
    got = rest_of(s)
    assert b'"error":"the build was cancelled"' in got and b"Successfully" not in got, got
    assert d.out("images", "-aq") == before
    quiet(d)


@pytest.mark.parametrize("query", ["q=1&buildid=pulling", "buildid=pulling"])
def test_cancel_while_pulling(knarr, query):
    """A registry that does not answer is not waited for, whether anybody looks at the progress or not."""
    with socket.socket() as registry:
        registry.bind(("127.0.0.1", 0))
        registry.listen()
        s = begin(knarr, context_of(f"FROM 127.0.0.1:{registry.getsockname()[1]}/x\n"), query)
        registry.settimeout(20 * engine.SLOWER)
        held, _ = registry.accept()
        time.sleep(0.3)
        cancel(knarr, s, "pulling")
        held.close()


POINTS = ["builder.context.read", "builder.cache.filled", "builder.layer.written", "builder.run.created", "builder.run.ended", "builder.step.config",
          "builder.step.manifest", "builder.step.registered", "image.ingest.before_sync", "image.ingest.renamed", "image.store.written"]


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_step(make_knarr, point):
    """SIGKILL at each point of a build: the next engine has no container, mount or file of it, and builds the same."""
    d = make_knarr()
    engine.import_busybox(d)
    body = context_of("FROM busybox\nRUN --mount=target=/c --mount=type=cache,target=/k cp /c/x /y && echo 1 >>/k/n\nCOPY x /x\nWORKDIR /w\n", ("x", b"1", {}))
    assert d.stop() == 0
    d.env = {"KNARR_FAIL": f"{point}=kill"}
    d.start()
    try:
        post(d, body, "t=t")
    except (OSError, Exception):
        pass
    d.process.wait(20 * engine.SLOWER)
    assert d.process.returncode == -signal.SIGKILL
    d.env = {}
    d.start()
    engine.until(lambda: d.out("ps", "-aq") == "")
    quiet(d)
    r = post(d, body, "t=t")
    assert b"Successfully tagged" in r.body, r.body
    assert d.out("run", "--rm", "--network", "none", "t", "cat", "/x", "/y") == "11"
    quiet(d)


def test_full_disk(tmp_path, knarr):
    """A build that does not fit says so, leaves nothing, and the engine goes on."""
    at = tmp_path / "small"
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", at], check=True)
    try:
        d = engine.Knarr(at)
        try:
            engine.import_busybox(d)
            for text in ("FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=40\n", "FROM busybox\nCOPY big /big\n"):
                more = [("big", os.urandom(30 << 20), {})] if "COPY" in text else []
                r = post(d, context_of(text, *more), "forcerm=1")
                assert b"No space left" in r.body, r.body[-500:]
            assert d.out("ps", "-aq") == ""
            assert list((d.data / "builder/work").iterdir()) == []
            d.cli("image", "prune", "-f")
            assert b"Successfully built" in post(d, context_of("FROM busybox\nRUN echo 1 >/f\n")).body
        finally:
            d.close()
    finally:
        subprocess.run(["umount", "-l", at], check=True)


def test_memory_of_many_steps(make_knarr):
    """What a step looks at is not kept until the build's end: the configuration of each has all that stood before it."""
    d = make_knarr()
    peak = lambda: int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{d.process.pid}/status").read_text())[1])
    before = peak()
    lines = [f"ENV X={'x' * 60000}\n"] + [f"LABEL a={i}$X\n" for i in range(60)]
    r = post(d, context_of("FROM scratch\n" + "".join(lines)))
    assert b"Successfully built" in r.body, r.body[-300:]
    assert peak() - before < 80 << 10, (before, peak())  # 60 * 60 / 2 * 60 KB would be 108 MB


def test_leftovers_however_many(make_knarr):
    """A killed engine's snapshots are all removed by the next one."""
    d = make_knarr()
    engine.import_busybox(d)
    assert d.stop() == 0
    d.env = {"KNARR_FAIL": "builder.run.created=kill"}
    d.start()
    mounts = " ".join(f"--mount=from=busybox,target=/m{i},rw" for i in range(70))
    try:
        post(d, context_of(f"FROM busybox\nRUN {mounts} true\n"))
    except (OSError, Exception):
        pass
    d.process.wait(60 * engine.SLOWER)
    live = d.data / "snapshots/live"
    assert len(list(live.glob("build-*"))) >= 70
    d.env = {}
    d.start()
    engine.until(lambda: not list(live.glob("build-*")), 60)
    engine.until(lambda: d.out("ps", "-aq") == "")
    quiet(d)


def test_many_files(knarr):
    n = 100_000 if engine.LONG else 20_000
    files = [(f"d/{i % 100}/{i}", b"%d" % i, {}) for i in range(n)]
    body = context_of("FROM busybox\nCOPY d /d\nRUN find /d -type f | wc -l\n", *files)
    r = post(knarr, body)
    assert f"{n}\\n".encode() in r.body and b"Successfully built" in r.body, r.body[-500:]
    began = time.monotonic()
    r = post(knarr, body)
    assert r.body.count(b"Using cache") == 2
    assert time.monotonic() - began < 20 * engine.SLOWER


def test_one_cache_in_two_places(knarr):
    """Of one step: taken once, whatever the sharing, as BuildKit has it."""
    for sharing in ("locked", "private", "shared"):
        mount = f"--mount=type=cache,id=twice-{sharing},sharing={sharing}"
        text = f"FROM busybox\nRUN {mount},target=/a {mount},target=/b echo {sharing} >/a/f && cat /b/f && : {time.time()}\n"
        r = post(knarr, context_of(text))
        assert f"{sharing}\\n".encode() in r.body and b"Successfully built" in r.body, r.body
    quiet(knarr)


def test_two_caches_in_either_order(knarr):
    """Locked both, named in one order here and in the other there: neither build waits for the other for ever."""
    out = {}

    def one(i, ids):
        mounts = " ".join(f"--mount=type=cache,sharing=locked,id=either-{x},target=/{x}" for x in ids)
        for n in range(4):
            out[i, n] = post(knarr, context_of(f"FROM busybox\nRUN {mounts} sleep .1; : {i} {n}\n"), "nocache=1").body
    clients = [threading.Thread(target=one, args=(i, ids)) for i, ids in enumerate(("ab", "ba", "ab", "ba"))]
    for t in clients:
        t.start()
    for t in clients:
        t.join()
    assert len(out) == 16 and all(b"Successfully built" in o for o in out.values()), out
    quiet(knarr)


def test_cancel_while_filling(make_knarr):
    """A cache mount that is filled from an image is not filled for nobody, and is no cache. A hole is copied as zeros, of which the disk gets
    one piece: each further one comes three seconds later."""
    d = make_knarr(env={"KNARR_FAIL": "snapshot.copy.piece=sleep:3000@2+"})
    engine.import_busybox(d)
    d.cli("import", "-", "holes", stdin=tar([("hole", b"x", sparse(1 << 36))]))
    text = "FROM busybox\nRUN --mount=type=cache,id=filling,target=/c,from=holes ls /c\n"
    s = begin(d, context_of(text), "buildid=filling")
    read_until(s, b"Step 2/2")
    engine.until(lambda: [p for p in (d.data / "builder/work").glob("cache-*/hole") if p.stat().st_size])
    assert b"the build was cancelled" in cancel(d, s, "filling", 20)
    assert not [p for p in (d.data / "builder/cache").glob("*/id") if p.read_text() == "filling" and (p.parent / "data").exists()]
    d.cli("rmi", "-f", "holes")
    quiet(d)


def test_pruning_leaves_a_running_build_alone(knarr):
    s = begin(knarr, context_of("FROM busybox\nLABEL alone=1\nRUN echo be''gun; sleep 2\nRUN echo 2 >/f\n"), "nocache=1")
    read_until(s, b"begun")
    knarr.cli("image", "prune", "-f")
    knarr.api("POST", "/build/prune")
    assert b"Successfully built" in read_until(s, b"uccessfully built", 30)
    s.close()


def test_removing_leaves_what_is_read_alone(knarr):
    """An image that COPY --from or a mount reads from is in use while the build lasts, although no step stands on it."""
    for n, use in enumerate(("COPY --from=read /f /g\n", "RUN --mount=from=read,target=/m cat /m/f\n")):
        knarr.cli("import", "-", "read", stdin=tar([("f", b"1", {})]))
        wait = f"RUN --mount=type=cache,target=/go,id=reading{n} echo be''gun; until test -e /go/on; do sleep .1; done\n"
        s = begin(knarr, context_of(f"FROM busybox\n{use}{wait}COPY --from=read /f /h\n"), "nocache=1")
        read_until(s, b"begun")
        id = knarr.out("images", "-q", "--no-trunc", "read")
        knarr.cli("rmi", "-f", "read")
        knarr.cli("image", "prune", "-f")
        knarr.cli("tag", id, "read")
        mark = [p.parent for p in (knarr.data / "builder/cache").glob("*/id") if p.read_text() == f"reading{n}"]
        (mark[0] / "data/on").touch()
        assert b"Successfully built" in read_until(s, b"uccessfully built", 60)
        s.close()
        knarr.cli("rmi", "read")
        engine.until(lambda: not list((knarr.data / "builder/work").iterdir()))


def test_names_that_climb(knarr):
    r = post(knarr, context_of("FROM busybox\nRUN mkdir -p /d/e\nCOPY <<../../../up /d/e/\nx\n../../../up\nRUN cat /up && ! ls /d/e/up\n"))
    assert b"Successfully built" in r.body, r.body  # it is the root's file, as every other way above the root


def test_builds_at_once(knarr):
    """Several builds of the same and of other files, side by side, with a locked cache mount between them: no two are in it at once."""
    inside = "test ! -e /c/busy; touch /c/busy; echo x >>/c/n; sleep .2; rm /c/busy"
    texts = [f"FROM busybox\nRUN --mount=type=cache,target=/c,sharing=locked,id=race set -e; : {i % 3}; {inside}\nCOPY x /x\n" for i in range(6)]
    out = [None] * len(texts)

    def one(i):
        out[i] = post(knarr, context_of(texts[i], ("x", b"%d" % i, {})), "nocache=1").body
    clients = [threading.Thread(target=one, args=(i,)) for i in range(len(texts))]
    for t in clients:
        t.start()
    for t in clients:
        t.join()
    assert all(b"Successfully built" in o for o in out), out
    r = post(knarr, context_of("FROM busybox\nRUN --mount=type=cache,target=/c,sharing=locked,id=race wc -l </c/n\n"), "nocache=1")
    assert "6\n" in [l.get("stream") for l in r.lines], r.body
    quiet(knarr)
