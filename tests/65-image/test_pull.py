"""Pulling: from a real registry, and from ones that misbehave."""
import base64
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest
from conftest import *

RESULT = {"bin", "bin/busybox", "bin/sh", "bin/ls", "etc", "etc/passwd", "tmp", "data", "data/keep", "data/new"}


@pytest.fixture(scope="session")
def in_registry(registry, tmp_path_factory):
    """kind → name in the registry, put there by skopeo."""
    names = {}
    for kind, kw in {"gzip": {}, "zstd": {"compress": "+zstd"}, "plain": {"compress": ""}, "docker": {"docker": True}}.items():
        image = Image(base_layer(), top_layer(), **kw)
        d = folder(image, tmp_path_factory.mktemp(kind) / "l")
        skopeo("copy", "--dest-tls-verify=false", "--preserve-digests", f"dir:{d}", f"docker://{registry}/test/{kind}:1")
        names[kind] = (f"{registry}/test/{kind}:1", image)
    return names


@pytest.mark.parametrize("kind", ["gzip", "zstd", "plain", "docker"])
def test_pull(any_store, in_registry, kind):
    name, image = in_registry[kind]
    lines = any_store("pull", name)
    short = [x[7:19] for x in image.layers]
    assert lines[0] == "1: Pulling from test/" + kind
    assert [x for x in lines if "Pulling fs layer" in x] == [f"{x}: Pulling fs layer" for x in short]
    for x in short:
        assert [s.split(": ")[1] for s in lines if s.startswith(x)][1:] == ["Verifying Checksum", "Download complete", "Pull complete"]
    seen = json.loads(skopeo("inspect", "--tls-verify=false", "docker://" + name))
    assert lines[-3:] == [f"Digest: {seen['Digest']}", f"Status: Downloaded newer image for {name}", image.config]
    assert seen["Layers"] == image.layers
    with any_store.mounted(name) as root:
        t = tree(root)
        assert set(t) == RESULT
        assert t["data/keep"][:3] == ("0o100640", 1000, 2000) and t["tmp"][0] == "0o41777"
        assert (root / "bin/sh").stat().st_ino == (root / "bin/busybox").stat().st_ino
        assert subprocess.run(["chroot", root, "/bin/ls", "/data"], capture_output=True, text=True).stdout == "keep\nnew\n"
    again = any_store("pull", name)
    assert again[1:-1] == [f"Digest: {seen['Digest']}", f"Status: Image is up to date for {name}"]
    info, = any_store.list()
    assert info["tags"] == [name] and info["digests"] == [f"{name[:-2]}@{seen['Digest']}"] and info["id"] == image.config


def test_same_tree_as_skopeo(store, in_registry, tmp_path):
    """What we unpack is what another unpacker makes of the same image."""
    name, image = in_registry["gzip"]
    skopeo("copy", "--src-tls-verify=false", "docker://" + name, f"dir:{tmp_path}/d")
    root = tmp_path / "root"
    root.mkdir()
    for x in image.layers:
        subprocess.run(["tar", "-xzpf", tmp_path / "d" / x[7:], "-C", root], check=True)
        for w in root.rglob(".wh.*"):
            (w.parent / w.name[4:]).unlink()
            w.unlink()
    store("pull", name)
    with store.mounted(name) as ours:
        assert tree(ours) == tree(root)


def test_index_and_platform(store, fake):
    f = fake()
    images = {p: Image(tar_of(entry("arch", "/".join(x or "" for x in p).encode())), platform=p)
              for p in [("linux", "amd64", None), ("linux", "arm", "v6"), ("linux", "arm", "v7"), ("linux", "arm64", "v8")]}
    for i in images.values():
        f.add(i, "multi", i.digest)
    index = index_of(*images.values())
    f.add_index(index, "multi", "latest")
    name = f"{f.host}/multi"
    for want, got in {"linux/amd64": "amd64", "linux/arm/v7": "v7", "linux/arm/v6": "v6", "arm64": "arm64"}.items():
        out = store("pull", name, env={"KNARR_PLATFORM": want})
        assert f"Digest: {digest(index)}" in out
        with store.mounted(name) as root:
            assert got in (root / "arch").read_text()
    assert store.fails("pull", name, env={"KNARR_PLATFORM": "linux/s390x"}) == \
        "NOT_FOUND: no matching manifest for linux/s390x in the manifest list entries"
    assert sum(x["tags"] == [name + ":latest"] for x in store.list()) == 1


def test_by_digest(store, fake):
    f = fake()
    i = Image(top_layer())
    f.add(i, "a/b", "1")
    assert store("pull", f"{f.host}/a/b@{i.digest}")[-1] == i.config
    assert store.list()[0]["tags"] == []
    other = Image(base_layer())
    f.manifests["a/b", i.digest] = (other.type, other.manifest_bytes)
    assert store.fails("pull", f"{f.host}/a/b@{i.digest}") == f"CORRUPT: manifest verification failed for digest {i.digest}"


# ---- words

def test_words(store, fake):
    f = fake()
    assert store.fails("pull", f"{f.host}/x:nope") == f"NOT_FOUND: manifest for {f.host}/x:nope not found: manifest unknown: manifest unknown"
    f.hook = lambda h: h.path != "/v2/" and (h.error(403, "DENIED", "requested access to the resource is denied") or True)
    assert store.fails("pull", f"{f.host}/x:1") == f"NOT_FOUND: pull access denied for {f.host}/x:1, repository does not exist or may " \
        "require 'docker login': denied: requested access to the resource is denied"
    f.hook = lambda h: h.path != "/v2/" and (h.error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit.", Retry_After="7") or True)
    assert store.fails("pull", f"{f.host}/x:1") == "TOO_MANY: toomanyrequests: You have reached your pull rate limit. (try again in 7 s)\n" \
        "retry_ms: 7000"
    f.hook = lambda h: h.path != "/v2/" and (h.error(429, "TOOMANYREQUESTS", "x", Ratelimit_Reset=str(int(time.time()) + 100)) or True)
    began = time.time()
    told = int(store.fails("pull", f"{f.host}/x:1").split()[-1])
    assert 99000 - 1000 * (time.time() - began) <= told <= 100000
    port = free_port()
    assert f'Get "http://127.0.0.1:{port}/v2/": dial tcp 127.0.0.1:{port}: connect: connection refused' in store.fails("pull", f"127.0.0.1:{port}/x")
    assert store.list() == []


# ---- misbehaviour

def big(n=3 << 20):
    return tar_of(entry("big", os.urandom(n)))


def test_cut_off_and_resumed(store, fake):
    f = fake()
    i = Image(big())
    f.add(i, "r", "1")
    blob, cuts = i.blobs[i.layers[0]], []

    def hook(h):
        if i.layers[0] not in h.path or len(cuts) >= 3:
            return False
        start = int(h.headers["Range"].split("=")[1][:-1]) if h.headers.get("Range") else 0
        cuts.append(start)
        h.send_response(206 if start else 200)
        if start:
            h.send_header("Content-Range", f"bytes {start}-{len(blob) - 1}/{len(blob)}")
        h.send_header("Content-Length", str(len(blob) - start))
        h.end_headers()
        h.wfile.write(blob[start:start + 700000])
        h.close_connection = True
        return True
    f.hook = hook
    store("pull", f"{f.host}/r:1")
    assert cuts[0] == 0 and cuts == sorted(set(cuts)) and f.gets(i.layers[0])[-1][2]["Range"].startswith("bytes=")
    with store.mounted(f"{f.host}/r:1") as root:
        assert digest((root / "big").read_bytes()) == digest(tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob))).extractfile("big").read())


def test_resumed_after_death(store, fake):
    """SIGKILL in the middle of a download: the next process goes on where it ended."""
    f = fake()
    i = Image(big(8 << 20))
    f.add(i, "r", "1")
    first = True

    def hook(h):
        nonlocal first
        if i.layers[0] not in h.path or not first:
            return False
        first = False
        blob = i.blobs[i.layers[0]]
        h.send_response(200)
        h.send_header("Content-Length", str(len(blob)))
        h.end_headers()
        h.wfile.write(blob[:5 << 20])
        h.wfile.flush()
        time.sleep(30)
        return True
    f.hook = hook
    p = subprocess.Popen([TOOL, store.path, "pull", f"{f.host}/r:1"], stdout=subprocess.DEVNULL)
    part = store.path / "images/ingest" / i.layers[0][7:]
    until(lambda: part.exists() and part.stat().st_size >= 5 << 20)
    p.kill()
    p.wait()
    assert store("pull", f"{f.host}/r:1")[-1] == i.config
    assert f.gets(i.layers[0])[-1][2]["Range"] == f"bytes={5 << 20}-"


def test_no_ranges(store, fake):
    """A server that ignores Range sends all of it again."""
    f = fake()
    i = Image(big())
    f.add(i, "r", "1")
    cuts = []

    def hook(h):
        if i.layers[0] not in h.path:
            return False
        blob = i.blobs[i.layers[0]]
        h.send_response(200)
        h.send_header("Content-Length", str(len(blob)))
        h.end_headers()
        h.wfile.write(blob if cuts else blob[:1 << 20])
        h.close_connection = not cuts
        cuts.append(1)
        return True
    f.hook = hook
    assert store("pull", f"{f.host}/r:1")[-1] == i.config


@pytest.mark.parametrize("lie", ["other bytes", "too long", "too short", "bad gzip", "bad diff id"])
def test_lies(store, fake, lie):
    f = fake()
    i = Image(base_layer(), top_layer())
    d = i.layers[0]
    if lie == "other bytes":
        i.blobs[d] = bytes([i.blobs[d][0]]) + b"\0" + i.blobs[d][2:]
    elif lie == "too long":
        i.blobs[d] += b"more"
    elif lie == "too short":
        i.blobs[d] = i.blobs[d][:-10]
    elif lie == "bad gzip":
        i = Image(base_layer(), top_layer(), compress="")
        bad = b"\x1f\x8b\x08" + os.urandom(5000)
        m = json.loads(i.manifest_bytes)
        m["layers"][1].update(digest=i.put(bad), size=len(bad))
        i.manifest_bytes = json.dumps(m).encode()
        i.digest = digest(i.manifest_bytes)
    else:
        c = json.loads(i.blobs[i.config])
        c["rootfs"]["diff_ids"].reverse()
        m = json.loads(i.manifest_bytes)
        data = json.dumps(c).encode()
        m["config"].update(digest=i.put(data), size=len(data))
        i.manifest_bytes = json.dumps(m).encode()
        i.digest = digest(i.manifest_bytes)
    f.add(i, "lie", "1")
    words = store.fails("pull", f"{f.host}/lie:1")
    assert {"other bytes": "filesystem layer verification failed for digest " + d, "too long": "more than the",
            "too short": "of", "bad gzip": "compressed stream", "bad diff id": "its image says"}[lie] in words
    assert store.list() == []
    assert not [x for x in (store.path / "snapshots/tmp").iterdir()]
    time.sleep(0.05)
    store("gc")
    assert not list((store.path / "snapshots/layers").iterdir()) and not list((store.path / "images/blobs/sha256").iterdir())


def test_stalled_server(store, fake):
    f = fake()
    i = Image(big())
    f.add(i, "r", "1")
    stalls = []

    def hook(h):
        if i.layers[0] not in h.path or len(stalls) >= 1:
            return False
        stalls.append(1)
        h.send_response(200)
        h.send_header("Content-Length", str(len(i.blobs[i.layers[0]])))
        h.end_headers()
        h.wfile.write(i.blobs[i.layers[0]][:100000])
        h.wfile.flush()
        stalls.append(over.wait(100 * SLOWER))
        return True
    f.hook = hook
    over = threading.Event()
    assert store("pull", f"{f.host}/r:1", env={"KNARR_STALL_MS": "500"})[-1] == i.config
    assert stalls == [1], "the first answer was waited for"
    over.set()


def test_slow_server(store, fake):
    """Slow is not stalled: as long as bytes come, one request is enough."""
    f = fake()
    i = Image(big(200_000), compress="")
    f.add(i, "r", "1")

    def hook(h):
        if i.layers[0] not in h.path:
            return False
        data = i.blobs[i.layers[0]]
        h.send_response(200)
        h.send_header("Content-Length", str(len(data)))
        h.end_headers()
        for at in range(0, len(data), len(data) // 15 + 1):
            h.wfile.write(data[at:at + len(data) // 15 + 1])
            h.wfile.flush()
            time.sleep(0.3)
        return True
    f.hook = hook
    started = time.monotonic()
    assert store("pull", f"{f.host}/r:1", env={"KNARR_STALL_MS": "4000"})[-1] == i.config
    assert time.monotonic() - started > 4.2 and len(f.gets(i.layers[0])) == 1


def test_never_answers(store, fake):
    """Connections are taken and nothing is ever said: an error after a bounded time, not a pull that hangs."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(16)
        started = time.monotonic()
        words = store.fails("pull", f"127.0.0.1:{s.getsockname()[1]}/x:1", env={"KNARR_STALL_MS": "300"})
        assert "TIMEOUT" in words or "UNAVAILABLE" in words, words
        assert time.monotonic() - started < 30 * SLOWER


def test_parallel(store, fake):
    f = fake()
    i = Image(*[tar_of(entry(f"f{n}", os.urandom(200000))) for n in range(8)], compress="")
    f.add(i, "p", "1")

    def hook(h):
        """Three come, however busy the machine is; a fourth would have its time to."""
        if any(d in h.path for d in i.layers):
            eventually(lambda: f.most_active >= 3)
            time.sleep(0.2)
    f.hook = hook
    store("pull", f"{f.host}/p:1")
    assert f.most_active == 3
    with store.mounted(f"{f.host}/p:1") as root:
        assert len(list(root.iterdir())) == 8


def test_twin_layers(any_store, fake):
    """The same layer twice in one image is fetched once."""
    f = fake()
    i = Image(top_layer(), top_layer(), base_layer())
    f.add(i, "t", "1")
    any_store("pull", f"{f.host}/t:1")
    assert len(f.gets(i.layers[0])) == 1
    with any_store.mounted(f"{f.host}/t:1") as root:
        assert (root / "data/new").read_text() == "new"


# ---- who may

def test_token(store, fake):
    f, auth = fake(), fake()
    i = Image(base_layer(), top_layer())
    f.add(i, "me/app", "1")
    f.token_realm, f.tokens = f"http://{auth.host}/token", set()

    def token(h):
        t = f"t{len(f.tokens)}"
        f.tokens.add(t)
        h.answer(200, json.dumps({"token": t, "expires_in": 60}).encode())
        return True
    auth.hook = token
    env = {"KNARR_USER": "me", "KNARR_PASSWORD": "secret"}
    assert store("pull", f"{f.host}/me/app:1", env=env)[-1] == i.config
    (_, path, headers), = auth.log
    assert path == "/token?service=fake&scope=repository%3Ame%2Fapp%3Apull&account=me"
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()
    assert not any("secret" in str(x) for x in f.log)


def test_token_expires(store, fake):
    """A token that ends between two blobs is fetched anew."""
    f, auth = fake(), fake()
    i = Image(base_layer(), top_layer())
    f.add(i, "me/app", "1")
    f.token_realm, f.tokens = f"http://{auth.host}/token", set()
    given = []

    def token(h):
        with f.lock:
            given.append(f"t{len(given)}")
            mine = given[-1]
        f.tokens.add(mine)  # who asks beside it gets another, and takes nobody's away
        h.answer(200, json.dumps({"access_token": mine}).encode())
        return True
    auth.hook = token

    def hook(h):
        if i.layers[1] in h.path:
            f.tokens.discard("t0")
        return False
    f.hook = hook
    assert store("pull", f"{f.host}/me/app:1")[-1] == i.config
    assert len(given) >= 2


def test_token_refused(store, fake):
    f, auth = fake(), fake()
    f.token_realm = f"http://{auth.host}/token"
    auth.hook = lambda h: h.error(401, "UNAUTHORIZED", "incorrect username or password") or True
    assert store.fails("pull", f"{f.host}/x:1") == "UNAUTHORIZED: unauthorized: incorrect username or password"


def test_basic(store, fake):
    f = fake()
    i = Image(top_layer())
    f.add(i, "x", "1")
    f.basic = "Basic " + base64.b64encode(b"u:p").decode()
    assert store.fails("pull", f"{f.host}/x:1") == f'UNAUTHORIZED: Get "http://{f.host}/v2/x/manifests/1": no basic auth credentials'
    assert store("pull", f"{f.host}/x:1", env={"KNARR_USER": "u", "KNARR_PASSWORD": "p"})[-1] == i.config


def test_redirect_keeps_credentials(store, fake):
    """Blobs on another host are fetched there, without our token."""
    f, cdn = fake(), fake()
    i = Image(base_layer())
    f.add(i, "x", "1")
    f.token_realm = f"http://{f.host}/token"
    cdn.blobs = f.blobs

    def hook(h):
        if h.path.startswith("/token"):
            return h.answer(200, b'{"token":"good"}') or True
        if "/blobs/" in h.path:
            return h.answer(307, Location=f"http://{cdn.host}{h.path}?signed=1".replace("?signed=1", "")) or True
        return False
    f.hook = hook
    assert store("pull", f"{f.host}/x:1")[-1] == i.config
    assert cdn.log and not any("Authorization" in h for _, _, h in cdn.log)


# ---- where to

def certificate(folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "key", "-out", folder / "crt", "-days", "2",
                    "-subj", "/CN=test", "-addext", f"subjectAltName={name}"], check=True, capture_output=True)
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(folder / "crt", folder / "key")
    return c, folder / "crt"


def test_tls_and_certs_d(store, fake, tmp_path):
    own = subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()
    address = next((x for x in own if "." in x and not x.startswith("127.")), None)
    if not address:
        pytest.skip("no address but loopback, where registries may be insecure")
    context, crt = certificate(tmp_path / "c", f"IP:{address}")
    f = fake(context=context, address=address)
    i = Image(top_layer())
    f.add(i, "x", "1")
    host = f"{address}:{f.port}"
    certs = tmp_path / "certs.d"
    assert "certificate" in store.fails("pull", f"{host}/x:1", env={"KNARR_CERTS": str(certs)})
    (certs / host).mkdir(parents=True)
    shutil.copy(crt, certs / host / "ca.crt")
    assert store("pull", f"{host}/x:1", env={"KNARR_CERTS": str(certs)})[-1] == i.config
    assert store("pull", f"{host}/x:1", env={"KNARR_INSECURE": host})
    assert store("pull", f"{host}/x:1", env={"KNARR_INSECURE": address + "/24"})


def test_insecure_tls_on_loopback(store, fake, tmp_path):
    context, _ = certificate(tmp_path / "c", "DNS:other")
    f = fake(context=context)
    i = Image(top_layer())
    f.add(i, "x", "1")
    assert store("pull", f"{f.host}/x:1")[-1] == i.config


def test_mirror(store, fake):
    """docker.io through a mirror."""
    f = fake()
    i = Image(top_layer())
    f.add(i, "library/nginx", "latest")
    out = store("pull", "nginx", env={"KNARR_MIRROR": f"http://{f.host}"})
    assert out[0] == "latest: Pulling from library/nginx" and out[-2] == "Status: Downloaded newer image for nginx:latest"
    assert store.list()[0]["tags"] == ["nginx:latest"]


def test_proxy(store, fake):
    """Plain http through a proxy in absolute form."""
    f = fake()
    i = Image(top_layer())
    f.add(i, "x", "1")
    seen = []
    lock = threading.Lock()

    def hook(h):
        with lock:
            seen.append(h.path)
        h.path = re.sub(r"^http://[^/]*", "", h.path)
        return False
    f.hook = hook
    env = {"HTTP_PROXY": f"http://{f.host}", "HTTPS_PROXY": f"http://127.0.0.1:{free_port()}", "KNARR_INSECURE": "registry.test"}
    assert store("pull", "registry.test/x:1", env=env)[-1] == i.config
    assert all(x.startswith("http://registry.test/v2/") for x in seen)


# ---- death

def test_kill_sweep(tmp_path, fake):
    """SIGKILL at every failpoint of a pull: the next pull makes it whole, and nothing is left over."""
    f = fake()
    i = Image(base_layer(), top_layer())
    f.add(i, "k", "1")
    name, deaths = f"{f.host}/k:1", 0
    points = ["image.ingest.before_sync", "image.ingest.synced", "image.ingest.renamed", "image.store.written", "snapshot.unpack.begun",
              "snapshot.unpack.unpacked", "snapshot.commit.recorded", "snapshot.commit.synced", "snapshot.commit.renamed",
              "io.write_file.before_rename"]
    for point in points:
        for n in (1, 2):
            s = Store(tmp_path / f"{point}-{n}")
            p = s.run("pull", name, env={"KNARR_FAIL": f"{point}=kill@{n}"}, check=False)
            assert p.returncode in (0, -9), p.stderr
            deaths += p.returncode == -9
            assert s("pull", name)[-1] == i.config
            with s.mounted(name) as root:
                assert set(tree(root)) == RESULT
            s("rmi", name)
            time.sleep(0.03)
            s("gc")
            assert not list((s.path / "snapshots/layers").iterdir()) and not list((s.path / "snapshots/tmp").iterdir())
            assert not list((s.path / "images/blobs/sha256").iterdir())
    assert deaths >= 15


def test_full_disk(tmp_path, fake):
    f = fake()
    i = Image(big(12 << 20), compress="")
    f.add(i, "f", "1")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small], check=True)
    try:
        s = Store(small / "store", KNARR_BACKEND="copy")
        assert s.fails("pull", f"{f.host}/f:1").startswith("NO_SPACE: ")
        assert s.list() == []
        ok = Image(top_layer())
        f.add(ok, "ok", "1")
        s("gc")
        assert s("pull", f"{f.host}/ok:1")[-1] == ok.config
    finally:
        subprocess.run(["umount", small], check=True)
