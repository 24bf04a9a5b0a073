"""Volumes and networks by themselves, without containers on them."""
import json

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
    assert knarr.api("POST", "/volumes/prune").json == {"VolumesDeleted": None, "SpaceReclaimed": 0}
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


def test_df_by_type(knarr):
    r = knarr.api("GET", "/system/df?type=volume").json
    assert r["Volumes"] == [] and r["Images"] is None and r["Containers"] is None
    r = knarr.api("GET", "/system/df?type=odd")
    assert (r.status, r.message) == (400, "unknown object type: odd")
    assert "BuilderSize" in knarr.api("GET", "/system/df", version="v1.41").json
