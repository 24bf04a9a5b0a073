#!/usr/bin/python3
"""Docker Hub in a network namespace: Debian's docker-registry as registry-1.docker.io, a small auth.docker.io, a CA that only this
mount namespace trusts, and a proxy that does CONNECT. Run by test_hub.py in namespaces of its own; prints what went wrong."""
import base64
import http.server
import json
import os
import pathlib
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from conftest import *  # noqa: E402
from resolv import resolv_conf  # noqa: E402

HUB, AUTH, USER, PASSWORD, IDENTITY = "registry-1.docker.io", "auth.docker.io", "me", "s3cret", "identity-1"
TMP = pathlib.Path(sys.argv[1])


def openssl(*words, data=None):
    return subprocess.run(["openssl", *map(str, words)], input=data, check=True, capture_output=True).stdout


def pki():
    """A CA in the place of the system's, and one certificate for both names."""
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", TMP / "ca.key", "-out", TMP / "ca.crt", "-days", 2, "-subj", "/CN=test CA")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", TMP / "key", "-out", TMP / "csr", "-subj", "/CN=hub")
    (TMP / "ext").write_text(f"subjectAltName=DNS:{HUB},DNS:{AUTH}\n")
    openssl("x509", "-req", "-in", TMP / "csr", "-CA", TMP / "ca.crt", "-CAkey", TMP / "ca.key", "-CAcreateserial", "-days", 2, "-extfile", TMP / "ext",
            "-out", TMP / "crt")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/etc/ssl/certs"], check=True)
    pathlib.Path("/etc/ssl/certs/test.pem").write_bytes((TMP / "ca.crt").read_bytes())
    openssl("rehash", "/etc/ssl/certs")


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Auth(http.server.BaseHTTPRequestHandler):
    """docs.docker.com/registry/spec/auth: GET with Basic or nothing, POST with a refresh token."""
    protocol_version = "HTTP/1.1"
    log, limited = [], [0]

    def log_message(self, *a):
        pass

    def do_GET(self):
        q = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        auth = self.headers.get("Authorization", "")
        if auth and auth != "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode():
            return self.answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]})
        self.grant("GET", q, USER if auth else "", "token")

    def do_POST(self):
        q = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if q["grant_type"] != ["refresh_token"] or q["refresh_token"] != [IDENTITY] or not q["client_id"]:
            return self.answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "refresh token is not valid"}]})
        self.grant("POST", q, USER, "access_token")

    def grant(self, method, q, user, field):
        Auth.log.append((method, q.get("scope"), user))
        if Auth.limited[0]:
            Auth.limited[0] -= 1
            return self.answer(429, {"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}, {"Retry-After": "3"})
        access = []
        for scope in q.get("scope", []):
            kind, name, actions = scope.split(":")
            mine = name.startswith(USER + "/") and user
            access.append({"type": kind, "name": name, "actions": [a for a in actions.split(",") if a == "pull" or mine]})
        now = int(time.time())
        der = openssl("x509", "-in", TMP / "crt", "-outform", "DER")
        head = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        claims = {"iss": AUTH, "sub": user, "aud": q["service"][0], "exp": now + 60, "nbf": now - 10, "iat": now, "jti": os.urandom(8).hex(), "access": access}
        text = b64(json.dumps(head).encode()) + "." + b64(json.dumps(claims).encode())
        self.answer(200, {field: text + "." + b64(openssl("dgst", "-sha256", "-sign", TMP / "key", data=text.encode()))})

    def answer(self, code, doc, headers={}):
        body = json.dumps(doc).encode()
        self.send_response(code)
        for k, v in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(k, v)
        self.end_headers()
        self.wfile.write(body)


def serve_auth():
    server = http.server.ThreadingHTTPServer(("127.0.0.2", 443), Auth)
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(TMP / "crt", TMP / "key")
    server.socket = c.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()


def serve_registry():
    (TMP / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {TMP}/data}}}}\n"
        f"http: {{addr: '127.0.0.1:443', tls: {{certificate: {TMP}/crt, key: {TMP}/key}}}}\n"
        f"auth: {{token: {{realm: 'https://{AUTH}/token', service: registry.docker.io, issuer: {AUTH}, rootcertbundle: {TMP}/both}}}}\n")
    (TMP / "both").write_bytes((TMP / "crt").read_bytes() + (TMP / "ca.crt").read_bytes())
    p = subprocess.Popen(["docker-registry", "serve", TMP / "config.yml"], stdout=open(TMP / "log", "w"), stderr=subprocess.STDOUT)
    for _ in range(200):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", 443)) == 0:
                return p
        time.sleep(0.05)
    raise RuntimeError((TMP / "log").read_text())


class Connect(http.server.BaseHTTPRequestHandler):
    """CONNECT alone; it knows where the names lead, the client does not."""
    log = []

    def log_message(self, *a):
        pass

    def do_CONNECT(self):
        Connect.log.append((self.path, self.headers.get("Proxy-Authorization")))
        host, port = self.path.split(":")
        with socket.create_connection(({HUB: "127.0.0.1", AUTH: "127.0.0.2"}[host], int(port))) as far:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

            def copy(a, b):
                with contextlib.suppress(OSError):
                    while data := a.recv(65536):
                        b.sendall(data)
                with contextlib.suppress(OSError):
                    b.shutdown(socket.SHUT_WR)
            t = threading.Thread(target=copy, args=(far, self.connection), daemon=True)
            t.start()
            copy(self.connection, far)
            t.join()
        self.close_connection = True


def hosts(text):
    (TMP / "hosts").write_text("127.0.0.1 localhost\n" + text)


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    (TMP / "resolv").write_text("")
    resolv_conf(TMP / "resolv", TMP)  # before what is mounted in /etc, for it may lie over that
    pki()
    hosts(f"127.0.0.1 {HUB}\n127.0.0.2 {AUTH}\n")
    subprocess.run(["mount", "--bind", TMP / "hosts", "/etc/hosts"], check=True)
    serve_auth()
    registry = serve_registry()
    try:
        check()
    finally:
        registry.kill()
        registry.wait()


def check():
    source = Fake()
    i = Image(base_layer(), top_layer())
    source.add(i, "src", "1")
    store = Store(TMP / "one")
    store("pull", f"{source.host}/src:1")
    login = {"KNARR_USER": USER, "KNARR_PASSWORD": PASSWORD}

    # push needs the user's right, asked for with both actions
    store("tag", f"{source.host}/src:1", "me/app:1")
    assert store("push", "me/app:1", env=login)[-1].startswith("1: digest: " + i.digest)
    assert Auth.log[-1] == ("GET", ["repository:me/app:pull,push"], USER), Auth.log
    assert store.fails("push", "me/app:1") == "FORBIDDEN: denied: requested access to the resource is denied"
    store("tag", f"{source.host}/src:1", "other/app:1")
    assert store.fails("push", "other/app:1", env=login) == "FORBIDDEN: denied: requested access to the resource is denied"
    assert store.fails("push", "me/app:1", env={**login, "KNARR_PASSWORD": "x"}) == "UNAUTHORIZED: unauthorized: incorrect username or password"

    # pull by anybody, under every spelling of the name
    for name in ("me/app:1", "docker.io/me/app:1", "index.docker.io/me/app:1"):
        fresh = Store(TMP / ("pull" + name.replace("/", "_")))
        assert fresh("pull", name)[-1] == i.config
        assert fresh.list()[0]["tags"] == ["me/app:1"]
        assert Auth.log[-1] == ("GET", ["repository:me/app:pull"], ""), Auth.log
    assert "pull access denied for nosuch" in store.fails("pull", "nosuch") or "manifest for nosuch:latest not found" in store.fails("pull", "nosuch")

    # an identity token (docker login with a credential helper) is traded for an access token; one that is refused says so
    fresh = Store(TMP / "identity")
    assert fresh("pull", "me/app:1", env={"KNARR_IDENTITY_TOKEN": IDENTITY})[-1] == i.config
    assert Auth.log[-1] == ("POST", ["repository:me/app:pull"], USER), Auth.log
    assert store.fails("pull", "me/app:1", env={"KNARR_IDENTITY_TOKEN": "old"}) == "UNAUTHORIZED: unauthorized: refresh token is not valid"
    Auth.limited[0] = 1
    assert store.fails("pull", "me/app:1") == "TOO_MANY: toomanyrequests: slow down (try again in 3 s)\nretry_ms: 3000"

    # mirrors: one that is not there, one that is ill, one that lies, then the hub; none of them hears the password
    ill, lies = Fake(), Fake()
    ill.hook = lambda h: h.answer(500) or True
    lies.add(i, "me/app", "1")
    lies.blobs = {k: v[:-1] + b"x" for k, v in lies.blobs.items()}
    for mirror in (f"http://127.0.0.1:{free_port()}", f"http://{ill.host}", f"http://{lies.host}"):
        fresh = Store(TMP / ("mirror" + mirror[-5:]))
        assert fresh("pull", "me/app:1", env={**login, "KNARR_MIRROR": mirror})[-1] == i.config
    assert ill.log and lies.log and not any("Authorization" in h for _, _, h in ill.log + lies.log)

    # a host that is not trusted
    subprocess.run(["umount", "/etc/ssl/certs"], check=True)
    assert "certificate" in store.fails("pull", "me/app:1").lower()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/etc/ssl/certs"], check=True)
    pathlib.Path("/etc/ssl/certs/test.pem").write_bytes((TMP / "ca.crt").read_bytes())
    openssl("rehash", "/etc/ssl/certs")

    # through a proxy that alone knows the names; NO_PROXY goes past it
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 3128), Connect)
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    hosts("")
    assert "registry-1.docker.io" in store.fails("pull", "me/app:1")
    through = {"HTTPS_PROXY": "http://pu:pp@127.0.0.1:3128", "HTTP_PROXY": f"http://127.0.0.1:{free_port()}"}
    fresh = Store(TMP / "proxied")
    assert fresh("pull", "me/app:1", env=through)[-1] == i.config
    assert {x[0] for x in Connect.log} == {HUB + ":443", AUTH + ":443"}, Connect.log
    assert all(x[1] == "Basic " + base64.b64encode(b"pu:pp").decode() for x in Connect.log), Connect.log
    store("tag", f"{source.host}/src:1", "me/proxied:1")
    store("push", "me/proxied:1", env={**login, **through})
    n = len(Connect.log)
    store.fails("pull", "me/app:1", env={**through, "NO_PROXY": ".docker.io"})
    store.fails("pull", "me/app:1", env={**through, "NO_PROXY": "*"})
    hosts(f"127.0.0.1 {HUB}\n127.0.0.2 {AUTH}\n")
    fresh = Store(TMP / "direct")
    assert fresh("pull", "me/app:1", env={**through, "NO_PROXY": "example.test,docker.io"})[-1] == i.config
    assert len(Connect.log) == n, Connect.log
    proxy.shutdown()
    proxy.server_close()
    words = store.fails("pull", "me/app:1", env=through)
    assert HUB in words and "127.0.0.1 port 3128" in words, words


if __name__ == "__main__":
    main()
    print("hub: all as it should be")
