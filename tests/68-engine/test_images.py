"""Images through the real client and by hand."""
import hashlib
import http.server
import json
import tarfile
import threading
import time
import urllib.parse

import pytest
from conftest import *


@pytest.fixture
def clean(docker):
    ids = docker.out("images", "-aq").split()
    if ids:
        docker.cli("rmi", "-f", *sorted(set(ids)), check=None)
    return docker


def test_import_inspect_history(clean):
    d = clean
    id = d.out("import", "-c", 'CMD ["sh"]', "-c", "ENV A=1 B='two words'", "-c", "EXPOSE 80 53/udp", "-c", "LABEL k=v", "-c", "WORKDIR /data", "-c",
               "USER user", "-c", 'VOLUME ["/v"]', "-c", "ENTRYPOINT /bin/busybox", "-m", "why", "-", "imp:1", stdin=BUSYBOX)
    i = json.loads(d.out("inspect", "imp:1"))[0]
    assert i["Id"] == id and i["RepoTags"] == ["imp:1"] and i["Comment"] == "why" and i["Os"] == "linux" and i["Architecture"] == "amd64"
    c = i["Config"]
    assert c["Cmd"] == ["sh"] and c["Env"] == ["A=1", "B=two words"] and c["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert c["Labels"] == {"k": "v"} and c["WorkingDir"] == "/data" and c["User"] == "user" and c["Volumes"] == {"/v": {}}
    assert c["Entrypoint"] == ["/bin/sh", "-c", "/bin/busybox"]
    assert len(i["RootFS"]["Layers"]) == 1 and i["RootFS"]["Type"] == "layers" and i["GraphDriver"]["Name"] == "overlay2"
    assert i["RootFS"]["Layers"][0] == "sha256:" + hashlib.sha256(BUSYBOX).hexdigest()
    h = d.api("GET", "/images/imp:1/history").json
    assert len(h) == 1 and h[0]["Id"] == id and h[0]["Tags"] == ["imp:1"] and h[0]["Comment"] == "why" and h[0]["Size"] == i["Size"]
    assert "not a valid change command" in d.fails("import", "-c", "FROM x", "-", stdin=BUSYBOX)
    assert "invalid reference format" in d.fails("import", "-", "UPPER/../x", stdin=BUSYBOX)


def test_list_and_filters(clean):
    d = clean
    import_busybox(d, "one:1", "LABEL a=1")
    import_busybox(d, "two:2", "LABEL a=2", "LABEL b=1")
    third = d.out("import", "-m", "third", "-", stdin=BUSYBOX)
    d.cli("tag", "two:2", "reg.test/sub/two:2")

    def names(*f):
        return sorted(d.out("images", "--format", "{{.Repository}}:{{.Tag}}", *[w for x in f for w in ("-f", x)]).split())
    assert names() == ["<none>:<none>", "one:1", "reg.test/sub/two:2", "two:2"]
    assert names("dangling=true") == ["<none>:<none>"] and "<none>:<none>" not in names("dangling=false")
    assert names("label=a") == ["one:1", "reg.test/sub/two:2", "two:2"] and names("label=a=1") == ["one:1"] and names("label=a=1", "label=b") == []
    assert names("reference=one") == ["one:1"] and names("reference=t*:2") == ["two:2"] and names("reference=*/*/two") == ["reg.test/sub/two:2"]
    assert names("reference=none") == []
    assert names("before=one:1") == [] and "one:1" not in names("since=one:1")
    assert d.out("images", "-q", "two").split() and d.out("images", "nothing", "-q") == ""
    assert "No such image: none:latest" in d.fails("images", "-f", "before=none:latest")
    assert d.out("images", "--no-trunc", "-q", "-f", "dangling=true") == third
    one = next(i for i in d.api("GET", "/images/json").json if i["RepoTags"] == ["one:1"])
    assert one["Labels"] == {"a": "1"} and one["ParentId"] == "" and one["SharedSize"] == -1 and one["Containers"] == -1
    assert abs(one["Size"] - BUSYBOX_SIZE) < 4096


BUSYBOX_SIZE = pathlib.Path("/bin/busybox").stat().st_size


def test_list_by_version(knarr):
    knarr.out("import", "-", stdin=BUSYBOX)
    import_busybox(knarr, "v:1")
    shape = {v: {i["Id"]: i for i in knarr.api("GET", "/images/json", version=f"v1.{v}").json} for v in (24, 40, 42, 43, 44, 50)}
    for id, i in shape[50].items():
        assert "VirtualSize" not in i and shape[40][id]["VirtualSize"] == i["Size"]
        if not i["RepoTags"]:
            assert shape[42][id]["RepoTags"] == ["<none>:<none>"] and shape[24][id]["RepoDigests"] == ["<none>@<none>"] and shape[43][id]["RepoTags"] == []
    i = {v: knarr.api("GET", "/images/v:1/json", version=f"v1.{v}").json for v in (24, 40, 44, 45, 50)}
    assert i[24]["VirtualSize"] == i[24]["Size"] and "VirtualSize" not in i[44] and i[44]["Container"] == "" and "Container" not in i[45]
    assert i[44]["Config"]["Hostname"] == "" and i[44]["Config"]["Tty"] is False and "Hostname" not in i[50]["Config"] and "Tty" not in i[50]["Config"]
    assert "Descriptor" in i[50] and "Descriptor" not in i[44]


def test_tag_and_remove(clean):
    d = clean
    id = import_busybox(d, "x:1")
    d.cli("tag", "x:1", "x:2")
    d.cli("tag", id[7:19], "y")
    assert sorted(json.loads(d.out("inspect", "y"))[0]["RepoTags"]) == ["x:1", "x:2", "y:latest"]
    assert "No such image: none:latest" in d.fails("tag", "none", "z")
    assert "invalid reference format" in d.fails("tag", "x:1", "A B")
    r = d.api("POST", "/images/x:1/tag?repo=Upper")
    assert r.status == (400 if d.name == "knarr" else 500) and "must be lowercase" in r.message  # 500 until dockerd 23
    assert "must be forced" in d.fails("rmi", id[7:19]) and d.out("rmi", "x:2") == "Untagged: x:2"
    out = d.out("rmi", "-f", id)
    assert "Untagged: x:1" in out and "Untagged: y:latest" in out and f"Deleted: {id}" in out
    assert "No such image: x:1" in d.fails("rmi", "x:1") and d.out("rmi", "-f", "x:1", check=None) == ""
    r = d.api("GET", "/images/none/json")
    assert (r.status, r.message) == (404, "No such image: none:latest") or (r.status, r.message) == (404, "no such image: none: No such image: none:latest")
    assert d.out("images", "-aq") == ""


def test_save_and_load(clean, tmp_path):
    d = clean
    one = import_busybox(d, "one:1")
    two = import_busybox(d, "two:1", "LABEL x=y")
    d.cli("save", "-o", tmp_path / "both.tar", "one:1", "two:1")
    d.cli("save", "-o", tmp_path / "id.tar", one)
    with tarfile.open(tmp_path / "both.tar") as t:
        manifest = json.load(t.extractfile("manifest.json"))
    assert sorted(m["RepoTags"][0] for m in manifest) == ["one:1", "two:1"]
    d.cli("rmi", "one:1", "two:1")
    out = d.out("load", "-i", tmp_path / "both.tar")
    assert "Loaded image: one:1" in out and "Loaded image: two:1" in out
    assert json.loads(d.out("inspect", "one:1"))[0]["Id"] == one and json.loads(d.out("inspect", "two:1"))[0]["Id"] == two
    d.cli("rmi", "one:1", "two:1")
    assert f"Loaded image ID: {one}" in d.out("load", "-q", "-i", tmp_path / "id.tar")
    assert d.cli("load", check=1, stdin=b"no archive at all" * 100).stderr
    assert ("No such image: none:latest" if d.name == "knarr" else "reference does not exist") in d.fails("save", "-o", tmp_path / "n.tar", "none:latest")
    r = d.api("POST", "/images/load?quiet=1", (tmp_path / "both.tar").read_bytes(), headers={"Content-Type": "application/x-tar"})
    assert r.status == 200 and {"stream": "Loaded image: one:1\n"} in r.lines


def test_push_and_pull(clean, registry):
    d = clean
    id = import_busybox(d, f"{registry}/repo/app:1")
    out = d.out("push", f"{registry}/repo/app:1")
    assert f"The push refers to repository [{registry}/repo/app]" in out and "Pushed" in out and "digest: sha256:" in out
    digest = out.split("digest: ")[1].split()[0]
    assert "Layer already exists" in d.out("push", f"{registry}/repo/app:1")
    assert json.loads(d.out("inspect", id))[0]["RepoDigests"] == [f"{registry}/repo/app@{digest}"]
    d.cli("tag", id, f"{registry}/repo/app:2")
    assert d.out("push", "-a", f"{registry}/repo/app").count("digest: ") == 2
    d.cli("rmi", "-f", id)
    out = d.out("pull", f"{registry}/repo/app:1")
    assert "1: Pulling from repo/app" in out and "Pull complete" in out and f"Digest: {digest}" in out
    assert f"Status: Downloaded newer image for {registry}/repo/app:1" in out and out.splitlines()[-1] == f"{registry}/repo/app:1"
    assert d.out("pull", f"{registry}/repo/app:1").splitlines() == [
        "1: Pulling from repo/app", f"Digest: {digest}", f"Status: Image is up to date for {registry}/repo/app:1", f"{registry}/repo/app:1"]
    d.cli("pull", "-q", f"{registry}/repo/app@{digest}")
    d.cli("pull", "-a", f"{registry}/repo/app")
    assert sorted(json.loads(d.out("inspect", f"{registry}/repo/app:2"))[0]["RepoTags"]) == [f"{registry}/repo/app:1", f"{registry}/repo/app:2"]
    r = d.api("POST", f"/images/create?fromImage={registry}/repo/app&tag=none")
    assert r.status == 404 and r.message == f"manifest for {registry}/repo/app:none not found: manifest unknown: manifest unknown"
    assert f"An image does not exist locally with the tag: {registry}/nothing" in d.fails("push", f"{registry}/nothing")
    r = d.api("POST", f"/images/create?fromImage={registry}/repo/app&tag=1")
    assert r.status == 200 and r.lines[0] == {"status": "Pulling from repo/app", "id": "1"} and r.body.endswith(b"\r\n")
    r = d.api("GET", f"/distribution/{registry}/repo/app:1/json")
    assert r.status == 200 and r.json["Descriptor"]["digest"] == digest and r.json["Platforms"] == [{"architecture": "amd64", "os": "linux"}]


def test_progress_has_bars(clean, registry):
    d = clean
    import_busybox(d, f"{registry}/bars:1")
    d.cli("push", f"{registry}/bars:1")
    d.cli("rmi", f"{registry}/bars:1")
    lines = d.api("POST", f"/images/create?fromImage={registry}/bars&tag=1").lines
    bar = [x for x in lines if x.get("progressDetail")]
    assert bar and all(x["progressDetail"]["current"] <= x["progressDetail"]["total"] and x["progress"].startswith("[") for x in bar)
    assert any(x["status"] == "Pulling fs layer" and x["progressDetail"] == {} and len(x["id"]) == 12 for x in lines)


def test_prune_and_df(clean):
    d = clean
    import_busybox(d, "keep:1", "LABEL keep=1")
    id = d.out("import", "-m", "loose", "-", stdin=BUSYBOX + bytes(10240))
    df = d.api("GET", "/system/df").json
    assert {i["Id"]: i["SharedSize"] for i in df["Images"]}[id] == 0 and df["LayersSize"] >= 2 * BUSYBOX_SIZE
    assert f"deleted: {id}" in d.out("image", "prune", "-f")
    assert "Total reclaimed space: 0B" in d.out("image", "prune", "-f")
    assert d.api("POST", "/images/prune?filters={\"dangling\":[\"false\"],\"label!\":[\"keep\"]}").json["ImagesDeleted"] is None
    r = d.api("POST", "/images/prune?filters={\"dangling\":[\"false\"]}").json
    assert r["SpaceReclaimed"] >= BUSYBOX_SIZE and any("Deleted" in x for x in r["ImagesDeleted"]) and d.out("images", "-q") == ""


def test_events(clean, tmp_path):
    d = clean
    start = time.time()
    id = import_busybox(d, "ev:1")
    d.cli("tag", "ev:1", "ev:2")
    d.cli("save", "-o", tmp_path / "x.tar", "ev:1")
    d.cli("rmi", "ev:1", "ev:2")
    d.cli("load", "-i", tmp_path / "x.tar")
    r = d.api("GET", f"/events?since={start:.6f}&until={time.time():.6f}").lines
    actions = [x["Action"] for x in r]
    assert [x for x in actions if x in ("import", "tag", "save", "untag", "delete", "load")] == \
        ["tag", "import", "tag", "save", "untag", "untag", "delete", "load"] or d.name == "dockerd", actions
    e = next(x for x in r if x["Action"] == "delete")
    assert e["Type"] == "image" and e["Actor"]["ID"] == id and e["status"] == "delete" and e["id"] == id and e["scope"] == "local"
    assert e["timeNano"] // 10**9 == e["time"] and e["Actor"]["Attributes"]["name"] == id
    only = d.api("GET", f"/events?since={start:.6f}&until={time.time():.6f}&filters=" + '{"event":["tag"],"type":["image"]}').lines
    assert only and {x["Action"] for x in only} == {"tag"}
    assert d.api("GET", f"/events?since={start:.6f}&until={time.time():.6f}&filters=" + '{"type":["volume"]}').body == b""


def test_events_have_the_labels(clean, tmp_path):
    """Labels of an image are attributes of its events and can be filtered by; the name wins over a label that is called so."""
    d = clean
    start = time.time()
    id = import_busybox(d, "lab:1", "LABEL team=a name=evil")
    import_busybox(d, "other:1", "LABEL team=b")
    d.cli("tag", "lab:1", "lab:2")
    d.cli("save", "-o", tmp_path / "x.tar", "lab:1")
    d.cli("create", "--name", "kk", "--network", "none", "--label", "own=1", "lab:1", "true")
    d.cli("commit", "-c", "LABEL z=1", "kk", "lab:3")
    made = d.out("inspect", "-f", "{{.Id}}", "lab:3")
    d.cli("rm", "kk")
    d.cli("rmi", "lab:1", "lab:2", "lab:3")
    d.cli("load", "-i", tmp_path / "x.tar")
    d.cli("rmi", "lab:1")

    def events(**filters):
        r = d.api("GET", f"/events?since={start:.6f}&until={time.time():.6f}&filters=" + json.dumps({"type": ["image"], **filters}).replace(" ", "")).lines
        return [(x["Action"], x["Actor"]["ID"], x["Actor"]["Attributes"]) for x in r]
    seen = events(label=["team=a"])
    assert [(action, one) for action, one, _ in seen if action not in ("import", "load")] == [
        ("tag", id), ("tag", id), ("save", id), ("tag", made), ("untag", id), ("untag", id), ("untag", made), ("untag", id)], seen
    assert all(a["team"] == "a" and a["name"] != "evil" for _, _, a in seen)
    assert [a for action, one, a in seen if (action, one) == ("tag", made)] == [{"name": "lab:3", "own": "1", "team": "a", "z": "1"}]
    assert {action for action, _, _ in seen} >= {"import", "load"} and {a["team"] for _, _, a in events(label=["team"])} == {"a", "b"}
    # What is deleted is not there any more to be asked.
    assert all(set(a) == {"name"} for action, _, a in events() if action == "delete")


def test_events_live(clean):
    d = clean
    p = subprocess.Popen(["docker", "events", "--format", "{{.Type}} {{.Action}}", "--filter", "type=image"], stdout=subprocess.PIPE, text=True,
                         env={**ENV, "DOCKER_HOST": f"unix://{d.sock}", "DOCKER_CONFIG": str(d.dir / "cli")})
    try:
        until(lambda: d.api("GET", "/info").json["NEventsListener"] == 1)
        import_busybox(d, "live:1")
        assert p.stdout.readline().strip() in ("image tag", "image import")
    finally:
        p.kill()
        p.wait()
        p.stdout.close()


class Hub(http.server.BaseHTTPRequestHandler):
    """A registry with a login, and Docker Hub's search."""
    def log_message(self, *a):
        pass

    def do_HEAD(self):
        self.do_GET()

    do_POST = do_HEAD

    def do_GET(self):
        good = self.headers.get("Authorization") == "Basic " + __import__("base64").b64encode(b"me:secret").decode()
        if self.path.startswith("/v1/search"):
            body = json.dumps({"num_results": 2, "results": [{"name": "nginx", "description": "d", "star_count": 5, "is_official": True},
                                                             {"name": "x/nginx", "description": "", "star_count": 1, "is_official": False}]}).encode()
            code = 200
        elif self.path == "/file.tar":
            code, body = 200, BUSYBOX
        else:
            code, body = (200, b"{}") if good else (401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}')
        self.send_response(code)
        if code == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="r"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def hub():
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{s.server_address[1]}"
    s.shutdown()
    s.server_close()


def test_login_search_url(docker, hub):
    d = docker
    r = d.api("POST", "/auth", {"username": "me", "password": "secret", "serveraddress": hub})
    assert r.status == 200 and r.json == {"IdentityToken": "", "Status": "Login Succeeded"}
    r = d.api("POST", "/auth", {"username": "me", "password": "wrong", "serveraddress": hub})
    assert r.status in (401, 500) and "401 Unauthorized" in r.message
    assert [x["name"] for x in d.api("GET", f"/images/search?term={hub}/nginx").json] == ["nginx", "x/nginx"]
    assert [x["name"] for x in d.api("GET", f"/images/search?term={hub}/nginx&filters=" + '{"is-official":["true"]}').json] == ["nginx"]
    assert [x["name"] for x in d.api("GET", f"/images/search?term={hub}/nginx&filters=" + '{"stars":["3"]}').json] == ["nginx"]
    assert d.api("GET", f"/images/search?term={hub}/nginx&limit=101").status == 400
    assert "sha256:" in d.out("import", f"http://{hub}/file.tar", "url:1") and d.out("images", "-q", "url:1")
    assert d.fails("import", f"http://{hub}/none.tar", "url:2")


def test_a_registry_that_refuses(docker, hub):
    """500, not 401: at that the client asks its user for a login to us, and waits for one even where nobody is."""
    d = docker
    words = f'et "http://{hub}/v2/x/manifests/1": no basic auth credentials' if d.name == "knarr" else "no basic auth credentials"
    r = d.api("POST", f"/images/create?fromImage={hub}/x&tag=1")
    assert r.status == 500 and words in r.message
    assert "no basic auth credentials" in d.fails("pull", f"{hub}/x:1", timeout=20)
    wrong = __import__("base64").urlsafe_b64encode(json.dumps({"username": "me", "password": "wrong"}).encode()).decode()
    r = d.api("POST", f"/images/create?fromImage={hub}/x&tag=1", headers={"X-Registry-Auth": wrong})
    assert r.status == 500 and r.message.startswith("unauthorized")
    import_busybox(d, f"{hub}/x:1")
    assert "no basic auth credentials" in d.fails("push", f"{hub}/x:1", timeout=20)
    d.cli("rmi", f"{hub}/x:1")


def test_a_client_that_goes_away(knarr, registry):
    """A pull and a load that are cut off leave nothing that is half there."""
    c = UnixConnection(knarr.sock)
    c.putrequest("POST", "/images/load")
    c.putheader("Content-Length", "100000000")
    c.endheaders()
    c.send(BUSYBOX[:50000])
    c.close()
    assert knarr.api("GET", "/_ping").status == 200
    until(lambda: not list((knarr.data / "images/ingest").iterdir()))
    assert knarr.api("GET", "/images/json").status == 200


def test_it_survives_a_restart(make_knarr):
    k = make_knarr()
    id = import_busybox(k, "stay:1")
    assert k.stop() == 0
    k.start()
    assert json.loads(k.out("inspect", "stay:1"))[0]["Id"] == id
    k.stop(signal.SIGKILL)
    k.start()
    assert json.loads(k.out("inspect", "stay:1"))[0]["Id"] == id


def platform(os="linux", arch="amd64", **more):
    return urllib.parse.quote(json.dumps({"os": os, "architecture": arch, **more}))


@pytest.mark.skipif(CLIENT < 28, reason="the client is older than what it would be told")
def test_platform_parameters(knarr, registry, tmp_path):
    """An image has one platform: it fits what is asked for, or is not found."""
    d = knarr
    import_busybox(d, "plat:1")
    mine = json.loads(d.out("inspect", "plat:1"))[0]["Architecture"]
    other = "arm64" if mine != "arm64" else "s390x"
    words = f"image with reference {{}} was found but does not provide the specified platform (linux/{other})"
    for method, path in (("GET", "/images/plat:1/json?platform="), ("GET", "/images/plat:1/history?platform="), ("GET", "/images/plat:1/get?platform="),
                         ("GET", "/images/get?names=plat:1&platform="), ("DELETE", "/images/plat:1?platforms=")):
        r = d.api(method, path + platform(arch=other))
        assert (r.status, r.message) == (404, words.format("plat:1")), path
        r = d.api(method, path + "linux")
        assert r.status == 400 and r.message == "failed to parse platform: invalid character 'l' looking for beginning of value", path
        assert d.api(method, path + platform(arch="")).message == "both OS and Architecture must be provided"
        if method == "GET":
            assert d.api(method, path + platform(arch=mine)).status == 200, path
    assert d.api("GET", "/images/plat:1/json?platform=" + platform(arch=other), version="v1.48").status == 200  # not known then
    assert "cannot both be set" in d.api("GET", "/images/plat:1/json?manifests=1&platform=" + platform(arch=mine)).message
    assert words.format("plat:1") in d.fails("save", "--platform", f"linux/{other}", "-o", tmp_path / "no", "plat:1")
    d.cli("save", "--platform", f"linux/{mine}", "-o", tmp_path / "saved", "plat:1")
    p = d.cli("load", "--platform", f"linux/{other}", "-i", tmp_path / "saved", check=1)
    assert f"requested platform (linux/{other}) not found: the archive's image is for linux/{mine}" in p.stderr
    assert "Loaded image: plat:1" in d.out("load", "--platform", f"linux/{mine}", "-i", tmp_path / "saved")
    name = f"{registry}/plat:1"
    d.cli("tag", "plat:1", name)
    assert words.format(name) in d.fails("push", "--platform", f"linux/{other}", name)
    d.cli("push", "--platform", f"linux/{mine}", name)
    d.cli("rmi", name)
    assert d.api("DELETE", "/images/plat:1?platforms=" + platform(arch=mine)).status == 200


@pytest.mark.skipif(CLIENT < 28, reason="the client is older than what it would be told")
def test_manifests(knarr):
    """Every image tells of its one manifest, and of who was made of it."""
    d = knarr
    import_busybox(d, "mani:1")
    ids = sorted(d.out("create", "--network", "none", "mani:1", "true") for _ in range(2))
    i = d.api("GET", "/images/mani:1/json?manifests=1").json
    m, = i["Manifests"]
    assert m["ID"] == i["Descriptor"]["digest"] and m["Descriptor"] == i["Descriptor"] and m["Kind"] == "image" and m["Available"] is True
    assert m["ImageData"]["Platform"] == {"architecture": i["Architecture"], "os": "linux"} and sorted(m["ImageData"]["Containers"]) == ids
    assert m["ImageData"]["Size"]["Unpacked"] == i["Size"] and m["Size"]["Total"] == m["Size"]["Content"] + i["Size"]
    assert [x["Manifests"] for x in d.api("GET", "/images/json?manifests=1").json if x["Id"] == i["Id"]] == [[m]]
    assert "Manifests" not in d.api("GET", "/images/mani:1/json").json
    assert not [x for x in d.api("GET", "/images/json?manifests=1", version="v1.46").json if "Manifests" in x]
    assert "mani:1" in d.out("images", "--tree")
    d.cli("rm", *ids)
    d.cli("rmi", "mani:1")
