"""The plugin by hand: what a container runtime does."""
import json
import re
import socket
import struct
import time

import pytest

import wire
from conftest import RUN, SLOWER, Inside, Pod, Refused, run

BOTH = ["10.244.1.0/24", "fd00:244:1::/64"]


def names(host):
    return [link for link in host.links() if link.startswith("k0-")]


def ask(path, to, port, kind=socket.SOCK_STREAM, source=None, timeout=5 * SLOWER):
    """What the server at the other end calls itself, and whom it saw."""
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with Inside(path):
        s = socket.socket(family, kind)
    with s:
        s.settimeout(timeout)
        if source:
            s.bind((source, 0))
        s.connect((to, port))
        if kind == socket.SOCK_DGRAM:
            s.send(b"x")
            return s.recv(999).decode().split()[:2]
        return s.makefile().readline().split()


def test_versions(host):
    answer = host.cni("VERSION", conf={"cniVersion": "0.4.0"})
    assert answer == {"cniVersion": "0.4.0", "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]}
    for version in answer["supportedVersions"]:
        pod = host.pod(cniVersion=version)
        assert pod.result["cniVersion"] == version
        assert ("version" in pod.result["ips"][0]) == (version < "1")
        pod.remove(cniVersion=version)
    with pytest.raises(Refused) as no:
        host.pod(cniVersion="7.0.0")
    assert no.value.code == 1


def test_what_a_pod_gets(host):
    before = host.listing()
    pod = host.pod(subnets=BOTH, mtu=1400)
    r = pod.result
    assert [ip["address"] for ip in r["ips"]] == ["10.244.1.2/32", "fd00:244:1::2/128"]
    assert [ip["gateway"] for ip in r["ips"]] == ["169.254.1.1", "fe80::1"]
    assert [ip["interface"] for ip in r["ips"]] == [1, 1]
    assert r["interfaces"][1]["name"] == "eth0" and r["interfaces"][1]["sandbox"] == pod.path
    assert re.fullmatch(r"k0-[a-z2-7]{12}", pod.outside)
    eth = pod.json("link", "show", "dev", "eth0")[0]
    assert eth["mtu"] == 1400 and eth["address"] == r["interfaces"][1]["mac"] and eth["operstate"] == "UP"
    assert pod.json("link", "show", "dev", "lo")[0]["flags"].count("UP") == 1
    assert pod.ip("route").split("\n")[:2] == ["default via 169.254.1.1 dev eth0 ", "169.254.1.1 dev eth0 scope link "]
    assert "default via fe80::1 dev eth0" in pod.ip("-6", "route")
    assert f"10.244.1.2 dev {pod.outside}" in host.ip("route")
    assert f"fd00:244:1::2 dev {pod.outside}" in host.ip("-6", "route")
    assert host.exec("cat", f"/proc/sys/net/ipv4/conf/{pod.outside}/proxy_arp").stdout.strip() == "0"
    host.cni("CHECK", pod.id, pod.path, subnets=BOTH, prevResult=r)
    pod.remove()
    assert [a for a in host.listing() if a] == [a for a in before if a]


def test_traffic(host):
    a, b = host.pod(subnets=BOTH), host.pod(subnets=BOTH)
    for i, family in enumerate((socket.AF_INET, socket.AF_INET6)):
        server = wire.Tcp(b.path, "b", 8080, family)
        outside = wire.Tcp(host.path, "host", 9090, family)
        assert ask(a.path, b.addresses[i], 8080) == ["b", a.addresses[i]]
        assert ask(b.path, b.addresses[i], 8080) == ["b", b.addresses[i]]  # itself
        node = (host.address, host.address6)[i]
        assert ask(host.path, b.addresses[i], 8080) == ["b", node]  # the node's address, not the link's
        assert ask(a.path, node, 9090) == ["host", a.addresses[i]]
        server.close()
        outside.close()
    # The gateway is the host: what listens there answers (the cluster's name server does).
    server = wire.Tcp(host.path, "gateway", 5353)
    assert ask(a.path, "169.254.1.1", 5353) == ["gateway", a.address]
    server.close()
    # Nobody else's address is believed to be here.
    assert a.exec("ping", "-c1", "-W1", "10.244.1.77", check=False).returncode != 0


def test_the_first_packet_is_not_lost(host):
    """UDP is sent once: what the link drops is gone."""
    peer = host.pod()
    server = wire.Udp(peer.path, "peer", 7000)
    at_host = wire.Udp(host.path, "host", 7001)
    for _ in range(15):
        pod = host.pod()
        assert ask(pod.path, peer.address, 7000, socket.SOCK_DGRAM, timeout=2 * SLOWER) == ["peer", pod.address]
        assert ask(pod.path, host.address, 7001, socket.SOCK_DGRAM, timeout=2 * SLOWER) == ["host", pod.address]
        pod.remove()
    assert server and at_host


def test_deleting_again_and_without_a_namespace(host):
    before = host.listing()
    pod = host.pod()
    host.cni("DEL", pod.id, pod.path)
    host.cni("DEL", pod.id, pod.path)
    host.cni("DEL", pod.id, "")
    pod.result = host.cni("ADD", pod.id, pod.path)
    pod.close()  # the namespace is gone before
    host.cni("DEL", pod.id, pod.path)
    host.cni("DEL", "never-seen", "/run/netns/not-there")
    host.cni("DEL", "never-seen", "")
    assert [a for a in host.listing() if a] == [a for a in before if a]


def test_adding_again(host):
    pod = host.pod()
    again = host.cni("ADD", pod.id, pod.path)
    assert again["ips"] == pod.result["ips"]
    assert len(names(host)) == 1
    # An interface of somebody else's in the pod is left alone.
    other = Pod(host)
    host.pods.append(other)
    other.ip("link", "add", "eth0", "type", "bridge")
    with pytest.raises(Refused) as no:
        host.cni("ADD", other.id, other.path)
    assert no.value.code == 100 and "eth0" in no.value.words
    assert other.json("link", "show", "dev", "eth0")
    assert len(host.leases()) == 1


def test_check_finds_differences(host):
    def complaint(pod, **more):
        with pytest.raises(Refused) as no:
            host.cni("CHECK", pod.id, pod.path, prevResult={**pod.result, **more})
        return no.value.words

    pod = host.pod()
    host.cni("CHECK", pod.id, pod.path, prevResult=pod.result)
    assert "prevResult does not have" in complaint(pod, ips=[])
    pod.ip("route", "del", "default")
    assert "default route" in complaint(pod)
    pod.ip("route", "add", "default", "via", "169.254.1.1", "dev", "eth0")
    host.cni("CHECK", pod.id, pod.path, prevResult=pod.result)
    pod.ip("addr", "flush", "dev", "eth0")
    assert "address" in complaint(pod)
    host.ip("route", "del", pod.address)
    assert "route" in complaint(pod)
    host.ip("link", "del", pod.outside)
    assert "is gone" in complaint(pod)
    host.cni("DEL", pod.id, pod.path)
    assert "no address" in complaint(pod)


def test_refusals(host, folder):
    def code(*argv, **more):
        with pytest.raises(Refused) as no:
            host.cni(*argv, **more)
        return no.value.code

    assert code("ADD", "c1", "/run/netns/not-there") == 3
    assert code("ADD", "c1", "") == 4
    assert code("ADD", "c1", host.path) == 4  # the host's own
    assert code("ADD", "../c1", "/x") == 4
    assert code("ADD", "c1", "/x", ifname="much-too-long-a-name") == 4
    assert code("NONSENSE", "c1", "/x") == 4
    assert code("ADD", "c1", "/x", subnets=["10.0.0.0/99"]) == 7
    assert code("ADD", "c1", "/x", prevResult={"ips": []}) == 7
    assert code("CHECK", "c1", "/x") == 7
    assert code("GC") == 1  # a verb of 1.1.0
    assert host.leases() == [] and names(host) == []
    r = run("sh", "-c", f"echo '{{' | CNI_COMMAND=ADD {RUN} cni", check=False)
    assert r.returncode == 1 and json.loads(r.stdout)["code"] == 6


def test_full_and_status(host):
    small = {"subnets": ["10.9.0.0/29"], "cniVersion": "1.1.0"}
    host.cni("STATUS", **small)
    pods = [host.pod(**small) for _ in range(5)]
    assert len({p.address for p in pods}) == 5
    with pytest.raises(Refused) as no:
        host.pod(**small)
    assert no.value.code == 101 and "10.9.0.0/29" in no.value.words
    with pytest.raises(Refused) as no:
        host.cni("STATUS", **small)
    assert no.value.code == 50
    pods[0].remove(**small)
    host.cni("STATUS", **small)
    assert host.pod(**small).address == pods[0].address


def test_fifty_at_once(host):
    before = host.listing()
    pods = [Pod(host) for _ in range(50)]
    host.pods += pods
    calls = [host.cni("ADD", p.id, p.path, wait=False) for p in pods]
    for p, call in zip(pods, calls):
        p.result = host.answer(call)
    assert len({p.address for p in pods}) == 50 and len({p.outside for p in pods}) == 50
    server = wire.Tcp(pods[0].path, "first", 8080)
    for p in pods[1::7]:
        assert ask(p.path, pods[0].address, 8080) == ["first", p.address]
    server.close()
    for call in [host.cni("DEL", p.id, p.path, wait=False) for p in pods]:
        host.answer(call)
    assert [a for a in host.listing() if a] == [a for a in before if a]


def test_collecting(host):
    new = {"cniVersion": "1.1.0"}
    keep, lost, gone = host.pod(), host.pod(), host.pod()
    gone.close()
    host.ip("link", "add", "k0-stray", "type", "veth", "peer", "name", "k0-stray2")
    host.ip("link", "add", "mine", "type", "bridge")
    host.cni("GC", **new, **{"cni.dev/valid-attachments": [{"containerID": keep.id, "ifname": "eth0"}]})
    assert names(host) == [keep.outside] and host.leases() == [keep.address] and "mine" in host.links()
    assert lost.json("link", "show", "type", "veth") == []
    host.cni("GC", **new, **{"cni.dev/valid-attachments": []})
    assert names(host) == [] and host.leases() == []


PORTS = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
         {"hostPort": 5353, "containerPort": 53, "protocol": "udp"},
         {"hostPort": 8081, "containerPort": 80, "protocol": "tcp", "hostIP": "198.51.100.1"}]


def test_ports_of_the_host(host, world):
    before = host.listing()
    pod, other = host.pod(subnets=BOTH, runtimeConfig={"portMappings": PORTS}), host.pod(subnets=BOTH)
    tcp, udp, six = wire.Tcp(pod.path, "pod", 80), wire.Udp(pod.path, "pod", 53), wire.Tcp(pod.path, "pod6", 80, socket.AF_INET6)
    assert ask(world.path, host.address, 8080) == ["pod", "198.51.100.254"]
    assert ask(world.path, host.address6, 8080) == ["pod6", "2001:db8::fe"]
    assert ask(world.path, host.address, 8081) == ["pod", "198.51.100.254"]
    assert ask(world.path, host.address, 5353, socket.SOCK_DGRAM) == ["pod", "198.51.100.254"]
    assert ask(host.path, host.address, 8080)[0] == "pod"
    assert ask(host.path, "127.0.0.1", 8080)[0] == "pod"
    assert ask(host.path, "127.0.0.1", 8080, source=host.address)[0] == "pod"
    with pytest.raises(OSError):
        ask(host.path, "127.0.0.1", 8081)  # only at its address
    assert ask(other.path, host.address, 8080) == ["pod", other.address]
    assert ask(pod.path, host.address, 8080)[0] == "pod"  # hairpin
    with pytest.raises(Refused) as no:
        host.pod(runtimeConfig={"portMappings": PORTS[:1]})
    assert no.value.code == 7 and "8080" in no.value.words
    host.cni("CHECK", pod.id, pod.path, subnets=BOTH, prevResult=pod.result, runtimeConfig={"portMappings": PORTS})
    for server in (tcp, six):
        server.close()
    other.remove()
    pod.remove()  # without runtimeConfig: the elements are found by the address
    with pytest.raises(OSError):
        ask(host.path, host.address, 8080)
    assert [a for a in host.listing() if a] == [a for a in before if a]


def frame(pod, to, port):
    """An Ethernet frame with a datagram, past the pod's own routes."""
    mac = bytes.fromhex(pod.result["interfaces"][0]["mac"].replace(":", "") + pod.result["interfaces"][1]["mac"].replace(":", ""))
    udp = struct.pack("!HHHH", 4000, port, 9, 0) + b"x"
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, socket.inet_aton(pod.address), socket.inet_aton(to))
    total = sum(struct.unpack("!10H", ip))
    total = (total & 0xffff) + (total >> 16)
    ip = ip[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + ip[12:]
    with Inside(pod.path):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with s:
        s.bind(("eth0", 0))
        s.send(mac + b"\x08\x00" + ip + udp)


def test_loopback_of_the_host_is_not_for_pods(host):
    """The host's ends have route_localnet, for host ports at 127.0.0.1; what pods send there is dropped."""
    pod = host.pod()
    with Inside(host.path):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 6666))
    s.settimeout(0.3)
    frame(pod, "127.0.0.1", 6666)
    with pytest.raises(TimeoutError):
        s.recv(9)
    host.exec("nft", "flush", "chain", "inet", "knarr_cni_0", "guard")  # it is the guard that does it
    frame(pod, "127.0.0.1", 6666)
    s.settimeout(5 * SLOWER)
    assert s.recv(9) == b"x"
    s.close()


ADD_POINTS = ["cni.lease.given@1", "cni.lease.given@2", "cni.attach.made", "cni.attach.outside", "cni.attach.inside"]
DEL_POINTS = ["cni.del.ports", "cni.del.detached", "cni.lease.dropped@1", "cni.lease.dropped@2"]


@pytest.mark.parametrize("after", ["DEL", "DEL-without-namespace", "ADD", "GC"])
def test_killed_while_adding(host, after):
    before = host.listing()
    for point in ADD_POINTS:
        pod = Pod(host)
        host.pods.append(pod)
        name, _, nth = point.partition("@")
        with pytest.raises(EOFError):
            host.cni("ADD", pod.id, pod.path, fail=f"{name}=kill" + (f"@{nth}" if nth else ""), subnets=BOTH,
                     runtimeConfig={"portMappings": PORTS})
        if after == "ADD":
            pod.result = host.cni("ADD", pod.id, pod.path, subnets=BOTH)
            host.cni("CHECK", pod.id, pod.path, subnets=BOTH, prevResult=pod.result)
        if after == "GC":
            host.cni("GC", cniVersion="1.1.0", **{"cni.dev/valid-attachments": []})
        else:
            host.cni("DEL", pod.id, "" if "without" in after else pod.path)
        assert [a for a in host.listing() if a] == [a for a in before if a], point
        pod.close()


def test_killed_while_deleting(host):
    before = host.listing()
    for point in DEL_POINTS:
        pod = host.pod(subnets=BOTH, runtimeConfig={"portMappings": PORTS})
        name, _, nth = point.partition("@")
        with pytest.raises(EOFError):
            host.cni("DEL", pod.id, pod.path, fail=f"{name}=kill" + (f"@{nth}" if nth else ""))
        host.cni("DEL", pod.id, pod.path)
        assert [a for a in host.listing() if a] == [a for a in before if a], point
        pod.close()


@pytest.mark.parametrize("why", ["105", "EPERM"])  # 105: ENOBUFS
def test_an_interface_that_cannot_be_asked_about_keeps_its_address(host, why):
    """What the kernel does not answer about may be there: its address is not given to the next one, and DEL is to be asked again."""
    before = host.listing()
    pod = host.pod()
    with pytest.raises(Refused) as no:
        host.cni("DEL", pod.id, pod.path, fail=f"cni.detach.look={why}")
    assert no.value.code == 5 and pod.outside in no.value.words, (no.value.code, no.value.words)
    assert pod.outside in names(host) and len(host.leases()) == 1
    other = host.pod()
    assert other.address != pod.address
    for p in (pod, other):
        host.cni("DEL", p.id, p.path)
        p.close()
    assert [a for a in host.listing() if a] == [a for a in before if a]


def test_how_long_it_takes(host):
    """Not a benchmark: a guard against waiting for what need not be waited for."""
    took = []
    for _ in range(10):
        pod = Pod(host)
        host.pods.append(pod)
        start = time.monotonic()
        pod.result = host.cni("ADD", pod.id, pod.path)
        took.append(time.monotonic() - start)
    assert min(took) < 0.5, took  # what waits does so each time; a machine that is busy does not
