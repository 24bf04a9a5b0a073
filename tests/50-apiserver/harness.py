"""A running API server, requests to it, the real kubectl, and checks that are counted: what the Python tests of this folder share."""
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from waiting import SLOWER, eventually  # noqa: E402,F401


class Checks:
    """One line per failure; end() prints the closing line that the suite reads and leaves."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def eq(self, name, got, want):
        if got == want:
            self.passed += 1
            return True
        self.failed += 1
        print(f"not ok {name}\n got: {got}\nwant: {want}", flush=True)
        return False

    def has(self, name, got, part):
        if part in str(got):
            self.passed += 1
            return True
        self.failed += 1
        print(f"not ok {name}\n got: {got}\nwant it to hold: {part}", flush=True)
        return False

    def skip(self, why):
        self.skipped += 1
        print(f"skip: {why}", flush=True)

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        sys.exit(1 if self.failed else 0)


def until(what, want=True, timeout=30):
    """What what() gives, as soon as it is `want` (or, where that is True, anything true), else its last answer. An exception is an answer
    too: the server may be about to come back."""
    end = time.monotonic() + timeout * SLOWER
    while True:
        try:
            got = what()
        except Exception as e:
            got = e
        if got == want or (want is True and got and not isinstance(got, Exception)) or time.monotonic() > end:
            return got
        time.sleep(0.05)


class Answer:
    def __init__(self, code, headers, body):
        self.code, self.headers, self.body = code, headers, body

    @property
    def json(self):
        return json.loads(self.body) if self.body.startswith(b"{") else {}

    @property
    def message(self):
        return self.json.get("message", self.body.decode(errors="replace"))

    def __str__(self):
        return f"{self.code} {self.body.decode(errors='replace')[:2000]}"


class Server:
    TOKENS = 'secret,admin,u1,"system:masters"\njanes,jane,u2,"dev"\n'

    def __init__(self, knarr, *flags):
        self.knarr, self.flags = knarr, flags
        self.dir = tempfile.mkdtemp(prefix="knarr-api-")
        self.token, self.port, self.process = "secret", 0, None
        with open(f"{self.dir}/tokens", "w") as f:
            f.write(self.TOKENS)

    def __enter__(self):
        self.start()
        # What the service account controller would make: pods want it.
        self.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self, *flags):
        """On the port of the last time, so that clients find the server again."""
        log = open(f"{self.dir}/log", "wb")
        self.process = subprocess.Popen(
            [self.knarr, "apiserver", "--data-dir", f"{self.dir}/data", "--secure-port", str(self.port), "--bind-address",
             "127.0.0.1", "--token-auth-file", f"{self.dir}/tokens", *self.flags, *flags], stderr=log, stdout=log)
        log.close()
        for _ in range(1200 * SLOWER):
            found = re.search(r"serving port=(\d+)", open(f"{self.dir}/log").read())
            if found:
                self.port = int(found.group(1))
                self.tls = ssl.create_default_context(cafile=self.ca)
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        print("the server did not start:", open(f"{self.dir}/log").read(), "0 passed, 1 failed, 0 skipped", sep="\n")
        sys.exit(1)

    def stop(self, sig=signal.SIGTERM):
        if self.process:
            self.process.send_signal(sig)
            self.process.wait(30 * SLOWER)
            self.process = None

    @property
    def ca(self):
        return f"{self.dir}/data/pki/ca.crt"

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def call(self, method, path, body=None, type="application/json", token=None, headers=None):
        """One request on a connection of its own."""
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        h = {"Authorization": f"Bearer {token or self.token}", **(headers or {})}
        if body is not None:
            h["Content-Type"] = type
        c = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls, timeout=30 * SLOWER)
        try:
            c.request(method, path, body, h)
            r = c.getresponse()
            return Answer(r.status, r.headers, r.read())
        finally:
            c.close()

    def get(self, path, **kw):
        return self.call("GET", path, **kw)

    def post(self, path, body, **kw):
        return self.call("POST", path, body, **kw)

    def put(self, path, body, **kw):
        return self.call("PUT", path, body, **kw)

    def delete(self, path, body=None, **kw):
        return self.call("DELETE", path, body, **kw)

    def merge(self, path, body, **kw):
        return self.call("PATCH", path, body, type="application/merge-patch+json", **kw)

    def apply(self, path, body, manager="tester", force=False, **kw):
        path += ("&" if "?" in path else "?") + f"fieldManager={manager}" + ("&force=true" if force else "")
        return self.call("PATCH", path, body, type="application/apply-patch+yaml", **kw)

    def kubectl_command(self, kubectl, *args):
        return [kubectl, "--kubeconfig", "/dev/null", "--cache-dir", f"{self.dir}/cache", f"--server={self.url}",
                f"--certificate-authority={self.ca}", f"--token={self.token}", *args]

    def kubectl(self, kubectl, *args, input=None, timeout=60):
        """Standard output and error together, without the closing newline."""
        r = subprocess.run(self.kubectl_command(kubectl, *args), input=input, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=timeout * SLOWER)
        return r.stdout.rstrip("\n")


def pod(name, node=None, labels=None, containers=("c",), **spec):
    """A pod that is as small as a pod can be."""
    s = {"containers": [{"name": c, "image": "nginx"} for c in containers], **spec}
    if node:
        s["nodeName"] = node
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}}, "spec": s}


def make_certificates(d, address):
    """A CA, the kubelet's certificate, and ours for it."""
    run = lambda *a: subprocess.run(["openssl", *a], cwd=d, check=True, capture_output=True)
    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run("req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=kubelet-ca", "-days", "2")
    for name, extra in (("kubelet", f"subjectAltName=IP:127.0.0.1,IP:{address}"), ("client", "extendedKeyUsage=clientAuth")):
        run("req", *ec, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        with open(f"{d}/{name}.ext", "w") as f:
            f.write(extra + "\n")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", f"{name}.ext", "-out", f"{name}.crt")


def node(s, name, port, address="127.0.0.1", kind="InternalIP"):
    s.post("/api/v1/nodes", {"metadata": {"name": name}})
    s.merge(f"/api/v1/nodes/{name}/status", {"status": {
        "addresses": [{"type": kind, "address": address}] if address else [],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}})


@contextlib.contextmanager
def fake_kubelet(s, address="127.0.0.1"):
    """tests/50-apiserver/kubelet.c, on every address of the machine; the server is started with credentials for it if it does not run
    yet. Gives its port."""
    make_certificates(s.dir, address)
    s.flags += (f"--kubelet-client-certificate={s.dir}/client.crt", f"--kubelet-client-key={s.dir}/client.key",
                f"--kubelet-certificate-authority={s.dir}/ca.crt")
    if s.process:
        s.stop()
        s.start()
    helper = os.path.join(os.path.dirname(s.knarr), "..", "apiserver", "fake-kubelet")
    p = subprocess.Popen([helper, "0.0.0.0", "0", f"{s.dir}/kubelet.crt", f"{s.dir}/kubelet.key", f"{s.dir}/ca.crt"],
                         stdout=subprocess.PIPE, text=True)
    try:
        yield int(p.stdout.readline().split()[1])
    finally:
        p.kill()
        p.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def arguments():
    """KNARR and KUBECTL, as the suite gives them."""
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} KNARR KUBECTL")
    return os.path.abspath(sys.argv[1]), sys.argv[2]
