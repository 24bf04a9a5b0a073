"""A server of its own, raw requests over its unix socket, watches and WebSockets: for the tests here that look at bytes."""
import gzip, http.client, json, os, shutil, signal, socket, struct, subprocess, sys, tempfile, time, traceback

SLOWER = int(os.environ.get("KNARR_SLOWER", 1))


class Unix(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Server:
    def __init__(self, knarr, *flags):
        self.knarr, self.flags = knarr, list(flags)
        self.dir = tempfile.mkdtemp(prefix="knarr-api-")
        self.sock = self.dir + "/api.sock"
        self.proc = None
        self.start()

    def start(self):
        self.log = open(self.dir + "/log", "ab+")
        at = self.log.tell()
        self.proc = subprocess.Popen([self.knarr, "apiserver", "--data-dir", self.dir + "/data", "--secure-port", "0",
                                      "--bind-address", "127.0.0.1", "--unix-socket", self.sock] + self.flags, stderr=self.log)
        for _ in range(3000):
            with open(self.dir + "/log", "rb") as f:
                f.seek(at)
                text = f.read().decode()
            if "serving port=" in text:
                self.port = int(text.split("serving port=")[1].split()[0])
                return
            if self.proc.poll() is not None:
                break
            time.sleep(0.02)
        raise SystemExit("the server did not start:\n" + text)

    def stop(self, sig=signal.SIGTERM):
        if self.proc and self.proc.poll() is None:
            self.proc.send_signal(sig)
            self.proc.wait(30 * SLOWER)
        self.log.close()
        return self.proc.returncode

    def end(self):
        code = self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
        return code

    def call(self, method, path, body=None, headers={}, timeout=60):
        c = Unix(self.sock, timeout)
        h = dict(headers)
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        if body is not None:
            h.setdefault("Content-Type", "application/json")
        c.request(method, path, body, h)
        r = c.getresponse()
        data = r.read()
        c.close()
        if r.getheader("Content-Encoding") == "gzip":
            r.packed = len(data)
            data = gzip.decompress(data)
        r.data = data
        return r

    def get(self, path, accept=None, **headers):
        h = {k.replace("_", "-"): v for k, v in headers.items()}
        if accept:
            h["Accept"] = accept
        return self.call("GET", path, headers=h)

    def account(self, ns):
        """What the controller of service accounts makes, and pods are not admitted without."""
        self.call("POST", "/api/v1/namespaces/%s/serviceaccounts" % ns, {"metadata": {"name": "default"}})

    def json(self, method, path, body=None, code=None, **headers):
        r = self.call(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        if code is not None and r.status != code:
            raise AssertionError("%s %s: %d, wanted %d: %s" % (method, path, r.status, code, r.data[:500]))
        return json.loads(r.data)

    def watch(self, path, accept=None, timeout=60):
        return Watch(self, path, accept, timeout)

    def ws(self, path, protocols=None, accept=None):
        return WebSocket(self, path, protocols, accept)

    def rv(self):
        return int(self.json("GET", "/api/v1/namespaces?limit=1")["metadata"]["resourceVersion"])


class Watch:
    """Events of a watch, one at a time."""

    def __init__(self, server, path, accept, timeout):
        self.c = Unix(server.sock, timeout)
        self.c.request("GET", path, headers={"Accept": accept} if accept else {})
        self.r = self.c.getresponse()
        self.status = self.r.status

    def line(self):
        return self.r.readline()

    def next(self):
        line = self.line()
        return json.loads(line) if line else None

    def frame(self):  # protobuf: four bytes of length, then the event
        head = self.r.read(4)
        return self.r.read(struct.unpack(">I", head)[0]) if len(head) == 4 else None

    def all(self):
        out = []
        while (e := self.next()) is not None:
            out.append(e)
        return out

    def names(self, n):
        return [brief(self.next()) for _ in range(n)]

    def quiet(self, seconds=0.3):
        """Nothing comes for a while."""
        self.c.sock.settimeout(seconds)
        try:
            line = self.r.readline()
            return "" if line is None else line
        except (TimeoutError, socket.timeout):
            return True
        finally:
            self.close()

    def close(self):
        self.c.close()


def brief(e):
    if e is None:
        return None
    o = e["object"]
    return "%s %s" % (e["type"], o.get("metadata", {}).get("name") or o.get("reason") or "-")


class WebSocket:
    def __init__(self, server, path, protocols, accept):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(20 * SLOWER)
        self.s.connect(server.sock)
        req = "GET %s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" \
              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" % path
        if protocols:
            req += "Sec-WebSocket-Protocol: %s\r\n" % protocols
        if accept:
            req += "Accept: %s\r\n" % accept
        self.s.sendall((req + "\r\n").encode())
        self.f = self.s.makefile("rb")
        self.status = int(self.f.readline().split()[1])
        self.headers = {}
        while (line := self.f.readline().decode().strip()):
            k, v = line.split(":", 1)
            self.headers[k.lower()] = v.strip()
        self.protocol = self.headers.get("sec-websocket-protocol")

    def message(self):
        """Opcode and payload of the next frame; None at the end."""
        head = self.f.read(2)
        if len(head) < 2:
            return None
        assert head[0] & 0x80, "a fragment"
        n = head[1]
        assert not n & 0x80, "a server does not mask"
        if n == 126:
            n = struct.unpack(">H", self.f.read(2))[0]
        elif n == 127:
            n = struct.unpack(">Q", self.f.read(8))[0]
        return head[0] & 15, self.f.read(n)

    def send(self, opcode, payload):
        mask = b"abcd"
        self.s.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask +
                       bytes(b ^ mask[i & 3] for i, b in enumerate(payload)))

    def close(self):
        self.s.close()


class Tests:
    def __init__(self):
        self.passed = self.failed = 0

    def ok(self, name, cond, got=""):
        if cond:
            self.passed += 1
        else:
            self.failed += 1
            print("not ok %s\n got: %s" % (name, str(got)[:1500]))

    def is_(self, name, got, want):
        if got == want:
            self.passed += 1
        else:
            self.failed += 1
            print("not ok %s\n got: %s\nwant: %s" % (name, str(got)[:1500], str(want)[:1500]))

    def run(self, *parts):
        for part in parts:
            try:
                part()
            except Exception:
                self.failed += 1
                print("not ok %s" % part.__name__)
                traceback.print_exc(file=sys.stdout)

    def end(self):
        print("%d passed, %d failed, 0 skipped" % (self.passed, self.failed))
        sys.exit(1 if self.failed else 0)


def config_map(name, labels=None, data=None, ns="default"):
    o = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": ns}, "data": data or {"a": "b"}}
    if labels:
        o["metadata"]["labels"] = labels
    return o


def pod(name, node=None, ns="default", labels=None):
    o = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": ns},
         "spec": {"containers": [{"name": "c", "image": "i"}]}}
    if node:
        o["spec"]["nodeName"] = node
    if labels:
        o["metadata"]["labels"] = labels
    return o
