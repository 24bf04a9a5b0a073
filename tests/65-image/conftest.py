"""Images made of Debian's busybox-static, a real registry (docker-registry) and misbehaving ones, our tool and skopeo."""
import contextlib
import gzip
import hashlib
import http.server
import io
import json
import os
import pathlib
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading

import pytest

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPO / "tests/lib"))
from waiting import SLOWER, eventually, until  # noqa: E402,F401

BUILD = pathlib.Path(os.environ.get("KNARR_BUILD", REPO / "build"))
TOOL = (BUILD if BUILD.is_absolute() else REPO / BUILD) / "imagectl"
BUSYBOX = pathlib.Path("/bin/busybox")


class Failed(Exception):
    pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Store:
    """One data folder; each call is a process of its own, so everything that is seen came from disk."""

    def __init__(self, path, **env):
        self.path, self.env = path, env

    def run(self, *words, env=None, check=True, timeout=120):
        e = dict(os.environ, **self.env, **(env or {}))
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"):
            if name not in (env or {}):
                e.pop(name, None)
        p = subprocess.run([TOOL, self.path, *map(str, words)], env=e, capture_output=True, text=True, timeout=timeout * SLOWER)
        if check and p.returncode:
            raise Failed(p.stderr.strip() or f"status {p.returncode}")
        return p

    def __call__(self, *words, **kw):
        return self.run(*words, **kw).stdout.splitlines()

    def fails(self, *words, **kw):
        with pytest.raises(Failed) as e:
            self(*words, **kw)
        return str(e.value)

    def list(self):
        return [json.loads(x) for x in self("list")]

    @contextlib.contextmanager
    def mounted(self, name):
        target = tempfile.mkdtemp(prefix="knarr-65-")
        self("mount", name, target)
        try:
            yield pathlib.Path(target)
        finally:
            self("umount", target)
            os.rmdir(target)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture(params=["overlay", "copy"])
def any_store(tmp_path, request):
    return Store(tmp_path / "store", KNARR_BACKEND=request.param)


def entry(name, data=None, kind=None, **kw):
    t = tarfile.TarInfo(name)
    t.type = kind or (tarfile.REGTYPE if data is not None else tarfile.DIRTYPE)
    t.mode = kw.pop("mode", 0o755)
    t.mtime = kw.pop("mtime", 1700000000)
    for k, v in kw.items():
        setattr(t, k, v)
    t.size = len(data or b"")
    return t, data


def tar_of(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        for info, data in entries:
            t.addfile(info, io.BytesIO(data or b""))
    return out.getvalue()


def base_layer():
    return tar_of(entry("bin"), entry("bin/busybox", BUSYBOX.read_bytes()), entry("bin/sh", kind=tarfile.LNKTYPE, linkname="bin/busybox"),
                  entry("etc"), entry("etc/passwd", b"root:x:0:0::/:/bin/sh\n", mode=0o644), entry("tmp", mode=0o1777),
                  entry("data"), entry("data/old", b"old"), entry("data/keep", b"keep", uid=1000, gid=2000, mode=0o640))


def top_layer():
    return tar_of(entry("data"), entry("data/.wh.old", b""), entry("data/new", b"new"), entry("bin/ls", kind=tarfile.SYMTYPE, linkname="busybox"))


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


COMPRESS = {"": lambda b: b, "+gzip": lambda b: gzip.compress(b, mtime=0), "+zstd": zstd}


class Image:
    """Blobs of an image, made by hand."""

    def __init__(self, *layers, compress="+gzip", docker=False, platform=("linux", "amd64", None), cmd=("/bin/sh",)):
        self.blobs = {}
        self.layers = [self.put(COMPRESS[compress](x)) for x in layers]
        config = {"architecture": platform[1], "os": platform[0], "config": {"Cmd": list(cmd)},
                  "rootfs": {"type": "layers", "diff_ids": [digest(x) for x in layers]},
                  "history": [{"created_by": f"layer {i}"} for i in range(len(layers))]}
        if platform[2]:
            config["variant"] = platform[2]
        self.config = self.put(json.dumps(config).encode())
        d = "application/vnd.docker."
        o = "application/vnd.oci.image."
        self.type = d + "distribution.manifest.v2+json" if docker else o + "manifest.v1+json"
        self.manifest_bytes = json.dumps({
            "schemaVersion": 2, "mediaType": self.type,
            "config": {"mediaType": d + "container.image.v1+json" if docker else o + "config.v1+json", "digest": self.config,
                       "size": len(self.blobs[self.config])},
            "layers": [{"mediaType": (d + "image.rootfs.diff.tar.gzip") if docker else o + "layer.v1.tar" + compress, "digest": x,
                        "size": len(self.blobs[x])} for x in self.layers]}).encode()
        self.digest = digest(self.manifest_bytes)
        self.platform = platform

    def put(self, data):
        self.blobs[digest(data)] = data
        return digest(data)


def index_of(*images, docker=False):
    def item(i):
        p = {"os": i.platform[0], "architecture": i.platform[1]}
        if i.platform[2]:
            p["variant"] = i.platform[2]
        return {"mediaType": i.type, "digest": i.digest, "size": len(i.manifest_bytes), "platform": p}
    return json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json" if docker
                       else "application/vnd.oci.image.index.v1+json", "manifests": [item(i) for i in images]}).encode()


class Fake(http.server.ThreadingHTTPServer):
    """A registry of a few dictionaries that can be told to misbehave."""
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, context=None, address="127.0.0.1", port=0):
        super().__init__((address, port), Handler)
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.tls = bool(context)
        self.port = self.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.blobs, self.manifests, self.log = {}, {}, []
        self.hook = None       # hook(handler) → True when it has answered
        self.token_realm = None
        self.tokens, self.asked = {"good"}, []
        self.basic = None
        self.active, self.most_active = 0, 0
        self.uploads = {}      # number → bytes so far
        self.cut_uploads = []  # after so many bytes of a large PATCH the connection is closed, once each
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def add(self, image, repo, tag):
        self.blobs.update(image.blobs)
        self.manifests[repo, image.digest] = self.manifests[repo, tag] = (image.type, image.manifest_bytes)

    def add_index(self, data, repo, tag):
        kind = json.loads(data)["mediaType"]
        self.manifests[repo, tag] = self.manifests[repo, digest(data)] = (kind, data)

    def gets(self, part):
        return [x for x in self.log if x[0] == "GET" and part in x[1]]

    def handle_error(self, request, client_address):
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *a):
        pass

    def answer(self, code, body=b"", **headers):
        self.send_response(code)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, code, name, message, **headers):
        self.answer(code, json.dumps({"errors": [{"code": name, "message": message}]}).encode(), Content_Type="application/json", **headers)

    def do_GET(self):
        s = self.server
        s.log.append((self.command, self.path, dict(self.headers)))
        with s.lock:
            s.active += 1
            s.most_active = max(s.most_active, s.active)
        try:
            self.get()
        finally:
            with s.lock:
                s.active -= 1

    do_HEAD = do_GET

    def taken(self):
        """The body, until its end or until the connection is to be cut; None = cut."""
        s, left = self.server, int(self.headers.get("Content-Length") or 0)
        cut = s.cut_uploads.pop(0) if left > 10_000 and self.command == "PATCH" and s.cut_uploads else None
        got = b""
        while left and (cut is None or len(got) < cut):
            piece = self.rfile.read(min(left, 65536 if cut is None else cut - len(got)))
            if not piece:
                break
            got, left = got + piece, left - len(piece)
        return got, cut is not None

    def do_POST(self):
        s = self.server
        s.log.append((self.command, self.path, dict(self.headers)))
        with s.lock:
            s.active += 1
            s.most_active = max(s.most_active, s.active)
        try:
            body, cut = self.taken()
            if s.hook and s.hook(self):
                return
            self.upload(body, cut)
        finally:
            with s.lock:
                s.active -= 1

    do_PATCH = do_PUT = do_POST

    def upload(self, body, cut):
        s, path = self.server, self.path.partition("?")[0]
        repo, last = path[4:].rsplit("/", 1)
        if "/manifests" in path:
            s.manifests[repo.removesuffix("/manifests"), last] = (self.headers["Content-Type"], body)
            return self.answer(201, Docker_Content_Digest=digest(body))
        if self.command == "POST":
            n = len(s.uploads)
            s.uploads[n] = b""
            return self.answer(202, Location=f"/v2/{repo}/{n}?state=s", Range="0-0")
        n = int(last)
        if self.command == "PATCH":
            start = int(self.headers.get("Content-Range", "0-").split("-")[0])
            if start != len(s.uploads[n]):
                return self.answer(416, Location=path, Range=f"0-{len(s.uploads[n]) - 1}")
            s.uploads[n] += body
            if cut:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            return self.answer(202, Location=f"{path}?state=t", Range=f"0-{len(s.uploads[n]) - 1}")
        wanted = self.path.split("digest=")[1].replace("%3A", ":")
        if digest(s.uploads[n]) != wanted:
            return self.error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        s.blobs[wanted] = s.uploads[n]
        self.answer(201, Docker_Content_Digest=wanted)

    def get(self):
        s = self.server
        if s.hook and s.hook(self):
            return
        auth = self.headers.get("Authorization", "")
        if s.token_realm and auth.removeprefix("Bearer ") not in s.tokens:
            scope = f',scope="repository:{"/".join(self.path.split("/")[2:-2])}:pull"' if self.path != "/v2/" else ""
            return self.error(401, "UNAUTHORIZED", "authentication required",
                              WWW_Authenticate=f'Bearer realm="{s.token_realm}",service="fake"{scope}')
        if s.basic and auth != s.basic:
            return self.error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate='Basic realm="fake"')
        if self.path == "/v2/":
            return self.answer(200, b"{}")
        if "/blobs/uploads/" in self.path:
            n = int(self.path.partition("?")[0].rsplit("/", 1)[1])
            return self.answer(204, Location=self.path.partition("?")[0], Range=f"0-{max(len(s.uploads[n]) - 1, 0)}")
        parts = self.path.split("/")
        repo, kind, what = "/".join(parts[2:-2]), parts[-2], parts[-1]
        if kind == "manifests":
            if (repo, what) not in s.manifests:
                return self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
            t, data = s.manifests[repo, what]
            return self.answer(200, data, Content_Type=t, Docker_Content_Digest=digest(data))
        data = s.blobs.get(what)
        if data is None:
            return self.error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        self.blob(data)

    def blob(self, data):
        r = self.headers.get("Range")
        if r:
            start = int(r.split("=")[1].split("-")[0])
            return self.answer(206, data[start:], Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.answer(200, data)


@pytest.fixture
def fake():
    servers = []

    def make(**kw):
        servers.append(Fake(**kw))
        return servers[-1]
    yield make
    for s in servers:
        s.shutdown()
        s.server_close()


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    """Debian's docker-registry on a port of its own."""
    d = tmp_path_factory.mktemp("registry")
    port = free_port()
    (d / "config.yml").write_text(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {d}/data}}, delete: {{enabled: true}}}}\n"
                                  f"http: {{addr: '127.0.0.1:{port}'}}\n")
    with open(d / "log", "w") as log:
        p = subprocess.Popen(["docker-registry", "serve", d / "config.yml"], stdout=log, stderr=log)

    def up():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    if not eventually(up):
        p.kill()
        raise RuntimeError((d / "log").read_text())
    yield f"127.0.0.1:{port}"
    p.terminate()
    p.wait()


def skopeo(*words):
    p = subprocess.run(["skopeo", *map(str, words)], capture_output=True, text=True)
    if p.returncode:
        raise Failed(p.stderr)
    return p.stdout


def folder(image, path):
    """skopeo's dir: form."""
    path.mkdir(parents=True)
    for d, data in image.blobs.items():
        (path / d[7:]).write_bytes(data)
    (path / "manifest.json").write_bytes(image.manifest_bytes)
    (path / "version").write_text("Directory Transport Version: 1.1\n")
    return path


def tree(root):
    """Every entry under root as text."""
    out = {}
    for folder, dirs, files in os.walk(root):
        for name in dirs + files:
            p = pathlib.Path(folder) / name
            st = p.lstat()
            what = os.readlink(p) if p.is_symlink() else hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else ""
            out[str(p.relative_to(root))] = (oct(st.st_mode), st.st_uid, st.st_gid, what)
    return out
