"""The builder: `knarr engine` as in 68-engine, driven by the docker client with DOCKER_BUILDKIT=0; with KNARR_TEST_LONG=1 Debian's
dockerd beside it."""
import gzip
import hashlib
import http.server
import importlib.util
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading

import pytest

HERE = pathlib.Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("engine_conftest", HERE.parent / "68-engine/conftest.py")
engine = importlib.util.module_from_spec(spec)
spec.loader.exec_module(engine)
LONG = engine.LONG


def tar(entries, mode="w"):
    """entries: (name, data or None for a folder, dict of TarInfo's members)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=tarfile.PAX_FORMAT) as t:
        for name, data, more in entries:
            i = tarfile.TarInfo(name)
            i.mtime, i.mode = 1700000000, 0o644 if data is not None else 0o755
            i.type = tarfile.REGTYPE if data is not None else tarfile.DIRTYPE
            i.size = len(data or b"")
            for k, v in more.items():
                setattr(i, k, v)
            if i.type != tarfile.REGTYPE:
                i.size = 0
            t.addfile(i, io.BytesIO(data or b""))
    return out.getvalue()


TREE = [("dir", None, {}), ("dir/empty", None, {}), ("dir/link", b"", {"type": tarfile.SYMTYPE, "linkname": "x", "mode": 0o777}),
        ("dir/sub", None, {"mode": 0o750}), ("dir/sub/y", b"y\n", {}), ("dir/x", b"x\n", {})]


def context(folder, files=None):
    """What the table's rows build from."""
    def put(name, data, mode=0o644):
        p = folder / name
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_bytes(data if isinstance(data, bytes) else data.encode())
        p.chmod(mode)
    put("a.txt", "hello\n")
    put("b.txt", "b\n")
    put("sp ace.txt", "space\n")
    put("run.sh", "#!/bin/sh\n", 0o755)
    put("dir/x", "x\n")
    put("dir/sub/y", "y\n")
    (folder / "dir/sub").chmod(0o750)
    (folder / "dir/empty").mkdir()
    (folder / "dir").chmod(0o755)
    (folder / "dir/empty").chmod(0o755)
    (folder / "dir/link").symlink_to("x")
    (folder / "alink").symlink_to("a.txt")
    put("pd/f", "f\n", 0o640)
    (folder / "pd").chmod(0o700)
    (folder / "links").mkdir()
    (folder / "links/out").symlink_to("../../../../etc/hostname-not-here")
    (folder / "links/in").symlink_to("../a.txt")
    (folder / "links/abs").symlink_to("/a.txt")
    (folder / "links").chmod(0o755)
    put("hard/one", "one\n")
    os.link(folder / "hard/one", folder / "hard/two")
    (folder / "hard").chmod(0o755)
    put("t.tar", tar(TREE))
    put("t.tar.gz", gzip.compress(tar(TREE), mtime=0))
    put("t.tar.xz", tar(TREE, "w:xz"))
    put("t.tar.bz2", tar(TREE, "w:bz2"))
    put("t.tar.zst", subprocess.run(["zstd", "-q", "-c"], input=tar(TREE), capture_output=True, check=True).stdout)
    put("owned.tar", tar([("o", None, {"uid": 3, "gid": 4, "mode": 0o711}), ("o/f", b"1", {"uid": 5, "gid": 6, "mode": 0o4755})]))
    put("fake.tar.gz", "this is text\n")
    put("escape.tar", tar([("../../evil", b"evil\n", {})]))
    put("linkescape.tar", tar([("out", b"", {"type": tarfile.SYMTYPE, "linkname": "../../../../tmp"}), ("out/evil", b"evil\n", {})]))
    for name, data in (files or {}).items():
        put(name, data)


def stable(folder):
    """Times are the same in every run, as they are part of archives."""
    for root, dirs, files in os.walk(folder, topdown=False):
        for n in files + dirs:
            os.utime(os.path.join(root, n), (1700000000, 1700000000), follow_symlinks=False)


HASH = re.compile(r"(--chown=\S+?)? ?(file|dir|multi):[0-9a-f]{64}")


def said(text):
    """created_by without what is each builder's own: digests, and a blank that dockerd forgets behind --chown."""
    return HASH.sub(lambda m: f"{m[1] or ''} {m[2]}:HASH".replace("  ", " "), text or "").replace("  ", " ")


SKIP = re.compile(r"^(dev|proc|sys)(/|$)|^\.dockerenv$|^etc$|^etc/(hostname|hosts|resolv\.conf|mtab)$|^bin/")


def look(d, image):
    """Configuration, history and files of an image."""
    doc = d.api("GET", f"/images/{image}/json").json
    config = {k: v for k, v in doc["Config"].items() if k not in ("Image", "Hostname") and v not in (None, "", False, [], {})}
    layers = len(doc["RootFS"].get("Layers") or [])
    if layers:
        with tarfile.open(fileobj=io.BytesIO(d.cli("save", image).raw)) as t:
            m = json.load(t.extractfile("manifest.json"))[0]
            inner = json.load(t.extractfile(m["Config"]))["history"]
    else:  # dockerd saves no image without layers
        inner = [{"created_by": h["CreatedBy"], "comment": h["Comment"], "empty_layer": True}
                 for h in reversed(d.api("GET", f"/images/{image}/history").json)]
    history = [{"by": said(h.get("created_by")), "empty": bool(h.get("empty_layer")), "author": h.get("author", ""),
                "comment": h.get("comment", "")} for h in inner]
    c = d.api("POST", "/containers/create", {"Image": image, "Cmd": ["x"]}).json["Id"]
    try:
        data = d.api("GET", f"/containers/{c}/export").body
    finally:
        d.api("DELETE", f"/containers/{c}?force=1&v=1")
    tree, texts = {}, {}
    with tarfile.open(fileobj=io.BytesIO(data)) as t:
        for i in t:
            name = i.name.removeprefix("./").strip("/")
            if not name or SKIP.match(name):
                continue
            kind = {tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.LNKTYPE: "h", tarfile.FIFOTYPE: "p"}.get(i.type, "f")
            body = t.extractfile(i).read() if kind == "f" else b""
            tree[name] = f"{kind} {i.mode & 0o7777:o} {i.uid}:{i.gid} {i.linkname}{hashlib.sha256(body).hexdigest()[:12] if kind == 'f' else ''}"
            cap = i.pax_headers.get("SCHILY.xattr.security.capability")
            tree[name] += f" cap {cap.encode(errors='surrogateescape').hex()}" if cap else ""
            texts[name] = body
    return {"config": config, "author": doc.get("Author", ""), "history": history, "layers": layers,
            "tree": tree, "texts": texts}


def error_of(text):
    """The last line that tells what went wrong."""
    lines = [x for x in text.splitlines() if x.strip() and "DEPRECATED" not in x and "BuildKit is currently" not in x and "environment-variable" not in x]
    last = lines[-1] if lines else ""
    # 20.10 says `dockerfile parse error line 2`, and `failed to parse NAME: ` before some; its successors do not.
    last = last.removeprefix("Error response from daemon: ").replace("parse error on line", "parse error line")
    return re.sub(r"^(dockerfile parse error line \d+: |failed to parse \S+: )", "", last)


class Cli:
    """docker build with the classic builder, in a folder of its own."""

    def __init__(self, daemon, folder):
        self.d, self.dir, self.n = daemon, folder, 0

    def build(self, *args, text="", files=None, check=0, name="Dockerfile", fresh=True, stdin=None, where="."):
        self.n += 1
        at = self.dir / str(self.n)
        at.mkdir()
        if fresh:
            context(at, files)
        if text is not None:
            (at / name).write_bytes(text.encode())
        stable(at)
        e = {**engine.ENV, "DOCKER_HOST": f"unix://{self.d.sock}", "DOCKER_CONFIG": str(self.d.dir / "cli"), "DOCKER_BUILDKIT": "0"}
        extra = ["-f", name] if name != "Dockerfile" else []
        p = subprocess.run(["docker", "build", *extra, *map(str, args), where], env=e, cwd=at, capture_output=True, timeout=300 * engine.SLOWER, input=stdin)
        p.stdout, p.stderr = p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")
        shutil.rmtree(at)
        if check is not None:
            assert p.returncode == check, (args, text, p.returncode, p.stdout, p.stderr, self.d.tail())
        return p


def raw_cli(self, *words, check=0, text=True, **kw):
    """As Daemon.cli, with the bytes kept."""
    e = {**engine.ENV, "DOCKER_HOST": f"unix://{self.sock}", "DOCKER_CONFIG": str(self.dir / "cli"), **(kw.pop("env", None) or {})}
    stdin = kw.pop("stdin", None)
    p = subprocess.run(["docker", *map(str, words)], env=e, capture_output=True, timeout=kw.pop("timeout", 120) * engine.SLOWER,
                       input=stdin if stdin is None or isinstance(stdin, bytes) else stdin.encode())
    p.raw = p.stdout
    p.stdout, p.stderr = (x.decode(errors="replace") for x in (p.stdout, p.stderr))
    if check is not None:
        assert p.returncode == check, (words, p.returncode, p.stdout, p.stderr, self.tail())
    return p


engine.Daemon.cli = raw_cli


def open_daemon(kind):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="knarr-72-"))
    d = engine.Knarr(folder) if kind == "knarr" else engine.Dockerd(folder)
    engine.import_busybox(d)
    return d


def close_daemon(d):
    try:
        d.close()
    finally:
        shutil.rmtree(d.dir, ignore_errors=True)


@pytest.fixture(scope="session")
def knarr():
    d = open_daemon("knarr")
    yield d
    close_daemon(d)


@pytest.fixture(scope="session")
def dockerd():
    if not LONG:
        pytest.skip("dockerd is asked in the long form")
    if not shutil.which("dockerd", path="/usr/sbin:/usr/bin"):
        pytest.skip("dockerd is not installed (packages/peers)")
    d = open_daemon("dockerd")
    yield d
    close_daemon(d)


@pytest.fixture
def cli(knarr, tmp_path):
    return Cli(knarr, tmp_path)


@pytest.fixture(scope="session")
def web():
    """A server of one file, a redirect to it, and what is not there."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/file.bin")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = self.server.files.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT")
            self.send_header("Content-Length", str(len(body or b"not here")))
            self.end_headers()
            self.wfile.write(body if body is not None else b"not here")

        def log_message(self, *a):
            pass
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    s.files, s.asked = {"/file.bin": b"binary\n"}, []
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield s
    s.shutdown()
