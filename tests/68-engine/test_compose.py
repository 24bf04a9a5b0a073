"""Programs that are pointed at a Docker socket and are not the docker client: Debian's docker-compose (1.29) and skopeo, npm's testcontainers."""
import json
import os
import shutil
import subprocess
import time

import pytest
from conftest import *

ASIDE = pathlib.Path(os.environ.get("KNARR_NPM", pathlib.Path.home() / ".cache/knarr-npm"))

FILE = """
version: "3.9"
services:
  db:
    image: busybox
    command: sh -c "sleep 0.5; touch /tmp/ready; echo db up; exec sleep 10000"
    stop_grace_period: 0s
    healthcheck: {test: ["CMD", "test", "-f", "/tmp/ready"], interval: 300ms, timeout: 5s, retries: 50, start_period: 30s}
    volumes: ["dbdata:/data", "./cfg:/cfg:ro", "/scratch"]
    networks:
      back: {aliases: [database], ipv4_address: 172.28.5.10}
    restart: unless-stopped
    ulimits: {nofile: {soft: 1000, hard: 2000}}
    sysctls: {net.core.somaxconn: 512}
    labels: {a.b: LABEL}
  web:
    build: {context: web, args: {WHO: world}, labels: {built: "yes"}, target: final}
    image: composed:1
    stop_grace_period: 0s
    depends_on: {db: {condition: service_healthy}}
    env_file: [e.env]
    environment: [X=1, "Y=two words"]
    ports: ["127.0.0.1::80"]
    networks: [back, front]
    secrets: [tok]
    extra_hosts: ["far:192.0.2.4"]
    tmpfs: ["/x:size=1m,mode=700"]
    init: true
    pid: host
    deploy: {resources: {limits: {cpus: "0.5", memory: 64M}}}
    hostname: webhost
    user: "1000:1000"
    working_dir: /tmp
    read_only: true
  job:
    image: busybox
    command: sh -c "nslookup database | grep -c 172.28.5.10; exit 3"
    networks: [back]
    depends_on: [db]
  tool:
    image: busybox
    profiles: [debug]
    command: echo tool
    network_mode: none
networks:
  front: {}
  back:
    internal: true
    ipam: {config: [{subnet: 172.28.0.0/16, ip_range: 172.28.5.0/24, gateway: 172.28.5.254}]}
volumes: {dbdata: {labels: {v: w}}}
secrets: {tok: {file: ./tok}}
"""
DOCKERFILE = """FROM busybox AS base
ARG WHO=nobody
RUN echo hello $WHO > /index
FROM base AS final
COPY . /src/
VOLUME /keep
CMD ["sh","-c","echo web up; exec sleep 10000"]
FROM base AS other
RUN false
"""


class Project:
    def __init__(self, d, folder):
        self.d, self.folder, self.name = d, folder, "pc"
        for path, text in (("web/Dockerfile", DOCKERFILE), ("web/.dockerignore", "*.o\n!keep.o\n"), ("web/a.o", ""), ("web/keep.o", ""),
                           ("cfg/x", "hi\n"), ("tok", "secret\n"), ("e.env", 'E1=one\n# a comment\nE2=two\n')):
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text)
        self.write("c")

    def write(self, label):
        (self.folder / "docker-compose.yml").write_text(FILE.replace("LABEL", label))

    def __call__(self, *words, check=0):
        env = {**ENV, "DOCKER_HOST": f"unix://{self.d.sock}", "DOCKER_CONFIG": str(self.d.dir / "cli"), "COMPOSE_PROJECT_NAME": self.name}
        # As somebody on the daemon's host would type it: it has a network namespace of its own.
        inside = [w.format(self.d.process.pid) for w in self.d.inside]
        p = subprocess.run([*inside, "docker-compose", "--ansi", "never", *words], cwd=self.folder, env=env, capture_output=True, text=True,
                           timeout=120 * SLOWER, stdin=subprocess.DEVNULL)
        assert check is None or p.returncode == check, (words, p.returncode, p.stdout, p.stderr, self.d.tail())
        return p

    def out(self, *words):
        return self(*words).stdout.strip()


@pytest.fixture
def project(bridged, tmp_path):
    if not shutil.which("docker-compose"):
        pytest.skip("docker-compose is not installed (packages/test)")
    import_busybox(bridged)
    p = Project(bridged, tmp_path)
    yield p
    p("--profile", "debug", "down", "-v", "--remove-orphans", "-t", "0", check=None)


def test_compose_up_and_down(bridged, project):
    d, p = bridged, project
    assert "Successfully tagged composed:1" in p("build").stdout
    made = p("up", "-d").stderr
    assert made.index("Creating pc_db_1") < made.index("Creating pc_web_1") and "Creating pc_tool_1" not in made
    assert d.out("inspect", "-f", "{{.State.Health.Status}}", "pc_db_1") == "healthy"  # before web was made
    assert p.out("exec", "-T", "web", "sh", "-c", "cat /run/secrets/tok /index; ls /src; echo $E1 $E2 $X $Y; id -u; pwd; hostname; grep far /etc/hosts").split(
        "\n") == ["secret", "hello world", "Dockerfile", "keep.o", "one two 1 two words", "1000", "/tmp", "webhost", "192.0.2.4\tfar"]
    assert p("exec", "-T", "web", "touch", "/no", check=1).stderr.strip() == "touch: /no: Read-only file system"
    assert "docker-init" not in d.out("top", "pc_web_1")  # among the host's processes it would be nobody's first
    assert p.out("exec", "-T", "db", "sh", "-c", "ulimit -n; cat /proc/sys/net/core/somaxconn; cat /cfg/x").split() == ["1000", "512", "hi"]
    assert p.out("port", "web", "80").startswith("127.0.0.1:")
    assert p.out("logs", "--no-color", "db").splitlines()[-1].split() == ["db_1", "|", "db", "up"]
    assert sorted(p.out("ps", "--services").split()) == ["db", "job", "tool", "web"]
    until(lambda: d.out("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "pc_job_1") == "exited 3")
    assert int(d.out("logs", "pc_job_1")) >= 1
    assert p.out("run", "--rm", "-T", "tool") == "tool"
    assert p("run", "--rm", "-T", "--no-deps", "job", "sh", "-c", "exit 5", check=5).stdout == ""
    p("up", "-d", "--scale", "job=3")
    assert len(p.out("ps", "-q", "job").split()) == 3
    p("stop", "-t", "0", "web"), p("start", "web"), p("restart", "-t", "0", "db"), p("pause", "db"), p("unpause", "db")
    p("down", "-v", "--rmi", "local", "-t", "0")
    assert d.out("ps", "-aq") == "" and d.out("volume", "ls", "-q") == ""
    assert [x for x in d.out("network", "ls", "--format", "{{.Name}}").split() if x.startswith("pc_")] == []


def test_compose_makes_anew_and_keeps(bridged, project):
    """A service that changed is made anew: volumes stay its own, those without a name too. docker-compose speaks the engine's newest
    version of the API without knowing it, and wants of an image what that has no more (0854)."""
    d, p = bridged, project
    p("build"), p("up", "-d")
    first = d.out("inspect", "-f", "{{.Id}}", "pc_db_1")
    for c, path in (("db", "/data/kept"), ("db", "/scratch/kept")):
        p("exec", "-T", c, "touch", path)
    d.cli("exec", "-u", "0", "pc_web_1", "touch", "/keep/kept")
    p("up", "-d")
    assert d.out("inspect", "-f", "{{.Id}}", "pc_db_1") == first
    p.write("d")
    made = p("up", "-d").stderr
    assert "Recreating pc_db_1 ... done" in made and d.out("inspect", "-f", '{{index .Config.Labels "a.b"}}', "pc_db_1") == "d"
    assert d.out("inspect", "-f", "{{.Id}}", "pc_db_1") != first
    p("up", "-d", "--force-recreate", "--no-deps", "web")
    p("exec", "-T", "db", "ls", "/data/kept", "/scratch/kept"), p("exec", "-T", "web", "ls", "/keep/kept")
    assert sorted(d.out("ps", "-a", "--format", "{{.Names}}").split()) == ["pc_db_1", "pc_job_1", "pc_web_1"]
    i = d.api("GET", "/containers/pc_web_1/json").json
    assert sorted(i["NetworkSettings"]["Networks"]) == ["pc_back", "pc_front"]
    assert i["HostConfig"]["NetworkMode"] in ("pc_back", "pc_front")  # although it has left and joined it again
    assert d.api("GET", "/containers/pc_db_1/json").json["NetworkSettings"]["Networks"]["pc_back"]["IPAddress"] == "172.28.5.10"


def test_compose_push_and_pull(knarr, registry, tmp_path):
    if not shutil.which("docker-compose"):
        pytest.skip("docker-compose is not installed (packages/test)")
    import_busybox(knarr)
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo x > /x\n")
    (tmp_path / "docker-compose.yml").write_text(f"version: '3'\nservices: {{a: {{build: ., image: '{registry}/composed:1'}}}}\n")
    env = {**ENV, "DOCKER_HOST": f"unix://{knarr.sock}", "DOCKER_CONFIG": str(knarr.dir / "cli")}
    for words in (["build"], ["push"], None, ["pull"]):
        if not words:
            knarr.cli("rmi", "-f", f"{registry}/composed:1")
            continue
        p = subprocess.run(["docker-compose", *words], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60 * SLOWER)
        assert p.returncode == 0, p.stdout + p.stderr
    assert knarr.out("run", "--rm", "--network", "none", f"{registry}/composed:1", "cat", "/x") == "x"


# ---- what stood behind it

def post(d, path, body, status):
    r = d.api("POST", path, body, version="v1.41")
    assert r.status == status, r.body
    return r


def nets(d, name):
    i = d.api("GET", f"/containers/{name}/json", version="v1.41").json
    return i["HostConfig"]["NetworkMode"], sorted(i["NetworkSettings"]["Networks"])


def test_networks_of_a_container_at_rest(bridged):
    """Who creates by the API names no endpoints: the mode's network is one of them when another comes. Who left all has none at its next
    start, and can be connected then."""
    d = bridged
    import_busybox(d)
    d.cli("network", "create", "na")
    try:
        post(d, "/containers/create?name=rest", {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "bridge"}}, 201)
        d.cli("network", "connect", "na", "rest")
        assert nets(d, "rest") == ("bridge", ["bridge", "na"])
        d.cli("start", "rest")
        assert nets(d, "rest") == ("bridge", ["bridge", "na"])
        began = str(time.time())
        for n in ("na", "bridge"):
            d.cli("network", "disconnect", n, "rest")
        assert nets(d, "rest") == ("bridge", [])
        d.cli("restart", "-t", "0", "rest")
        assert nets(d, "rest") == ("bridge", []) and d.out("exec", "rest", "ls", "/sys/class/net") == "lo"
        d.cli("network", "connect", "na", "rest")
        assert nets(d, "rest") == ("bridge", ["na"])
        d.cli("stop", "-t", "0", "rest")
        d.cli("network", "disconnect", "na", "rest")
        d.cli("network", "connect", "bridge", "rest")
        assert nets(d, "rest") == ("bridge", ["bridge"])
        time.sleep(0.1)
        told = d.out("events", "--since", began, "--until", str(time.time()), "-f", "type=network", "--format", "{{.Action}} {{.Actor.Attributes.name}}")
        # dockerd tells of those that left while it ran twice
        told = told.splitlines() if d.name == "knarr" else [x for n, x in enumerate(told.splitlines()) if not n or x != told.splitlines()[n - 1]]
        wanted = ["disconnect na", "disconnect bridge", "connect na", "disconnect na"]
        assert told == wanted + ["disconnect na"] * (d.name == "knarr"), told
        d.cli("rm", "rest")
        d.cli("create", "--name", "rest", "--network", "none", "busybox")
        assert "multiple networks with one of the networks in private (none) mode" in d.fails("network", "connect", "na", "rest")
    finally:
        d.cli("rm", "-f", "rest", check=None), d.cli("network", "rm", "na")


def test_ports_of_internal_networks(bridged):
    d = bridged
    import_busybox(d)
    d.cli("network", "create", "--internal", "ni"), d.cli("network", "create", "ne")
    try:
        port = free_port()
        d.cli("run", "-d", "--name", "inner", "--network", "ni", "-p", f"127.0.0.1:{port}:80", "--expose", "81", "busybox", "sleep", "1000")
        assert d.api("GET", "/containers/inner/json").json["NetworkSettings"]["Ports"] == {} and d.out("port", "inner") == ""
        d.cli("network", "connect", "ne", "inner")
        assert d.out("port", "inner") == f"80/tcp -> 127.0.0.1:{port}"
    finally:
        d.cli("rm", "-f", "inner", check=None), d.cli("network", "rm", "ni", "ne")


def test_what_was_not_said_is_there(docker):
    """Programs take the members of Docker's types for granted."""
    import_busybox(docker)
    post(docker, "/containers/create?name=least", {"Image": "busybox"}, 201)
    try:
        i = docker.api("GET", "/containers/least/json", version="v1.41").json
        h, c = i["HostConfig"], i["Config"]
        assert (h["Privileged"], h["Memory"], h["PidMode"], h["Devices"], h["CapAdd"], h["AutoRemove"], h["ConsoleSize"]) == (
            False, 0, "", None, None, False, [0, 0])
        assert (h["Links"], h["Binds"], c["User"], c["Tty"], c["Volumes"], c["OnBuild"], c["Labels"]) == (None, None, "", False, None, None, {})
        assert not {"Init", "Mounts", "Tmpfs", "Sysctls", "Annotations"} & set(h) and not {"NetworkDisabled", "StopSignal", "Shell"} & set(c)
        data = i["GraphDriver"]["Data"]
        assert os.path.isdir(data["UpperDir"]) and os.path.isdir(data["WorkDir"]) and os.path.isfile(data["LowerDir"].split(":")[-1] + "/bin/busybox")
        docker.cli("start", "least")
        assert data["MergedDir"].startswith("/")
    finally:
        docker.cli("rm", "-f", "least", check=None)


def test_a_check_waits_no_longer_than_its_interval(docker):
    """In the start period too: 5 seconds are what one waits there who has nothing shorter (0854)."""
    import_busybox(docker)
    docker.cli("run", "-d", "--name", "soon", "--network", "none", "--health-cmd", "true", "--health-interval", "200ms", "--health-start-period", "30s",
               "busybox", "sleep", "1000")
    try:
        until(lambda: docker.out("inspect", "-f", "{{.State.Health.Status}}", "soon") == "healthy", 4)
    finally:
        docker.cli("rm", "-f", "soon")


def test_standard_input_that_stays(docker):
    """Without StdinOnce a client that closes its half leaves, and the next one writes on."""
    d = docker
    import_busybox(d)
    d.cli("run", "-di", "--name", "stays", "--network", "none", "busybox", "sh", "-c", "while read l; do echo got $l; done; echo end")
    try:
        for word in ("one", "two"):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(20 * SLOWER)
                s.connect(d.sock)
                s.sendall(b"POST /v1.41/containers/stays/attach?stdin=1&stdout=1&stream=1 HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\n"
                          b"Connection: Upgrade\r\n\r\n")
                got = b""
                while b"\r\n\r\n" not in got:
                    got += s.recv(4096)
                s.sendall(word.encode() + b"\n")
                while f"got {word}\n".encode() not in got:
                    got += s.recv(4096)
                s.shutdown(socket.SHUT_WR)
                assert s.recv(4096) == b""
        assert d.out("inspect", "-f", "{{.State.Running}}", "stays") == "true" and d.out("logs", "stays") == "got one\ngot two"
    finally:
        d.cli("rm", "-f", "stays")


# ---- skopeo

def skopeo(*words, check=0):
    p = subprocess.run(["skopeo", "--insecure-policy", *map(str, words)], capture_output=True, text=True, timeout=60 * SLOWER, env=ENV)
    assert check is None or p.returncode == check, (words, p.stdout, p.stderr)
    return p


def test_skopeo(docker, registry, tmp_path):
    """docker-daemon: both ways. Its library says API 1.22."""
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed (packages/test)")
    d, host = docker, f"unix://{docker.sock}"
    import_busybox(d)
    (tmp_path / "Dockerfile").write_text("FROM busybox\nLABEL a=b\nCOPY Dockerfile /x\nENV Q=1\nVOLUME /v\nEXPOSE 80\n")
    d.cli("build", "-q", "-t", "skt:1", tmp_path, env={"DOCKER_BUILDKIT": "0"})
    i = json.loads(skopeo("inspect", "--daemon-host", host, "docker-daemon:skt:1").stdout)
    assert i["Labels"] == {"a": "b"} and len(i["Layers"]) == 2 and i["Env"][-1] == "Q=1"
    c = json.loads(skopeo("inspect", "--config", "--daemon-host", host, "docker-daemon:skt:1").stdout)
    assert c["config"]["Volumes"] == {"/v": {}} and c["config"]["ExposedPorts"] == {"80/tcp": {}} and len(c["history"]) == 6
    places = [f"dir:{tmp_path}/dir", f"oci:{tmp_path}/oci:tag", f"docker-archive:{tmp_path}/a.tar:skt:9", f"docker://{registry}/skt:1"]
    for where in places:
        skopeo("copy", "-q", "--dest-tls-verify=false", "--src-daemon-host", host, "docker-daemon:skt:1", where)
    made = d.out("inspect", "-f", "{{.Id}}", "skt:1")
    d.cli("rmi", "-f", "skt:1")
    for n, where in enumerate(places):
        source = where if not where.startswith("docker-archive") else f"docker-archive:{tmp_path}/a.tar"
        skopeo("copy", "-q", "--src-tls-verify=false", "--dest-daemon-host", host, source, f"docker-daemon:sk:{n}")
    ids = {d.out("inspect", "-f", "{{.Id}}", f"sk:{n}") for n in (0, 2, 3)}
    assert ids == {made}
    assert d.out("run", "--rm", "--network", "none", "sk:1", "sh", "-c", "wc -l < /x; echo $Q; ls -d /v").split() == ["6", "1", "/v"]
    why = skopeo("copy", "--src-daemon-host", host, "docker-daemon:nosuch:1", f"dir:{tmp_path}/no", check=1).stderr
    assert ("No such image: nosuch:1" if d.name == "knarr" else "reference does not exist") in why and "{" not in why
    d.cli("rmi", "-f", *ids, d.out("inspect", "-f", "{{.Id}}", "sk:1"))
