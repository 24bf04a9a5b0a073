"""Containers on networks: addresses, names, published ports, connect and disconnect, over a restart of the engine."""
import os
import socket
import time

import pytest

from conftest import Refused


def refused(call, cls, words):
    with pytest.raises(Refused) as e:
        call()
    assert e.value.cls == cls and words in e.value.text, str(e.value)


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
