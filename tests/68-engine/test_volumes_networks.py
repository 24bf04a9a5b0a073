"""Volumes and networks by themselves, without containers on them."""
import json
import time

import pytest
from conftest import *


@pytest.fixture
def tidy(docker):
    yield docker
    for v in docker.out("volume", "ls", "-q").split():
        docker.cli("volume", "rm", v, check=None)
    for n in docker.out("network", "ls", "-q", "-f", "type=custom").split():
        docker.cli("network", "rm", n, check=None)


def test_volumes(tidy):
    d = tidy
    assert d.out("volume", "create", "--label", "k=v", "data") == "data" and d.out("volume", "create", "data") == "data"
    anonymous = d.out("volume", "create")
    assert len(anonymous) == 64
    v = json.loads(d.out("volume", "inspect", "data"))[0]
    assert v["Driver"] == "local" and v["Labels"] == {"k": "v"} and v["Mountpoint"] == str(d.dir / "data/volumes/data/_data") and v["Scope"] == "local"
    assert pathlib.Path(v["Mountpoint"]).is_dir()
    assert sorted(d.out("volume", "ls", "-q").split()) == sorted(["data", anonymous])
    assert d.out("volume", "ls", "-q", "-f", "label=k=v") == "data" and d.out("volume", "ls", "-q", "-f", "name=dat") == "data"
    assert d.out("volume", "ls", "-q", "-f", "label=none") == "" and "invalid filter 'bogus'" in d.fails("volume", "ls", "-f", "bogus=1").replace("Invalid", "invalid")
    r = d.api("GET", "/volumes/none")
    assert (r.status, r.message) == (404, "get none: no such volume")
    r = d.api("POST", "/volumes/create", {"Name": "-bad/name"})
    assert r.status == 400 and 'includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed' in r.message
    assert d.out("volume", "rm", "data") == "data" and "no such volume" in d.fails("volume", "rm", "data").lower()
    d.cli("volume", "rm", "-f", "data")
    df = d.api("GET", "/system/df").json["Volumes"]
    assert [x["Name"] for x in df] == [anonymous] and df[0]["UsageData"]["RefCount"] == 0


def test_prune_of_volumes_by_version(knarr):
    knarr.cli("volume", "create", "named")
    a, b = knarr.out("volume", "create"), knarr.out("volume", "create")
    assert sorted(knarr.api("POST", "/volumes/prune").json["VolumesDeleted"]) == sorted([a, b])
    assert knarr.api("POST", "/volumes/prune").json == {"VolumesDeleted": [], "SpaceReclaimed": 0}
    assert knarr.api("POST", "/volumes/prune", version="v1.41").json["VolumesDeleted"] == ["named"]
    knarr.cli("volume", "create", "again")
    assert knarr.api("POST", '/volumes/prune?filters={"all":["true"]}').json["VolumesDeleted"] == ["again"]


def test_volume_events(knarr):
    start = time.time()
    knarr.cli("volume", "create", "ev")
    knarr.cli("volume", "rm", "ev")
    r = knarr.api("GET", f"/events?since={start:.6f}&until={time.time():.6f}&filters=" + '{"volume":["ev"]}').lines
    assert [(x["Action"], x["Actor"]["ID"]) for x in r] == [("create", "ev"), ("destroy", "ev")] and "status" not in r[0]


def test_networks(knarr):
    d = knarr
    assert sorted(d.out("network", "ls", "--format", "{{.Name}} {{.Driver}}").splitlines()) == ["bridge bridge", "host host", "none null"]
    id = d.out("network", "create", "--label", "k=v", "--subnet", "10.99.0.0/24", "--gateway", "10.99.0.1", "net")
    n = json.loads(d.out("network", "inspect", "net"))[0]
    assert n["Id"] == id and n["Driver"] == "bridge" and n["IPAM"]["Config"][0]["Subnet"] == "10.99.0.0/24" and n["Labels"] == {"k": "v"}
    assert n["Containers"] == {} and n["Scope"] == "local" and n["Internal"] is False
    for f, names in (("driver=host", ["host"]), ("name=^ne", ["net"]), ("label=k", ["net"]), ("type=custom", ["net"]), (f"id={id[:8]}", ["net"]),
                     ("dangling=true", ["net"]), ("scope=swarm", [])):
        assert d.out("network", "ls", "-f", f, "--format", "{{.Name}}").split() == names, f
    assert "network with name net already exists" in d.fails("network", "create", "net")
    r = d.api("GET", "/networks/none-such")
    assert (r.status, r.message) == (404, "network none-such not found")
    assert "is a pre-defined network and cannot be removed" in d.fails("network", "rm", "bridge")
    assert d.out("network", "rm", "net") == "net"
    d.cli("network", "create", "loose")
    assert d.api("POST", "/networks/prune").json["NetworksDeleted"] == ["loose"]
    assert d.api("GET", '/networks?filters={"type":["odd"]}').status == 400
    old = d.api("GET", "/networks/bridge", version="v1.24").json
    assert "EnableIPv4" not in old


def test_network_events(knarr):
    start = time.time()
    knarr.cli("network", "create", "ev")
    knarr.cli("network", "rm", "ev")
    r = knarr.api("GET", f"/events?since={start:.6f}&until={time.time():.6f}&filters=" + '{"type":["network"]}').lines
    assert [x["Action"] for x in r] == ["create", "destroy"] and r[0]["Actor"]["Attributes"] == {"name": "ev", "type": "bridge"}


SPECIFIC = "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported."
DEPENDS = "user specified configurations are not supported if the network depends on a configuration network"


def test_networks_of_configuration_only(bridged):
    d = bridged
    import_busybox(d)
    d.cli("network", "create", "--config-only", "--subnet", "10.77.0.0/24", "--gateway", "10.77.0.9", "--ip-range", "10.77.0.128/25",
          "--aux-address", "r=10.77.0.128", "--ipam-opt", "q=r", "-o", "com.docker.network.driver.mtu=1400", "--label", "a=b", "-d", "overlay", "conf")
    n = json.loads(d.out("network", "inspect", "conf"))[0]
    assert n["ConfigOnly"] and n["ConfigFrom"] == {"Network": ""} and n["Driver"] == "null" and n["Labels"] == {"a": "b"} and n["Containers"] == {}
    ipam = {"Driver": "default", "Options": {"q": "r"}, "Config": [
        {"Subnet": "10.77.0.0/24", "IPRange": "10.77.0.128/25", "Gateway": "10.77.0.9", "AuxiliaryAddresses": {"r": "10.77.0.128"}}]}
    assert n["IPAM"] == ipam and n["Options"] == {"com.docker.network.driver.mtu": "1400"}
    # What another network is made of. Options are first read there.
    d.cli("network", "create", "--config-only", "-o", "com.docker.network.driver.mtu=x", "odd")
    assert "failed to parse com.docker.network.driver.mtu value: x" in d.fails("network", "create", "--config-from", "odd", "bad")
    d.cli("network", "create", "--config-from", "conf", "made")
    m = json.loads(d.out("network", "inspect", "made"))[0]
    assert m["ConfigFrom"] == {"Network": "conf"} and not m["ConfigOnly"] and m["Driver"] == "bridge"
    assert (m["IPAM"], m["Options"], m["Labels"]) == (ipam, n["Options"], {"a": "b"})
    assert "inet 10.77.0.129/24" in d.out("run", "--rm", "--network", "made", "busybox", "ip", "-4", "addr", "show", "eth0")
    assert "mtu 1400" in d.out("run", "--rm", "--network", "made", "busybox", "ip", "link", "show", "eth0")
    # Who may not be made, in whose words.
    for words, why in ((("--config-only", "--internal"), SPECIFIC), (("--config-only", "--attachable"), SPECIFIC),
                       (("--config-only", "--scope", "swarm"), SPECIFIC), (("--config-only", "--ingress"), SPECIFIC),
                       (("--config-only", "--config-from", "conf"), "a configuration network cannot depend on another configuration network"),
                       (("--config-from", "nosuch"), 'configuration network "nosuch" does not exist'),
                       (("--config-from", "made"), 'configuration network "made" does not exist'), (("--config-from", n["Id"]), "does not exist"),
                       (("--config-from", "conf", "--subnet", "10.78.0.0/24"), DEPENDS), (("--config-from", "conf", "--ipv6"), DEPENDS),
                       (("--config-from", "conf", "--label", "x=y"), DEPENDS), (("--config-from", "conf", "--ipam-opt", "x=y"), DEPENDS),
                       (("--config-from", "conf", "-o", "a=b"), "network driver options are not supported if the network depends on a configuration network"),
                       (("--config-from", "conf"), "Pool overlaps with other one on this address space")):
        assert d.fails("network", "create", *words, "no").endswith(why), words
    r = d.api("POST", "/networks/create", {"Name": "no", "ConfigFrom": {"Network": "nosuch"}})
    assert r.status == 404
    assert d.api("POST", "/networks/create", {"Name": "no", "ConfigOnly": True, "Internal": True}).status == 403
    # Nobody is on it: a container may speak of it until it starts.
    why = "cannot create endpoint on configuration-only network"
    assert why in d.fails("run", "--name", "one", "--network", "conf", "busybox", "true", status=125)
    d.cli("create", "--name", "two", "busybox", "true")
    d.cli("network", "connect", "conf", "two")
    assert why in d.fails("start", "two") and d.out("inspect", "-f", "{{.State.Status}}", "one", "two") == "created\ncreated"
    d.cli("run", "-d", "--name", "three", "busybox", "sleep", "300")
    assert why in d.fails("network", "connect", "conf", "three")
    if d.name == "knarr":  # dockerd's document keeps what was refused
        assert list(json.loads(d.out("inspect", "-f", "{{json .NetworkSettings.Networks}}", "three"))) == ["bridge"]
    d.cli("rm", "-f", "one", "two", "three")
    # It stays while it is used, and prune passes it over.
    assert 'error while removing network: configuration network "conf" is in use' in d.fails("network", "rm", "conf")
    assert d.api("DELETE", "/networks/conf").status == 403
    assert d.api("POST", "/networks/prune").json["NetworksDeleted"] == ["made"]
    assert d.out("network", "ls", "-f", "driver=null", "--format", "{{.Name}}").split() == ["conf", "none", "odd"]
    assert d.out("network", "rm", "conf", "odd") == "conf\nodd"


def test_a_network_of_configuration_only_outlives_the_engine(make_knarr):
    d = make_knarr()
    d.cli("network", "create", "--config-only", "--ipv6", "--subnet", "fd00:77::/64", "conf")
    d.cli("network", "create", "--config-from", "conf", "made")
    before = d.api("GET", "/networks").json
    d.stop()
    d.start()
    assert d.api("GET", "/networks").json == before and [n["ConfigOnly"] for n in before] == [False, False, False, True, False]
    assert before[4]["EnableIPv6"] and {c["Subnet"] for c in before[4]["IPAM"]["Config"]} >= {"fd00:77::/64"}
    assert '"conf" is in use' in d.fails("network", "rm", "conf")
    d.cli("network", "rm", "made", "conf")


def test_df_by_type(knarr):
    r = knarr.api("GET", "/system/df?type=volume").json
    assert r["Volumes"] == [] and r["Images"] is None and r["Containers"] is None
    r = knarr.api("GET", "/system/df?type=odd")
    assert (r.status, r.message) == (400, "unknown object type: odd")
    assert "BuilderSize" in knarr.api("GET", "/system/df", version="v1.41").json
