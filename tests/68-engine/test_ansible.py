"""Debian's ansible with community.docker: whether a second run has nothing to do is whether inspect answers what was asked. The
playbooks stand in ansible/."""
import os
import pathlib
import subprocess

import pytest
from conftest import *

HERE = pathlib.Path(__file__).parent / "ansible"
ASIDE = pathlib.Path(os.environ.get("KNARR_ANSIBLE", pathlib.Path.home() / ".cache/knarr-ansible"))
DOCKERFILE = """FROM box:1
ARG WHO=nobody
LABEL of=build
COPY f /f
RUN echo hello $WHO >/who
ENV A=image B=image
VOLUME /keep
EXPOSE 80 81/udp
HEALTHCHECK --interval=1h CMD true
WORKDIR /tmp
CMD ["sleep", "100000"]
"""


@pytest.fixture
def play(tmp_path):
    if not (ASIDE / "usr/bin/ansible-playbook").exists():
        pytest.skip("Debian's ansible was not fetched (tests/suites/68-engine)")
    lib = ASIDE / "usr/lib/python3/dist-packages"
    (tmp_path / "ctx").mkdir()
    (tmp_path / "ctx/Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "ctx/f").write_text("file\n")
    (tmp_path / "e.env").write_text("E1=one\nE2=two words\n")

    def play(d, name, **values):
        """{name of a task: its result} of a playbook in which nothing failed unforeseen."""
        env = {**ENV, "HOME": str(tmp_path), "DOCKER_HOST": f"unix://{d.sock}", "PYTHONPATH": str(lib), "ANSIBLE_COLLECTIONS_PATH": str(lib),
               "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_PIPELINING": "1", "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
               "ANSIBLE_LOCALHOST_WARNING": "0", "ANSIBLE_DEPRECATION_WARNINGS": "0"}
        # As somebody on the daemon's host would run it: it has a network namespace of its own.
        inside = [w.format(d.process.pid) for w in d.inside]
        words = [x for k, v in {"here": tmp_path, "disk": DISK, "v1": V1, "ansible_python_interpreter": "/usr/bin/python3", **values}.items() for x in ("-e", f"{k}={v}")]
        p = subprocess.run([*inside, "/usr/bin/python3", ASIDE / "usr/bin/ansible-playbook", "-i", "localhost,", "-c", "local", *words, HERE / f"{name}.yml"],
                           env=env, capture_output=True, text=True, timeout=300 * SLOWER, cwd=tmp_path)
        assert "{" in p.stdout, p.stdout + p.stderr
        tasks = json.loads(p.stdout[p.stdout.index("{"):])["plays"][0]["tasks"]
        done = [(t["task"]["name"], t["hosts"]["localhost"]) for t in tasks]
        if p.returncode:
            pytest.fail(f"{done[-1][0]}: {done[-1][1].get('msg', done[-1][1])}\n{p.stderr}\n{d.tail()}")
        return done
    return play


def changed(done):
    return [f"{name} {r.get('invocation', {}).get('module_args', {}).get('name', '')}" for name, r in done if r["changed"]]


def test_state(bridged, play):
    d = bridged
    import_busybox(d, "box:1")
    try:
        first, again = play(d, "state"), play(d, "state")
        assert len(changed(first)) == len(first) == 17
        # 3.4.7 looks for the image's name in an archive of Docker's old layout, ours are of the new one (0641).
        assert changed(again) == (["community.docker.docker_image an:1"] if d.name == "knarr" else [])
        assert "archive_path" in str(again[2][1]["invocation"]) and again[2][1]["changed"] == (d.name == "knarr")
        if d.name == "knarr" and LONG:  # what is kept says the same
            d.stop()
            d.start()
            assert len(changed(play(d, "state"))) <= 1
        look(d, dict(play(d, "look")))
        play(d, "gone")
        assert not LONG or changed(play(d, "gone")) == []
        pruned = dict(play(d, "prune"))
        assert len(pruned["prune"]["containers"]) == 1 and pruned["prune"]["changed"] and not pruned["prune again"]["changed"]
        assert pruned["prune"]["networks"] == ["ani"] and len(pruned["prune"]["volumes"]) >= 1 and pruned["prune"]["images_space_reclaimed"] > 0
        assert d.out("ps", "-aq") == "" and d.out("image", "ls", "-q") == ""
    finally:
        left = d.out("ps", "-aq", check=None).split()
        if left:
            d.cli("rm", "-fv", *left, check=None)
        d.cli("network", "prune", "-f", check=None)
        d.cli("volume", "prune", "-af", check=None)


def look(d, done):
    c = done["much"]["container"]
    h = c["HostConfig"]
    assert done["much"]["exists"] and not done["nosuch"]["exists"] and c["State"]["Running"] and c["Name"] == "/much"
    assert (h["Memory"], h["NanoCpus"], h["CapDrop"], h["RestartPolicy"], h["ExtraHosts"]) == (
        64 << 20, 500000000, ["CHOWN"], {"Name": "on-failure", "MaximumRetryCount": 3}, ["far:192.0.2.7"])
    assert c["NetworkSettings"]["Networks"]["anx"]["IPAddress"] == "172.29.8.7" and {"al", "bl"} <= set(c["NetworkSettings"]["Networks"]["ann"]["Aliases"])
    assert d.out("exec", "much", "sh", "-c", "echo $E2 $A $B $Y; hostname; id -u; touch /no 2>&1; true").splitlines() == [
        "two words mine image two words", "host1", "1000", "touch: /no: Read-only file system"]
    assert [x["RepoTags"] for x in done["images"]["images"]] == [["an:1", "an:2"]]
    assert done["anx"]["network"]["Labels"] == {"a": "b"} and [x["Name"] for x in done["anx"]["network"]["Containers"].values()] == ["much"]
    assert done["anv"]["volume"]["Labels"] == {"v": "w"}
    host = done["host"]
    assert len(host["containers"]) == 7 and {"anv", "ant"} <= {x["Name"] for x in host["volumes"]}
    assert {"ann", "anx", "ani"} <= {x["Name"] for x in host["networks"]}
    assert host["disk_usage"]["LayersSize"] > 0 and host["host_info"]["ContainersPaused"] == 1
    assert (done["exec"]["rc"], done["exec"]["stdout"].split(), done["exec"]["stderr"]) == (3, ["in", "b", "/tmp", "1000"], "e")
    for name in ("put", "write", "update", "networks", "anew"):
        assert done[name]["changed"] and not done[f"{name} again"]["changed"], name
    assert done["read"]["stdout"] == "640 5 6\nfile\nsaid"
    assert done["load"]["image_names"] == ["an:1"]
    assert "must run on swarm manager node" in done["swarm"]["msg"]
    assert 'executable file not found in $PATH' in done["no program"]["msg"] and "400 Client Error" in done["no program"]["msg"]
    assert 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused' in done["no image"]["msg"]
    assert "403 Client Error" in done["overlap"]["msg"] and "Pool overlaps with other one on this address space" in done["overlap"]["msg"]
    # Two pipes: which of two lines written at once is read first, neither daemon says.
    assert done["once"]["status"] == 4 and sorted(done["once"]["container"]["Output"].split()) == ["err", "out"]
    assert done["started"]["container"]["State"]["Running"] and done["update"]["container"]["HostConfig"]["CpuShares"] == 300
    assert list(done["networks"]["container"]["NetworkSettings"]["Networks"]) == ["ann"]
    assert "A=other" in done["anew"]["container"]["Config"]["Env"]


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    yield from docker_registry(tmp_path_factory.mktemp("locked"), users={"me": "secret"})


def test_registry(docker, locked, play):
    import_busybox(docker, "box:1")
    done = dict(play(docker, "registry", registry=locked))
    assert "401 Unauthorized" in done["wrong"]["msg"] and not done["wrong"]["changed"]
    for name in ("login", "pull", "run", "forget", "logout"):
        assert done[name]["changed"], name
    for name in ("login", "pull", "run", "logout"):
        assert not done[f"{name} again"]["changed"], name
    assert done["push"]["changed"] and "no basic auth credentials" in done["stranger"]["msg"]
