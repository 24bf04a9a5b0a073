"""Ways in which a context and its Dockerfile come (standard input, archives, a file beside the context, a URL, git), and options of `docker
build` with good values and bad ones: the same at both daemons."""
import os
import pathlib
import subprocess

import pytest
from conftest import *

TEXT = "FROM busybox\nARG A\nARG B=def\nCOPY a.txt /a.txt\nRUN cat /a.txt; echo \"A=$A B=$B\"\n"
LIMITS = "FROM busybox\nRUN cat /etc/hosts > /said; ulimit -n >> /said; df -k /dev/shm | tail -1 | tr -s ' ' >> /said\n"


@pytest.fixture(scope="module", params=["knarr", "dockerd"] if LONG else ["knarr"])
def daemon(request):
    """Either, the other in a network namespace of its own: one that wants no bridge takes docker0 away, whosever it is."""
    if request.param == "knarr":
        yield request.getfixturevalue("knarr")
        return
    if not shutil.which("dockerd", path="/usr/sbin:/usr/bin"):
        pytest.skip("dockerd is not installed (packages/peers)")
    d = engine.Dockerd(pathlib.Path(tempfile.mkdtemp(prefix="knarr-72-")), bridged=True)
    engine.import_busybox(d)
    yield d
    close_daemon(d)


@pytest.fixture
def here(daemon, tmp_path):
    """A daemon and a folder with a small context: words of `docker build` typed there."""
    d = daemon
    (tmp_path / "ctx/sub").mkdir(parents=True)
    (tmp_path / "ctx/a.txt").write_text("hello\n")
    (tmp_path / "ctx/sub/b.log").write_text("b\n")
    (tmp_path / "Other").write_text(TEXT)

    def build(*words, stdin=b"", check=0, env=None):
        p = subprocess.run(["docker", "build", *map(str, words)], cwd=tmp_path, input=stdin if isinstance(stdin, bytes) else stdin.encode(), capture_output=True,
                           timeout=120 * engine.SLOWER, env={**engine.ENV, "DOCKER_HOST": f"unix://{d.sock}", "DOCKER_CONFIG": str(d.dir / "cli"),
                                                             "DOCKER_BUILDKIT": "0", **(env or {})})
        out = p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")
        assert check is None or p.returncode == check, (words, p.returncode, *out)
        return "".join(out)
    build.d, build.dir = d, tmp_path
    yield build
    left = d.out("ps", "-aq").split()
    if left:
        d.cli("rm", "-f", *left)


def test_dockerfile_from_elsewhere(here):
    """The client appends it to the context, and its archive ends behind the last byte of it."""
    for n in range(3):  # of any length: what lacks is the padding to 512
        text = TEXT + "#" * (200 * n) + "\n"
        assert "hello\nA= B=def" in here("--no-cache", "-f", "-", "ctx", stdin=text)
        (here.dir / "Other").write_text(text)
        assert "hello\nA= B=def" in here("--no-cache", "-f", "Other", "ctx")
    (here.dir / "ctx/.dockerignore").write_text("*\n!a.txt\n")
    assert "hello\nA= B=def" in here("--no-cache", "-f", "-", "ctx", stdin=TEXT)
    assert "nstruction" in here("-f", "/etc/passwd", "ctx", check=1)
    assert here("-f", "nosuch", "ctx", check=1) and here("nosuch", check=1)
    assert here("-f", "-", "-", stdin=TEXT, check=1)


@pytest.mark.parametrize("pack", ["", "z", "J", "j"])
def test_archives_on_standard_input(here, pack):
    data = subprocess.run(["tar", "-C", here.dir, f"-c{pack}f", "-", "Other", "-C", here.dir / "ctx", "a.txt"], capture_output=True, check=True).stdout
    assert "hello\nA= B=def" in here("--no-cache", "-f", "Other", "-", stdin=data)
    assert here("--no-cache", "-f", "Other", "-", stdin=data[:len(data) // 2 if pack else 700], check=1)


def test_dockerfiles_on_standard_input(here):
    assert "from stdin" in here("--no-cache", "-", stdin="FROM busybox\nRUN echo from stdin\n")
    assert "marked" in here("--no-cache", "-", stdin="\ufeffFROM busybox\nRUN echo marked\n")
    assert "file with no instructions" in here("-", stdin="\n", check=1) and here("-", check=1)


@pytest.mark.parametrize("ignore,left", [("# said\n*.txt\n sub/*.log \n!sub/keep.log\r\n\n", ["sub", "sub/keep.log"]), ("**/*.log\r\n!**/keep.log\r\n", ["a.txt", "sub", "sub/keep.log"]),
                                         ("*\n!sub\n", ["sub", "sub/b.log", "sub/keep.log"]), ("sub/b.log/\n./a.txt\n/sub/../sub/keep.log\n", ["sub"])])
def test_ignore_files(here, ignore, left):
    (here.dir / "ctx/sub/keep.log").write_text("keep\n")
    (here.dir / "ctx/Dockerfile").write_text("FROM busybox\nCOPY . /c\nRUN cd /c && find . ! -name .dockerignore ! -name Dockerfile | sort | sed 's/^/found /'\n")
    (here.dir / "ctx/.dockerignore").write_bytes(ignore.encode())
    assert [l.removeprefix("found ./") for l in here("--no-cache", "ctx").splitlines() if l.startswith("found ./")] == left
    for bad in ("[\n", "!\n"):
        (here.dir / "ctx/.dockerignore").write_text(bad)
        assert here("ctx", check=1)


def test_arguments(here):
    run = lambda *words, env=None: next(l for l in here("--no-cache", "-f", "Other", *words, "ctx", env=env).splitlines() if l.startswith("A="))
    assert run("--build-arg", "A", "--build-arg", "B=x y", env={"A": "of the client"}) == "A=of the client B=x y"
    assert run("--build-arg", "A=", "--build-arg", "B") == "A= B=def"
    assert "found" in here("--no-cache", "--build-arg", "V", "-", stdin="ARG V=latest\nFROM busybox:$V\nRUN echo fou''nd\n")
    assert "[UNUSED]" in here("-f", "Other", "--build-arg", "UNUSED=1", "ctx")


def test_options_reach_the_image(here):
    d = here.d
    (here.dir / "ctx/Dockerfile").write_text(LIMITS)
    out = here("--no-cache", "--add-host", "h:1.2.3.4", "--shm-size", "5m", "--ulimit", "nofile=99:100", "--network", "none", "--label", "a=b", "--label", "c",
               "--iidfile", "iid", "-t", "ways:1", "-t", "ways:2", "ctx")
    assert "Successfully tagged ways:1" in out and "Successfully tagged ways:2" in out
    said = d.out("run", "--rm", "--network", "none", "ways:1", "cat", "/said")
    assert "1.2.3.4\th" in said and "\n99\n" in said and " 5120 " in said
    assert d.out("inspect", "-f", "{{json .Config.Labels}} {{.Id}}", "ways:2") == '{"a":"b","c":""} ' + (here.dir / "iid").read_text()
    assert here("-q", "ctx").strip().startswith("sha256:") and here("-q", "--compress", "--platform", "linux/amd64", "--isolation", "default", "ctx")
    # Where systemd manages the groups, a group is a slice; dockerd is started with the other manager.
    parent = "knarr_ways.slice" if d.name == "knarr" and os.path.exists("/run/systemd/private") else "/knarr-ways"
    here("--no-cache", "--network", "host", "--cgroup-parent", parent, "--cpu-period", "50000", "--cpu-quota", "25000", "--cpu-shares", "300", "--memory", "20m",
         "--memory-swap", "30m", "--cpuset-cpus", "0", "--cache-from", "nosuch:1", "ctx")
    d.cli("rmi", "-f", "ways:1", "ways:2")


@pytest.mark.parametrize("words,said", [
    (["--squash"], '"--squash" is only supported on a Docker daemon with experimental features'), (["-o", "out"], "unknown shorthand flag: 'o'"), (["--add-host", "bogus"], "bad format for add-host"),
    (["--shm-size", "x"], "invalid"), (["--ulimit", "bogus=1"], "invalid ulimit type: bogus"), (["--target", "nosuch"], "failed to reach build target nosuch in Dockerfile"),
    (["--network", "container:nosuch"], "No such container: nosuch"), (["--isolation", "hyperv"], "nsupported isolation: "), (["--memory", "1m"], "Minimum memory limit allowed is 6MB"),
    (["--cpu-period", "5"], "CPU cfs period can not be less than 1ms"), (["--cpuset-cpus", "777"], "Requested CPUs are not available"), (["-t", "Bad:Tag"], "must be lowercase"),
    (["--platform", "bogus/a/b/c"], "bogus/a/b/c")])
def test_refused(here, words, said):
    (here.dir / "ctx/Dockerfile").write_text(LIMITS)
    got = here("--no-cache", *words, "ctx", check=None)
    assert said in got and "Successfully built" not in got, got


def test_containers_of_the_steps(here):
    d = here.d
    bad = "FROM busybox\nRUN echo no''w; exit 3\n"
    for words, left in (([], 1), (["--force-rm"], 0), (["--rm=false"], 1)):
        assert "returned a non-zero code: 3" in here("--no-cache", *words, "-", stdin=bad, check=3)
        ids = d.out("ps", "-aq").split()
        assert len(ids) == left
        if ids:
            d.cli("rm", *ids)
