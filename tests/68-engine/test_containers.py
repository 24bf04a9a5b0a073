"""Containers through the real client: the tour that people walk every day."""
import json
import os
import pty
import select
import socket
import time

import pytest
from conftest import *

NET = ["--network", "none"]  # what is about networks is in test_traffic.py

pytestmark = pytest.mark.usefixtures("busybox", "tidy")


def state(d, name):
    return json.loads(d.out("inspect", name))[0]["State"]


def test_run_output_and_status(docker):
    d = docker
    p = d.cli("run", "--rm", *NET, "busybox", "sh", "-c", "echo out; echo err >&2; exit 7", check=7)
    assert p.stdout == "out\n" and p.stderr == "err\n" and d.out("ps", "-aq") == ""
    assert d.out("run", "-i", "--rm", *NET, "busybox", "cat", stdin="hello\n") == "hello"
    big = b"x" * 3_000_000
    assert d.cli("run", "-i", "--rm", *NET, "busybox", "wc", "-c", stdin=big).stdout.strip() == "3000000"
    assert len(d.cli("run", "--rm", *NET, "busybox", "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' y").stdout) == 3_000_000


@pytest.mark.parametrize("program,status", [("/none", 127), ("none", 127), ("/etc", 126), ("/etc/passwd", 126)])
def test_a_program_that_cannot_run(docker, program, status):
    p = docker.cli("run", "--rm", *NET, "busybox", program, check=status)
    assert program in p.stderr and "Error response from daemon: " in p.stderr


def test_wait_for_a_start_that_failed(docker):
    """No exit has happened: next-exit goes on waiting, and what waits for the removal hears of no error."""
    d = docker
    p = d.cli("run", "--rm", *NET, "busybox", "nosuch", check=127)
    assert "Error waiting for container" not in p.stderr and len([x for x in p.stderr.splitlines() if "nosuch" in x]) == 1, p.stderr
    p = d.cli("run", *NET, "busybox", "nosuch", check=127)
    assert "Error waiting for container" not in p.stderr, p.stderr
    d.cli("create", "--name", "kept", *NET, "busybox", "nosuch")
    d.cli("create", "--name", "once", "--rm", *NET, "busybox", "nosuch")
    kept, once = d.waits("kept", "next-exit"), d.waits("once", "removed")
    for name in ("kept", "once"):
        assert d.api("POST", f"/containers/{name}/start").status == 400
    got = once.answer()
    assert got["StatusCode"] == 127 and not got.get("Error")
    assert not kept.answered(0.5)
    r = d.api("POST", "/containers/kept/wait").json
    assert r["StatusCode"] == 127 and "nosuch" in r["Error"]["Message"]
    d.cli("rm", "kept")
    got = kept.answer()
    assert got["StatusCode"] == 127 and not got.get("Error")


def test_run_words(docker):
    d = docker
    assert "Unable to find image 'nothing.test/none:latest' locally" in d.cli("run", "--rm", "nothing.test/none", check=125).stderr
    assert "No such image: none:latest" in d.fails("create", "--pull", "never", "none")
    d.cli("create", "--name", "taken", "busybox")
    id = d.out("inspect", "-f", "{{.Id}}", "taken")
    r = d.api("POST", "/containers/create?name=taken", {"Image": "busybox"})
    assert r.status == 409 and r.message == (f'Conflict. The container name "/taken" is already in use by container "{id}". '
                                             'You have to remove (or rename) that container to be able to reuse that name.')
    r = d.api("POST", "/containers/create?name=-bad", {"Image": "busybox"})
    assert r.status == 400 and r.message == "Invalid container name (-bad), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    for method, path in (("GET", "/containers/none/json"), ("POST", "/containers/none/start"), ("DELETE", "/containers/none"),
                         ("GET", "/containers/none/logs?stdout=1"), ("POST", "/containers/none/wait"), ("GET", "/containers/none/archive?path=/"),
                         ("GET", "/containers/none/stats"), ("GET", "/containers/none/export"), ("POST", "/containers/none/attach")):
        if d.name == "dockerd" and path.endswith(("attach", "export")):
            continue  # dockerd 20 answers these with text
        r = d.api(method, path)
        assert (r.status, r.message) == (404, "No such container: none"), path
    r = d.api("POST", "/containers/none/kill")
    assert (r.status, r.message.lower()) == (404, "cannot kill container: none: no such container: none")
    assert d.api("POST", "/containers/taken/start", "x" * 20, headers={"Content-Type": "text/plain"}).status == 400
    r = d.api("GET", "/containers/taken/logs")
    assert (r.status, r.message) == (400, "Bad parameters: you must choose at least one stream")


def test_life(docker):
    d = docker
    id = d.out("run", "-d", "--name", "life", *NET, "--label", "k=v", "busybox", "sleep", "1000")
    assert len(id) == 64 and state(d, "life")["Running"] and d.out("ps", "-q", "--no-trunc") == id
    assert d.api("POST", "/containers/life/start").status == 304
    assert "sleep 1000" in d.out("top", "life")
    d.cli("pause", "life")
    assert state(d, "life")["Status"] == "paused" and "(Paused)" in d.out("ps", "--format", "{{.Status}}")
    d.cli("unpause", "life")
    r = d.api("DELETE", "/containers/life")
    assert r.status == 409 and "You cannot remove a running container" in r.message or "container is running" in r.message
    d.cli("rename", "life", "other")
    assert d.out("ps", "--format", "{{.Names}}") == "other"
    d.cli("restart", "-t", "0", "other")
    assert state(d, "other")["Running"]
    d.cli("kill", "other")
    assert d.out("wait", "other") == "137" and state(d, "other")["ExitCode"] == 137
    assert d.out("ps", "-q") == "" and "Exited (137)" in d.out("ps", "-a", "--format", "{{.Status}}")
    assert d.api("POST", "/containers/other/stop").status == 304
    r = d.api("POST", "/containers/other/kill")
    assert r.status == 409 and "is not running" in r.message
    d.cli("start", "other")
    d.cli("stop", "-t", "1", "other")
    assert state(d, "other")["ExitCode"] == 137 and d.out("rm", "other") == "other"


def test_list_and_its_filters(docker):
    d = docker
    d.cli("run", "-d", "--name", "run1", "--label", "a=1", *NET, "busybox", "sleep", "100")
    d.cli("run", "--name", "gone3", "--label", "a=2", *NET, "busybox", "sh", "-c", "exit 3", check=3)
    d.cli("create", "--name", "made", "--label", "b", "--expose", "90", "busybox")

    def names(*f, all=True):
        return sorted(d.out("ps", *(["-a"] if all else []), "--format", "{{.Names}}", *[w for x in f for w in ("-f", x)]).split())
    assert names(all=False) == ["run1"] and names() == ["gone3", "made", "run1"]
    for f, want in (("status=created", ["made"]), ("status=exited", ["gone3"]), ("status=running", ["run1"]), ("exited=3", ["gone3"]), ("exited=4", []),
                    ("label=a", ["gone3", "run1"]), ("label=a=2", ["gone3"]), ("label=b", ["made"]), ("name=run", ["run1"]), ("name=^/made$", ["made"]),
                    ("ancestor=busybox", ["gone3", "made", "run1"]), ("ancestor=none", []), ("network=none", ["gone3", "run1"]),
                    ("before=made", ["gone3", "run1"]), ("since=run1", ["gone3", "made"]), ("health=none", ["gone3", "made", "run1"])):
        assert names(f) == want, f
    assert names("expose=90") == (["made"] if d.name == "knarr" else [])  # dockerd 20 looks at those that run
    assert d.out("ps", "-lq", "--no-trunc") == d.out("inspect", "-f", "{{.Id}}", "made") and len(d.out("ps", "-n", "2", "-q").split()) == 2
    assert "invalid filter 'bogus'" in d.fails("ps", "-f", "bogus=1").replace("Invalid", "invalid")
    assert d.api("GET", '/containers/json?filters={"status":["odd"]}').status == 400
    i = next(x for x in d.api("GET", "/containers/json?all=1").json if x["Names"] == ["/gone3"])
    assert i["Image"] == "busybox" and i["Command"] == "sh -c 'exit 3'" and i["State"] == "exited" and i["Labels"] == {"a": "2"}
    assert i["ImageID"].startswith("sha256:") and abs(i["Created"] - time.time()) < 60 and i["HostConfig"]["NetworkMode"] == "none" and "SizeRw" not in i


def test_logs(docker):
    d = docker
    d.cli("run", "--name", "logs", *NET, "busybox", "sh", "-c", "echo one; sleep 0.3; echo two >&2; sleep 1.2; echo three")
    p = d.cli("logs", "logs")
    assert p.stdout == "one\nthree\n" and p.stderr == "two\n"
    assert d.cli("logs", "--tail", "1", "logs").stdout == "three\n" and d.cli("logs", "--tail", "0", "logs").stdout == ""
    stamped = d.cli("logs", "-t", "logs").stdout.splitlines()
    assert stamped[0].endswith("Z one") and len(stamped[0].split()[0]) == 30
    since = stamped[1].split()[0]
    assert d.cli("logs", "--since", since, "logs").stdout == "three\n"
    assert d.cli("logs", "--until", stamped[0].split()[0], "logs").stdout == "one\n"
    assert d.cli("logs", "--details", "logs").stdout == " one\n three\n"
    r = d.api("GET", "/containers/logs/logs?stdout=1&stderr=1")
    assert r.body[:8] == b"\x01\0\0\0\0\0\0\x04" and r.body[8:12] == b"one\n"


def test_logs_follow(docker):
    d = docker
    d.cli("run", "-d", "--name", "follow", *NET, "busybox", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.3; done")
    assert d.cli("logs", "-f", "follow", timeout=20).stdout == "1\n2\n3\n"  # and it ends with the container


def test_terminal(docker):
    d = docker
    d.cli("run", "-d", "-t", "--name", "term", *NET, "busybox", "sh", "-c", "tty; echo err >&2; exit 3")
    assert d.out("wait", "term") == "3" and d.cli("logs", "term").stdout == "/dev/pts/0\r\nerr\r\n"


def terminal(d, *words):
    """The client on a pseudo terminal: process and master."""
    master, slave = pty.openpty()
    p = subprocess.Popen(["docker", *words], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                         env={**ENV, "DOCKER_HOST": f"unix://{d.sock}", "DOCKER_CONFIG": str(d.dir / "cli"), "TERM": "dumb"})
    os.close(slave)
    return p, master


def read_until(fd, text, seconds=15):
    out, end = b"", time.monotonic() + seconds * SLOWER
    os.set_blocking(fd, False)
    while text not in out and time.monotonic() < end:
        try:
            out += os.read(fd, 4096)
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:
            break
    assert text in out, out
    return out


def test_a_person_at_a_terminal(docker):
    d = docker
    p, fd = terminal(d, "run", "-it", "--name", "shell", *NET, "busybox", "sh")
    try:
        read_until(fd, b"/ #")
        os.write(fd, b"echo a$((40+2))b\n")
        read_until(fd, b"a42b")
        os.write(fd, b"\x10\x11")  # ctrl-p ctrl-q
        assert p.wait(15 * SLOWER) == 0 and state(d, "shell")["Running"]
    finally:
        p.kill()
        os.close(fd)
    p, fd = terminal(d, "attach", "shell")
    try:
        time.sleep(0.3)
        os.write(fd, b"echo again$((1+1)); exit 5\n")
        read_until(fd, b"again2")
        assert p.wait(15 * SLOWER) == 5
    finally:
        p.kill()
        os.close(fd)


def test_attach_and_half_close(docker):
    d = docker
    d.cli("create", "-i", "--name", "half", *NET, "busybox", "sh", "-c", "wc -c; echo done")
    p = subprocess.Popen(["docker", "start", "-ai", "half"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**ENV, "DOCKER_HOST": f"unix://{d.sock}"})
    out, _ = p.communicate(b"12345", timeout=20 * SLOWER)
    assert out == b"5\ndone\n" and p.returncode == 0


def test_attach_by_hand(docker):
    d = docker
    d.cli("run", "-d", "--name", "hand", *NET, "busybox", "sh", "-c", "echo early; sleep 0.5; echo late; echo bad >&2")
    time.sleep(0.2)
    for upgrade, first in ((True, b"HTTP/1.1 101"), (False, b"HTTP/1.1 200")):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(20 * SLOWER)
        s.connect(d.sock)
        s.sendall(b"POST /v1.41/containers/hand/attach?logs=1&stream=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\n" +
                  (b"Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else b"") + b"\r\n")
        data = b""
        while chunk := s.recv(4096):
            data += chunk
            if b"bad" in data and b"late" in data:  # dockerd copies the two streams independently
                break
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(first) and b"application/vnd.docker.raw-stream" in head
        assert (b"upgrade: tcp" in head.lower()) == upgrade
        assert body.startswith(b"\x01\0\0\0\0\0\0\x06early\n") and b"\x01\0\0\0\0\0\0\x05late\n" in body and b"\x02\0\0\0\0\0\0\x04bad\n" in body
        s.close()


def test_exec(docker):
    d = docker
    d.cli("run", "-d", "--name", "box", *NET, "busybox", "sleep", "1000")
    p = d.cli("exec", "box", "sh", "-c", "echo out; echo err >&2; exit 9", check=9)
    assert p.stdout == "out\n" and p.stderr == "err\n"
    assert d.out("exec", "-i", "box", "cat", stdin="in") == "in"
    assert d.out("exec", "-w", "/tmp", "-e", "A=b", "-u", "user", "box", "sh", "-c", "pwd; echo $A; id -un") == "/tmp\nb\nuser"
    assert "/dev/pts/" in d.cli("exec", "-t", "box", "tty").stdout
    p = d.cli("exec", "box", "/none", check=None)
    assert p.returncode in (126, 127) and "/none" in p.stdout + p.stderr
    d.cli("exec", "-d", "box", "touch", "/tmp/made")
    until(lambda: d.cli("exec", "box", "ls", "/tmp/made", check=None).returncode == 0)
    r = d.api("POST", "/containers/box/exec", {"Cmd": ["sleep", "100"], "AttachStdout": True})
    assert r.status == 201
    i = d.api("GET", f"/exec/{r.json['Id']}/json").json
    assert i["Running"] is False and i["ContainerID"] == d.out("inspect", "-f", "{{.Id}}", "box") and i["ProcessConfig"]["entrypoint"] == "sleep"
    assert d.api("POST", f"/exec/{r.json['Id']}/start", {"Detach": True}).status == 200
    until(lambda: d.api("GET", f"/exec/{r.json['Id']}/json").json["Running"])
    r = d.api("POST", "/containers/box/exec", {"Cmd": []})
    assert (r.status, r.message) == (400, "No exec command specified")
    assert d.api("GET", "/exec/none/json").status == 404
    d.cli("stop", "-t", "0", "box")
    r = d.api("POST", "/containers/box/exec", {"Cmd": ["true"]})
    assert r.status == 409 and "is not running" in r.message


def test_the_head_of_an_exec_comes_alone(docker):
    """docker-py reads it through a buffer, and what follows from below that buffer: output that came with the head was lost to it (0855)."""
    d = docker
    d.cli("run", "-d", "--name", "box", *NET, "busybox", "sleep", "1000")
    alone, end = 0, time.monotonic() + 60 * SLOWER
    while alone < 10:
        assert time.monotonic() < end, f"only {alone} were read in time"
        id = d.api("POST", "/containers/box/exec", {"Cmd": ["echo", "word"], "AttachStdout": True, "Tty": True}).json["Id"]
        body = json.dumps({"Tty": True}).encode()
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(d.sock)
            s.settimeout(20 * SLOWER)
            s.sendall(f"POST /exec/{id}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                      f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            before = time.monotonic()
            while not select.select([s], [], [], 0.001)[0]:
                before = time.monotonic()
            time.sleep(0.01)
            first = s.recv(65536)
            # 50 ms after the head nobody is waited for: on a busy machine that is over before we come.
            if time.monotonic() - before < 0.03:
                assert first.endswith(b"\r\n\r\n"), first
                alone += 1
            rest = b"".join(iter(lambda: s.recv(65536), b""))
            assert first.startswith(b"HTTP/1.1 101 ") and (first + rest).endswith(b"word\r\n")
    d.cli("rm", "-f", "box")


@pytest.mark.parametrize("kind", ["exec", "attach"])
def test_a_slow_reader_loses_nothing(docker, kind):
    """The program's input is closed while everything between it and its reader is full of output."""
    d, command = docker, ["sh", "-c", "head -c 8000000 /dev/zero; cat; echo end"]
    d.cli("run", "-d", "--name", "slow", *NET, "busybox", "sleep", "1000") if kind == "exec" else \
        d.cli("create", "-i", "--name", "slow", *NET, "busybox", *command)
    words = ["exec", "-i", "slow", *command] if kind == "exec" else ["start", "-ai", "slow"]
    p = subprocess.Popen(["docker", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**ENV, "DOCKER_HOST": f"unix://{d.sock}"})
    time.sleep(1.5)
    p.stdin.write(b"said")
    p.stdin.close()
    time.sleep(0.5)
    data = p.stdout.read()
    assert p.wait(20 * SLOWER) == 0
    d.cli("rm", "-f", "slow")
    assert (len(data), data[-8:]) == (8000008, b"saidend\n")


@pytest.mark.parametrize("words", [["stop", "-t", "1"], ["rm", "-f"], ["restart", "-t", "0"], ["stop", "-s", "KILL", "-t", "300"]])
def test_a_stop_that_waits_is_overtaken(docker, words):
    d = docker
    if "-s" in words and (d.name == "dockerd" or "--signal" not in d.out("stop", "--help")):
        pytest.skip("stop --signal came with API 1.42")
    d.cli("run", "-d", "--name", "deaf", *NET, "busybox", "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    time.sleep(0.3)
    for first in (["stop", "-t", "600"], ["stop", "-t", "-1"]):
        since = f"{time.time():.6f}"
        p = subprocess.Popen(["docker", *first, "deaf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             env={**ENV, "DOCKER_HOST": f"unix://{d.sock}"})
        # Its signal was sent.
        until(lambda: [x for x in d.api("GET", f"/events?since={since}&until={time.time():.6f}&filters=" + '{"container":["deaf"],"event":["kill"]}').lines])
        assert p.poll() is None
        began = time.monotonic()
        d.cli(*words, "deaf")
        assert time.monotonic() - began < 10 * SLOWER
        p.wait(10 * SLOWER)
        if words[0] == "rm":
            return
        d.cli("start", "deaf")
        time.sleep(0.3)
    d.cli("rm", "-f", "deaf")


def test_wait_conditions(docker):
    d = docker
    d.cli("create", "--name", "waits", *NET, "busybox", "sh", "-c", "exit 4")
    exits, removed = (d.waits("waits", c) for c in ("next-exit", "removed"))
    d.cli("start", "waits")
    assert exits.answer()["StatusCode"] == 4 and not removed.answered()
    assert d.api("POST", "/containers/waits/wait").json["StatusCode"] == 4
    d.cli("rm", "waits")
    assert removed.answer()["StatusCode"] == 4
    assert d.api("POST", "/containers/waits/wait?condition=odd").status in (400, 404)


def test_inspect(docker):
    d = docker
    d.cli("create", "--name", "look", "-e", "A=1", "-w", "/tmp", "-u", "user", "--hostname", "host1", "--memory", "64m", "--restart", "on-failure:3", "--cap-add",
          "NET_ADMIN", "--read-only", *NET, "--entrypoint", "sh", "--stop-signal", "INT", "busybox", "-c", "true")
    i = json.loads(d.out("inspect", "look"))[0]
    assert i["Name"] == "/look" and i["Path"] == "sh" and i["Args"] == ["-c", "true"] and i["State"]["Status"] == "created" and i["RestartCount"] == 0
    c, h = i["Config"], i["HostConfig"]
    assert "A=1" in c["Env"] and c["WorkingDir"] == "/tmp" and c["User"] == "user" and c["Hostname"] == "host1" and c["StopSignal"] == "INT"
    assert c["Entrypoint"] == ["sh"] and c["Cmd"] == ["-c", "true"] and c["Image"] == "busybox"
    assert h["Memory"] == 64 << 20 and h["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3} and h["ReadonlyRootfs"] is True
    assert h["CapAdd"] in (["NET_ADMIN"], ["CAP_NET_ADMIN"]) and h["NetworkMode"] == "none" and h["LogConfig"]["Type"] == "json-file"
    n = i["NetworkSettings"]
    assert n["IPAddress"] == "" and n["SecondaryIPAddresses"] is None and n["Bridge"] == ""
    old = d.api("GET", "/containers/look/json", version="v1.24").json
    assert old["Name"] == "/look" and "Annotations" not in old["HostConfig"]


def test_update_and_auto_remove(docker):
    d = docker
    d.cli("run", "-d", "--name", "up", *NET, "--memory", "64m", "--memory-swap", "64m", "busybox", "sleep", "100")
    d.cli("update", "--memory", "32m", "--memory-swap", "32m", "--restart", "always", "up")
    i = json.loads(d.out("inspect", "up"))[0]
    assert i["HostConfig"]["Memory"] == 32 << 20 and i["HostConfig"]["RestartPolicy"]["Name"] == "always"
    d.cli("run", "-d", "--rm", "--name", "auto", *NET, "busybox", "true")
    until(lambda: "auto" not in d.out("ps", "-a", "--format", "{{.Names}}"))


def test_events_of_a_life(docker):
    d = docker
    start = time.time()
    d.cli("run", "--name", "ev", "--label", "l=1", *NET, "busybox", "sh", "-c", "exit 2", check=2)
    d.cli("rm", "ev")
    r = d.api("GET", f"/events?since={start:.6f}&until={time.time():.6f}&filters=" + '{"container":["ev"]}').lines
    assert [x["Action"] for x in r] == ["create", "attach", "start", "die", "destroy"]
    die = next(x for x in r if x["Action"] == "die")
    assert die["Type"] == "container" and die["from"] == "busybox" and die["Actor"]["Attributes"]["exitCode"] == "2"
    assert die["Actor"]["Attributes"]["name"] == "ev" and die["Actor"]["Attributes"]["l"] == "1"


def test_image_in_use(docker):
    d = docker
    d.cli("run", "-d", "--name", "user", *NET, "busybox", "sleep", "100")
    id = d.out("inspect", "-f", "{{.Image}}", "user")
    short = d.out("inspect", "-f", "{{.Id}}", "user")[:12]
    assert f"conflict: unable to remove repository reference \"busybox:latest\" (must force) - container {short} is using its referenced image" \
        in d.fails("rmi", "busybox:latest") or "is using" in d.fails("rmi", "busybox:latest")
    assert "cannot be forced" in d.fails("rmi", "-f", id[7:19])


def test_containers_outlive_the_engine(make_knarr):
    k = make_knarr()
    import_busybox(k)
    k.cli("run", "-d", "--name", "stays", *NET, "busybox", "sh", "-c", "i=0; while sleep 0.2; do echo $((i=i+1)); done")
    k.cli("run", "-d", "--name", "ends", *NET, "busybox", "sh", "-c", "sleep 1; exit 6")
    pid = state(k, "stays")["Pid"]
    for sig in (signal.SIGTERM, signal.SIGKILL):
        k.stop(sig)
        assert os.path.exists(f"/proc/{pid}")
        time.sleep(1)
        k.start()
        assert state(k, "stays")["Pid"] == pid and state(k, "stays")["Running"]
    until(lambda: not state(k, "ends")["Running"])
    assert state(k, "ends")["ExitCode"] == 6
    before = len(k.cli("logs", "stays").stdout.splitlines())
    until(lambda: len(k.cli("logs", "stays").stdout.splitlines()) > before)
    k.cli("rm", "-f", "stays", "ends")
    assert not os.path.exists(f"/proc/{pid}")


def test_attach_by_websocket(docker):
    websockets = pytest.importorskip("websockets")
    import asyncio
    d = docker
    d.cli("create", "-i", "--name", "wsx", *NET, "busybox", "cat")
    d.cli("start", "wsx")

    async def talk():
        address = "ws://localhost/v1.41/containers/wsx/attach/ws?stream=1&stdin=1&stdout=1&stderr=1"
        async with websockets.unix_connect(d.sock, uri=address) as ws:
            await ws.send(b"typed\n")
            return await asyncio.wait_for(ws.recv(), 20 * SLOWER)
    assert asyncio.run(talk()) == b"typed\n" and d.cli("logs", "wsx").stdout == "typed\n"
    assert d.api("GET", "/containers/wsx/attach/ws").status == 400
