"""The engine as a whole: versions, routes that are missing, refusals, sockets."""
import http.client
import json
import os
import signal
import subprocess

import pytest
from conftest import *


@pytest.fixture
def folder():
    """With a short name: there are sockets in it, and folders of the engine's. pytest's own is as long as the test's name makes it."""
    at = pathlib.Path(tempfile.mkdtemp(prefix="knarr-68-"))
    yield at
    shutil.rmtree(at, ignore_errors=True)


def test_ping(docker):
    for method in ("GET", "HEAD"):
        r = docker.api(method, "/_ping", version=None)
        assert r.status == 200 and r.body == (b"OK" if method == "GET" else b"")
        assert r.headers["Ostype"] == "linux" and r.headers["Docker-Experimental"] == "false" and r.headers["Api-Version"]
        assert (r.headers["Builder-Version"] == "1" or docker.name == "dockerd") and r.headers["Server"] and "no-store" in r.headers["Cache-Control"]


def test_versions(knarr):
    assert knarr.api("GET", "/v1.24/_ping", version=None).status == 200
    r = knarr.api("GET", "/version", version="v1.51")
    assert r.status == 400 and r.message == "client version 1.51 is too new. Maximum supported API version is 1.50"
    r = knarr.api("GET", "/version", version="v1.12")
    assert r.status == 400
    assert r.message == ("client version 1.12 is too old. Minimum supported API version is 1.24, "
                         "please upgrade your client to a newer version")
    v = knarr.api("GET", "/version", version=None).json
    assert v["ApiVersion"] == "1.50" and v["MinAPIVersion"] == "1.24" and v["Components"][0]["Name"] == "Engine"
    assert "1.50 (minimum version 1.24)" in knarr.out("version")
    assert knarr.out("version", env={"DOCKER_API_VERSION": "1.40"})


@pytest.mark.parametrize("method,path", [("GET", "/nothing"), ("PUT", "/version"), ("GET", "/images"), ("POST", "/images/json"), ("GET", "/")])
def test_what_is_not_there(docker, method, path):
    r = docker.api(method, path)
    assert (r.status, r.json) == (404, {"message": "page not found"})
    assert r.headers["Content-Type"] == "application/json"


def test_info(docker):
    i = docker.api("GET", "/info").json
    assert i["OSType"] == "linux" and i["NCPU"] == os.cpu_count() and i["Swarm"]["LocalNodeState"] == "inactive"
    assert i["Driver"] == "overlay2" and i["DockerRootDir"] == str(docker.dir / "data") and i["KernelVersion"] == os.uname().release
    total = int(next(l for l in open("/proc/meminfo") if l.startswith("MemTotal")).split()[1]) * 1024
    assert i["MemTotal"] == total and i["Name"] == os.uname().nodename and i["CgroupVersion"] in ("1", "2")
    assert i["MemoryLimit"] is True and i["PidsLimit"] is True
    assert "local" in i["Plugins"]["Volume"] and i["IndexServerAddress"] == "https://index.docker.io/v1/"
    assert "Storage Driver: overlay2" in docker.out("info")


def test_info_by_version(knarr):
    new, old = knarr.api("GET", "/info").json, knarr.api("GET", "/info", version="v1.24").json
    assert "seccomp" in old["SecurityOptions"] and "name=seccomp,profile=builtin" in new["SecurityOptions"]
    assert "KernelMemory" in old and "KernelMemory" not in new and "CgroupVersion" not in old
    assert "BridgeNfIptables" in knarr.api("GET", "/info", version="v1.44").json and "BridgeNfIptables" not in new


@pytest.mark.parametrize("method,path", [("GET", "/swarm"), ("GET", "/nodes"), ("GET", "/services"), ("GET", "/tasks"), ("GET", "/secrets"),
                                         ("GET", "/configs")])
def test_no_swarm(docker, method, path):
    r = docker.api(method, path)
    assert r.status == 503 and r.message == ('This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect '
                                             'this node to swarm and try again.')


def test_swarm_and_plugins_of_the_client(docker):
    assert "This node is not a swarm manager" in docker.fails("node", "ls")
    assert "not part of a swarm" in docker.fails("swarm", "leave")
    assert docker.out("plugin", "ls", "-q") == ""
    assert ('plugin "x" not found' if CLIENT > 20 else "No such plugin: x") in docker.fails("plugin", "rm", "x")


@pytest.mark.parametrize("command,lines", [
    ("swarm", ["join-token worker", "update --autolock", "unlock-key", "ca"]),
    ("node", ["ls", "inspect x", "ps", "ps self", "update --availability drain x", "promote x", "demote x", "rm x"]),
    ("service", ["ls", "create busybox", "inspect x", "logs x", "ps x", "rm x", "scale x=2", "update x", "rollback x"]),
    ("stack", ["ls", "deploy -c {f}/c.yml s", "ps s", "services s", "rm s"]), ("secret", ["ls", "create s {f}/c.yml", "inspect s", "rm s"]),
    ("config", ["ls", "create c {f}/c.yml", "inspect c", "rm c"]),
    ("network", ["create -d overlay ov", "create -d overlay --ingress ov", "create --scope global gl"])])
def test_commands_of_a_swarm(docker, tmp_path, command, lines):
    (tmp_path / "c.yml").write_text("services: {a: {image: busybox}}\n")
    for line in lines:
        p = docker.cli(command, *line.replace("{f}", str(tmp_path)).split(), check=1)
        assert ('his node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again'
                in p.stderr), (line, p.stderr)


@pytest.mark.parametrize("words,said", [
    (["plugin", "inspect", "x", "y"], 'plugin "x" not found'), (["plugin", "enable", "x"], 'plugin "x" not found'),
    (["plugin", "disable", "x"], 'plugin "x" not found'), (["plugin", "rm", "-f", "x"], 'plugin "x" not found'),
    (["plugin", "set", "x", "a=b"], 'plugin "x" not found'), (["plugin", "push", "x"], 'plugin "x:latest" not found'),
    (["plugin", "upgrade", "x"], 'error reading plugin data: Error response from daemon: plugin "x" not found'),
    (["plugin", "ls", "-f", "bogus=x"], "nvalid filter 'bogus'"),
    (["plugin", "install", "127.0.0.1:1/x"], ("plugins are not supported by this engine", "127.0.0.1:1: connect: connection refused")),
    (["checkpoint", "ls", "x"], "only supported on a Docker daemon with experimental features enabled"),
    (["network", "create", "--ingress", "in"], "Ingress network can only be global scope network"),
    (["network", "create", "--scope", "swarm", "sc"], "cannot create a swarm scoped network when swarm is not active"),
    (["swarm", "unlock"], "This node is not part of a swarm"), (["ps", "--filter", "task=x"], "nvalid filter 'task'"),
    (["search", "--limit", "200", "x"], "imit 200 is outside the range of [1, 100]"), (["search", "-f", "bogus=x", "x"], "nvalid filter 'bogus'"),
    (["search", "-f", "stars=x", "x"], "nvalid filter 'stars=x'"), (["search", "-f", "is-official=x", "x"], "nvalid filter 'is-official=[x]'"),
    (["login", "-u", "a", "-p", "b", "127.0.0.1:1"], 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused')])
def test_what_this_engine_lacks(docker, words, said):
    assert (said if isinstance(said, str) else said[docker.name != "knarr"]) in docker.fails(*words)


def test_facts_by_format(docker):
    """Scripts ask for one of them."""
    d = docker
    assert d.out("info", "-f", "{{.Swarm.LocalNodeState}} {{.Driver}} {{.CgroupDriver}}") == "inactive overlay2 cgroupfs"
    assert json.loads(d.out("info", "-f", "{{json .Swarm}}")) == {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": False,
                                                                   "Error": "", "RemoteManagers": None}
    status = json.loads(d.out("info", "-f", "{{json .DriverStatus}}"))
    assert status[0][0] == "Backing Filesystem" and status[1:] == [["Supports d_type", "true"], ["Native Overlay Diff", "true"], ["userxattr", "false"]]
    v = json.loads(d.out("version", "-f", "json"))
    assert v["Server"]["Components"][0]["Name"] == "Engine" and v["Server"]["Components"][0]["Details"]["ApiVersion"] == v["Server"]["ApiVersion"]
    assert "can't evaluate field Bogus" in d.fails("info", "-f", "{{.Bogus}}") and json.loads(d.out("info", "-f", "json"))["OSType"] == "linux"
    assert d.out("system", "df", "--format", "{{.Type}}={{.Active}}").splitlines() == ["Images=0", "Containers=0", "Local Volumes=0", "Build Cache=0"]
    assert set(json.loads(d.out("system", "df", "-v", "--format", "json"))) == {"Images", "Containers", "Volumes", "BuildCache"}
    for words in (["network", "ls", "-q", "-f", "scope=swarm"], ["ps", "-q", "-f", "is-task=true"], ["events", "--until", "1", "-f", "type=service"]):
        assert d.out(*words) == ""


def test_buildkit_is_refused(knarr):
    for path in ("/session", "/grpc"):
        r = knarr.api("POST", path, headers={"Connection": "Upgrade", "Upgrade": "h2c"})
        assert r.status == 501 and "DOCKER_BUILDKIT=0 docker build" in r.message


def test_bad_requests(knarr):
    h = {"Content-Type": "application/json"}
    r = knarr.api("POST", "/auth", "{", headers=h)
    assert r.status == 400 and r.message == "invalid JSON: unexpected end of JSON input"
    r = knarr.api("POST", "/auth", "", headers=h)
    assert r.status == 400 and r.message == "invalid JSON: got EOF while reading request body"
    r = knarr.api("POST", "/auth", "{} {}", headers=h)
    assert r.status == 400 and r.message == "unexpected content after JSON"
    r = knarr.api("POST", "/auth", "{}", headers={"Content-Type": "text/plain"})
    assert r.status == 400 and r.message == "unsupported Content-Type header (text/plain): must be 'application/json'"
    assert knarr.api("POST", "/auth", b"{" + b" " * (5 << 20) + b"}", headers=h).status == 413
    assert knarr.api("GET", "/%00").status == 400 and knarr.api("GET", "/%zz").status == 400


def test_unknown_parameters_and_filters(knarr):
    assert knarr.api("GET", "/images/json?bogus=1").status == 200
    m = knarr.api("GET", "/metrics", version=None).body.decode()
    assert 'engine_unknown_parameters_total{route="/images/json",name="bogus"} 1' in m
    assert 'engine_requests_total{method="GET",route="/images/json",code="200"}' in m
    for f, words in (('{"bogus":["1"]}', "invalid filter 'bogus'"), ("{", "invalid filter"), ('{"dangling":["maybe"]}', "invalid filter 'dangling=[maybe]'"),
                     ('{"dangling":"true"}', "invalid filter")):
        r = knarr.api("GET", "/images/json?filters=" + f)
        assert (r.status, r.message) == (400, words)
    for f in ('{"dangling":["true"]}', '{"dangling":{"true":true}}', "{}", "null"):
        assert knarr.api("GET", "/images/json?filters=" + f).status == 200


def test_unknown_fields(knarr):
    """Passed over, as Docker does, and counted by document and name; what a version has is not."""
    knarr.cli(*import_words("fields:1"), stdin=BUSYBOX)
    assert knarr.api("POST", "/volumes/create", {"Name": "counted", "Driver": "local", "Bogus": 1}).status == 201
    r = knarr.api("POST", "/containers/create?name=counted", {"Image": "fields:1", "Misspelt": {}, "HostConfig": {"Memry": 5, "NetworkMode": "none"}})
    assert r.status == 201
    m = knarr.api("GET", "/metrics", version=None).body.decode()
    seen = sorted(l.split("name=")[1] for l in m.splitlines() if l.startswith("engine_unknown_fields_total{"))
    assert seen == ['"Bogus"} 1', '"Memry"} 1', '"Misspelt"} 1']
    knarr.cli("rm", "-f", "counted")
    knarr.cli("volume", "rm", "counted")


def test_events_words(docker):
    r = docker.api("GET", "/events?since=20&until=10")
    assert (r.status, r.message) == (400, "`since` time (20) cannot be after `until` time (10)")
    assert docker.api("GET", "/events?until=1").body == b""


def test_tls(make_knarr, tmp_path):
    certificates(tmp_path)
    port = free_port()
    k = make_knarr("--host", f"tcp://127.0.0.1:{port}", "--tlsverify", f"--tlscacert={tmp_path}/ca.pem", f"--tlscert={tmp_path}/server.pem",
                   f"--tlskey={tmp_path}/server.key")
    flags = ["--tlsverify", "--tlscacert", tmp_path / "ca.pem"]
    e = {"DOCKER_HOST": f"tcp://127.0.0.1:{port}"}
    assert "1.50" in k.out(*flags, "--tlscert", tmp_path / "client.pem", "--tlskey", tmp_path / "client.key", "version", env=e)
    assert k.cli("--tls", "--tlscacert", tmp_path / "ca.pem", "version", env=e, check=None).returncode != 0
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with pytest.raises((http.client.HTTPException, OSError)):
        plain.request("GET", "/_ping")
        plain.getresponse()
    assert k.out("version")


def test_passed_socket_settings_and_signals(folder):
    """A supervisor opens the socket; a file has the settings; SIGTERM ends in order, and SIGHUP nothing."""
    s = socket.socket(socket.AF_UNIX)
    s.bind(str(folder / "s.sock"))
    s.listen(10)
    (folder / "daemon.json").write_text(json.dumps({"registry-mirrors": ["http://127.0.0.1:9"], "insecure-registries": ["r.test:5000", "10.0.0.0/8"],
                                                      "labels": ["a=b"]}))
    p = subprocess.Popen(["/bin/bash", "-c", 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@" 3<&%d' % s.fileno(), KNARR, "engine", "--data-dir", folder / "d",
                          "--config-file", folder / "daemon.json", "--label", "c=d", "-p", folder / "pid"], pass_fds=[s.fileno()], env=ENV,
                         stderr=open(folder / "log", "wb"))
    try:
        c = UnixConnection(str(folder / "s.sock"))
        c.request("GET", "/info")
        i = json.loads(c.getresponse().read())
        assert i["Labels"] == ["a=b", "c=d"] and i["RegistryConfig"]["Mirrors"] == ["http://127.0.0.1:9"]
        assert i["RegistryConfig"]["InsecureRegistryCIDRs"] == ["::1/128", "127.0.0.0/8", "10.0.0.0/8"]
        assert i["RegistryConfig"]["IndexConfigs"]["r.test:5000"]["Secure"] is False
        assert (folder / "pid").read_text() == str(p.pid) and not (folder / "d/run/docker.sock").exists()
        p.send_signal(signal.SIGHUP)
        c.request("GET", "/_ping")
        assert c.getresponse().read() == b"OK"
    finally:
        p.terminate()
        assert p.wait(20 * SLOWER) == 0, (folder / "log").read_text()
    assert not (folder / "pid").exists()


@pytest.mark.parametrize("driver", ["systemd", "cgroupfs"])
def test_cgroup_driver(folder, driver):
    """Whom control groups are asked of, and info says so."""
    p = subprocess.Popen([KNARR, "engine", "--data-dir", folder / "d", "--host", f"unix://{folder}/s.sock", "--bridge", "none", "--exec-opt",
                          f"native.cgroupdriver={driver}"], env=ENV, stderr=open(folder / "log", "wb"))
    try:
        c = UnixConnection(str(folder / "s.sock"))

        def up():
            try:
                c.request("GET", "/info")
                return True
            except OSError:  # not there, or there and not listened at
                c.close()
                return False
        until(up)
        assert json.loads(c.getresponse().read())["CgroupDriver"] == driver
    finally:
        p.terminate()
        assert p.wait(20 * SLOWER) == 0, (folder / "log").read_text()


@pytest.mark.parametrize("words,said", [
    (["--bogus"], "unknown flag: --bogus"), (["-Z"], "unknown shorthand flag: 'Z' in -Z"), (["x"], '"engine" accepts no arguments: x'),
    (["--data-dir"], "flag needs an argument: --data-dir"), (["--data-dir", "rel"], "an absolute path is needed"),
    (["--data-dir", "FOLDER", "--host", "ftp://x"], "invalid bind address format: ftp://x"), (["--mtu", "x"], "strconv.ParseInt"),
    (["--data-dir", "FOLDER", "--registry-mirror", "x"], "invalid mirror: no scheme specified"), (["--log-level", "loud"], "unable to parse logging level: loud"),
    (["--data-dir", "FOLDER", "--storage-driver", "zfs"], "not supported"),
    (["--data-dir", "FOLDER", "--exec-opt", "native.x=y"], "exec-opts: unknown option native.x=y"),
    (["--data-dir", "FOLDER", "--tlsverify"], "TLS needs --tlscert")])
def test_command_line(folder, words, said):
    p = subprocess.run([KNARR, "engine", *(str(folder) if w == "FOLDER" else w for w in words)], capture_output=True, text=True, env=ENV, timeout=20 * SLOWER)
    assert p.returncode != 0 and said in p.stderr


def test_one_engine_a_folder(knarr):
    p = subprocess.run([KNARR, "engine", "--data-dir", knarr.data, "--host", f"unix://{knarr.dir}/other.sock"], capture_output=True, text=True, timeout=20 * SLOWER)
    assert p.returncode != 0 and "is open in another process" in p.stderr


def test_a_listener_goes_with_its_client(knarr):
    c = UnixConnection(knarr.sock)
    c.request("GET", "/events")
    r = c.getresponse()
    assert r.status == 200 and knarr.api("GET", "/info").json["NEventsListener"] == 1
    c.close()
    r.close()
    until(lambda: knarr.api("GET", "/info").json["NEventsListener"] == 0)
