"""The API as curl and nc speak it: forms of requests that no client library makes, answered as dockerd answers them."""
import json
import socket
import subprocess

import pytest
from conftest import *

pytestmark = pytest.mark.usefixtures("busybox", "tidy")


@pytest.fixture
def curl(docker):
    """Words of a curl to the daemon: status, headers (names in lower case), body."""
    def ask(path, *words, stdin=b""):
        p = subprocess.run(["curl", "-sS", "-i", "-g", "--max-time", str(60 * SLOWER), "--unix-socket", docker.sock, *words, f"http://localhost{path}"],
                           input=stdin, capture_output=True, timeout=90 * SLOWER, env=ENV)
        assert p.returncode == 0, p.stderr
        rest = p.stdout
        while True:
            head, _, rest = rest.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            if not lines[0].startswith("HTTP/1.1 100"):
                break
        fields = {k.lower(): v for k, v in (l.split(": ", 1) for l in lines[1:])}
        return int(lines[0].split()[1]), fields, rest
    return ask


def typed(d, text):
    """What comes back for bytes as somebody typed them into a socket, until nothing comes for a moment."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20 * SLOWER)
        s.connect(d.sock)
        s.sendall(text)
        s.shutdown(socket.SHUT_WR)
        got = b""
        while part := s.recv(65536):
            got += part
    return got


def test_versions_of_http(docker, curl):
    d = docker
    d.cli("run", "--name", "one", "--network", "none", "busybox", "echo", "hello")
    assert curl("/_ping")[0::2] == (200, b"OK") and curl("/v1.41/_ping")[0::2] == (200, b"OK")
    code, fields, body = curl("/_ping", "--http1.0")
    assert (code, body, fields.get("content-length")) == (200, b"OK", "2")
    # Streams to a client of HTTP/1.0 have no chunks: their end is the connection's.
    code, fields, body = curl("/v1.41/containers/one/logs?stdout=1", "--http1.0")
    assert code == 200 and body == b"\x01\0\0\0\0\0\0\x06hello\n" and "transfer-encoding" not in fields
    code, fields, body = curl("/v1.41/events?since=0&until=1", "--http1.0")
    assert (code, body) == (200, b"") and "transfer-encoding" not in fields
    assert "chunked" in curl("/v1.41/containers/one/logs?stdout=1")[1].get("transfer-encoding", "")
    assert curl("/_ping", "-H", "Connection: close")[1]["connection"] == "close"
    assert curl("/_ping", "--http1.0", "-H", "Connection: keep-alive")[1]["connection"] == "keep-alive"


@pytest.mark.parametrize("text", [b"GET /_ping HTTP/1.0\r\n\n", b"GET /_ping HTTP/1.0\n\n", b"GET /_ping HTTP/1.1\nHost: x\nConnection: close\n\n",
                                  b"GET http://anywhere/_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])
def test_typed_into_nc(docker, text):
    """`echo -e "GET /_ping HTTP/1.0\\r\\n" | nc -U docker.sock` ends its lines as echo does."""
    got = typed(docker, text)
    assert got.split(b"\r\n")[0].endswith(b" 200 OK") and got.endswith(b"\r\n\r\nOK"), got


def test_one_connection_for_many(docker):
    assert typed(docker, b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n" * 50).count(b" 200 OK\r\n") == 50
    p = subprocess.run(["curl", "-sv", "--unix-socket", docker.sock, *(["http://localhost/_ping", "http://localhost/v1.41/none"] * 20)], capture_output=True,
                       text=True, env=ENV, timeout=60 * SLOWER)
    assert p.stderr.lower().count("re-using existing connection") == 39


def test_bodies(docker, curl):
    d = docker
    js = ("-X", "POST", "-H", "Content-Type: application/json")
    for name, words in (("chunked", ("-H", "Transfer-Encoding: chunked")), ("expected", ("-H", "Expect: 100-continue")),
                        ("charset", ("-H", "Content-Type: application/json; charset=utf-8"))):
        code, _, body = curl("/v1.41/volumes/create", *js, *words, "-d", json.dumps({"Name": name}))
        assert code == 201 and json.loads(body)["Name"] == name
        d.cli("volume", "rm", name)
    assert curl("/v1.41/volumes/create", *js, "-H", "Expect: 200-later", "-d", "{}")[0] == 417
    code, _, body = curl("/v1.41/volumes/create", "-X", "POST", "-d", "Name=x")
    assert code == 400 and "application/x-www-form-urlencoded" in json.loads(body)["message"]
    # Members are found in any case, and strings stand for lists of one word where Docker says so.
    code, _, body = curl("/v1.41/containers/create?name=any", *js, "-d", '{"image":"busybox","CMD":"true","hostconfig":{"memory":6291456,"networkmode":"none"}}')
    assert code == 201
    assert d.out("inspect", "-f", "{{json .Config.Cmd}} {{.HostConfig.Memory}} {{.HostConfig.NetworkMode}}", "any") == '["true"] 6291456 none'
    archive = subprocess.run(["tar", "-c", "-C", "/etc", "passwd"], capture_output=True, check=True).stdout
    for words in (("-T", "-"), ("--http1.0", "-X", "PUT", "--data-binary", "@-")):
        assert curl("/v1.41/containers/any/archive?path=/tmp", *words, stdin=archive)[0] == 200
    assert curl("/v1.41/containers/any/archive?path=/tmp/passwd", "-I")[0] == 200
    assert curl("/v1.41/containers/any/archive?path=/tmp/nosuch", "-I")[0] == 404


def test_methods_and_paths(docker, curl):
    """Go's router: a wrong method is a wrong path, what is not clean is sent to where it is, and OPTIONS is answered with nothing."""
    for words, path in ((("-X", "PUT"), "/v1.41/info"), (("-X", "DELETE"), "/v1.41/images"), ((), "/v1.41/containers/x/start"), (("-I",), "/v1.41/info"),
                        ((), "/v1.41/containers/json/"), ((), "/v1.41"), ((), "/v1.41/"), ((), "/vx/info")):
        code, _, body = curl(path, *words)
        assert code == 404 and (words == ("-I",) or json.loads(body) == {"message": "page not found"}), (path, body)
    code, _, body = curl("/v1.41/info", "-X", "OPTIONS")
    assert (code, body) == (200, b"")
    for path, where in (("//info", "/info"), ("/v1.41//containers/json?limit=1", "/v1.41/containers/json?limit=1"), ("/v1.41/../info", "/info"),
                        ("/v1.41/./_ping", "/v1.41/_ping"), ("/v1.41/containers//json/", "/v1.41/containers/json/")):
        code, fields, body = curl(path, "--path-as-is")
        assert (code, fields["location"], body) == (301, where, b""), path
    assert curl("//_ping", "-L", "--path-as-is")[0] in (200, 301)  # curl shows each answer


def test_names(docker, curl):
    d = docker
    d.cli("create", "--name", "named", "busybox")
    assert curl("/v1.41/containers/n%61med/json")[0] == 200 and curl("/v1.41/images/busybox%3Alatest/json")[0] == 200
    assert curl("/v1.41/images/docker.io%2Flibrary/busybox/json")[0] == 200
    for method, path, words in (("GET", "/containers/a/b/json", "No such container: a/b"), ("POST", "/containers/a/b/start", "No such container: a/b"),
                                ("DELETE", "/containers/a/b", "No such container: a/b"), ("GET", "/networks/a/b", "network a/b not found"),
                                ("GET", "/containers/a%20b/json", "No such container: a b"), ("GET", "/containers/a%3Cb%26/json", "No such container: a<b&"),
                                ("GET", "/containers/ü/json", "No such container: ü")):
        code, _, body = curl("/v1.41" + path, "-X", method)
        assert (code, json.loads(body)["message"]) == (404, words), path
    assert "No such container: a/b" in d.fails("rm", "a/b") and "network a/b not found" in d.fails("network", "rm", "a/b")
    for path, body in (("/commit", "{}"), ("/networks/none/connect", "{}")):
        code, _, answer = curl("/v1.41" + path, "-X", "POST", "-H", "Content-Type: application/json", "-d", body)
        assert (code, json.loads(answer)["message"]) == (400, 'invalid name or ID supplied: ""'), path


@pytest.mark.parametrize("filters,found", [
    ('{"name":["sought"]}', 1), ('{"name":{"sought":true}}', 1), ('{"name":{"sought":false}}', 1), ('{"name":[]}', 1), ('{"name":{}}', 1), ('{"name":["other"]}', 0),
    ("", 1), ("{}", 1), ('{"id":[""]}', 0), ('{"name":"sought"}', None), ("bogus", None), ("[]", None)])
def test_filters(docker, curl, filters, found):
    """The map that the API began with, the list that it has now. "id" of an empty variable of a script finds nothing: what it finds may be
    removed."""
    d = docker
    d.cli("run", "-d", "--name", "sought", "--network", "none", "busybox", "sleep", "1000")
    code, _, body = curl("/v1.41/containers/json", "-G", "--data-urlencode", f"filters={filters}")
    if found is None:
        assert code == (400 if d.name == "knarr" else 500) and json.loads(body)["message"], body
    else:
        assert (code, len(json.loads(body))) == (200, found), body


@pytest.mark.parametrize("query,code,words", [
    ("all=1;size=1", 400, "invalid semicolon separator in query"), ("all=%zz", 400, 'invalid URL escape "%zz"'), ("all=%2", 400, 'invalid URL escape "%2"'),
    ("limit=bogus", 400, 'strconv.Atoi: parsing "bogus": invalid syntax'), ("all=yes&limit=-1", 200, None), ("all=1&all=0", 200, None)])
def test_queries(docker, curl, query, code, words):
    got, _, body = curl(f"/v1.41/containers/json?{query}")
    assert got in (code, 500 if code == 400 and docker.name == "dockerd" else code) and (words is None or json.loads(body)["message"] == words), body
