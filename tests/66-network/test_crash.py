"""The engine ends, in order or not; containers go on, the next one finds everything, and nothing is left over."""
import os
import pathlib
import re
import signal
import time

import pytest

from conftest import SLOWER, Engine, Failed, run, until
from test_dns import dig
from wire import BRIEF, Tcp, Udp, tcp, udp, who

PORTS = {"80/tcp": [{"HostPort": "8080"}], "53/udp": [{"HostPort": "5353"}]}


@pytest.mark.parametrize("kill", [False, True], ids=["stop", "kill"])
def test_containers_outlive_the_engine(host, engine, kill):
    engine.create("net", IPAM={"Config": [{"Subnet": "10.60.0.0/24"}]}, Labels={"x": "y"})
    a, b = engine.start("a", mode="net", ports=PORTS), engine.start("b", mode="net")
    gone = engine.start("gone")
    Tcp(a.got["netns"], "a", 80), Udp(a.got["netns"], "a", 53), Tcp(host.path(host.world), "world", 80)
    before, rules = engine.ok("inspect", network="net"), host.ruleset()
    world = host.path(host.world)
    (engine.kill if kill else engine.stop)()
    # nobody is there, and yet
    assert who(world, "198.51.100.1", 8080) == ("a", "198.51.100.2") and udp(world, "198.51.100.1", 5353)[0] == "a"
    assert who(b.got["netns"], a.ip("net"), 80)[0] == "a" and who(a.got["netns"], "198.51.100.2", 80)[0] == "world"
    engine.open()
    assert engine.ok("inspect", network="net") == before
    assert host.ruleset() == rules
    got = dict(a.got)
    a.adopt(), b.adopt()
    engine.ok("settle")
    assert a.got == got
    assert not os.path.exists(gone.got["netns"]) and engine.events.startswith("disconnect bridge " + gone.id[:12])
    assert who(host.path(), "127.0.0.1", 8080)[0] == "a" and udp(host.path(), "::1", 5353)[0] == "a"
    assert dig(b, "-q", "a")[0] == [a.ip("net")] and dig(b, "+tcp", "-q", "a")[0] == [a.ip("net")]
    c = engine.start("c", mode="net")
    assert c.ip("net") == "10.60.0.4"
    with pytest.raises(Failed) as why:
        engine.start("d", ports=PORTS)
    assert "port is already allocated" in why.value.words
    a.stop()
    assert who(world, "198.51.100.1", 8080, BRIEF) is None
    d = engine.start("d", ports=PORTS)
    Tcp(d.got["netns"], "d", 80)
    assert who(world, "198.51.100.1", 8080)[0] == "d"


def test_more_ports_than_a_monitor_holds(host, engine):
    c = engine.start("c", ports={f"{p}/tcp": [{"HostPort": str(p)}] for p in range(9000, 9050)})
    assert len(c.sockets) == 64
    Tcp(c.got["netns"], "c", 9049)
    assert who(host.path(), "127.0.0.1", 9049)[0] == "c" and who(host.path(host.world), "198.51.100.1", 9049)[0] == "c"
    got = dict(c.got)
    engine.restart(kill=True)
    c.adopt()
    engine.ok("settle")
    assert c.got == got and engine.ok("notes") == ""
    assert who(host.path(), "127.0.0.1", 9049)[0] == "c" and who(host.path(host.world), "198.51.100.1", 9049)[0] == "c"


def test_after_the_machines_restart(host, folder, engine):
    """RUN has files, but no namespace behind them any more."""
    c = engine.start("c", ports=PORTS)
    engine.kill()
    for s in c.sockets:
        os.close(s)
    run("umount", c.got["netns"])
    until(lambda: not [l for l in host.links() if l.startswith("v0-")])
    engine.open()
    with pytest.raises(Failed) as why:
        engine.call("adopt", id=c.id)
    assert why.value.kind == "NOT_FOUND"
    engine.ok("settle")
    assert os.listdir(folder + "/run/netns") == [] and os.listdir(folder + "/run/sandboxes") == []
    assert "8080" not in host.ruleset()
    assert engine.start("d", ports=PORTS).ip() == "172.17.0.2"


def test_torn_records(host, folder, engine):
    c = engine.start("c")
    engine.create("n")
    engine.stop()
    record = pathlib.Path(folder, "run/sandboxes", c.id + ".json")
    record.write_bytes(record.read_bytes()[:100])
    pathlib.Path(folder, "run/sandboxes", "strange").write_text("x")
    engine.open()
    assert f"sandbox {c.id[:12]}: " in engine.ok("notes")
    engine.ok("settle")
    assert os.listdir(folder + "/run/netns") == [] and os.listdir(folder + "/run/sandboxes") == []
    assert until(lambda: not [l for l in host.links() if l.startswith("v0-")])
    engine.stop()
    state = pathlib.Path(folder, "data/networks.json")
    whole = state.read_bytes()
    state.write_bytes(whole[:-40])
    with pytest.raises(Failed) as why:
        engine.open()
    assert why.value.kind == "INVALID_REQUEST" and "reading networks.json" in why.value.words
    state.write_bytes(whole)
    engine.open()
    assert [n["Name"] for n in engine.ok("list")] == ["bridge", "host", "none", "n"]


POINTS = ["network.ns.made", "network.ns.pinned", "network.start.linked", "network.start.built", "network.start.published",
          "network.bridge.made", "network.create.made", "network.remove.saved", "network.stop.unmapped", "network.stop.unlinked",
          "network.stop.unpinned", "network.open.table"]


def life(engine):
    """Everything that leaves traces, from the first to the last."""
    for _ in range(2):  # the second one takes the namespace that is ready (decision 0807)
        engine.start("plain").stop()
        time.sleep(0.05)
    engine.create("sweep", EnableIPv6=True)
    c = engine.start("c", mode="sweep", ports=PORTS)
    c.stop()
    engine.ok("remove", network="sweep")


def test_killed_at_every_step(host, folder):
    """SIGKILL at each failpoint, at each passage; the next engine has the network that stayed, and no trace of the rest."""
    engine = Engine(host, folder)
    keep = engine.start("keep", ports={"90/tcp": [{"HostPort": "9090"}]})
    Tcp(keep.got["netns"], "keep", 90)
    before = (host.links(), host.ruleset())
    engine.stop()
    swept = 0
    for point in POINTS:
        for passage in range(1, 13):
            died = False
            try:
                engine.open(fail=f"{point}=kill@{passage}")
                keep.adopt()
                engine.ok("settle")
                life(engine)
            except EOFError:
                died = True
                assert engine.child.wait(20 * SLOWER) == -signal.SIGKILL, point
            if not died:
                engine.sock.close()
                status = engine.child.wait(20 * SLOWER)  # the spare namespace, made behind the last answer, may still pass it
                died = status == -signal.SIGKILL
                assert died or status == 0, (point, status)
            if not died:
                assert passage > 1, f"{point} was never passed"
                break
            swept += 1
            engine.sock.close()
            engine.open()
            keep.adopt()
            engine.ok("settle")
            for n in engine.ok("list"):
                if n["Name"] == "sweep":
                    engine.ok("remove", network="sweep")
            assert until(lambda: (host.links(), host.ruleset()) == before), (point, passage)
            assert os.listdir(folder + "/run/netns") == [keep.id], (point, passage)
            assert os.listdir(folder + "/run/sandboxes") == [keep.id + ".json"], (point, passage)
            assert who(host.path(host.world), "198.51.100.1", 9090)[0] == "keep", (point, passage)
            engine.stop()
    assert swept >= len(POINTS)
    engine.open()
    engine.ok("settle")
    engine.ok("reset")
    assert host.links() == ["eth0", "lo"] and host.ruleset() == ""
    engine.kill()


def test_killed_with_a_namespace_that_is_ready(host, folder):
    """The spare one has no name: it goes with the engine, whenever that dies. A container of then is whole."""
    engine = Engine(host, folder)
    before = host.links()
    engine.stop()
    engine.open(fail="network.spare.made=kill")
    try:
        c = engine.start("c")
    except EOFError:  # on a slow machine the spare one is ready before the answer is read: then nobody has the container
        c = None
    assert engine.child.wait(20 * SLOWER) == -signal.SIGKILL
    engine.sock.close()
    engine.open()
    if c:
        c.adopt()
    engine.ok("settle")
    assert os.listdir(folder + "/run/netns") == ([c.id] if c else [])
    if c:
        Tcp(c.got["netns"], "c", 80)
        assert who(host.path(), c.ip("bridge"), 80)[0] == "c"
        c.stop()
    assert until(lambda: host.links() == before)
    assert os.listdir(folder + "/run/netns") == [] and os.listdir(folder + "/run/sandboxes") == []
    engine.kill()


def test_the_spare_namespace_is_like_any(host, engine):
    """The first container's was made for it, the second's beforehand: nothing tells them apart."""
    def seen(c):
        inside = ["nsenter", f"--net={c.got['netns']}"]
        names = ("net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv6.conf.eth0.disable_ipv6",
                 "net.ipv6.conf.lo.disable_ipv6", "net.ipv4.conf.eth0.rp_filter")
        links = [re.sub(r"@if\d+|link-netnsid \d+|link/ether \S+", "", x).split(maxsplit=1)[1]
                 for x in run(*inside, "ip", "-o", "link", "show").stdout.splitlines()]
        return [run(*inside, "sysctl", "-n", n).stdout.split() for n in names], links, run(*inside, "ip", "route", "show", "default").stdout

    first = engine.start("first")
    time.sleep(0.5)
    second = engine.start("second")
    assert seen(first) == seen(second)
    assert seen(first)[0][0] == ["0", "2147483647"] and seen(first)[0][2] == ["1"]


SPARE = 2  # the namespace that is ready and its socket, which may have been on their way when the rest was counted


def test_descriptors_are_given_back(host, engine):
    def fds():
        return sorted(os.readlink(f"/proc/{engine.child.pid}/fd/{n}") for n in os.listdir(f"/proc/{engine.child.pid}/fd"))

    engine.create("net")
    engine.start("warm", mode="net", ports=PORTS).stop()
    engine.ok("list")  # the engine's copies of the sockets are closed when this is answered
    before = len(fds())
    for _ in range(20):
        c = engine.start("c", mode="net", ports=PORTS)
        assert not tcp(host.path(), "127.0.0.1", 8080)  # taken, and turned away: nobody listens inside
        c.connect("bridge")
        c.disconnect("net")
        c.stop()
    assert until(lambda: len(fds()) <= before + SPARE), fds()
