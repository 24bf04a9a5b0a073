"""The client's side of SPDY/3.1 as kubectl's Go library speaks it: just what exec, attach and port-forward need."""
import json
import socket
import struct
import threading
import urllib.parse
import zlib

from engine_parts import SLOWER

# The dictionary of SPDY/3 (draft-mbelshe-httpbis-spdy-00, section 2.6.10.1): common names with their lengths, then words.
_NAMES = """options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow authorization
cache-control connection content-base content-encoding content-language content-length content-location content-md5 content-range content-type
date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards
pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning
www-authenticate method get status""".split()
_TAIL = (b"\x00\x00\x00\x06200 OK\x00\x00\x00\x07version\x00\x00\x00\x08HTTP/1.1\x00\x00\x00\x03url\x00\x00\x00\x06public\x00\x00\x00\x0aset-cookie"
         b"\x00\x00\x00\x0akeep-alive\x00\x00\x00\x06origin100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
         b"203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found"
         b"500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
         b"Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,"
         b"text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.")
DICTIONARY = b"".join(struct.pack(">I", len(n)) + n.encode() for n in _NAMES) + _TAIL


class Stream:
    def __init__(self, session, id):
        self.session, self.id, self.data, self.ended, self.replied = session, id, bytearray(), threading.Event(), threading.Event()

    def send(self, data, last=False):
        self.session.write(struct.pack(">II", self.id, (0x01000000 if last else 0) | len(data)) + data)

    def read(self, seconds=20):
        assert self.ended.wait(seconds * SLOWER), f"stream {self.id} does not end; so far {self.data!r}"
        return self.data


class Session:
    def __init__(self, url, protocols):
        u = urllib.parse.urlsplit(url)
        self.sock = socket.create_connection((u.hostname, u.port), 20 * SLOWER)
        self.sock.sendall(f"POST {u.path} HTTP/1.1\r\nHost: {u.netloc}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n".encode() +
                          b"".join(f"X-Stream-Protocol-Version: {p}\r\n".encode() for p in protocols) + b"Content-Length: 0\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            got = self.sock.recv(1)
            assert got, head
            head += got
        self.head, self.status = head.decode(), int(head.split()[1])
        self.headers = {k.lower(): v.strip() for k, v in (x.split(":", 1) for x in head.decode().split("\r\n")[1:] if ":" in x)}
        if self.status != 101:
            return
        self.deflate, self.inflate = zlib.compressobj(zdict=DICTIONARY), zlib.decompressobj(zdict=DICTIONARY)
        self.streams, self.next, self.lock, self.gone = {}, 1, threading.Lock(), threading.Event()
        self.reads = threading.Event()  # cleared: the client is slow
        self.reads.set()
        self.sock.settimeout(None)
        threading.Thread(target=self._read, daemon=True).start()

    def write(self, data):
        with self.lock:
            self.sock.sendall(data)

    def open(self, **headers):
        with self.lock:
            block = struct.pack(">I", len(headers)) + b"".join(struct.pack(">I", len(k)) + k.lower().encode() + struct.pack(">I", len(v)) + v.encode()
                                                               for k, v in headers.items())
            block = self.deflate.compress(block) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
            s = self.streams[self.next] = Stream(self, self.next)
            body = struct.pack(">IIH", self.next, 0, 0) + block
            self.next += 2
            self.sock.sendall(struct.pack(">HHI", 0x8003, 1, len(body)) + body)
        assert s.replied.wait(20 * SLOWER), "no reply"
        return s

    def _exact(self, n):
        data = b""
        while len(data) < n:
            got = self.sock.recv(n - len(data))
            if not got:
                raise EOFError
            data += got
        return data

    def _read(self):
        try:
            while True:
                self.reads.wait()
                a, b = struct.unpack(">II", self._exact(8))
                body, flags = self._exact(b & 0xffffff), b >> 24
                if not a & 0x80000000:
                    s = self.streams[a]
                    s.data += body
                elif a & 0xffff in (2, 3):  # SYN_REPLY, RST_STREAM
                    s = self.streams[struct.unpack(">I", body[:4])[0]]
                    s.replied.set()
                    flags |= a & 0xffff == 3
                else:
                    continue
                if flags & 1:
                    s.ended.set()
        except (EOFError, OSError):
            self.gone.set()
            for s in self.streams.values():
                s.ended.set()

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)  # close alone says nothing while the other thread reads
        self.sock.close()


V4 = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"]


def exec_session(url, *kinds, protocols=V4):
    """Streams by their names; error first, as kubectl opens them."""
    s = Session(url, protocols)
    assert s.status == 101, (s.status, s.headers)
    assert s.headers["x-stream-protocol-version"] == protocols[0]
    return s, {kind: s.open(streamtype=kind) for kind in ("error", *kinds)}


def status(streams):
    return json.loads(streams["error"].read())
