"""dockerd and containerd of Debian 12 with our runtime as the default one."""
import os
import pathlib
import signal
import subprocess
import time

import pytest
from conftest import groups, need, run, until, version_is_new

DOCKER = "/usr/bin/docker"
# What dockerd takes by itself where cgroup v2 and systemd are; our runtime then asks systemd for scopes.
SYSTEMD = os.path.isdir("/run/systemd/system") and os.path.exists("/sys/fs/cgroup/cgroup.controllers")


class Docker:
    def __init__(self, tmp, runtime, driver):
        self.dir = tmp / f"docker-{driver}"
        self.driver = driver
        self.name = f"knarreng{os.getpid()}"
        parent = f"{self.name}.slice" if driver == "systemd" else f"/{self.name}"
        self.dir.mkdir()
        self.sock = f"unix://{self.dir}/d.sock"
        (self.dir / "daemon.json").write_text("{}")
        self.log = open(self.dir / "log", "wb")
        # A network namespace of its own: the bridge, its addresses and routes go with it.
        self.daemon = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", "/usr/sbin/dockerd", "--config-file", self.dir / "daemon.json",
             "-H", self.sock, "--data-root", self.dir / "data", "--exec-root", self.dir / "exec", "--pidfile", self.dir / "pid",
             "--bip", "10.213.77.1/24", "--iptables=false", "--ip6tables=false", "--ip-masq=false", "--userland-proxy=false",
             "--storage-driver", "overlay2", "--exec-opt", f"native.cgroupdriver={driver}", "--cgroup-parent", parent,
             "--add-runtime", f"knarr={runtime}", "--default-runtime", "knarr"],
            stdout=self.log, stderr=self.log, env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        until(lambda: self.daemon.poll() is not None or self("version", check=None).returncode == 0, 60)
        assert self.daemon.poll() is None, (self.dir / "log").read_text()[-3000:]

    def __call__(self, *words, check=0, **kw):
        return run([DOCKER, "-H", self.sock, *words], check=check, **kw)

    def close(self):
        left = self("ps", "-aq", check=None).stdout.split()
        if left:
            self("rm", "-f", *left, check=None)
        self.daemon.send_signal(signal.SIGTERM)
        try:
            self.daemon.wait(30)
        finally:
            self.daemon.kill()
            self.log.close()
            mounts = [l.split()[4] for l in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
            for m in reversed([m for m in mounts if m.startswith(str(self.dir))]):
                subprocess.run(["umount", "-l", m])


@pytest.fixture(scope="module", params=["cgroupfs"] + ["systemd"] * SYSTEMD)
def docker(request, tmp, runtime, rootfs):
    need("dockerd", "containerd", "docker")
    d = Docker(tmp, runtime, request.param)
    try:
        tar = subprocess.Popen(["tar", "-C", rootfs, "-c", "."], stdout=subprocess.PIPE)
        subprocess.run([DOCKER, "-H", d.sock, "import", "-", "t"], stdin=tar.stdout, check=True, capture_output=True)
        tar.wait()
        yield d
    finally:
        d.close()
    if d.driver == "systemd":
        assert not [g for g in groups("docker-") if d.name in g]
        subprocess.run(["systemctl", "stop", f"{d.name}.slice"], check=True)
    for g in sorted(groups(d.name), key=len, reverse=True):
        os.rmdir(g)  # the parent that dockerd made; it must be empty
    assert not [m for m in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if str(tmp) in m]


def test_it_is_our_runtime(docker):
    assert docker("info", "-f", "{{.DefaultRuntime}}").stdout.strip() == "knarr"


def test_its_bundles_are_of_a_version_that_it_knows(docker):
    container = docker("run", "-d", "t", "/ct", "sleep", "1000").stdout.strip()
    assert [version_is_new(c) for c in (docker.dir / "exec").rglob(f"{container}/config.json")]
    docker("rm", "-f", container)


def test_output_and_exit_status(docker):
    p = docker("run", "--rm", "t", "/ct", "ids", "--", "exit", "7", check=7)
    assert "uid 0" in p.stdout


@pytest.mark.parametrize("program,status", [("/none", 127), ("none", 127), ("/data", 126), ("/notexec", 126)])
def test_a_program_that_cannot_run(docker, program, status):
    p = docker("run", "--rm", "t", program, check=status)
    assert program in p.stderr


def test_default_filter_and_capabilities(docker):
    p = docker("run", "--rm", "t", "/ct", "cat", "/proc/self/status")
    assert "Seccomp:\t2" in p.stdout and "CapEff:\t00000000a80425fb" in p.stdout
    assert "mount /tmp: Operation not permitted" in docker("run", "--rm", "t", "/ct", "mount", "tmpfs", "/tmp", "tmpfs", check=None).stdout


def test_options(docker, tmp):
    (tmp / "vol").mkdir(exist_ok=True)
    (tmp / "vol/f").write_text("content")
    p = docker("run", "--rm", "--user", "1000:1000", "--read-only", "--tmpfs", "/tmp", "-v", f"{tmp}/vol:/data:ro", "--hostname", "name",
               "--cap-drop", "ALL", "--ulimit", "nofile=99:100", "--sysctl", "net.core.somaxconn=77", "--pids-limit", "50",
               "--memory", "64m", "--cpus", "0.5", "--device", "/dev/null:/dev/other", "t", "/ct", "ids", "--", "uname", "--",
               "open", "/x", "a", "--", "cat", "/data/f", "--", "open", "/data/x", "a", "--", "rlimits", "--", "cat",
               "/proc/sys/net/core/somaxconn", "--", "stat", "/dev/other", "--", "open", "/tmp/x", "a", check=None)
    assert "uid 1000" in p.stdout and "content" in p.stdout and "name" in p.stdout and "77" in p.stdout.splitlines() and "1,3" in p.stdout
    assert p.stdout.count("Read-only file system") == 2 and "open /tmp/x a: ok" in p.stdout and "rlimit 7 99 100" in p.stdout, p.stdout


def test_privileged_and_host_namespaces(docker):
    p = docker("run", "--rm", "--privileged", "t", "/ct", "mount", "tmpfs", "/tmp", "tmpfs")
    assert "ok" in p.stdout
    p = docker("run", "--rm", "--pid", "host", "--net", "host", "--ipc", "host", "t", "/ct", "readlink", "/proc/self/ns/pid")
    assert os.readlink("/proc/self/ns/pid") in p.stdout


def test_bridge_network_is_there(docker):
    p = docker("run", "--rm", "t", "/ct", "cat", "/proc/net/dev")
    assert "eth0" in p.stdout


def test_terminal(docker):
    name = "term"
    docker("run", "-d", "-t", "--name", name, "t", "/ct", "tty", "--", "exit", "3")
    assert docker("wait", name).stdout.strip() == "3"
    assert "tty 1 /dev/pts/0" in docker("logs", name).stdout
    docker("rm", name)


def test_life(docker):
    docker("run", "-d", "--name", "life", "--memory", "64m", "t", "/ct", "sleep", "1000")
    assert "uid 1000" in docker("exec", "-u", "1000:1000", "-w", "/tmp", "-e", "X=y", "life", "/ct", "ids", "--", "env").stdout
    docker("exec", "life", "/ct", "exit", "9", check=9)
    assert docker("exec", "life", "/none", check=None).returncode in (126, 127)  # 126 until dockerd 23
    assert "sleep" in docker("top", "life").stdout
    docker("pause", "life")
    assert docker("inspect", "-f", "{{.State.Status}}", "life").stdout.strip() == "paused"
    docker("unpause", "life")
    assert "life" in docker("stats", "--no-stream", "life").stdout
    docker("update", "--memory", "32m", "--memory-swap", "32m", "--pids-limit", "30", "life")
    docker("kill", "life")
    assert docker("wait", "life").stdout.strip() == "137"
    docker("start", "life")
    docker("restart", "-t", "0", "life")
    docker("stop", "-t", "1", "life")
    docker("rm", "life")
    docker("inspect", "life", check=1)


def test_out_of_memory_is_reported(docker):
    docker("run", "--rm", "--memory", "16m", "--memory-swap", "16m", "t", "/ct", "eat", "200", check=137)
    # The word about it comes from a container that lives on: containerd reads the group's counter after the kernel woke it, and a
    # group that systemd holds is gone with its last process. dockerd tells at once, and in the state once the container has ended.
    began = str(int(time.time()) - 1)
    docker("run", "-d", "--name", "oom", "--memory", "16m", "--memory-swap", "16m", "t", "/ct", "sleep", "600")
    docker("exec", "oom", "/ct", "eat", "200", check=137)
    until(lambda: "oom" in docker("events", "--since", began, "--until", str(int(time.time()) + 1), "--filter", "event=oom").stdout)
    docker("kill", "oom")
    until(lambda: docker("inspect", "-f", "{{.State.OOMKilled}}", "oom").stdout.strip() == "true")
    docker("rm", "oom")


def test_create_and_remove_without_start(docker):
    docker("create", "--name", "idle", "t", "/ct", "exit", "0")
    docker("rm", "idle")


def test_many_at_once(docker):
    ps = [subprocess.Popen([DOCKER, "-H", docker.sock, "run", "--rm", "t", "/ct", "exit", str(i)], stdout=subprocess.DEVNULL)
          for i in range(8)]
    assert [p.wait(300) for p in ps] == list(range(8))
