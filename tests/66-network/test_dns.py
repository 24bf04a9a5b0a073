"""Names at 127.0.0.11: of containers, of the world, over UDP and TCP."""
import socket
import struct
import threading
import time


from conftest import SLOWER, Engine, Inside, run


NOBODY = ["198.51.100.2"]  # where no name server is: the port says so at once


class Upstream:
    """A name server of the world. hosts: name → IPv4 text; a name it lacks is NXDOMAIN; "big" answers need TCP."""

    def __init__(self, path, address, hosts, rcode=None, port=53):
        self.hosts, self.rcode, self.seen = hosts, rcode, []
        with Inside(path):
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.bind((address, port))
            self.tcp = socket.socket()
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.tcp.bind((address, port))
            self.tcp.listen()
        threading.Thread(target=self.serve_udp, daemon=True).start()
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    def answer(self, query, peer, way):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += query[at] + 1
        name, question = ".".join(labels).lower(), query[12:at + 5]
        self.seen.append((name, peer[0], way))
        found = self.hosts.get(name, [])
        found = [found] if isinstance(found, str) else found
        rcode = self.rcode if self.rcode is not None else 0 if found else 3
        flags = 0x8180 | rcode
        if way == "udp" and len(found) > 20:
            flags, found = flags | 0x0200, []
        records = b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(a) for a in found)
        return query[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0) + question + records

    def serve_udp(self):
        while True:
            try:
                data, peer = self.udp.recvfrom(4096)
                self.udp.sendto(self.answer(data, peer, "udp"), peer)
            except OSError:
                return

    def serve_tcp(self):
        while True:
            try:
                s, peer = self.tcp.accept()
            except OSError:
                return
            with s:
                head = s.recv(2)
                if len(head) == 2:
                    data = self.answer(s.recv(struct.unpack("!H", head)[0]), peer, "tcp")
                    s.sendall(struct.pack("!H", len(data)) + data)

    def close(self):
        for s in (self.udp, self.tcp):
            s.close()


def dig(c, *words):
    """Answers, and the response code."""
    out = c.exec("dig", "@127.0.0.11", "+tries=1", f"+time={8 * SLOWER}", "+nosearch", *words, check=False).stdout
    code = out.split("status: ")[1].split(",")[0] if "status: " in out else None
    flags = out.split("flags: ")[1].split(";")[0].split() if "flags: " in out else []
    rows = [line.split()[-1] for line in out.splitlines() if line and not line.startswith(";")]
    return rows, code, flags


def test_names_of_containers(host, engine):
    engine.create("net"), engine.create("else")
    a = engine.start("web", mode="net", Dns=NOBODY, networks={"net": {"Aliases": ["www", "Front"]}}, config={"Hostname": "inner"})
    b = engine.start("client", mode="net", Dns=NOBODY, networks={"net": {"Links": ["web:db"]}})
    c = engine.start("apart", mode="else", Dns=NOBODY)
    d = engine.start("plain", Dns=NOBODY)
    assert "nameserver 127.0.0.11\n" in b.got["resolv"] and "options" in b.got["resolv"] and "ndots:0" in b.got["resolv"]
    for name in ("web", "WEB", "web.", "www", "front", "inner", a.id[:12], "web.net", "www.net", "db"):
        assert dig(b, name) == ([a.ip("net")], "NOERROR", ["qr", "rd", "ra"]), name
        assert dig(b, "+tcp", name)[0] == [a.ip("net")], name
    assert dig(a, "db")[1] != "NOERROR"  # a link is its owner's alone
    assert dig(b, "web", "AAAA") == ([], "NOERROR", ["qr", "rd", "ra"])
    assert dig(b, "web", "TXT")[1] == "NOERROR"
    assert dig(b, "-x", a.ip("net"))[0] == ["web.net."]
    assert dig(c, "web")[1] != "NOERROR" and "127.0.0.11" not in d.got["resolv"]
    # as programs ask
    assert b.exec("busybox", "nslookup", "web", "127.0.0.11").stdout.count(a.ip("net")) == 1
    engine.ok("rename", id=a.id, name="site")
    assert dig(b, "site")[0] == [a.ip("net")] and dig(b, "web")[0] == []
    c.connect("net")
    assert dig(b, "apart")[0] == [c.ip("net")] and dig(c, "site")[0] == [a.ip("net")]
    d.connect("net")
    assert dig(d, "site")[0] == [a.ip("net")] and "127.0.0.11" in d.got["resolv"]
    c.disconnect("net")
    assert dig(b, "apart")[0] == []
    a.stop()
    assert dig(b, "site")[0] == []


def test_round_robin_and_truncation(host, engine):
    engine.create("net", EnableIPv6=True)
    me = engine.start("me", mode="net")
    cs = [engine.start(f"c{i}", mode="net", networks={"net": {"Aliases": ["many"]}}) for i in range(40)]
    first = {dig(me, "+tcp", "many")[0][0] for _ in range(12)}
    assert len(first) > 3
    assert sorted(dig(me, "+tcp", "many")[0]) == sorted(c.ip("net") for c in cs)
    assert sorted(dig(me, "+tcp", "many", "AAAA")[0]) == sorted(c.ip6("net") for c in cs)
    rows, _, flags = dig(me, "+ignore", "+noedns", "many")
    assert "tc" in flags and 20 < len(rows) < 40
    assert len(dig(me, "+noedns", "many")[0]) == 40  # again over TCP
    assert len(dig(me, "+bufsize=4096", "+ignore", "many")[0]) == 40


def test_foreign_names(host, engine):
    up = Upstream(host.path(host.world), "198.51.100.2", {"example.org": "192.0.2.7", "big.example.org": [f"192.0.2.{i}" for i in range(60)]})
    engine.create("net"), engine.create("in", Internal=True)
    c = engine.start("c", mode="net", Dns=["198.51.100.2"], DnsSearch=["example.org"], DnsOptions=["timeout:3"])
    assert "nameserver 127.0.0.11\nsearch example.org\noptions timeout:3 ndots:0\n" in c.got["resolv"]
    assert dig(c, "example.org") == (["192.0.2.7"], "NOERROR", ["qr", "rd", "ra"])
    assert up.seen[-1] == ("example.org", "198.51.100.1", "udp")  # from the container: masqueraded
    assert dig(c, "+tcp", "example.org")[0] == ["192.0.2.7"] and up.seen[-1][2] == "tcp"
    assert dig(c, "nowhere.example.org")[1] == "NXDOMAIN"
    assert len(dig(c, "big.example.org")[0]) == 60 and "tc" in dig(c, "+ignore", "big.example.org")[2]
    # a container on internal networks alone hears nothing of the world
    i = engine.start("i", mode="in", Dns=["198.51.100.2"])
    n = len(up.seen)
    assert dig(i, "example.org")[1] == "SERVFAIL" and len(up.seen) == n
    i.connect("net")
    assert dig(i, "example.org")[0] == ["192.0.2.7"]
    # ndots: one word is not the root's
    d = engine.start("d", mode="net", Dns=["198.51.100.2"], DnsOptions=["ndots:1"])
    n = len(up.seen)
    assert dig(d, "word") == ([], "NOERROR", ["qr", "rd", "ra"]) and len(up.seen) == n
    up.close()


def test_servers_that_do_not_help(host, engine):
    world = host.path(host.world)
    run("ip", "-n", host.world, "addr", "add", "198.51.100.3/24", "dev", "eth0")
    run("ip", "-n", host.world, "addr", "add", "198.51.100.4/24", "dev", "eth0")
    bad = Upstream(world, "198.51.100.3", {}, rcode=2)
    good = Upstream(world, "198.51.100.4", {"example.org": "192.0.2.8"})
    engine.create("net")
    # .2 refuses (nobody listens), .3 fails, .4 answers
    c = engine.start("c", mode="net", Dns=["198.51.100.2", "198.51.100.3", "198.51.100.4"])
    assert dig(c, "example.org")[0] == ["192.0.2.8"] and len(bad.seen) == 1
    assert dig(c, "+tcp", "example.org")[0] == ["192.0.2.8"]
    # one that is silent costs its time, no more
    d = engine.start("d", mode="net", Dns=["198.51.100.99", "198.51.100.4"])
    begin = time.monotonic()
    assert dig(d, "example.org")[0] == ["192.0.2.8"] and time.monotonic() - begin < 6 * SLOWER
    e = engine.start("e", mode="net", Dns=["198.51.100.3"])
    assert dig(e, "example.org")[1] == "SERVFAIL"
    bad.close(), good.close()


def test_bad_packets(host, engine):
    engine.create("net")
    c = engine.start("c", mode="net")
    with c.inside():
        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        t = socket.create_connection(("127.0.0.11", 53), 20 * SLOWER)
        long = socket.create_connection(("127.0.0.11", 53), 20 * SLOWER)
    u.settimeout(20 * SLOWER)
    u.connect(("127.0.0.11", 53))
    for packet in (b"", b"x", b"\0" * 11, b"\xff" * 600, b"\x12\x34\x81\x80" + b"\0" * 8):
        u.send(packet)
    u.send(b"\x12\x34\x01\0\0\2" + b"\0" * 6 + b"\1a\0\0\1\0\1")
    assert u.recv(600)[:4] == b"\x12\x34\x81\x81"  # FORMERR
    u.send(b"\x12\x35\x28\0\0\1" + b"\0" * 6 + b"\1a\0\0\1\0\1")
    assert u.recv(600)[3] & 15 == 4  # NOTIMP
    query = b"\xab\xcd\x01\0\0\1\0\0\0\0\0\0\1c\0\0\1\0\1"
    for byte in struct.pack("!H", len(query)) + query:  # byte by byte, then two at once
        t.send(bytes([byte]))
    t.send((struct.pack("!H", len(query)) + query) * 2)
    got = b""
    while len(got) < 3 * (2 + len(query) + 16):
        data = t.recv(4096)
        assert data
        got += data
    assert got.count(socket.inet_aton(c.ip("net"))) == 3
    long.send(b"\xff\xff" + b"\0" * 100)
    assert long.recv(10) == b""
    assert dig(c, "c")[0] == [c.ip("net")]


def test_a_container_may_serve_dns_itself(host, engine):
    engine.create("net")
    c = engine.start("c", mode="net")
    up = Upstream(c.got["netns"], "0.0.0.0", {"own.example": "192.0.2.9"})
    assert c.exec("dig", "+short", "@" + c.ip("net"), "own.example").stdout == "192.0.2.9\n"
    assert dig(c, "c")[0] == [c.ip("net")]
    up.close()


def test_hosts_own_loopback_resolver(host, folder, tmp_path):
    """A host with systemd-resolved: its 127.0.0.53 is asked from the host's namespace, and never named to a container without names."""
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.53\nsearch corp.example\noptions edns0 trust-ad\n")
    up = Upstream(host.path(), "127.0.0.53", {"example.org": "192.0.2.10"})
    # A machine that has no such file gets one in a layer of this mount namespace's own.
    (tmp_path / "upper").mkdir(), (tmp_path / "work").mkdir()
    there = f'mount -t overlay overlay -o lowerdir=/etc,upperdir={tmp_path}/upper,workdir={tmp_path}/work /etc && touch /etc/resolv.conf'
    engine = Engine(host, folder, before=["unshare", "-m", "sh", "-c", f'{{ [ -e /etc/resolv.conf ] || {{ {there}; }}; }} && '
                                          f'mount --bind {conf} "$(readlink -f /etc/resolv.conf)" && exec "$0" "$@"'])
    try:
        engine.create("net"), engine.create("in", Internal=True)
        c, plain = engine.start("c", mode="net"), engine.start("plain")
        c.got["netns"] = f"/proc/{engine.child.pid}/root{c.got['netns']}"
        assert "nameserver 127.0.0.11\nsearch corp.example\noptions edns0 trust-ad ndots:0\n" in c.got["resolv"]
        assert "127.0.0.53" not in plain.got["resolv"] and "nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch corp.example\n" in plain.got["resolv"]
        assert dig(c, "example.org")[0] == ["192.0.2.10"] and up.seen[-1][1] == "127.0.0.1"
        h = engine.start("h", mode="host")
        assert "nameserver 127.0.0.53\n" in h.got["resolv"]
    finally:
        engine.kill()
        up.close()


def test_texts(host, engine):
    a = engine.start("db", config={"Hostname": "dbhost", "Domainname": "corp.example"}, ExtraHosts=["extra:10.1.2.3", "gw:host-gateway", "six:[fd00::5]"])
    assert a.got["hosts"].splitlines()[6:] == ["10.1.2.3\textra", "172.17.0.1\tgw", "fd00::5\tsix", "172.17.0.2\tdbhost.corp.example dbhost"]
    assert a.got["hostname"] == "dbhost\n"
    b = engine.start("b", Links=[a.id + ":store"], Dns=["10.9.9.9"], DnsSearch=["."])
    assert "172.17.0.2\tstore dbhost db\n" in b.got["hosts"]
    assert "nameserver 10.9.9.9\n" in b.got["resolv"] and "search" not in b.got["resolv"]
    assert engine.start("h", mode="host", config={"Hostname": ""}).got["hostname"].strip() == socket.gethostname()
