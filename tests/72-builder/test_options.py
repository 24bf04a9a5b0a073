"""Options of a build that reach its steps, what is said at its end, and images that a registry brings."""
import re
from urllib.parse import quote

import pytest
from conftest import engine
from test_build import begin, context_of, post, quiet, read_until, tar

make_knarr = engine.make_knarr


def streams(r):
    return "".join(l.get("stream", "") for l in r.lines)


def test_limits_reach_the_step(knarr):
    """Each option of the client that is a step's limit stands in its container."""
    want = {"Memory": 64 << 20, "MemorySwap": 96 << 20, "CpuShares": 512, "CpuPeriod": 50000, "CpuQuota": 25000, "CpusetCpus": "0", "CpusetMems": "0",
            "ShmSize": 8 << 20, "NetworkMode": "none", "ExtraHosts": ["a:10.0.0.1", "b:10.0.0.2"],
            "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}]}
    query = ("memory=67108864&memswap=100663296&cpushares=512&cpuperiod=50000&cpuquota=25000&cpusetcpus=0&cpusetmems=0&shmsize=8388608&networkmode=none"
             "&extrahosts=a:10.0.0.1&extrahosts=b:10.0.0.2&ulimits=" + quote('[{"Name":"nofile","Soft":100,"Hard":200}]'))
    s = begin(knarr, context_of("FROM busybox\nRUN echo be''gun; sleep 60\n"), "nocache=1&buildid=limits&" + query)
    read_until(s, b"begun")
    host = knarr.api("GET", f"/containers/{knarr.out('ps', '-q')}/json").json["HostConfig"]
    try:
        assert {k: host.get(k) for k in want} == want
    finally:
        knarr.api("POST", "/build/cancel?id=limits")
        s.settimeout(60 * engine.SLOWER)
        while s.recv(65536):
            pass
        s.close()
    engine.until(lambda: knarr.out("ps", "-aq") == "")
    quiet(knarr)


def test_advice(knarr):
    text = ("FROM busybox:latest\nMAINTAINER me\nENV A b c\nLABEL k v\nADD x /x\nCOPY . /c\nRUN echo npm ci install >/i\n" + "".join(f"RUN echo {i} >/f{i}\n" for i in range(8)) +
            "RUN dd if=/dev/zero of=/large bs=1M count=101 2>/dev/null\n")
    out = streams(post(knarr, context_of(text, ("x", b"1", {}))))
    told = out.split("Successfully built")[1].split("\n", 1)[1]
    for line in ("[Warning] Dockerfile:2: Maintainer instruction is deprecated in favor of using label",
                 '[Warning] Dockerfile:3: "ENV key=value" should be used instead of legacy "ENV key value" format',
                 '[Warning] Dockerfile:4: "LABEL key=value" should be used instead of legacy "LABEL key value" format',
                 "[Advice] Dockerfile:1: FROM busybox:latest means another image tomorrow: name a version",
                 "[Advice] Dockerfile:5: ADD brings files that are neither archives nor URLs: COPY says so",
                 "[Advice] Dockerfile:7: it runs again after every change of the context, which line 6 copies before it: copy what it needs first, and the rest behind it",
                 "[Advice] Dockerfile:7: 10 RUNs make as many layers: join those that belong together with &&"):
        assert line + "\n" in told, (line, told)
    assert re.search(r"\[Advice\] a layer of 10[56] MB: /bin/sh -c dd if=/dev/zero of=/large", told), told
    good = streams(post(knarr, context_of("FROM scratch\nENV A=b\nCOPY x /x\n", ("x", b"1", {}))))
    assert "[Advice]" not in good and "[Warning]" not in good, good


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    yield from engine.docker_registry(tmp_path_factory.mktemp("registry"))


def test_images_of_a_registry(make_knarr, registry):
    """FROM by name and by digest bring what is not here; --pull brings what changed; two stages pull side by side, and are told in turn."""
    one, two = make_knarr(), make_knarr()
    for n, name in enumerate(("first", "second")):
        one.cli("import", "-", f"{registry}/{name}:1", stdin=tar([(name, b"%d" % n, {})]))
        one.cli("push", f"{registry}/{name}:1")
    digest = one.out("inspect", "-f", "{{index .RepoDigests 0}}", f"{registry}/first:1")
    text = f"FROM {registry}/first:1 AS a\nLABEL a=1\nFROM {registry}/second:1 AS b\nLABEL b=1\nFROM scratch\nCOPY --from=a /first /\nCOPY --from=b /second /\n"
    r = post(two, context_of(text))
    assert b"Successfully built" in r.body, r.body
    order = [l.get("stream", l.get("status", "")).strip() for l in r.lines]
    at = {w: next(i for i, l in enumerate(order) if l.startswith(w)) for w in ("Step 1/7", "Step 2/7", "Step 3/7", "Step 4/7", "Step 5/7")}
    for name, begins, ends in (("first", "Step 1/7", "Step 2/7"), ("second", "Step 3/7", "Step 4/7")):
        lines = [i for i, l in enumerate(order) if l == f"Status: Downloaded newer image for {registry}/{name}:1"]
        assert len(lines) == 1 and at[begins] < lines[0] < at[ends], order
    two.cli("rmi", "-f", f"{registry}/first:1")
    two.cli("image", "prune", "-af")
    r = post(two, context_of(f"FROM {digest}\nLABEL by=digest\n"))
    assert b"Successfully built" in r.body and b"[Advice]" not in r.body, r.body
    # Another image of the name: what is here is taken, unless --pull asks.
    one.cli("import", "-", f"{registry}/second:1", stdin=tar([("third", b"3", {})]))
    two.cli("pull", f"{registry}/second:1")
    had = two.out("inspect", "-f", "{{.Id}}", f"{registry}/second:1")
    one.cli("push", f"{registry}/second:1")
    body = context_of(f"FROM {registry}/second:1\nLABEL c=1\n")
    assert b"Pulling from" not in post(two, body).body and two.out("inspect", "-f", "{{.Id}}", f"{registry}/second:1") == had
    r = post(two, body, "pull=1")
    assert b"Pulling from second" in r.body and two.out("inspect", "-f", "{{.Id}}", f"{registry}/second:1") != had, r.body
    quiet(two)


def test_pruned_by_size(make_knarr):
    """The oldest first, as many as it takes, and the figures are what the disk gave back."""
    d = make_knarr()
    engine.import_busybox(d)
    for n in range(4):
        text = f"FROM busybox\nRUN --mount=type=cache,id=c{n},target=/c dd if=/dev/zero of=/c/z bs=1k count={100 * (n + 1)} 2>/dev/null\n"
        assert b"Successfully built" in post(d, context_of(text)).body
    sizes = lambda: sorted(c["Size"] for c in d.api("GET", "/system/df").json["BuildCache"])
    assert sizes() == [100 << 10, 200 << 10, 300 << 10, 400 << 10]
    r = d.api("POST", f"/build/prune?keep-storage={750 << 10}").json
    assert r["SpaceReclaimed"] == 300 << 10 and len(r["CachesDeleted"]) == 2 and sizes() == [300 << 10, 400 << 10], r
    r = d.api("POST", f"/build/prune?keep-storage={1 << 30}").json
    assert r == {"CachesDeleted": None, "SpaceReclaimed": 0}
    r = d.api("POST", "/build/prune").json
    assert r["SpaceReclaimed"] == 700 << 10 and sizes() == []
    assert not list((d.data / "builder/cache").iterdir())
