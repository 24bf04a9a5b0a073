"""`knarr proxy` against our API server: services and slices made by kubectl, pods are namespaces that the plugin connected."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

import pytest

import wire
from conftest import KNARR, SLOWER, Host, Inside, Space, bridge_hooks, run, until
from test_plugin import ask

PODS, SERVICES = "10.244.0.0/16,fd00:244::/48", "10.96.0.0/16,fd00:96::/112"
MANY = 60  # connections, of which each goes to any of three: that one of them gets none happens once in ten thousand million times


class Cluster:
    """The segment with the API server at 198.51.100.254, and two machines n1 and n2, each with a proxy."""

    def __init__(self, bridge_nf):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="knarr-proxy-"))
        self.world = Space("w")
        w = self.world
        w.ip("link", "add", "br0", "type", "bridge")
        w.ip("link", "set", "lo", "up")
        for a in ("198.51.100.254/24", "203.0.113.9/32"):
            w.ip("addr", "add", a, "dev", "br0")
        w.ip("addr", "add", "2001:db8::fe/64", "dev", "br0", "nodad")
        w.ip("link", "set", "br0", "up")
        (self.dir / "tokens").write_text('secret,admin,u1,"system:masters"\n')
        self.api = subprocess.Popen(
            ["nsenter", f"--net={w.path}", KNARR, "apiserver", "--data-dir", self.dir / "api", "--secure-port", "6443", "--bind-address",
             "0.0.0.0", "--advertise-address", "198.51.100.254", "--token-auth-file", self.dir / "tokens", "--service-cluster-ip-range",
             SERVICES], stderr=open(self.dir / "api.log", "wb"))
        assert until(lambda: "serving port" in (self.dir / "api.log").read_text(), 60), (self.dir / "api.log").read_text()
        self.kubeconfig = self.dir / "kubeconfig"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": "https://198.51.100.254:6443", "insecure-skip-tls-verify": True}}],
            "users": [{"name": "u", "user": {"token": "secret"}}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}))
        self.hosts = []
        for n in (1, 2):
            h = Host(self.dir, w, n, bridge_nf)
            h.sysctl("net.ipv4.ip_forward", 0)
            self.hosts.append(h)
            self.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n{n}"}, "spec": {
                "podCIDR": f"10.244.{n}.0/24", "podCIDRs": [f"10.244.{n}.0/24", f"fd00:244:0:{n}::/64"]}})
            self.kubectl("patch", "node", f"n{n}", "--subresource=status", "--type=merge", "-p", json.dumps({"status": {"addresses": [
                {"type": "InternalIP", "address": h.address}, {"type": "InternalIP", "address": h.address6}]}}))
            self.start(h)
        for h in self.hosts:
            conf = json.loads((h.folder / "cni/net.d/10-knarr.conflist").read_text())
            h.conf = {"cniVersion": conf["cniVersion"], "name": conf["name"], **conf["plugins"][0]}
            h.state = pathlib.Path(h.conf["stateDir"])

    def start(self, h, fail=None):
        log = open(h.folder / "proxy.log", "ab")
        mark = log.tell()
        h.proxy = subprocess.Popen(
            ["nsenter", f"--net={h.path}", KNARR, "proxy", "--data-dir", h.folder, "--kubeconfig", self.kubeconfig, "--hostname-override",
             f"n{h.number}", "--cluster-cidr", PODS, "--service-cluster-ip-range", SERVICES, "--cni-conf-dir", h.folder / "cni/net.d"],
            stderr=log, env={**os.environ, **({"KNARR_FAIL": fail} if fail else {})})
        log.close()
        if not fail:
            assert until(lambda: "services put right" in self.log(h)[mark:] and (h.folder / "cni/net.d/10-knarr.conflist").exists(), 30), \
                self.log(h)
        return lambda: self.log(h)[mark:]

    @staticmethod
    def log(h):
        return (h.folder / "proxy.log").read_text()

    def kill(self, h, how=signal.SIGKILL):
        h.proxy.send_signal(how)
        return h.proxy.wait(20 * SLOWER)

    def kubectl(self, *argv, **more):
        return run("nsenter", f"--net={self.world.path}", "kubectl", "--kubeconfig", self.kubeconfig, *argv, **more).stdout

    def apply(self, *objects):
        self.kubectl("apply", "--validate=false", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def service(self, name, pods, port=80, target=8080, protocol="TCP", family="IPv4", status=None, **spec):
        """A service and its slice; pods may be empty. Answers the service as the API server has it."""
        self.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
            "ports": [{"name": "p", "port": port, "protocol": protocol}], "ipFamilies": [family], **spec}})
        if status:
            self.kubectl("patch", "service", name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
        self.slice(name, pods, target, protocol, family)
        got = json.loads(self.kubectl("get", "service", name, "-o", "json"))["spec"]
        if pods is not None:
            self.settle()
        return got

    def slice(self, name, pods, target=8080, protocol="TCP", family="IPv4", conditions=None):
        i = 0 if family == "IPv4" else 1
        self.apply({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                    "metadata": {"name": f"{name}-x", "labels": {"kubernetes.io/service-name": name}}, "addressType": family,
                    "ports": [{"name": "p", "port": target, "protocol": protocol}],
                    "endpoints": [{"addresses": [p.addresses[i]], "nodeName": f"n{p.host.number}",
                                   "conditions": conditions or {"ready": True}} for p in pods or []]})

    def settle(self):
        """Until both proxies have seen what was applied: a service and a slice of its own, made afterwards, have come and gone. Both, because
        each kind is watched by itself; the address is of those that no service gets which does not name it."""
        self.n_settled = getattr(self, "n_settled", 0) + 1
        name, last = f"mark-{self.n_settled}", self.n_settled % 200 + 20
        address, behind = f"10.96.0.{last}", f"198.18.0.{last}"

        def seen(there):
            for h in self.hosts:
                def table(h=h):  # there may be none for a moment: some tests take it away
                    return h.exec("nft", "list", "table", "inet", f"knarr_proxy_{h.conf['id']}", check=False).stdout
                if h.proxy.poll() is None:
                    assert until(lambda: (t := table()) and all(there == bool(re.search(rf"(?<![\d.]){re.escape(a)}(?![\d.])", t))
                                                                for a in (address, behind)), 20), self.log(h)
        self.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"clusterIP": address, "ports": [{"name": "p", "port": 1}]}},
                   {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {
                       "name": name, "labels": {"kubernetes.io/service-name": name}}, "addressType": "IPv4", "ports": [{"name": "p", "port": 1}],
                    "endpoints": [{"addresses": [behind], "conditions": {"ready": True}}]})
        seen(True)
        self.kubectl("delete", "service,endpointslice", name, "--wait=false")
        seen(False)

    def forget(self, *names):
        for name in names:
            self.kubectl("delete", "service,endpointslice", name, f"{name}-x", "--ignore-not-found")

    def close(self):
        for h in self.hosts:
            if h.proxy.poll() is None:
                self.kill(h)
            h.close()
        self.api.kill()
        self.api.wait(10)
        self.world.close()
        shutil.rmtree(self.dir, ignore_errors=True)


@pytest.fixture(scope="module", params=[0, 1], ids=["bridge-nf-0", "bridge-nf-1"])
def cluster(request):
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    if request.param and not bridge_hooks():
        pytest.skip("this kernel has no br_netfilter")
    c = Cluster(request.param)
    yield c
    c.close()


@pytest.fixture
def pods(cluster):
    """Two pods on n1, one on n2, each with servers that say its name."""
    one, two = cluster.hosts
    made = [one.pod(), one.pod(), two.pod()]
    servers = []
    for p, name in zip(made, "abc"):
        p.label = name
        servers += [wire.Tcp(p.path, name, 8080), wire.Tcp(p.path, name, 8080, socket.AF_INET6), wire.Udp(p.path, name, 5353)]
    yield made
    for s in servers:
        s.sock.close()
    for p in made:
        p.remove()


def refused(path, to, port, **more):
    start = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        ask(path, to, port, **more)
    return time.monotonic() - start < 3 * SLOWER


def silent(path, to, port, **more):
    with pytest.raises(TimeoutError):
        ask(path, to, port, timeout=0.7, **more)
    return True


def health(h, path="/healthz", port=10256):
    with Inside(h.path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5 * SLOWER) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()


def raises(what, f, *args):
    try:
        f(*args)
    except what:
        return True
    return False


def test_node(cluster, pods):
    one, two = cluster.hosts
    assert one.conf["subnets"] == ["10.244.1.0/24", "fd00:244:0:1::/64"] and one.conf["mtu"] == 1500
    assert "10.244.2.0/24 via 198.51.100.2 dev eth0 proto 75" in one.ip("route")
    assert "fd00:244:0:2::/64 via 2001:db8::2 dev eth0 proto 75" in one.ip("-6", "route")
    # The first address of its pods is the node's own (where the name server listens), on no interface.
    assert one.ip("route", "show", "table", "local", "proto", "75").split("\n")[0].strip() == "local 10.244.1.1 dev lo scope host"
    assert one.ip("-6", "route", "show", "table", "local", "proto", "75").startswith("local fd00:244:0:1::1 dev lo ")
    assert "10.244.1.1" not in one.ip("addr")
    assert "net/ipv4/ip_forward=0" in (one.folder / "proxy/sysctl").read_text()
    assert one.exec("sysctl", "-n", "net.ipv4.ip_forward").stdout.strip() == "1"
    status, body = health(one)
    assert status == 200 and json.loads(body)["nodeEligible"] is True
    assert health(one, "/livez")[0] == 200
    assert "kubeproxy_sync_proxy_rules_duration_seconds_count" in health(one, "/metrics", 10249)[1]
    # Pods reach each other and the other machine's, seen by their own addresses; what leaves is masqueraded.
    a, _, c = pods
    assert ask(a.path, c.addresses[0], 8080) == ["c", a.addresses[0]]
    assert ask(a.path, c.addresses[1], 8080) == ["c", a.addresses[1]]
    server = wire.Tcp(cluster.world.path, "world", 7777)
    assert ask(a.path, "198.51.100.254", 7777) == ["world", one.address]
    server.close()
    # A node that goes takes its route along.
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n3"}, "spec": {"podCIDR": "10.244.3.0/24", "podCIDRs": ["10.244.3.0/24"]}})
    cluster.kubectl("patch", "node", "n3", "--subresource=status", "--type=merge", "-p", json.dumps({"status": {"addresses": [
        {"type": "InternalIP", "address": "198.51.100.3"}]}}))
    assert until(lambda: "10.244.3.0/24 via 198.51.100.3" in one.ip("route"))
    cluster.kubectl("delete", "node", "n3")
    assert until(lambda: "10.244.3.0/24" not in one.ip("route"))


def test_a_node_that_claims_too_much(cluster, pods):
    """Whoever may make a Node does not lead this machine's own network, or everything, elsewhere."""
    one = cluster.hosts[0]
    before = one.ip("route")
    for i, claim in enumerate(["0.0.0.0/0", "203.0.113.0/24", "10.0.0.0/8"]):
        cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"bad{i}"}, "spec": {"podCIDR": claim, "podCIDRs": [claim]}})
        cluster.kubectl("patch", "node", f"bad{i}", "--subresource=status", "--type=merge", "-p", json.dumps({"status": {"addresses": [
            {"type": "InternalIP", "address": "198.51.100.77"}]}}))
        assert until(lambda: f"range={claim}" in cluster.log(one) or f'range="{claim}"' in cluster.log(one)), cluster.log(one)
    cluster.settle()
    assert one.ip("route") == before
    cluster.kubectl("delete", "node", "bad0", "bad1", "bad2")


def test_cluster_address(cluster, pods):
    one, two = cluster.hosts
    a, b, c = pods
    ip = cluster.service("web", pods)["clusterIP"]
    seen = {tuple(ask(a.path, ip, 80)) for _ in range(MANY)}
    # Itself by way of the host, others as it is.
    assert {s[0] for s in seen} == {"a", "b", "c"} and all(s[1] == a.address for s in seen if s[0] != "a")
    assert {s[1] for s in seen if s[0] == "a"} != {a.address}
    assert {ask(c.path, ip, 80)[0] for _ in range(MANY)} == {"a", "b", "c"}
    assert {ask(h.path, ip, 80)[0] for h in (one, two) for _ in range(MANY)} == {"a", "b", "c"}
    # Fair.
    count = {}
    for _ in range(300):
        name = ask(two.path, ip, 80)[0]
        count[name] = count.get(name, 0) + 1
    assert all(60 < n < 140 for n in count.values()), count
    # One less, none: refused at once, like a port that no service has.
    cluster.slice("web", [b])
    cluster.settle()
    assert {ask(c.path, ip, 80)[0] for _ in range(10)} == {"b"}
    cluster.slice("web", [])
    cluster.settle()
    assert refused(a.path, ip, 80) and refused(one.path, ip, 80)
    assert refused(a.path, ip, 81) and refused(one.path, ip, 81) and refused(a.path, "10.96.99.99", 1)
    cluster.slice("web", [c])
    cluster.settle()
    assert ask(a.path, ip, 80) == ["c", a.address]
    cluster.forget("web")
    cluster.settle()
    assert refused(a.path, ip, 80)


def test_ipv6(cluster, pods):
    one = cluster.hosts[0]
    a = pods[0]
    ip = cluster.service("six", pods, family="IPv6", type="NodePort")
    assert {ask(a.path, ip["clusterIP"], 80)[0] for _ in range(MANY)} == {"a", "b", "c"}
    assert {ask(one.path, ip["clusterIP"], 80)[0] for _ in range(MANY)} == {"a", "b", "c"}
    assert ask(cluster.world.path, one.address6, ip["ports"][0]["nodePort"])[0] in "abc"
    cluster.slice("six", [], family="IPv6")
    cluster.settle()
    assert refused(a.path, ip["clusterIP"], 80)
    cluster.forget("six")


def test_node_port(cluster, pods):
    one, two = cluster.hosts
    a, b, c = pods
    spec = cluster.service("port", [a, c], type="NodePort")
    port = spec["ports"][0]["nodePort"]
    for h in (one, two):
        seen = {tuple(ask(cluster.world.path, h.address, port)) for _ in range(MANY)}
        assert {s[0] for s in seen} == {"a", "c"}
        # The answer must come back the same way: the node's own address (towards its own pods any of its own).
        assert not {s[1] for s in seen} & {"198.51.100.254"}
    assert ask(b.path, one.address, port)[0] in "ac" and ask(b.path, two.address, port)[0] in "ac"
    assert ask(one.path, one.address, port)[0] in "ac"
    # Local: those here alone, and the client is seen.
    cluster.service("port", [a, b], type="NodePort", externalTrafficPolicy="Local")
    seen = {tuple(ask(cluster.world.path, one.address, port)) for _ in range(MANY)}
    assert seen == {("a", "198.51.100.254"), ("b", "198.51.100.254")}
    assert silent(cluster.world.path, two.address, port)
    assert {ask(one.path, "127.0.0.1", port)[0] for _ in range(MANY)} == {"a", "b"}
    assert ask(c.path, two.address, port)[0] in "ab"  # from inside every endpoint serves
    cluster.slice("port", [])
    cluster.settle()
    assert refused(cluster.world.path, one.address, port) and refused(one.path, one.address, port)
    cluster.forget("port")


def test_external_addresses(cluster, pods):
    one, two = cluster.hosts
    a, _, c = pods
    w = cluster.world
    w.ip("route", "add", "192.0.2.0/24", "via", one.address)
    cluster.service("ext", [a, c], type="LoadBalancer", externalIPs=["192.0.2.7"], loadBalancerSourceRanges=["203.0.113.0/24"],
                    status={"loadBalancer": {"ingress": [{"ip": "192.0.2.8"}]}})
    assert {ask(w.path, "192.0.2.7", 80)[0] for _ in range(MANY)} == {"a", "c"}
    assert {ask(w.path, "192.0.2.8", 80, source="203.0.113.9")[0] for _ in range(MANY)} == {"a", "c"}
    assert silent(w.path, "192.0.2.8", 80)
    # Another service wants the same external address: it gets it when the first is gone.
    cluster.service("ext2", [c], externalIPs=["192.0.2.7"])
    assert {ask(w.path, "192.0.2.7", 80)[0] for _ in range(MANY)} == {"a", "c"}
    cluster.forget("ext")
    cluster.settle()
    assert until(lambda: {ask(w.path, "192.0.2.7", 80)[0] for _ in range(10)} == {"c"})
    cluster.forget("ext2")
    w.ip("route", "del", "192.0.2.0/24")


def test_two_that_want_one_address(cluster, pods):
    """Who has lost an address and has another one is not planned again and again: the proxy rests."""
    one = cluster.hosts[0]
    a, _, c = pods
    w = cluster.world
    w.ip("route", "add", "192.0.2.0/24", "via", one.address)
    cluster.service("first", [a], externalIPs=["192.0.2.17"])
    cluster.service("second", [c], externalIPs=["192.0.2.17", "192.0.2.18"])
    cluster.slice("first", [a, c])
    cluster.settle()
    before = [ticks(h) for h in cluster.hosts]
    time.sleep(1)
    assert max(ticks(h) - b for h, b in zip(cluster.hosts, before)) <= 10  # of 100
    assert {ask(w.path, "192.0.2.17", 80)[0] for _ in range(MANY)} == {"a", "c"} and ask(w.path, "192.0.2.18", 80)[0] == "c"
    # It gets what the first gives up while it lives.
    cluster.service("first", [a], externalIPs=["192.0.2.19"])
    assert until(lambda: {ask(w.path, "192.0.2.17", 80)[0] for _ in range(10)} == {"c"})
    cluster.forget("first", "second")
    w.ip("route", "del", "192.0.2.0/24")


def ticks(h):
    """Of the processor, that a machine's proxy has used."""
    return sum(int(n) for n in pathlib.Path(f"/proc/{h.proxy.pid}/stat").read_text().rsplit(") ", 1)[1].split()[11:13])


def test_health_of_a_local_service(cluster, pods):
    one, two = cluster.hosts
    a = pods[0]
    spec = cluster.service("lb", [a], type="LoadBalancer", externalTrafficPolicy="Local")
    port = spec["healthCheckNodePort"]
    status, body = health(one, "/", port)
    assert status == 200 and json.loads(body)["localEndpoints"] == 1 and json.loads(body)["service"]["name"] == "lb"
    assert health(two, "/", port)[0] == 503
    cluster.forget("lb")
    cluster.settle()
    with pytest.raises(urllib.error.URLError):
        health(one, "/", port)


def test_health_port_that_was_taken(cluster, pods):
    one = cluster.hosts[0]

    def take(port):
        with Inside(one.path):
            s = socket.socket(socket.AF_INET6)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # answers of before may linger
        s.bind(("::", port))
        s.listen(0)
        return s
    cluster.settle()
    spec = cluster.service("lb", [pods[0]], type="LoadBalancer", externalTrafficPolicy="Local")
    port = spec["healthCheckNodePort"]
    cluster.forget("lb")
    cluster.settle()
    assert until(lambda: raises(urllib.error.URLError, health, one, "/", port))
    s = take(port)
    cluster.service("lb", [pods[0]], type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=port)
    assert until(lambda: "cannot be served yet" in cluster.log(one))
    # It is given back, and nothing else changes.
    s.close()
    assert until(lambda: not raises(urllib.error.URLError, health, one, "/", port), 20)
    assert health(one, "/", port)[0] == 200
    cluster.forget("lb")
    cluster.settle()
    assert until(lambda: raises(urllib.error.URLError, health, one, "/", port))
    # A service that goes while its port is still taken leaves nothing to be tried for.
    s = take(port)
    cluster.service("lb", [pods[0]], type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=port)
    assert until(lambda: cluster.log(one).count("cannot be served yet") == 2)
    cluster.forget("lb")
    cluster.settle()
    s.close()
    time.sleep(11)
    with pytest.raises(urllib.error.URLError):
        health(one, "/", port)


def test_internal_local(cluster, pods):
    one, two = cluster.hosts
    a, b, c = pods
    ip = cluster.service("near", pods, internalTrafficPolicy="Local")["clusterIP"]
    assert {ask(a.path, ip, 80)[0] for _ in range(MANY)} == {"a", "b"}
    assert {ask(c.path, ip, 80)[0] for _ in range(20)} == {"c"}
    cluster.slice("near", [a])
    cluster.settle()
    assert silent(c.path, ip, 80)
    cluster.forget("near")


def test_affinity(cluster, pods):
    one, two = cluster.hosts
    a, b, c = pods
    ip = cluster.service("stick", pods, type="NodePort", sessionAffinity="ClientIP",
                         sessionAffinityConfig={"clientIP": {"timeoutSeconds": 30}})
    ip, port = ip["clusterIP"], ip["ports"][0]["nodePort"]
    for path in (a.path, b.path, c.path, two.path):
        assert len({ask(path, ip, 80)[0] for _ in range(15)}) == 1
    assert len({ask(cluster.world.path, two.address, port)[0] for _ in range(15)}) == 1
    # A chosen one that goes is chosen no more, at once.
    mine = ask(c.path, ip, 80)[0]
    rest = [p for p in pods if p.label != mine]
    cluster.slice("stick", rest)
    cluster.settle()
    now = {ask(c.path, ip, 80)[0] for _ in range(10)}
    assert len(now) == 1 and now <= {p.label for p in rest}
    cluster.forget("stick")
    # It ends with its time; then any of three is chosen, perhaps the same again.
    ip = cluster.service("brief", pods, sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 1}})["clusterIP"]
    seen = set()
    for _ in range(25):
        seen.add(ask(c.path, ip, 80)[0])
        if len(seen) > 1:
            break
        time.sleep(1.3)
    assert len(seen) > 1
    cluster.forget("brief")


def test_udp(cluster, pods):
    one = cluster.hosts[0]
    a, b, c = pods
    ip = cluster.service("dns", [b], port=53, target=5353, protocol="UDP")["clusterIP"]
    assert {ask(p.path, ip, 53, socket.SOCK_DGRAM)[0] for p in (a, b, c, one) for _ in range(5)} == {"b"}
    # A client that keeps its socket is led elsewhere when its endpoint goes, and was lost while there was none.
    with Inside(c.path):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(2 * SLOWER)
    s.connect((ip, 53))

    def name():
        s.send(b"x")
        return s.recv(99).decode().split()[0]

    assert name() == "b"
    cluster.slice("dns", [a], 5353, "UDP")
    cluster.settle()
    assert name() == "a"
    cluster.slice("dns", [], 5353, "UDP")
    cluster.settle()
    with pytest.raises(OSError):
        name()
    cluster.slice("dns", [c], 5353, "UDP")
    cluster.settle()
    assert name() == "c"
    s.close()
    cluster.forget("dns")


def test_many_udp_flows(cluster, pods):
    """More than one batch of deletions forgets; each of them is led elsewhere, and nothing is warned of."""
    a, b, c = pods
    ip = cluster.service("dns", [b], port=53, target=5353, protocol="UDP")["clusterIP"]
    kept = []
    with Inside(c.path):
        for i in range(5000):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind(("", 20000 + i))
            s.sendto(b"x", (ip, 53))
            if i % 1000 == 999:
                s.settimeout(2)
                kept.append(s)
            else:
                s.close()

    def reached(s, who):  # the server may have lost one of that many
        for _ in range(10):
            s.sendto(b"x", (ip, 53))
            try:
                if s.recv(99).decode().split()[0] == who:
                    return True
            except OSError:
                pass
        return False

    assert [reached(s, "b") for s in kept] == [True] * 5
    cluster.slice("dns", [a], 5353, "UDP")
    cluster.settle()
    assert [reached(s, "a") for s in kept] == [True] * 5
    for s in kept:
        s.close()
    cluster.forget("dns")
    assert not [h for h in cluster.hosts if h.proxy and "could not be forgotten" in cluster.log(h)]


def test_ending_endpoints_serve_when_nobody_else_does(cluster, pods):
    a, b, c = pods
    ip = cluster.service("last", [a])["clusterIP"]
    cluster.slice("last", [a], conditions={"ready": False, "serving": True, "terminating": True})
    cluster.settle()
    assert ask(c.path, ip, 80)[0] == "a"
    cluster.slice("last", [a], conditions={"ready": False, "serving": False, "terminating": True})
    cluster.settle()
    assert refused(c.path, ip, 80)
    cluster.forget("last")


class Load:
    """Connections one after the other; each must be answered."""

    def __init__(self, path, to, port):
        self.failures, self.n, self.end = [], 0, False
        self.args = path, to, port
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.end:
            try:
                assert ask(*self.args)[0] in "abc"
            except Exception as e:
                self.failures.append(repr(e))
            self.n += 1

    def stop(self):
        self.end = True
        self.thread.join(20 * SLOWER)
        return self.failures, self.n


def test_replacing_under_load(cluster, pods):
    """Rolling: the number changes, members change; some endpoint is there always."""
    one, two = cluster.hosts
    a, b, c = pods
    spec = cluster.service("roll", [a], type="NodePort")
    loads = [Load(p, spec["clusterIP"], 80) for p in (b.path, one.path, two.path)] + [
        Load(cluster.world.path, one.address, spec["ports"][0]["nodePort"])]
    for turn in range(12):
        cluster.slice("roll", [[a, b, c], [b], [b, c], [c, a], [a]][turn % 5])
        if turn == 6:
            cluster.kill(one)
            cluster.start(one)
    for load in loads:
        until(lambda: load.n > 20)
        failures, n = load.stop()
        assert not failures, (failures[:5], n)
    cluster.forget("roll")


def test_killed_and_back(cluster, pods):
    one, two = cluster.hosts
    a, b, c = pods
    ip = cluster.service("stay", [a, b])["clusterIP"]
    other = cluster.service("old", [c])["clusterIP"]
    cluster.kill(two)
    assert ask(c.path, ip, 80)[0] in "ab" and ask(two.path, ip, 80)[0] in "ab"
    assert "changes=0" in cluster.start(two)()  # nothing to do
    for how in (signal.SIGKILL, signal.SIGTERM):
        assert cluster.kill(two, how) == (-9 if how == signal.SIGKILL else 0)
        cluster.slice("stay", [c])
        cluster.forget("old")
        cluster.start(two)
        assert {ask(two.path, ip, 80)[0] for _ in range(10)} == {"c"} and refused(two.path, other, 80)
        cluster.slice("stay", [a, b])
        cluster.settle()
    cluster.forget("stay")


@pytest.mark.parametrize("point", ["proxy.change.before", "proxy.change.after", "proxy.right.before", "proxy.right.after"])
def test_killed_while_changing(cluster, pods, point):
    one, two = cluster.hosts
    a, b, c = pods
    ip = cluster.service("die", [a])["clusterIP"]
    cluster.kill(two)
    cluster.start(two, f"{point}=kill@1")
    cluster.slice("die", [b])
    assert until(lambda: two.proxy.poll() is not None, 20)
    assert ask(two.path, ip, 80)[0] in "ab" and ask(c.path, ip, 80)[0] in "ab"  # before or after, never nothing
    cluster.start(two)
    assert ask(c.path, ip, 80)[0] == "b"
    cluster.forget("die")


def test_somebody_flushes_everything(cluster, pods):
    two = cluster.hosts[1]
    a, b, c = pods
    ip = cluster.service("flush", [a])["clusterIP"]
    at = [{"hostPort": 8081, "containerPort": 8080}, {"hostPort": 8053, "containerPort": 5353, "protocol": "udp", "hostIP": two.address}]
    host_port = two.pod(runtimeConfig={"portMappings": at})
    servers = wire.Tcp(host_port.path, "p", 8080), wire.Udp(host_port.path, "p", 5353)
    world = cluster.world.path

    def table(h):
        lines = h.exec("nft", "list", "table", "inet", f"knarr_cni_{h.conf['id']}", check=False).stdout
        return re.sub(r"\d+: ", "", lines)

    before = table(two)
    assert "8081" in before and ask(world, two.address, 8081)[0] == "p"
    # Nothing else happens, and all of it comes back: services, ports of pods, and the guard before 127.0.0.1.
    two.exec("nft", "flush", "ruleset")
    assert until(lambda: table(two) == before, 10), (before, table(two))
    assert until(lambda: f"knarr_proxy_{two.conf['id']}" in two.exec("nft", "list", "tables").stdout)
    assert ask(two.path, ip, 80)[0] == "a" and ask(c.path, ip, 80)[0] == "a" and ask(world, two.address, 8081)[0] == "p"
    assert ask(world, two.address, 8053, socket.SOCK_DGRAM)[0] == "p"
    # A pod's own network alone, and one that another version wrote: the next ADD finds it and keeps what leads to others.
    cluster.kill(two)
    two.exec("nft", "delete", "table", "inet", f"knarr_cni_{two.conf['id']}")
    two.exec("nft", "add", "table", "inet", f"knarr_cni_{two.conf['id']}", '{ comment "knarr-cni 0" ; }')
    second = two.pod(runtimeConfig={"portMappings": [{"hostPort": 8082, "containerPort": 8080}]})
    assert ask(world, two.address, 8081)[0] == "p" and "8082" in table(two)
    second.remove()
    assert table(two) == before
    cluster.start(two)
    for s in servers:
        s.sock.close()
    host_port.remove()
    assert not [f for f in two.state.rglob("*") if "+ports/" in str(f)]
    two.exec("nft", "flush", "ruleset")
    cluster.slice("flush", [b])
    cluster.settle()
    assert ask(two.path, ip, 80)[0] == "b" and ask(c.path, ip, 80)[0] == "b"
    cluster.forget("flush")


def test_somebody_removes_routes(cluster, pods):
    one = cluster.hosts[0]
    a, _, c = pods
    route = "10.244.2.0/24 via 198.51.100.2 dev eth0 proto 75"
    assert route in one.ip("route")
    one.ip("route", "del", "10.244.2.0/24")
    assert until(lambda: route in one.ip("route"))
    one.ip("link", "set", "eth0", "down")  # the kernel takes them along without a word
    assert route not in one.ip("route")
    one.ip("link", "set", "eth0", "up")
    assert until(lambda: route in one.ip("route"))
    one.ip("route", "replace", "default", "via", "198.51.100.254")
    one.ip("-6", "addr", "replace", f"{one.address6}/64", "dev", "eth0", "nodad")
    one.ip("-6", "route", "replace", "default", "via", "2001:db8::fe")
    assert until(lambda: "fd00:244:0:2::/64 via 2001:db8::2" in one.ip("-6", "route"))
    assert ask(a.path, c.addresses[0], 8080)[0] == "c"


def test_nothing_is_left_of_services(cluster, pods):
    """Elements go with their services; what stays is the default service's."""
    for h in cluster.hosts:
        def left(name, h=h):
            text = h.exec("nft", "list", "table", "inet", f"knarr_proxy_{h.conf['id']}").stdout
            return "elements" in re.search(r"(?:set|map) %s {(.*?)\n\t}" % name, text, re.S).group(1)
        for name in ("outer4", "outer_ports4", "ports4", "masq4", "masq_ports4", "hairpin4", "sticky4", "live4", "guard4", "sources4"):
            until(lambda: not left(name), 60)


def test_zz_cleanup(cluster):
    """The last test of a cluster: everything is taken back, and forwarding is what it was."""
    one, two = cluster.hosts
    pod = two.pod(runtimeConfig={"portMappings": [{"hostPort": 8080, "containerPort": 80}]})
    assert "10.244.1.0/24 via" in two.ip("route") and pod.outside in two.links()
    two.ip("route", "add", "10.244.99.0/24", "via", "198.51.100.1", "proto", "static")
    cluster.kill(two)
    # Somebody else forwards, who came after us and found it on.
    two.ip("link", "add", "virbr0", "type", "bridge")
    told = run("nsenter", f"--net={two.path}", KNARR, "proxy", "--cleanup", "--data-dir", two.folder, "--cluster-cidr", PODS).stdout
    assert "virbr0" in told and two.exec("sysctl", "-n", "net.ipv4.ip_forward").stdout.strip() == "1"
    two.ip("link", "del", "virbr0")
    for _ in range(2):
        run("nsenter", f"--net={two.path}", KNARR, "proxy", "--cleanup", "--data-dir", two.folder, "--cluster-cidr", PODS)
        assert "knarr_" not in two.exec("nft", "list", "ruleset").stdout
        assert not [link for link in two.links() if link.startswith(f"k{two.conf['id']}-")]
        routes = two.ip("route")
        assert "10.244.1.0/24" not in routes and "10.244.99.0/24" in routes and "default" in routes
        assert "proto 75" not in two.ip("route", "show", "table", "all") and "proto 75" not in two.ip("-6", "route", "show", "table", "all")
        assert two.exec("sysctl", "-n", "net.ipv4.ip_forward").stdout.strip() == "0"
    pod.close()
