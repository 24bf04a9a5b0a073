"""Networks and sandboxes as objects: what is answered, what is in the kernel, what is left."""
import json
import os
import re
import subprocess

import pytest

from conftest import Engine, Failed, run, until


def refused(kind, words, call, *args, **more):
    with pytest.raises(Failed) as why:
        call(*args, **more)
    assert why.value.kind == kind, str(why.value)
    assert words in why.value.words, str(why.value)


def test_three_networks_from_the_start(host, engine):
    nets = {n["Name"]: n for n in engine.ok("list")}
    assert list(nets) == ["bridge", "host", "none"]
    bridge = nets["bridge"]
    assert re.fullmatch("[0-9a-f]{64}", bridge["Id"])
    assert bridge["IPAM"]["Config"] == [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]
    assert bridge["Options"]["com.docker.network.bridge.name"] == "docker0"
    assert bridge["Options"]["com.docker.network.bridge.default_bridge"] == "true"
    assert nets["none"]["Driver"] == "null"
    assert "172.17.0.1/16" in host.ip("-4", "addr", "show", "docker0")
    assert host.exec("sysctl", "-n", "net.ipv4.ip_forward").stdout == "1\n"
    assert host.exec("sysctl", "-n", "net.ipv4.conf.docker0.route_localnet").stdout == "0\n"


def test_create_inspect_remove(host, engine):
    ident = engine.create("web", Labels={"a": "b"}, Options={"com.docker.network.driver.mtu": "1400"})
    n = engine.ok("inspect", network="web")
    assert engine.ok("inspect", network=ident[:10])["Id"] == ident
    assert n["IPAM"]["Config"] == [{"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}]
    assert n["Labels"] == {"a": "b"} and n["Containers"] == {} and n["EnableIPv4"] is True and n["EnableIPv6"] is False
    link = json.loads(host.ip("-j", "-d", "link", "show", "br0-" + ident[:11]))[0]
    assert link["mtu"] == 1400 and link["ifalias"] == f"knarr:0:{ident}"
    engine.create("next")
    assert engine.ok("inspect", network="next")["IPAM"]["Config"][0]["Subnet"] == "172.19.0.0/16"
    engine.ok("remove", network="web")
    assert engine.events == "destroy web "
    assert [n["Name"] for n in engine.ok("list")] == ["bridge", "host", "none", "next"]
    assert "br0-" + ident[:11] not in host.links() and ident[:11] not in host.ruleset()
    refused("NOT_FOUND", "network web not found", engine.ok, "inspect", network="web")


def test_words_of_refusals(engine):
    engine.create("a", IPAM={"Config": [{"Subnet": "10.9.0.0/16"}]})
    refused("EXISTS", "network with name a already exists", engine.create, "a")
    refused("FORBIDDEN", "Pool overlaps with other one on this address space", engine.create, "b", IPAM={"Config": [{"Subnet": "10.9.8.0/24"}]})
    refused("INVALID_REQUEST", "invalid subnet 10.8.0.1/24: it should be 10.8.0.0/24", engine.create, "b",
            IPAM={"Config": [{"Subnet": "10.8.0.1/24"}]})
    refused("INVALID_REQUEST", "invalid gateway 10.7.0.1: parent subnet 10.8.0.0/24 doesn't contain this address", engine.create, "b",
            IPAM={"Config": [{"Subnet": "10.8.0.0/24", "Gateway": "10.7.0.1"}]})
    refused("INVALID_REQUEST", "CIDR block is bigger than its parent subnet", engine.create, "b",
            IPAM={"Config": [{"Subnet": "10.8.0.0/24", "IPRange": "10.8.0.0/16"}]})
    refused("INVALID_REQUEST", "invalid subnet nonsense: invalid CIDR block notation", engine.create, "b", IPAM={"Config": [{"Subnet": "nonsense"}]})
    refused("FORBIDDEN", "operation is not permitted on predefined host network", engine.create, "host")
    refused("FORBIDDEN", "only one instance of \"host\" network is allowed", engine.create, "b", Driver="host")
    refused("NOT_FOUND", "could not find plugin x", engine.create, "b", Driver="x")
    refused("UNAVAILABLE", "This node is not a swarm manager", engine.create, "b", Driver="overlay")
    refused("INVALID_REQUEST", "name is empty", engine.create, " ")
    refused("INVALID_REQUEST", "enable_icc", engine.create, "b", Options={"com.docker.network.bridge.enable_icc": "perhaps"})
    refused("FORBIDDEN", "bridge is a pre-defined network and cannot be removed", engine.ok, "remove", network="bridge")
    refused("FORBIDDEN", "is there already and not of this network", engine.create, "b", Options={"com.docker.network.bridge.name": "eth0"})
    assert [n["Name"] for n in engine.ok("list")] == ["bridge", "host", "none", "a"]


def test_pools_avoid_what_the_host_reaches(host, engine):
    host.ip("route", "add", "172.18.5.0/24", "via", "198.51.100.2")
    host.ip("addr", "add", "172.19.0.7/32", "dev", "lo")
    engine.create("a")
    assert engine.ok("inspect", network="a")["IPAM"]["Config"][0]["Subnet"] == "172.20.0.0/16"


def test_pools_come_to_an_end(host, folder):
    engine = Engine(host, folder, settings={"default-address-pools": [{"base": "10.200.0.0/22", "size": 24}]})
    for i in range(3):
        engine.create(f"n{i}")
    refused("INVALID_REQUEST", "all predefined address pools have been fully subnetted", engine.create, "n3")
    engine.ok("remove", network="n1")
    engine.create("n3")
    assert engine.ok("inspect", network="n3")["IPAM"]["Config"][0]["Subnet"] == "10.200.2.0/24"
    engine.kill()


def test_a_sandbox(host, engine):
    c = engine.start("web")
    assert engine.events == "connect bridge " + c.id[:12]
    s = c.settings()
    assert s["IPAddress"] == "172.17.0.2" and s["IPPrefixLen"] == 16 and s["Gateway"] == "172.17.0.1" and s["MacAddress"] == "02:42:ac:11:00:02"
    assert c.got["netns"].endswith("/run/netns/" + c.id)
    addr = json.loads(c.exec("ip", "-j", "addr").stdout)
    assert [(l["ifname"], l["operstate"]) for l in addr] == [("lo", "UNKNOWN"), ("eth0", "UP")]
    assert addr[1]["address"] == "02:42:ac:11:00:02"
    assert [(a["local"], a["prefixlen"]) for a in addr[1]["addr_info"]] == [("172.17.0.2", 16)]
    assert json.loads(c.exec("ip", "-j", "route").stdout)[0]["gateway"] == "172.17.0.1"
    assert c.exec("sysctl", "-n", "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start").stdout == "0\t2147483647\n0\n"
    assert c.got["hosts"].endswith(f"\n172.17.0.2\t{c.id[:12]}\n") and c.got["hosts"].startswith("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost")
    assert c.got["hostname"] == c.id[:12] + "\n" and "127.0.0.11" not in c.got["resolv"]
    assert engine.ok("inspect", network="bridge")["Containers"] == {c.id: {
        "Name": "web", "EndpointID": s["EndpointID"], "MacAddress": "02:42:ac:11:00:02", "IPv4Address": "172.17.0.2/16", "IPv6Address": ""}}
    c.exec("busybox", "ping", "-c1", "-W2", "172.17.0.1")
    c.exec("busybox", "ping", "-c1", "-W2", "198.51.100.2")  # masqueraded: the world has no route to 172.17
    stats = engine.ok("stats", id=c.id)
    assert list(stats) == ["eth0"] and stats["eth0"]["tx_packets"] >= 2
    d = engine.start("other")
    assert d.ip() == "172.17.0.3"
    c.exec("busybox", "ping", "-c1", "-W2", "172.17.0.3")
    c.stop()
    assert engine.events == "disconnect bridge " + c.id[:12]
    assert not os.path.exists(c.got["netns"])
    assert engine.start("third").ip() == "172.17.0.2"
    c.id = "f" * 64
    refused("NOT_FOUND", "has no network sandbox", engine.ok, "show", id=c.id)


def test_removal_leaves_nothing(host, engine, folder):
    before = (host.links(), host.ruleset())
    engine.create("n", EnableIPv6=True)
    cs = [engine.start(f"c{i}", mode="n", ports={"80/tcp": [{"HostPort": ""}]}) for i in range(3)]
    refused("FORBIDDEN", "error while removing network: network n has active endpoints (name:\"c0\" id:\"", engine.ok, "remove", network="n")
    for c in cs:
        c.stop()
    engine.ok("remove", network="n")
    assert until(lambda: (host.links(), host.ruleset()) == before)
    assert os.listdir(folder + "/run/netns") == [] and os.listdir(folder + "/run/sandboxes") == []
    engine.ok("reset")
    assert host.links() == ["eth0", "lo"] and host.ruleset() == ""
    assert "networks.json" not in os.listdir(folder + "/data")


def test_a_process_that_stays_keeps_no_interface(host, engine):
    """Something lives on in a namespace that was given back: it loses its network at once, the pair is taken away a little later."""
    c = engine.start("c")
    sleeper = subprocess.Popen(["nsenter", f"--net={c.got['netns']}", "sleep", "60"])
    inside = f"/proc/{sleeper.pid}/ns/net"
    try:
        assert until(lambda: os.readlink(inside) != os.readlink("/proc/self/ns/net"))
        run("nsenter", f"--net={inside}", "busybox", "ping", "-c1", "-W2", "172.17.0.1")
        c.stop()
        d = engine.start("d")
        assert d.ip() == c.ip()
        assert run("nsenter", f"--net={inside}", "busybox", "ping", "-c1", "-W1", "172.17.0.1", check=False).returncode != 0
        d.exec("busybox", "ping", "-c1", "-W2", "172.17.0.1")
        assert until(lambda: len([l for l in host.links() if l.startswith("v0-")]) == 1)
        assert "eth0" not in run("nsenter", f"--net={inside}", "ip", "link").stdout
    finally:
        sleeper.kill()
        sleeper.wait()


def test_host_none_and_shared(host, engine):
    c = engine.start("h", mode="host")
    assert c.got["netns"] == "" and list(c.got["networks"]) == ["host"] and c.settings("host")["IPAddress"] == ""
    assert list(engine.ok("inspect", network="host")["Containers"]) == [c.id]
    n = engine.start("n", mode="none")
    assert [l["ifname"] for l in json.loads(n.exec("ip", "-j", "link").stdout)] == ["lo"]
    assert n.got["ports"] == {}
    b = engine.start("b")
    s = engine.start("s", mode="container:" + b.id)
    assert s.got["netns"] == b.got["netns"] and s.got["networks"] == {}
    refused("IN_USE", "cannot join network of a non running container", engine.start, "x", mode="container:" + "a" * 64)
    refused("INVALID_REQUEST", "container sharing network namespace with another container or host", engine.ok, "connect", network="bridge",
            **s.wish())
    refused("INVALID_REQUEST", "container cannot be disconnected from host network", engine.ok, "disconnect", network="host", **c.wish())
    refused("NOT_FOUND", "network nowhere not found", engine.start, "x", mode="nowhere")


def test_static_addresses(engine):
    engine.create("s", IPAM={"Config": [{"Subnet": "10.50.0.0/24", "IPRange": "10.50.0.128/25", "Gateway": "10.50.0.254",
                                         "AuxiliaryAddresses": {"router": "10.50.0.129"}}]})
    fixed = {"s": {"IPAMConfig": {"IPv4Address": "10.50.0.7"}, "MacAddress": "02:42:00:00:00:aa", "Aliases": ["db"]}}
    c = engine.start("a", mode="s", networks=fixed)
    assert c.ip("s") == "10.50.0.7" and c.settings("s")["MacAddress"] == "02:42:00:00:00:aa"
    assert c.settings("s")["DNSNames"] == ["a", "db", c.id[:12]] and c.settings("s")["Gateway"] == "10.50.0.254"
    assert c.settings("s")["IPAMConfig"] == {"IPv4Address": "10.50.0.7"}
    refused("FORBIDDEN", "Address already in use", engine.start, "b", mode="s", networks=fixed)
    assert engine.start("b", mode="s").ip("s") == "10.50.0.128"
    assert engine.start("c", mode="s").ip("s") == "10.50.0.130"
    refused("INVALID_REQUEST", "no configured subnet or ip-range contain the IP address 10.60.0.1", engine.start, "d", mode="s",
            networks={"s": {"IPAMConfig": {"IPv4Address": "10.60.0.1"}}})
    refused("INVALID_REQUEST", "user specified IP address is supported on user defined networks only", engine.start, "d",
            networks={"bridge": {"IPAMConfig": {"IPv4Address": "172.17.0.9"}}})
    engine.create("auto")
    refused("INVALID_REQUEST", "user specified IP address is supported only when connecting to networks with user configured subnets",
            engine.start, "d", mode="auto", networks={"auto": {"IPAMConfig": {"IPv4Address": "172.18.0.9"}}})
    refused("INVALID_REQUEST", "network-scoped aliases are only supported for user-defined networks", engine.ok, "check",
            id="a" * 64, name="d", hostConfig={}, config={}, networks={"bridge": {"Aliases": ["x"]}})


def test_prune(engine):
    engine.create("a", Labels={"keep": "no"})
    engine.create("b")
    engine.create("used")
    engine.start("c", mode="used")
    assert engine.ok("prune", label="keep") == ["a"]
    assert engine.ok("prune") == ["b"]
    assert [n["Name"] for n in engine.ok("list")] == ["bridge", "host", "none", "used"]


def test_two_engines_and_a_foreign_bridge(host, folder, engine):
    other = Engine(host, folder + "/other", ident="ab12cd34")
    try:
        name = {n["Name"]: n for n in other.ok("list")}["bridge"]["Options"]["com.docker.network.bridge.name"]
        assert name == "knarr0"
        a, b = engine.start("a"), other.start("b")
        assert a.ip() == "172.17.0.2" and b.ip() == "172.18.0.2"
        assert [l for l in host.links() if l.startswith("vab12cd34-")] and [l for l in host.links() if l.startswith("v0-")]
        with pytest.raises(Failed) as why:
            Engine(host, folder)
        assert why.value.kind == "IN_USE"
        other.ok("reset")
        assert "knarr0" not in host.links() and "docker0" in host.links()
        a.exec("busybox", "ping", "-c1", "-W2", "198.51.100.2")
    finally:
        other.kill()


def test_ipv6_only_and_both(host, engine):
    engine.create("six", EnableIPv6=True, EnableIPv4=False, IPAM={"Config": [{"Subnet": "fd12:3456::/64"}]})
    c, d = engine.start("c", mode="six"), engine.start("d", mode="six")
    assert c.ip6("six") == "fd12:3456::2" and c.ip("six") == "" and c.settings("six")["IPv6Gateway"] == "fd12:3456::1"
    c.exec("busybox", "ping", "-6", "-c1", "-W2", "fd12:3456::3")
    c.exec("busybox", "ping", "-6", "-c1", "-W2", "2001:db8::2")
    assert d.ip6("six") == "fd12:3456::3"
    engine.create("auto", EnableIPv6=True)
    e = engine.start("e", mode="auto")
    assert e.ip6("auto").startswith("fd") and e.ip("auto")
    assert until(lambda: run("nsenter", f"--net={e.got['netns']}", "ip", "-6", "route", "show", "default").stdout)


def test_driver_options_of_an_endpoint(engine):
    engine.create("n")
    c = engine.start("c", mode="n", networks={"n": {"DriverOpts": {
        "com.docker.network.endpoint.ifname": "lan7",
        "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.forwarding=0"}}})
    assert c.exec("sysctl", "-n", "net.ipv4.conf.lan7.log_martians", "net.ipv4.conf.lan7.forwarding").stdout == "1\n0\n"
    refused("INVALID_REQUEST", "invalid interface name", engine.start, "d", mode="n",
            networks={"n": {"DriverOpts": {"com.docker.network.endpoint.ifname": "a/b"}}})
    refused("INVALID_REQUEST", "invalid endpoint sysctl", engine.start, "d", mode="n",
            networks={"n": {"DriverOpts": {"com.docker.network.endpoint.sysctls": "kernel.panic=1"}}})


def test_prefixes_of_interfaces(engine):
    """As with dockerd: the network comes into being, and who joins it is told what the kernel says of the name."""
    def network(prefix):
        options = {"com.docker.network.container_iface_prefix": prefix}
        engine.create("n", Options=options)
        assert engine.ok("inspect", network="n")["Options"] == options
    for prefix, why in (("a:b", "invalid argument"), ("a/b", "invalid argument"), ("a b", "invalid argument"), ("a\tb", "invalid argument"),
                        ("a\nb", "invalid argument"), ("\u00a0", "invalid argument"), ("%d", "invalid argument"),
                        ("fifteen-letters", "numerical result out of range"), ("x" * 300, "numerical result out of range")):
        network(prefix)
        with pytest.raises(Failed) as e:
            engine.start("c", mode="n")
        name = (prefix + "0")[:256]
        assert e.value.kind == "INTERNAL", str(e.value)
        assert re.fullmatch(f'failed to add interface (v\\S+) to sandbox: error renaming interface "\\1" to "{re.escape(name)}": {why}', e.value.words), e.value.words
        engine.ok("remove", network="n")
    for prefix, name in (("fourteen-chars", "fourteen-chars0"), ("", "eth0"), ("..", "..0")):
        network(prefix)
        c = engine.start("c", mode="n")
        assert sorted(link["ifname"] for link in json.loads(c.exec("ip", "-j", "link").stdout)) == sorted([name, "lo"])
        c.stop()
        engine.ok("remove", network="n")
