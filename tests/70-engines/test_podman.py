"""podman of Debian 12 with our runtime; a folder is the image, so nothing is pulled or built."""
import os
import pathlib
import re
import subprocess

import pytest
from conftest import need, run, until, version_is_new


class Podman:
    def __init__(self, tmp, runtime, rootfs):
        self.dir, self.rootfs = tmp / "podman", rootfs
        self.dir.mkdir()
        (self.dir / "containers.conf").write_text("[containers]\nlog_driver=\"k8s-file\"\n[engine]\nevents_logger=\"file\"\n")
        self.words = ["/usr/bin/podman", "--root", self.dir / "root", "--runroot", self.dir / "run", "--tmpdir", self.dir / "tmp",
                      "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", runtime]
        self.env = {**os.environ, "CONTAINERS_CONF": str(self.dir / "containers.conf"), "XDG_RUNTIME_DIR": str(self.dir)}

    def __call__(self, *words, check=0, **kw):
        return run([*self.words, *words], check=check, env=self.env, **kw)

    def run(self, *words, options=(), check=0):
        return self("run", "--rm", "--network", "none", *options, "--rootfs", f"{self.rootfs}:O", *words, check=check)


@pytest.fixture(scope="module")
def podman(tmp, runtime, rootfs):
    need("podman", "conmon")
    p = Podman(tmp, runtime, rootfs)
    try:
        yield p
    finally:
        p("rm", "-f", "-t", "0", "-a", check=None)
        mounts = [l.split()[4] for l in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
        for m in reversed([m for m in mounts if m.startswith(str(p.dir))]):
            subprocess.run(["umount", "-l", m])


def test_output_and_exit_status(podman):
    p = podman.run("/ct", "ids", "--", "exit", "7", check=7)
    assert "uid 0" in p.stdout


@pytest.mark.parametrize("program,status", [("/none", 127), ("/data", 126)])
def test_a_program_that_cannot_run(podman, program, status):
    podman.run(program, check=status)


def test_default_filter_and_capabilities(podman):
    p = podman.run("/ct", "cat", "/proc/self/status")
    # podman's own list, and the one of containers.conf
    assert "Seccomp:\t2" in p.stdout and re.search("CapEff:\t00000000(800405fb|a80425fb)", p.stdout)


def test_options(podman, tmp):
    (tmp / "pvol").mkdir(exist_ok=True)
    (tmp / "pvol/f").write_text("content")
    p = podman.run("/ct", "ids", "--", "uname", "--", "open", "/x", "a", "--", "cat", "/data/f", check=None,
                   options=("--user", "1000:1000", "--read-only", "--tmpfs", "/tmp", "-v", f"{tmp}/pvol:/data:ro", "--hostname", "name",
                            "--memory", "64m", "--pids-limit", "50"))
    assert "uid 1000" in p.stdout and "content" in p.stdout and "name" in p.stdout and "Read-only file system" in p.stdout


def test_terminal(podman):
    assert "tty 1 /dev/pts/0" in podman.run("/ct", "tty", options=("-t",)).stdout


def test_host_network(podman):
    p = podman("run", "--rm", "--network", "host", "--rootfs", f"{podman.rootfs}:O", "/ct", "readlink", "/proc/self/ns/net")
    assert os.readlink("/proc/self/ns/net") in p.stdout


def test_life(podman):
    podman("run", "-d", "--name", "life", "--network", "none", "--rootfs", f"{podman.rootfs}:O", "/ct", "sleep", "1000")
    assert "uid 1000" in podman("exec", "--user", "1000:1000", "life", "/ct", "ids").stdout
    podman("exec", "life", "/ct", "exit", "9", check=9)
    assert "life" in podman("ps").stdout
    assert "sleep" in podman("top", "life").stdout
    podman("pause", "life")
    assert podman("inspect", "-f", "{{.State.Status}}", "life").stdout.strip() == "paused"
    podman("unpause", "life")
    podman("stats", "--no-stream", "life")
    podman("stop", "-t", "1", "life")
    podman("start", "life")
    podman("kill", "life")
    until(lambda: podman("inspect", "-f", "{{.State.Status}}", "life").stdout.strip() == "exited")
    assert podman("inspect", "-f", "{{.State.ExitCode}}", "life").stdout.strip() == "137"
    podman("rm", "life")


def test_created_by_hand(podman):
    podman("create", "--name", "made", "--network", "none", "--rootfs", f"{podman.rootfs}:O", "/ct", "exit", "4")
    podman("init", "made")
    assert version_is_new(podman("inspect", "-f", "{{.OCIConfigPath}}", "made").stdout.strip())
    podman("start", "made")
    assert podman("wait", "made").stdout.strip() == "4"
    podman("rm", "made")
