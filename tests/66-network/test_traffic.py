"""Who reaches whom: isolation, published ports from everywhere, hairpin, both families."""
import os
import pathlib
import socket
import time


import pytest

from conftest import Engine, Failed, run, until
from wire import BRIEF, Tcp, Udp, tcp, udp, who


def test_published_ports(host, engine):
    web = engine.start("web", ports={"80/tcp": [{"HostPort": "8080"}], "53/udp": [{"HostPort": "5353"}]}, exposed=["80/tcp", "443/tcp"])
    peer = engine.start("peer")
    assert web.got["ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}], "443/tcp": None,
                                "53/udp": [{"HostIp": "0.0.0.0", "HostPort": "5353"}, {"HostIp": "::", "HostPort": "5353"}]}
    Tcp(web.got["netns"], "web", 80), Udp(web.got["netns"], "web", 53)
    me, world = host.path(), host.path(host.world)
    # from outside the container sees who asks
    assert who(world, "198.51.100.1", 8080) == ("web", "198.51.100.2")
    assert udp(world, "198.51.100.1", 5353) == ["web", "198.51.100.2", "x"]
    # IPv6 from outside to a container without: carried
    assert who(world, "2001:db8::1", 8080) == ("web", "172.17.0.1")
    assert udp(world, "2001:db8::1", 5353) == ["web", "172.17.0.1", "x"]
    # from the host: its own address, loopback of both families
    assert who(me, "198.51.100.1", 8080)[0] == "web"
    for loop in ("127.0.0.1", "::1", "127.9.8.7"):
        assert who(me, loop, 8080) == ("web", "172.17.0.1")
        assert udp(me, loop, 5353)[:2] == ["web", "172.17.0.1"]
    # hairpin: a neighbour, and the container itself, through the host's addresses
    for client in (peer, web):
        for at in ("198.51.100.1", "172.17.0.1"):
            assert who(client.got["netns"], at, 8080)[0] == "web", (client.name, at)
            assert udp(client.got["netns"], at, 5353)[0] == "web", (client.name, at)
    # what is not published stays in there
    host_route = run("ip", "-n", host.world, "route", "add", "172.17.0.0/16", "via", "198.51.100.1")
    assert host_route.returncode == 0
    Tcp(web.got["netns"], "hidden", 81)
    assert who(world, web.ip(), 81, BRIEF) is None and who(world, web.ip(), 80, BRIEF) is None
    assert who(me, web.ip(), 81)[0] == "hidden"
    web.stop()
    assert who(world, "198.51.100.1", 8080, BRIEF) is None and who(me, "127.0.0.1", 8080, BRIEF) is None


def test_published_at_one_address(host, engine):
    web = engine.start("web", ports={"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8081"}, {"HostIp": "198.51.100.1", "HostPort": "8082"}]})
    Tcp(web.got["netns"], "web", 80)
    me, world = host.path(), host.path(host.world)
    assert who(me, "127.0.0.1", 8081) == ("web", "172.17.0.1") and who(world, "198.51.100.1", 8081, BRIEF) is None
    assert who(world, "198.51.100.1", 8082) == ("web", "198.51.100.2") and who(me, "127.0.0.1", 8082, BRIEF) is None
    other = engine.start("other", ports={"80/tcp": [{"HostIp": "127.0.0.2", "HostPort": "8081"}]})
    Tcp(other.got["netns"], "other", 80)
    assert who(me, "127.0.0.2", 8081)[0] == "other" and who(me, "127.0.0.1", 8081)[0] == "web"


def test_relay_carries_much_and_half_closes(host, engine):
    web = engine.start("web", ports={"80/tcp": [{"HostPort": "8080"}]})
    Tcp(web.got["netns"], "web", 80)
    data = os.urandom(1 << 20) * 8
    answer = tcp(host.path(), "127.0.0.1", 8080, send=data)
    assert answer == b"web 172.17.0.1\n" + data + f"\n{len(data)}".encode()
    # nobody listens behind: the connection ends, the engine lives
    dead = engine.start("dead", ports={"80/tcp": [{"HostPort": "8090"}]})
    assert tcp(host.path(), "127.0.0.1", 8090) in (b"", None)
    assert engine.ok("show", id=dead.id)["ports"]["80/tcp"][0]["HostPort"] == "8090"


def test_many_relayed_connections(host, engine):
    web = engine.start("web", ports={"80/tcp": [{"HostPort": "8080"}]})
    Tcp(web.got["netns"], "web", 80)
    engine.ok("list")  # the engine's copies of the sockets are closed when this is answered
    before = len(os.listdir(f"/proc/{engine.child.pid}/fd"))
    for _ in range(100):
        assert who(host.path(), "127.0.0.1", 8080)[0] == "web"
    # Two more are the namespace that is ready beforehand and its socket, which may have been on their way.
    assert until(lambda: len(os.listdir(f"/proc/{engine.child.pid}/fd")) <= before + 2)


def test_ports_are_chosen_and_refused(host, engine):
    a = engine.start("a", ports={"80/tcp": [{"HostPort": ""}], "81/tcp": [{"HostPort": "7000-7002"}]})
    b = engine.start("b", ports={"80/tcp": [{"HostPort": "7000-7002"}], "81/tcp": [{"HostPort": ""}]})
    assert a.port("80/tcp") == a.port("80/tcp", 6) and 32768 <= a.port("80/tcp") <= 60999
    assert (a.port("81/tcp"), b.port("80/tcp")) == (7000, 7001) and b.port("81/tcp") == a.port("80/tcp") + 1
    with pytest.raises(Failed) as why:
        engine.start("c", ports={"80/tcp": [{"HostPort": "7000"}]})
    assert why.value.kind == "INTERNAL"
    assert "driver failed programming external connectivity on endpoint c (" in why.value.words
    assert why.value.words.endswith("): Bind for 0.0.0.0:7000 failed: port is already allocated")
    Tcp(host.path(), "foreign", 7500)
    with pytest.raises(Failed) as why:
        engine.start("c", ports={"80/tcp": [{"HostPort": "7500"}]})
    assert why.value.words.endswith("failed to bind host port 0.0.0.0:7500:172.17.0.4:80/tcp: address already in use")
    assert list(engine.ok("inspect", network="bridge")["Containers"]) == [a.id, b.id]
    for bad, words in (({"80/xyz": []}, "invalid proto: xyz"), ({"0/tcp": []}, "invalid port specification"),
                       ({"80/tcp": [{"HostPort": "9-8"}]}, "invalid port specification"), ({"80/tcp": [{"HostIp": "x"}]}, "invalid IP address: x")):
        with pytest.raises(Failed) as why:
            engine.ok("check", id="a" * 64, name="c", config={}, hostConfig={"PortBindings": bad})
        assert why.value.kind == "INVALID_REQUEST" and words in why.value.words
    c = engine.start("c", exposed=["90/tcp", "91/udp"], PublishAllPorts=True)
    assert sorted(c.got["ports"]) == ["90/tcp", "91/udp"] and c.port("91/udp")


def test_networks_are_isolated(host, engine):
    engine.create("one"), engine.create("two")
    a, b, c = engine.start("a", mode="one"), engine.start("b", mode="one"), engine.start("c", mode="two")
    for x in (b, c):
        Tcp(x.got["netns"], x.name, 80)
    assert who(a.got["netns"], b.ip("one"), 80) == ("b", a.ip("one"))
    assert who(a.got["netns"], c.ip("two"), 80, BRIEF) is None
    # by way of the host's published port it is allowed, as with Docker
    d = engine.start("d", mode="two", ports={"80/tcp": [{"HostPort": "8000"}]})
    Tcp(d.got["netns"], "d", 80)
    assert who(a.got["netns"], "198.51.100.1", 8000)[0] == "d"


def test_internal_networks(host, engine):
    engine.create("in", Internal=True)
    engine.create("out")
    a, b, c = engine.start("a", mode="in", ports={"80/tcp": [{"HostPort": "8000"}]}), engine.start("b", mode="in"), engine.start("c", mode="out")
    Tcp(a.got["netns"], "a", 80), Tcp(host.path(host.world), "world", 80)
    assert who(b.got["netns"], a.ip("in"), 80)[0] == "a"
    assert a.settings("in")["Gateway"] == ""
    assert a.exec("ip", "route", "show", "default").stdout == ""
    run("nsenter", f"--net={a.got['netns']}", "ip", "route", "add", "default", "via", "172.18.0.1")
    assert who(a.got["netns"], "198.51.100.2", 80, BRIEF) is None
    assert who(c.got["netns"], a.ip("in"), 80, BRIEF) is None
    assert who(host.path(host.world), "198.51.100.1", 8000, BRIEF) is None
    assert who(c.got["netns"], "198.51.100.2", 80)[0] == "world"


def test_icc_off(host, engine):
    engine.create("quiet", Options={"com.docker.network.bridge.enable_icc": "false"})
    a, b = engine.start("a", mode="quiet"), engine.start("b", mode="quiet", ports={"80/tcp": [{"HostPort": "8000"}]})
    Tcp(b.got["netns"], "b", 80), Tcp(host.path(host.world), "world", 80)
    assert who(a.got["netns"], b.ip("quiet"), 80, BRIEF) is None
    assert who(a.got["netns"], "198.51.100.2", 80)[0] == "world"
    assert who(a.got["netns"], "198.51.100.1", 8000)[0] == "b"


def test_no_masquerade(host, engine):
    engine.create("plain", Options={"com.docker.network.bridge.enable_ip_masquerade": "false"})
    run("ip", "-n", host.world, "route", "add", "172.18.0.0/16", "via", "198.51.100.1")
    a, b = engine.start("a", mode="plain"), engine.start("b")
    Tcp(host.path(host.world), "world", 80)
    assert who(a.got["netns"], "198.51.100.2", 80) == ("world", "172.18.0.2")
    assert who(b.got["netns"], "198.51.100.2", 80) == ("world", "198.51.100.1")


def test_gateway_modes(host, engine):
    mode = "com.docker.network.bridge.gateway_mode_ipv4"
    engine.create("open", Options={mode: "nat-unprotected"})
    engine.create("routed", Options={mode: "routed"})
    run("ip", "-n", host.world, "route", "add", "172.16.0.0/12", "via", "198.51.100.1")
    a = engine.start("a", mode="open")
    b = engine.start("b", mode="routed", ports={"80/tcp": [{"HostPort": "8000"}]})
    for c in (a, b):
        Tcp(c.got["netns"], c.name, 80), Tcp(c.got["netns"], c.name, 81)
    world = host.path(host.world)
    assert who(world, a.ip("open"), 81)[0] == "a"
    assert who(world, b.ip("routed"), 80)[0] == "b" and who(world, b.ip("routed"), 81, BRIEF) is None
    assert who(world, "198.51.100.1", 8000, BRIEF) is None
    Tcp(world, "world", 80)
    assert who(b.got["netns"], "198.51.100.2", 80) == ("world", b.ip("routed"))


def test_ipv6_published(host, engine):
    engine.create("six", EnableIPv6=True)
    web, peer = engine.start("web", mode="six", ports={"80/tcp": [{"HostPort": "8080"}], "53/udp": [{"HostPort": "53"}]}), engine.start("p", mode="six")
    Tcp(web.got["netns"], "web", 80), Tcp(web.got["netns"], "web6", 80, socket.AF_INET6), Udp(web.got["netns"], "web6", 53, socket.AF_INET6)
    me, world = host.path(), host.path(host.world)
    assert who(world, "2001:db8::1", 8080) == ("web6", "2001:db8::2")
    assert udp(world, "2001:db8::1", 53)[:2] == ["web6", "2001:db8::2"]
    assert who(me, "::1", 8080)[0] == "web6" and who(me, "127.0.0.1", 8080)[0] == "web"
    for client in (peer, web):
        assert who(client.got["netns"], "2001:db8::1", 8080)[0] == "web6", client.name
    Tcp(world, "world", 81, socket.AF_INET6)
    assert who(peer.got["netns"], "2001:db8::2", 81) == ("world", "2001:db8::1")
    run("ip", "-n", host.world, "route", "add", web.ip6("six"), "via", "2001:db8::1")
    assert who(world, web.ip6("six"), 80, BRIEF) is None


def test_connect_and_disconnect(host, engine):
    engine.create("one", EnableIPv6=True), engine.create("in", Internal=True)
    c = engine.start("c", ports={"80/tcp": [{"HostPort": "8000"}]})
    Tcp(c.got["netns"], "c", 80)
    world = host.path(host.world)
    c.connect("one", GwPriority=5, Aliases=["cc"])
    assert engine.events == "connect one " + c.id[:12]
    assert c.exec("ip", "route", "show", "default").stdout.split()[2] == "172.18.0.1"
    assert c.exec("ip", "-6", "route", "show", "default").stdout
    assert who(world, "198.51.100.1", 8000)[0] == "c"
    assert "172.18.0.2\t" + c.id[:12] in c.got["hosts"] and c.settings("one")["Aliases"] == ["cc"]
    with pytest.raises(Failed) as why:
        c.connect("one")
    assert why.value.kind == "FORBIDDEN" and why.value.words == "endpoint with name c already exists in network one"
    c.connect("in")
    assert [l.split(":")[1].split("@")[0].strip() for l in c.exec("ip", "-o", "link").stdout.splitlines()] == ["lo", "eth0", "eth1", "eth2"]
    c.disconnect("one")
    assert engine.events == "disconnect one " + c.id[:12]
    assert c.exec("ip", "route", "show", "default").stdout.split()[2] == "172.17.0.1"
    assert who(world, "198.51.100.1", 8000)[0] == "c" and who(host.path(), "127.0.0.1", 8000)[0] == "c"
    c.disconnect("bridge")
    assert c.exec("ip", "route", "show", "default").stdout == "" and who(world, "198.51.100.1", 8000, BRIEF) is None
    with pytest.raises(Failed) as why:
        c.disconnect("bridge")
    assert "is not connected to network bridge" in why.value.words
    c.connect("bridge")
    assert who(world, "198.51.100.1", 8000)[0] == "c" and who(host.path(), "127.0.0.1", 8000)[0] == "c"
    assert engine.start("d").ip() == "172.17.0.3"


def test_settings(host, folder):
    engine = Engine(host, folder, settings={"bip": "10.77.0.5/24", "fixed-cidr": "10.77.0.128/25", "mtu": 1300, "userland-proxy": False,
                                            "default-gateway": "10.77.0.9", "ip": "198.51.100.1"})
    try:
        c = engine.start("c", ports={"80/tcp": [{"HostPort": "8000"}]})
        assert c.ip() == "10.77.0.128" and c.settings()["Gateway"] == "10.77.0.9"
        assert "mtu 1300" in c.exec("ip", "link", "show", "eth0").stdout
        assert c.got["ports"]["80/tcp"] == [{"HostIp": "198.51.100.1", "HostPort": "8000"}]
        assert "10.77.0.5/24" in host.ip("addr", "show", "docker0")
        c.stop()
        engine.settings = {"bridge": "none"}
        engine.restart()
        assert [n["Name"] for n in engine.ok("list")] == ["host", "none"] and "docker0" not in host.links()
    finally:
        engine.kill()


DOCKERS = ("add table ip filter\nadd chain ip filter DOCKER-USER\n"
           "add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }\nadd rule ip filter FORWARD jump DOCKER-USER\n")


def test_a_firewall_that_comes_later(host, engine):
    Tcp(host.path(host.world), "world", 80)
    c = engine.start("c")
    assert who(c.got["netns"], "198.51.100.2", 80)[0] == "world"
    host.exec("nft", "-f", "-", input=DOCKERS)
    assert until(lambda: "docker0" in host.exec("nft", "list", "chain", "ip", "filter", "DOCKER-USER").stdout)
    assert who(c.got["netns"], "198.51.100.2", 80)[0] == "world"
    host.exec("nft", "flush", "chain", "ip", "filter", "DOCKER-USER")
    assert until(lambda: host.exec("nft", "list", "chain", "ip", "filter", "DOCKER-USER").stdout.count("accept") == 2)
    # what we do ourselves wakes nobody
    def woken(seconds):
        status, before = pathlib.Path(f"/proc/{engine.child.pid}/status"), None
        for wait in (seconds, 0):
            count = int(status.read_text().split("voluntary_ctxt_switches:")[1].split()[0])
            before = count if before is None else before
            time.sleep(wait)
        return count - before
    until(lambda: woken(0.3) == 0)  # it is done with that
    assert woken(1) <= 2
    host.exec("nft", "delete", "table", "ip", "filter")
    assert until(lambda: engine.ok("notes") == "")


def test_forward_policy_of_others(host, folder):
    """A host whose FORWARD chain drops, as Docker and ufw leave it: exceptions where they are meant to be, nowhere else."""
    host.exec("nft", "-f", "-", input=DOCKERS)
    before = host.exec("nft", "list", "table", "ip", "filter").stdout
    engine = Engine(host, folder)
    try:
        Tcp(host.path(host.world), "world", 80)
        c = engine.start("c", ports={"80/tcp": [{"HostPort": "8000"}]})
        Tcp(c.got["netns"], "c", 80)
        assert who(c.got["netns"], "198.51.100.2", 80)[0] == "world" and who(host.path(host.world), "198.51.100.1", 8000)[0] == "c"
        chain = host.exec("nft", "list", "chain", "ip", "filter", "DOCKER-USER").stdout
        assert 'iifname "docker0" accept comment "knarr:0:docker0"' in chain and 'oifname "docker0" accept' in chain
        assert "accept rules for our bridges stand in its chain DOCKER-USER" in engine.ok("notes")
        engine.create("n")
        assert host.exec("nft", "list", "chain", "ip", "filter", "DOCKER-USER").stdout.count("accept") == 4
        engine.ok("remove", network="n")
        assert host.exec("nft", "list", "chain", "ip", "filter", "DOCKER-USER").stdout == chain
        engine.restart()
        assert host.exec("nft", "list", "chain", "ip", "filter", "DOCKER-USER").stdout == chain
        engine.ok("settle")
        engine.ok("reset")
        assert host.exec("nft", "list", "table", "ip", "filter").stdout == before
        assert host.ruleset() == before
    finally:
        engine.kill()


def test_ruleset_flushed_by_somebody(host, engine):
    c = engine.start("c", ports={"80/tcp": [{"HostPort": "8000"}]})
    Tcp(c.got["netns"], "c", 80), Tcp(host.path(host.world), "world", 80)
    host.exec("nft", "flush", "ruleset")
    assert until(lambda: "knarr_net_0" in host.exec("nft", "list", "tables").stdout)  # nothing else happens
    assert who(host.path(host.world), "198.51.100.1", 8000)[0] == "c"
    host.exec("nft", "flush", "ruleset")
    d = engine.start("d", ports={"80/tcp": [{"HostPort": "8001"}]})
    Tcp(d.got["netns"], "d", 80)
    world = host.path(host.world)
    assert who(world, "198.51.100.1", 8000)[0] == "c" and who(world, "198.51.100.1", 8001)[0] == "d"
    assert who(c.got["netns"], "198.51.100.2", 80) == ("world", "198.51.100.1")
