"""Containers on networks: addresses, names, published ports, connect and disconnect, over a restart of the engine."""
import os
import socket
import subprocess
import sys

import pytest

from conftest import refused


@pytest.fixture
def net(env):
    env.network = f"{os.getpid() & 0xffffff:x}"
    e = env.engine(settings={"bip": "10.231.77.1/24", "bridge": ""})
    env.image(e)
    yield e
    if e.p.poll() is None:
        assert e.close() == 0, e.stderr()


def test_bridge(net):
    id = net.create("sleep", "100", host={"NetworkMode": "bridge"}, Hostname="box")
    s = net.inspect(id)["NetworkSettings"]
    assert list(s["Networks"]) == ["bridge"] and s["Networks"]["bridge"]["IPAddress"] == ""
    net.start(id)
    s = net.inspect(id)["NetworkSettings"]
    address = s["Networks"]["bridge"]["IPAddress"]
    assert address.startswith("10.231.77.") and s["SandboxID"] and os.path.exists(s["SandboxKey"])
    x = net.call("exec_create", name=id, config={"Cmd": ["/bin/ct", "cat", "/etc/hosts", "/etc/hostname"], "AttachStdout": True})
    n = net.send("exec_start", name=x)
    net.answer(n)
    net.until(lambda: n in net.ended)
    assert f"{address}\tbox" in net.streams[n][1] and net.streams[n][1].endswith("box\n")
    net.call("remove", name=id, force=True)


def test_published_port(net):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ports = {"ExposedPorts": {"80/tcp": {}}}
    host = {"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}}
    a = net.create("sleep", "100", host=host, **ports)
    net.start(a)
    assert net.inspect(a)["NetworkSettings"]["Ports"]["80/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": str(port)}]
    assert net.call("list")[0]["Ports"] == [{"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": port, "Type": "tcp"}]
    b = net.create("sleep", "100", host=host, **ports)
    refused(lambda: net.start(b), "INTERNAL", f"Bind for 127.0.0.1:{port} failed: port is already allocated")
    net.call("stop", name=a, timeout=0)
    net.start(b)
    for c in (a, b):
        net.call("remove", name=c, force=True)


def test_user_network_and_connect(net):
    net.call("network_create", doc={"Name": "mine", "IPAM": {"Config": [{"Subnet": "10.231.78.0/24"}]}})
    id = net.create("sleep", "100", name="web", host={"NetworkMode": "mine"})
    net.start(id)
    assert net.inspect(id)["NetworkSettings"]["Networks"]["mine"]["IPAddress"].startswith("10.231.78.")
    net.call("network_connect", name=id, network="bridge")
    assert set(net.inspect(id)["NetworkSettings"]["Networks"]) == {"mine", "bridge"}
    net.call("network_disconnect", name=id, network="mine")
    assert set(net.inspect(id)["NetworkSettings"]["Networks"]) == {"bridge"}
    net.call("restart", name=id, timeout=0)
    assert set(net.inspect(id)["NetworkSettings"]["Networks"]) == {"bridge"}
    net.call("remove", name=id, force=True)
    net.call("network_remove", name="mine")
    id = net.create("sleep", "1", host={"NetworkMode": "gone"})
    refused(lambda: net.start(id), "NOT_FOUND", "network gone not found")


def read(e, name, path):
    x = e.call("exec_create", name=name, config={"Cmd": ["/bin/ct", "cat", path], "AttachStdout": True})
    n = e.send("exec_start", name=x)
    e.answer(n)
    e.until(lambda: n in e.ended)
    return e.streams[n][1]


ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
name = b"".join(bytes([len(x)]) + x.encode() for x in sys.argv[1].split(".")) + bytes(1)
s.sendto(bytes.fromhex("123401000001000000000000") + name + bytes.fromhex("00010001"), ("127.0.0.11", 53))
answer = s.recv(512)
print(answer[3] & 15, answer[7], ".".join(map(str, answer[-4:])))
"""


def test_names_after_connect(net):
    """The first network of one's own brings the name server: the file that the container sees says so, in place."""
    net.call("network_create", doc={"Name": "mine", "IPAM": {"Config": [{"Subnet": "10.231.79.0/24"}]}})
    peer = net.create("sleep", "100", name="peer", host={"NetworkMode": "mine"})
    id = net.create("sleep", "100", name="web", host={"NetworkMode": "bridge"})
    edited = net.create("sleep", "100", name="edited", host={"NetworkMode": "bridge"})
    for c in (peer, id, edited):
        net.start(c)
    path = net.inspect(id)["ResolvConfPath"]
    inode = os.stat(path).st_ino
    assert "127.0.0.11" not in read(net, id, "/etc/resolv.conf")
    with open(net.inspect(edited)["ResolvConfPath"], "w") as f:
        f.write("nameserver 192.0.2.9\n")
    for c in (id, edited):
        net.call("network_connect", name=c, network="mine")
    assert "nameserver 127.0.0.11\n" in read(net, id, "/etc/resolv.conf") and os.stat(path).st_ino == inode
    assert read(net, edited, "/etc/resolv.conf") == "nameserver 192.0.2.9\n"  # whoever wrote it meant it
    address = net.inspect(peer)["NetworkSettings"]["Networks"]["mine"]["IPAddress"]
    key = net.inspect(id)["NetworkSettings"]["SandboxKey"]
    assert subprocess.check_output(["nsenter", "--net=" + key, sys.executable, "-c", ASK, "peer"], text=True).split() == ["0", "1", address]
    net.call("network_disconnect", name=id, network="mine")
    net.call("network_connect", name=id, network="mine")
    assert "nameserver 127.0.0.11\n" in read(net, id, "/etc/resolv.conf")
    for c in (peer, id, edited):
        net.call("remove", name=c, force=True)
    net.call("network_remove", name="mine")


def test_forced_disconnect(net):
    net.call("network_create", doc={"Name": "mine", "IPAM": {"Config": [{"Subnet": "10.231.80.0/24"}]}})
    run = net.create("sleep", "100", name="run", host={"NetworkMode": "bridge"})
    made = net.create("sleep", "100", name="made", host={"NetworkMode": "mine"})
    net.start(run)
    refused(lambda: net.call("network_disconnect", name="nobody", network="mine"), "NOT_FOUND", "No such container: nobody")
    refused(lambda: net.call("network_disconnect", name="nobody", network="mine", force=True), "NOT_FOUND", "endpoint nobody not found")
    refused(lambda: net.call("network_disconnect", name="nobody", network="none-such", force=True), "NOT_FOUND", "network none-such not found")
    net.call("network_remove", name="mine")
    refused(lambda: net.start(made), "NOT_FOUND", "network mine not found")
    # What is gone is forgotten, by name: of a running one only when told so.
    net.call("network_disconnect", name=made, network="mine")
    assert "mine" not in net.inspect(made)["NetworkSettings"]["Networks"]
    net.start(made)
    refused(lambda: net.call("network_disconnect", name=run, network="mine"), "NOT_FOUND", "network mine not found")
    refused(lambda: net.call("network_disconnect", name=run, network="mine", force=True), "FORBIDDEN", "is not connected to the network mine")
    assert "bridge" in net.inspect(run)["NetworkSettings"]["Networks"]
    for c in (run, made):
        net.call("remove", name=c, force=True)


def test_shared_namespace(net):
    a = net.create("sleep", "100", host={"NetworkMode": "bridge"}, Hostname="giver")
    net.start(a)
    text = net.run("cat", "/etc/hostname", "--", "readlink", "/proc/self/ns/net", host={"NetworkMode": "container:" + a})
    assert text.startswith("giver\n") and os.readlink(f"/proc/{net.state(a)['Pid']}/ns/net") in text
    net.call("remove", name=a, force=True)


def test_restart_of_the_engine(net, env):
    id = net.create("sleep", "100", host={"NetworkMode": "bridge"})
    net.start(id)
    before = net.inspect(id)
    net.kill()
    e = env.engine(settings={"bip": "10.231.77.1/24", "bridge": ""})
    after = e.inspect(id)
    assert after["NetworkSettings"]["Networks"] == before["NetworkSettings"]["Networks"]
    assert after["State"]["Pid"] == before["State"]["Pid"]
    e.call("remove", name=id, force=True)
    assert e.close() == 0
