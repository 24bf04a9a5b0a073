"""A cluster in a folder of its own, its commands, and what the machine looks like: what the tests of this folder share. Each test runs in
network and mount namespaces of its own (tests/suites/85-cluster)."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "50-apiserver"))
from harness import SLOWER, Checks, eventually  # noqa: E402,F401

KNARR, KUBECTL = os.path.abspath(sys.argv[1]), sys.argv[2]
PARTS = ["engine", "apiserver", "controller-manager", "scheduler", "kubelet", "proxy", "dns"]


def run(*cmd, env=None, timeout=120):
    p = subprocess.run(cmd, capture_output=True, text=True, timeout=timeout * SLOWER, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
    return p.returncode, p.stdout, p.stderr


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


class Cluster:
    def __init__(self, dir=None):
        self.dir = dir or tempfile.mkdtemp(prefix="knarr-85-")
        os.chmod(self.dir, 0o711)
        self.data = f"{self.dir}/d"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Whatever happened, nothing stays.
        run(KNARR, "reset", "--yes", "--data-dir", self.data)
        shutil.rmtree(self.dir, ignore_errors=True)

    def knarr(self, command, *args, timeout=120):
        return run(KNARR, command, "--data-dir", self.data, *args, timeout=timeout)

    def up(self, *args):
        code, out, err = self.knarr("up", *args)
        if code:
            print(f"up failed: {out}{err}")
            print(run("tail", "-n20", *[f"{self.data}/log/{n}" for n in os.listdir(f"{self.data}/log")])[1] if os.path.exists(f"{self.data}/log") else "")
        return code, out, err

    def kubectl(self, *args):
        return run(KUBECTL, "--kubeconfig", f"{self.data}/admin.kubeconfig", *args)

    def docker(self, *args):
        return run("docker", "-H", f"unix://{self.run}/docker.sock", *args)

    @property
    def run(self):
        return os.path.realpath(f"{self.data}/run")

    def status(self):
        code, out, _ = self.knarr("status", "-o", "json")
        return json.loads(out) if out.startswith("{") else {}

    def part(self, name):
        return next((p for p in self.status().get("parts", []) if p["name"] == name), {})

    def pids(self):
        s = self.status()
        return [s["pid"]] + [p["pid"] for p in s["parts"]] if s else []

    @property
    def id(self):
        return self.status()["id"]

    def well(self):
        s = self.status()
        return s if s.get("parts") and all(p["state"] == "ready" for p in s["parts"]) else None

    def image(self):
        """An image of busybox alone, called box."""
        root = f"{self.dir}/root"
        os.makedirs(f"{root}/bin", exist_ok=True)
        shutil.copy("/bin/busybox", f"{root}/bin/busybox")
        for name in ("sh", "sleep", "cat", "ping"):
            if not os.path.lexists(f"{root}/bin/{name}"):
                os.symlink("busybox", f"{root}/bin/{name}")
        subprocess.run(f"tar -C {root} -c . | docker -H unix://{self.run}/docker.sock import - box", shell=True, check=True,
                       stdout=subprocess.DEVNULL)
        shutil.rmtree(root)


    def pod(self, name, script, *args):
        """A pod of the image above that runs a line of shell; whether it became Ready."""
        self.kubectl("run", name, "--image=box:latest", "--image-pull-policy=Never", *args, "--command", "--", "/bin/sh", "-c", script)
        return self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={30 * SLOWER}s")[0] == 0


def machine(*folders):
    """All that clusters in these folders could leave behind, as text lines. Others work on this machine too: mounts and control groups are
    told by what they are called."""
    ids = [hashlib.sha256(f"{f}/d".encode()).hexdigest()[:8] for f in folders]
    lines = []
    for line in open("/proc/self/mountinfo"):
        at = line.split()[4]
        if at.startswith(("/run/knarr", *folders)):
            lines.append("mount " + at)
    lines += ["link " + re.sub(r"@.*", "", l.split(": ")[1]) for l in run("ip", "-o", "link")[1].splitlines()]
    lines += ["address " + " ".join(l.split()[1:4]) for l in run("ip", "-o", "addr")[1].splitlines()]
    lines += ["route " + l for l in run("ip", "route")[1].splitlines()]
    lines += ["nft " + l for l in run("nft", "list", "ruleset")[1].splitlines()]
    for top, dirs, _ in os.walk("/sys/fs/cgroup"):
        lines += [f"cgroup {top}/{d}" for d in dirs if d[6:].removesuffix(".slice") in ids]
        if top.count("/") >= 5:
            dirs.clear()
    lines += ["run " + n for n in (os.listdir("/run/knarr") if os.path.isdir("/run/knarr") else []) if n in ids]
    for folder in folders:
        for top, dirs, files in os.walk(folder):
            lines += [f"file {top}/{n}" for n in dirs + files]
    return sorted(lines)


def difference(before, after):
    gone, new = sorted(set(before) - set(after)), sorted(set(after) - set(before))
    return "".join(f"- {l}\n" for l in gone) + "".join(f"+ {l}\n" for l in new)
