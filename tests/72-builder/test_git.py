"""remote= with a repository: cloned by git, as dockerd does it (docker-py sends it; the docker client clones by itself)."""
import functools
import http.server
import os
import pathlib
import socket
import subprocess
import threading
from urllib.parse import quote

import pytest
from conftest import engine
from test_build import begin, cancel, quiet

GIT = {**os.environ, "GIT_AUTHOR_NAME": "x", "GIT_AUTHOR_EMAIL": "x@x", "GIT_COMMITTER_NAME": "x", "GIT_COMMITTER_EMAIL": "x@x", "GIT_CONFIG_NOSYSTEM": "1",
       "HOME": "/nonexistent", "GIT_CONFIG_GLOBAL": "/dev/null"}
make_knarr = engine.make_knarr


def git(at, *words):
    return subprocess.run(["git", "-c", "protocol.file.allow=always", *words], cwd=at, env=GIT, check=True, capture_output=True, text=True).stdout.strip()


def put(at, files):
    for name, text in files.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text(text)
        if name.endswith(".sh"):
            (at / name).chmod(0o755)


@pytest.fixture(scope="session")
def repo(tmp_path_factory):
    """Two commits, a tag, a branch, a folder with a Dockerfile of its own, links that lead out, an ignore file, a submodule."""
    top = tmp_path_factory.mktemp("git")
    inner, work, bare = top / "inner", top / "work", top / "served"
    bare.mkdir()
    for at in (inner, work):
        at.mkdir()
        git(at, "init", "-q", "-b", "trunk")
    put(inner, {"lib": "of the submodule\n"})
    git(inner, "add", "."), git(inner, "commit", "-qm", "1")
    git(top, "clone", "-q", "--bare", inner, bare / "inner.git")
    put(work, {"Dockerfile": "FROM busybox\nCOPY . /c\nRUN ls -A /c; cat /c/x; stat -c %a:%u /c/run.sh\n", "x": "first\n", "run.sh": "#!/bin/sh\n", "skipped": "no\n",
               ".dockerignore": "skipped\n", "sub/dir/Dockerfile": "FROM busybox\nCOPY y /y\nRUN cat /y\n", "sub/dir/y": "below\n"})
    (work / "out").symlink_to("/etc")
    (work / "up").symlink_to("../../..")
    git(work, "add", "."), git(work, "commit", "-qm", "1"), git(work, "tag", "v1")
    first = git(work, "rev-parse", "HEAD")
    put(work, {"x": "second\n"})
    git(work, "commit", "-qam", "2")
    git(work, "checkout", "-qb", "side")
    put(work, {"x": "of the side\n"})
    git(work, "commit", "-qam", "3"), git(work, "checkout", "-q", "trunk")
    git(top, "clone", "-q", "--bare", work, bare / "r.git")
    for r in ("r.git", "inner.git"):
        git(bare / r, "update-server-info")
        git(bare / r, "config", "uploadpack.allowAnySHA1InWant", "true")
    return top, bare, first, work


@pytest.fixture(scope="session")
def daemon(repo):
    """git's own server: its protocol knows shallow clones."""
    port = engine.free_port()
    p = subprocess.Popen(["git", "daemon", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}", "--export-all", f"--base-path={repo[1]}", str(repo[1])],
                         env=GIT, stderr=subprocess.DEVNULL, start_new_session=True)

    def up():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    engine.until(up)
    yield f"git://127.0.0.1:{port}"
    p.terminate()
    p.wait(20 * engine.SLOWER)


@pytest.fixture(scope="session")
def files(repo):
    """A server of plain files, which knows nothing of git."""
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *a: None})
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(repo[1])))
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{s.server_port}"
    s.shutdown()


def build(d, url, query="nocache=1"):
    r = d.api("POST", f"/build?remote={quote(url, safe='')}&{query}")
    return r, "".join(l.get("stream", "") + l.get("error", "") for l in r.lines) if r.status == 200 else r.message


@pytest.mark.parametrize("by", ["daemon", "files"])
def test_branches_tags_and_folders(knarr, repo, request, by):
    base = request.getfixturevalue(by)
    for fragment, words in (("", "second\n"), ("#v1", "first\n"), ("#side", "of the side\n"), ("#" + repo[2], "first\n"), ("#:sub/dir", "below\n"),
                            ("#v1:sub/dir", "below\n")):
        if by == "files" and repo[2] in fragment:
            continue  # a commit that nothing points to by name is not to be had from there
        r, out = build(knarr, f"{base}/r.git{fragment}")
        assert "Successfully built" in out and words in out, (fragment, out)
        if ":" not in fragment:
            listed = out.split("Running in")[1].split("\n")
            assert ".git" not in listed and "skipped" not in listed and "out" in listed and "755:0" in listed, out
    quiet(knarr)


def test_cache_is_by_content(knarr, daemon):
    """Each clone has other times; what git keeps of its own is not there."""
    build(knarr, f"{daemon}/r.git#side", "")
    r, out = build(knarr, f"{daemon}/r.git#side", "")
    assert out.count("Using cache") == 2, out


def test_submodules(knarr, repo, daemon, tmp_path):
    at = tmp_path / "with"
    git(tmp_path, "clone", "-q", repo[3], at)
    git(at, "checkout", "-q", "trunk")
    (at / ".gitmodules").write_text(f'[submodule "lib"]\n\tpath = lib\n\turl = {daemon}/inner.git\n')
    git(at, "update-index", "--add", "--cacheinfo", f"160000,{git(repo[0] / 'inner', 'rev-parse', 'HEAD')},lib")
    (at / "Dockerfile").write_text("FROM busybox\nCOPY . /c\nRUN cat /c/lib/lib; ls -A /c/lib\n")
    git(at, "add", ".gitmodules", "Dockerfile"), git(at, "commit", "-qm", "sub")
    git(tmp_path, "clone", "-q", "--bare", at, repo[1] / "with.git")
    r, out = build(knarr, f"{daemon}/with.git")
    assert "of the submodule\n" in out and "Successfully built" in out, out
    # A submodule may not name a file of this machine, nor a program.
    for url in (f"file://{repo[0]}/inner", "ext::sh -c touch% /tmp/never"):
        (at / ".gitmodules").write_text(f'[submodule "lib"]\n\tpath = lib\n\turl = "{url}"\n')
        git(at, "add", ".gitmodules"), git(at, "commit", "-qm", "bad"), git(at, "push", "-q", str(repo[1] / "with.git"), "trunk")
        r, out = build(knarr, f"{daemon}/with.git")
        assert "error initializing submodules" in out and "not allowed" in out, out
    assert not pathlib.Path("/tmp/never").exists()
    quiet(knarr)


def test_refused(knarr, repo, daemon):
    for url, words in ((f"{daemon}/r.git#nope", "error fetching"), (f"{daemon}/none.git", "error fetching"), (f"{daemon}/r.git#--upload-pack=x", "invalid refspec"),
                       (f"{daemon}/r.git#:nope", 'error setting git context, "nope" not within git root'),
                       (f"{daemon}/r.git#:x", "error setting git context, not a directory: x"),
                       (f"{daemon}/r.git#:out", 'error setting git context, "out" not within git root'),
                       (f"{daemon}/r .git", "white space"), (f"file://{repo[1]}/r.git", "could not be recognized as URL"),
                       (f"{repo[1]}/r.git", "could not be recognized as URL"), ("ext::sh -c id", "could not be recognized as URL")):
        r, out = build(knarr, url)
        assert r.status >= 400 and words in out, (url, r.status, out)
    quiet(knarr)


def test_cancel(knarr):
    """A server that does not answer is not waited for, and git is gone with its build."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        c = begin(knarr, b"", f"buildid=git&remote=git://127.0.0.1:{port}/r.git")
        s.settimeout(30 * engine.SLOWER)
        held, _ = s.accept()
        cancel(knarr, c, "git", 20)
        held.close()
        c.close()
    engine.until(lambda: not list((knarr.data / "builder/work").iterdir()))
    for p in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert f"127.0.0.1:{port}/r.git".encode() not in p.read_bytes(), p
        except OSError:
            pass  # it ended meanwhile


def test_killed_while_cloning(make_knarr):
    d = make_knarr()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        c = begin(d, b"", f"remote=git://127.0.0.1:{s.getsockname()[1]}/r.git")
        s.settimeout(30 * engine.SLOWER)
        held, _ = s.accept()
        d.process.kill()
        d.process.wait(20 * engine.SLOWER)
        held.close()
        c.close()
    d.start()
    quiet(d)


def test_without_git(make_knarr, tmp_path, daemon):
    """A machine that has no git: said, with what to do."""
    hidden = [p for p in ("/usr/bin/git", "/usr/local/bin/git", "/bin/git") if os.access(p, os.X_OK)]
    d = make_knarr()
    assert d.stop() == 0
    (tmp_path / "none").write_text("")
    mounts = "; ".join(f"mount --bind {tmp_path}/none {p}" for p in sorted({os.path.realpath(p) for p in hidden}))
    d.log = open(d.dir / "log", "ab")
    # exec keeps the number, so that the fixture's signals reach the engine
    d.process = subprocess.Popen(["unshare", "-m", "sh", "-c", f'{mounts}; exec "$@"', "sh", engine.KNARR, "engine", "--data-dir", d.data, "--host", f"unix://{d.sock}"],
                                 stdout=d.log, stderr=d.log, env=engine.ENV)
    d.wait()
    r, out = build(d, f"{daemon}/r.git")
    assert r.status == 501 and "there is no git program on this machine: install git" in out, (r.status, out)
