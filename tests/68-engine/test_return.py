"""What an engine that returns still knows, and the words and small print that scripts rely on."""
import json
import time

import pytest
from conftest import *

NET = ("--network", "none")


@pytest.fixture
def k(make_knarr):
    k = make_knarr()
    import_busybox(k)
    yield k
    left = k.out("ps", "-aq", check=None).split()
    if left:
        k.cli("rm", "-fv", *left, check=None)


def test_execs_are_found_again(k):
    k.cli("run", "-d", "--name", "box", *NET, "busybox", "sleep", "1000")
    k.cli("exec", "-d", "box", "sh", "-c", "sleep 999; exit 3")
    ids = lambda: k.api("GET", "/containers/box/json").json["ExecIDs"]
    until(lambda: ids() and k.api("GET", f"/exec/{ids()[0]}/json").json["Pid"])
    (id,), pid = ids(), k.api("GET", f"/exec/{ids()[0]}/json").json["Pid"]
    k.stop(signal.SIGKILL)
    k.start()
    assert ids() == [id]
    i = k.api("GET", f"/exec/{id}/json").json
    assert i["Running"] is True and i["Pid"] == pid and i["ExitCode"] is None and i["ProcessConfig"]["entrypoint"] == "sh"
    assert i["ContainerID"] == k.out("inspect", "-f", "{{.Id}}", "box")
    start = time.time()
    os.kill(pid, signal.SIGKILL)
    until(lambda: k.api("GET", f"/exec/{id}/json").json["ExitCode"] is not None)
    i = k.api("GET", f"/exec/{id}/json").json
    assert (i["Running"], i["ExitCode"]) == (False, 137) and ids() is None
    die = k.api("GET", f"/events?since={start:.6f}&until={time.time():.6f}&filters=" + '{"event":["exec_die"]}').lines
    assert [x["Actor"]["Attributes"]["execID"] for x in die] == [id] and die[0]["Actor"]["Attributes"]["exitCode"] == "137"
    until(lambda: not list((k.data / "run/exec").iterdir()))


def test_health_goes_on(k):
    k.cli("run", "-d", "--name", "sick", *NET, "--health-cmd", "echo no; exit 1", "--health-interval", "1s", "--health-retries", "1000",
          "busybox", "sleep", "1000")
    check = {"Test": ["CMD", "true"], "Interval": 300 * 10**9, "StartInterval": 10**9, "StartPeriod": 100 * 10**9}
    r = k.api("POST", "/containers/create?name=well", {"Image": "busybox", "Cmd": ["sleep", "1000"], "Healthcheck": check,
                                                       "HostConfig": {"NetworkMode": "none"}})
    assert r.status == 201 and k.api("POST", "/containers/well/start").status == 204
    health = lambda n: k.api("GET", f"/containers/{n}/json").json["State"]["Health"]
    until(lambda: health("sick")["FailingStreak"] >= 2 and health("well")["Status"] == "healthy")
    began, before = time.monotonic(), health("sick")["FailingStreak"]
    k.stop(signal.SIGKILL)
    k.start()
    now, took = health("sick"), time.monotonic() - began
    assert now["Status"] == "starting" and before <= now["FailingStreak"] <= before + 1 + int(took)  # a second lies between two checks
    assert health("well")["Status"] == "healthy"
    until(lambda: health("sick")["FailingStreak"] > before + 1)
    until(lambda: health("sick")["FailingStreak"] > 3)
    began = time.monotonic()
    k.cli("restart", "-t", "0", "sick")
    assert health("sick")["FailingStreak"] <= time.monotonic() - began


def test_waiters_hear_each_end(k):
    """As dockerd: every end answers who waits for the next one, although a policy starts the container again."""
    # The first time it ends at once, and then when it is told to.
    k.cli("create", "--name", "again", "--restart", "on-failure:2", *NET, "busybox", "sh", "-c",
          "echo >>/n; test $(wc -l </n) = 1 || until test -e /data/go; do sleep 0.05; done; exit 3")
    waiter = k.waits("again", "next-exit")
    k.cli("start", "again")
    assert waiter.answer()["StatusCode"] == 3 and k.api("GET", "/containers/again/json").json["State"]["Status"] in ("restarting", "running")
    (k.dir / "go").touch()
    k.cli("cp", k.dir / "go", "again:/data/go")
    until(lambda: k.api("GET", "/containers/again/json").json["State"]["Status"] == "exited")
    assert k.api("GET", "/containers/again/json").json["RestartCount"] == 2 and k.out("wait", "again") == "3"


def test_a_stop_that_waits_holds_no_engine(k):
    """An engine that is told to end has given a container an hour, twice: it ends without it, and the next one stops it at once."""
    k.cli("run", "-d", "--name", "deaf", *NET, "busybox", "sleep", "1000")  # the first process has no handler
    stops = [subprocess.Popen(["docker", "-H", f"unix://{k.sock}", "stop", "-t", "3600", "deaf"], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in "12"]
    kills = lambda: k.api("GET", "/events?since=0&until=" + f"{time.time():.6f}" + '&filters={"event":["kill"]}').lines
    until(kills)
    assert k.stop() == 0
    for p in stops:
        assert p.wait(20 * SLOWER) == 1 and p.stdout.read()
    k.start()
    assert k.out("ps", "--format", "{{.Names}} {{.State}}") == "deaf running"
    k.cli("stop", "-t", "0", "deaf")
    assert k.out("inspect", "-f", "{{.State.ExitCode}}", "deaf") == "137"


def test_words_of_a_failed_start(docker):
    import_busybox(docker)
    head = "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: " \
        if docker.name == "knarr" else "failed to create shim task: OCI runtime create failed: runc create failed: "
    for cmd, status, words in (("nosuch", 127, 'unable to start container process: exec: "nosuch": executable file not found in $PATH: unknown'),
                               ("/no/such", 127, 'unable to start container process: exec: "/no/such": stat /no/such: no such file or directory: unknown'),
                               ("/etc/passwd", 126, 'unable to start container process: exec: "/etc/passwd": permission denied: unknown')):
        p = docker.cli("run", "--rm", *NET, "busybox", cmd, check=status)
        assert head + words in p.stderr, p.stderr
    docker.cli("run", "-d", "--name", "words", *NET, "busybox", "sleep", "100")
    p = docker.cli("exec", "words", "nosuch", check=None)
    words = 'OCI runtime exec failed: exec failed: unable to start container process: exec: "nosuch": executable file not found in $PATH: unknown'
    assert p.returncode in (126, 127) and words in p.stdout + p.stderr
    docker.cli("rm", "-f", "words")


def test_commit_of_nothing_is_no_layer(docker):
    import_busybox(docker)
    docker.cli("run", "--name", "same", *NET, "busybox", "true")
    docker.cli("commit", "-m", "only words", "-c", "LABEL a=b", "same", "same:1")
    was, now = (json.loads(docker.out("inspect", x))[0] for x in ("busybox", "same:1"))
    assert now["RootFS"]["Layers"] == was["RootFS"]["Layers"] and now["Config"]["Labels"] == {"a": "b"}
    h = docker.api("GET", "/images/same:1/history").json
    assert (h[0]["Size"], h[0]["Comment"], len(h)) == (0, "only words", 2)
    assert docker.out("run", "--rm", *NET, "same:1", "echo", "runs") == "runs"
    docker.cli("rm", "same")
    docker.cli("rmi", "same:1")


def test_a_long_socket_path_is_a_link(make_knarr):
    k = make_knarr()
    folder = k.dir / ("d" * 100)
    folder.mkdir()
    k.stop()
    long, short = str(folder / "docker.sock"), k.sock
    for _ in range(2):
        p = subprocess.Popen([KNARR, "engine", "--data-dir", k.data, "--host", f"unix://{short}", "--host", f"unix://{long}"],
                             stdout=subprocess.DEVNULL, stderr=open(k.dir / "log", "ab"))
        try:
            k.process = p
            k.wait()
            where = os.readlink(long)
            assert where.startswith("/run/knarr/") and len(where) < 100
            k.sock = where
            assert k.api("GET", "/_ping", version=None).body == b"OK"
        finally:
            k.sock = short
            p.terminate()
            assert p.wait(20 * SLOWER) == 0
    os.unlink(long)
    pathlib.Path(long).write_text("somebody's")
    p = subprocess.run([KNARR, "engine", "--data-dir", k.data, "--host", f"unix://{long}"], capture_output=True, text=True, timeout=20 * SLOWER)
    assert p.returncode != 0 and "is in the way of a link to the socket" in p.stderr and pathlib.Path(long).read_text() == "somebody's"
    shutil.rmtree(os.path.dirname(where), ignore_errors=True)
    k.start()
