"""Containers that talk: user-defined networks, names, published ports."""
import json
import time

import pytest
from conftest import *


@pytest.fixture(scope="module", autouse=True)
def busybox(bridged):
    import_busybox(bridged)
    yield


def up(d, name, *words, net="none"):
    return d.out("run", "-d", "--name", name, "--network", net, *(words or ("busybox", "sleep", "1000")))


def test_traffic_on_a_user_defined_network(bridged):
    """Names, aliases, connect and disconnect while running."""
    d = bridged
    d.cli("network", "create", "--subnet", "10.87.0.0/24", "net1")
    try:
        up(d, "serve", "--network-alias", "www", "busybox", "sh", "-c", "echo page > /tmp/index.html; httpd -f -h /tmp -p 80", net="net1")
        until(lambda: d.cli("run", "--rm", "--network", "net1", "busybox", "wget", "-qO-", "http://serve/", check=None).stdout == "page\n")
        assert d.out("run", "--rm", "--network", "net1", "busybox", "wget", "-qO-", "http://www/") == "page"
        n = json.loads(d.out("network", "inspect", "net1"))[0]["Containers"]
        assert [x["Name"] for x in n.values()] == ["serve"]
        i = json.loads(d.out("inspect", "serve"))[0]["NetworkSettings"]
        assert i["IPAddress"] == "" and i["Networks"]["net1"]["IPAddress"].startswith("10.87.0.") and "www" in i["Networks"]["net1"]["Aliases"]
        old = d.api("GET", "/containers/serve/json", version="v1.44").json
        assert old["Id"][:12] in old["NetworkSettings"]["Networks"]["net1"]["Aliases"] and "GwPriority" not in old["NetworkSettings"]["Networks"]["net1"]
        assert d.out("ps", "-f", "network=net1", "--format", "{{.Names}}") == "serve"
        d.cli("network", "create", "net2")
        up(d, "late", net="net2")
        d.cli("network", "connect", "--alias", "second", "net1", "late")
        assert "10.87.0." in d.out("exec", "late", "ip", "addr") and d.out("exec", "late", "wget", "-qO-", "http://serve/") == "page"
        assert "already exists in network net1" in d.fails("network", "connect", "net1", "late")
        d.cli("network", "disconnect", "net1", "late")
        assert "10.87.0." not in d.out("exec", "late", "ip", "addr")
        assert "has active endpoints" in d.fails("network", "rm", "net1")
        r = d.api("POST", "/networks/net1/connect", {"Container": "none"})
        assert (r.status, r.message) == (404, "No such container: none")
    finally:
        d.cli("rm", "-f", *d.out("ps", "-aq").split(), check=None)
        d.cli("network", "rm", "net1", "net2", check=None)


def test_published_ports(bridged):
    d = bridged
    port = free_port()
    up(d, "web", "-p", f"127.0.0.1:{port}:80", "busybox", "sh", "-c", "echo page > /tmp/index.html; httpd -f -h /tmp -p 80", net="bridge")

    until(lambda: d.beside("busybox", "wget", "-qO-", f"http://127.0.0.1:{port}/") == "page\n")
    assert d.out("port", "web") == f"80/tcp -> 127.0.0.1:{port}"
    assert next(x for x in d.api("GET", "/containers/json").json if x["Names"] == ["/web"])["Ports"] == \
        [{"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": port, "Type": "tcp"}]
    assert d.out("ps", "-q", "-f", f"publish={port}") and not d.out("ps", "-q", "-f", "publish=80") and not d.out("ps", "-q", "-f", "publish=81")
    p = d.cli("run", "-d", "--name", "web2", "-p", f"127.0.0.1:{port}:80", "busybox", "sleep", "1", check=125)
    assert f"Bind for 127.0.0.1:{port} failed: port is already allocated" in p.stderr
    d.cli("rm", "-f", "web", "web2")


def test_addresses_are_the_lowest_free_and_their_hardware_addresses_follow(bridged):
    """Decision 0611: who gets an address next has the hardware address that everybody remembers for it."""
    d = bridged
    d.cli("network", "create", "--subnet", "10.88.0.0/24", "mac")

    def place(name):
        n = json.loads(d.out("inspect", name))[0]["NetworkSettings"]["Networks"]["mac"]
        assert n["MacAddress"] == "02:42:" + ":".join(f"{int(x):02x}" for x in n["IPAddress"].split("."))
        assert n["MacAddress"] in d.out("exec", name, "cat", "/sys/class/net/eth0/address")
        return n["IPAddress"]
    try:
        for name in ("m1", "m2"):
            up(d, name, net="mac")
        assert (place("m1"), place("m2")) == ("10.88.0.2", "10.88.0.3")
        d.cli("rm", "-f", "m1")
        up(d, "m3", net="mac")
        assert place("m3") == "10.88.0.2"
        assert "1 packets received" in d.out("exec", "m2", "ping", "-c", "1", "-W", "2", "10.88.0.2")
        up(d, "m4", "--ip", "10.88.0.77", "busybox", "sleep", "100", net="mac")
        assert place("m4") == "10.88.0.77"
        if d.name == "knarr":  # a client of today does not ask Debian's dockerd (API 1.41) for it
            up(d, "m5", "--mac-address", "02:00:00:00:00:05", "busybox", "sleep", "100", net="mac")
            assert d.out("exec", "m5", "cat", "/sys/class/net/eth0/address") == "02:00:00:00:00:05"
    finally:
        d.cli("rm", "-f", *d.out("ps", "-aq").split(), check=None)
        d.cli("network", "rm", "mac", check=None)


def test_loopback_ports_while_the_engine_is_away(make_knarr):
    """Decision 0665: the monitor holds the socket, so nobody is refused; who comes meanwhile is served when the engine is back."""
    k = make_knarr()
    import_busybox(k)
    up(k, "tcp", "-p", "127.0.0.1::80", "busybox", "sh", "-c", "echo page > /tmp/index.html; exec httpd -f -h /tmp -p 80", net="bridge")
    port = int(k.out("port", "tcp", "80").rsplit(":", 1)[1])
    until(lambda: k.beside("busybox", "wget", "-qO-", f"http://127.0.0.1:{port}/") == "page\n")
    k.stop(signal.SIGKILL)
    waiting = []
    for _ in range(20):
        s = socket.create_connection(("127.0.0.1", port), timeout=20 * SLOWER)
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        waiting.append(s)
    with socket.socket() as s, pytest.raises(OSError):  # the port is still taken
        s.bind(("127.0.0.1", port))
    time.sleep(0.3)
    waiting[0].setblocking(False)
    with pytest.raises(BlockingIOError):
        waiting[0].recv(10)
    waiting[0].settimeout(20 * SLOWER)
    t = time.time()
    k.start()
    for s in waiting:
        data = b""
        while piece := s.recv(4096):
            data += piece
        assert data.endswith(b"page\n"), data
        s.close()
    print(f"served {time.time() - t:.3f} s after the engine began")
