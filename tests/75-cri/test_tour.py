"""One tour for two runtimes: ours, and with KNARR_TEST_LONG=1 Debian's containerd. What a test here says holds for both; where they
differ, the difference stands in docs/decisions/0714."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

import spdy
from conftest import BUILD, ENV, LONG, PLUGINS, SLOWER, Refused, Runtime, bridge, m, make_engine, until
from test_pods import pid, refused


class Containerd(Runtime):
    name = "containerd"

    def __init__(self, folder, archives):
        self.dir, self.cri, self.cgroup = folder, str(folder / "containerd.sock"), f"/knarr-75-c-{os.getpid()}"
        conf = folder / "net.d"
        conf.mkdir()
        c = bridge()
        c["plugins"][0]["bridge"], c["plugins"][0]["ipam"]["dataDir"] = "knarr75c", str(folder / "ipam")
        c["plugins"][0]["ipam"]["ranges"] = [[{"subnet": "10.89.0.0/16"}]]
        (conf / "10-test.conflist").write_text(json.dumps(c))
        (folder / "config.toml").write_text(f"""
version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
  address = "{self.cri}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "{conf}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "{folder}/knarr-runc"
""")
        (folder / "knarr-runc").symlink_to(BUILD / "src/app/knarr-run")  # the CRI is compared, not the OCI runtime under it
        self.log_file = open(folder / "log", "ab")
        self.process = subprocess.Popen(["/usr/bin/containerd", "-c", folder / "config.toml"], stdout=self.log_file, stderr=self.log_file,
                                        env={**ENV, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        self.wait()
        for a in archives:
            subprocess.run(["/usr/bin/ctr", "-a", self.cri, "-n", "k8s.io", "images", "import", a], check=True, capture_output=True)
        until(lambda: all(c.status for c in self.Status().status.conditions))

    def close(self):
        try:
            self.clean()
        finally:
            self.process.terminate()
            self.process.wait(30 * SLOWER)
            for line in reversed(pathlib.Path("/proc/self/mountinfo").read_text().splitlines()):
                if line.split()[4].startswith((str(self.dir), "/run/netns/cni-")):
                    subprocess.run(["umount", "-l", line.split()[4]])


@pytest.fixture(scope="module", params=["knarr", "containerd"] if LONG else ["knarr"])
def r(request):
    if request.param == "containerd" and not shutil.which("containerd", path="/usr/bin"):
        pytest.skip("containerd is not installed (packages/peers)")
    k = make_engine(conflist=bridge())
    folder = pathlib.Path(tempfile.mkdtemp(prefix="knarr-75-c-"))
    other = None
    try:
        k.load()
        if request.param == "containerd":
            (folder / "pause.tar").write_bytes(b"")
            subprocess.run(["tar", "-C", BUILD / "src/app", "--transform", "s/knarr-run/pause/", "-cf", folder / "pause.tar", "knarr-run"], check=True)
            k.docker("import", "-c", 'ENTRYPOINT ["/pause"]', folder / "pause.tar", "pause:1")
            k.docker("save", "-o", folder / "images.tar", "busybox:latest", "pause:1")
            other = Containerd(folder, [folder / "images.tar"])
        yield other or k
    finally:
        try:
            if other:
                other.close()
        finally:
            k.close()
            shutil.rmtree(k.dir, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def pod(r):
    p = r.run_pod(r.pod_config("tour", labels={"tour": "1"}, annotations={"note": "x"}))
    yield p
    r.StopPodSandbox(pod_sandbox_id=p[0])
    r.RemovePodSandbox(pod_sandbox_id=p[0])


def test_status(r):
    v = r.Version(version="0.1.0")
    assert (v.version, v.runtime_api_version, v.runtime_name) == ("0.1.0", "v1", r.name)
    assert {c.type: c.status for c in r.Status().status.conditions} == {"RuntimeReady": True, "NetworkReady": True}
    assert "config" in r.Status(verbose=True).info


def test_sandbox(r, pod):
    s = r.PodSandboxStatus(pod_sandbox_id=pod[0]).status
    assert s.metadata == pod[1].metadata and s.state == 0 and s.network.ip and dict(s.labels) == {"tour": "1"} and dict(s.annotations) == {"note": "x"}
    assert [x.id for x in r.ListPodSandbox(filter=m.PodSandboxFilter(label_selector={"tour": "1"})).items] == [pod[0]]
    assert [x.id for x in r.ListPodSandbox(filter=m.PodSandboxFilter(id=pod[0])).items] == [pod[0]]
    r.StopPodSandbox(pod_sandbox_id=pod[0])
    assert r.PodSandboxStatus(pod_sandbox_id=pod[0]).status.state == 1
    r.StopPodSandbox(pod_sandbox_id=pod[0])


def test_container(r, pod):
    c = r.make(pod, "echo out; echo err >&2; exec sleep 100", labels={"a": "b"}, annotations={"c": "d"})
    s = r.status(c)
    assert s.state == 0 and dict(s.labels) == {"a": "b"} and dict(s.annotations) == {"c": "d"}
    r.StartContainer(container_id=c)
    s = r.status(c)
    assert s.state == 1 and s.started_at > s.created_at > 0 and s.image.image == "docker.io/library/busybox:latest"
    until(lambda: sorted(r.log(c)) == [("stderr", "err"), ("stdout", "out")])
    x = r.ListContainers(filter=m.ContainerFilter(pod_sandbox_id=pod[0])).containers
    assert [(y.id, y.state, y.metadata.name) for y in x] == [(c, 1, "c")]
    r.StopContainer(container_id=c, timeout=60 * SLOWER)
    s = r.status(c)
    assert (s.state, s.exit_code, s.reason) == (2, 143, "Error")
    r.RemoveContainer(container_id=c)
    r.RemoveContainer(container_id=c)
    refused(lambda: r.status(c), "NOT_FOUND")


def test_ends(r, pod):
    s = r.ended(r.run(pod, "exit 3", name="three"))
    assert (s.exit_code, s.reason) == (3, "Error")
    s = r.ended(r.run(pod, "true", name="zero"))
    assert (s.exit_code, s.reason) == (0, "Completed")


def test_inside(r, pod):
    assert r.output(pod, "hostname; cat /proc/1/cmdline | tr -d '\\0'; echo; echo $HOSTNAME") == "tour\n/pause\ntour"
    assert r.output(pod, "grep -E '^(CapEff|Seccomp|NoNewPrivs)' /proc/self/status | cut -f2").split()[0] == "00000000a80425fb"
    v = m.Int64Value
    linux = m.LinuxContainerConfig(security_context=m.LinuxContainerSecurityContext(run_as_user=v(value=1000), run_as_group=v(value=3000),
                                                                                    supplemental_groups=[4000]))
    assert r.output(pod, "id -u; id -g; id -G | tr ' ' '\\n' | sort -n | tr '\\n' ' '", linux=linux) == "1000\n3000\n2000 3000 4000 "


def test_a_host_name_that_is_not_given(r):
    """It is the machine's, in a namespace of the sandbox' own."""
    p = r.run_pod(r.pod_config(hostname="", linux=m.LinuxPodSandboxConfig(security_context=m.LinuxSandboxSecurityContext(privileged=True))))
    assert r.output(p, "hostname") == os.uname().nodename
    assert r.output(p, "hostname other; hostname", linux=m.LinuxContainerConfig(security_context=m.LinuxContainerSecurityContext(
        privileged=True))) == "other" != os.uname().nodename
    r.RemovePodSandbox(pod_sandbox_id=p[0])


def test_updates(r, pod):
    """New limits, and what is said of them; a process keeps its oom_score_adj."""
    R = m.LinuxContainerResources
    c = r.run(pod, "sleep 1000", linux=m.LinuxContainerConfig(resources=R(cpu_shares=512, memory_limit_in_bytes=64 << 20, oom_score_adj=900),
                                                               security_context=m.LinuxContainerSecurityContext()))
    r.UpdateContainerResources(container_id=c, linux=R(cpu_shares=300, memory_limit_in_bytes=128 << 20, oom_score_adj=500),
                               annotations={"example.com/of": "nobody here"})
    assert open(f"/proc/{pid(r, c)}/oom_score_adj").read() == "900\n"
    if r.name == "knarr":  # field 16 is younger than containerd 1.6
        now = r.status(c).resources.linux
        assert (now.cpu_shares, now.memory_limit_in_bytes, now.oom_score_adj) == (300, 128 << 20, 900)
    refused(lambda: r.UpdateContainerResources(container_id="none", linux=R(cpu_shares=300)), "NOT_FOUND")


def test_security_words(r, pod):
    """A sandbox says whether privileged containers may come. SELinux labels mean nothing where there is no SELinux."""
    privileged = m.LinuxContainerConfig(security_context=m.LinuxContainerSecurityContext(privileged=True))
    with pytest.raises(Refused, match="no privileged container allowed in sandbox"):
        r.make(pod, "true", name="no", linux=privileged)
    if os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("SELinux is here")
    s = m.LinuxContainerSecurityContext(selinux_options=m.SELinuxOption(type="container_t", level="s0:c1,c2"))
    assert r.output(pod, "echo fine", linux=m.LinuxContainerConfig(security_context=s)) == "fine"


def test_exec(r, pod):
    c = r.run(pod, "sleep 1000")
    x = r.ExecSync(container_id=c, cmd=["sh", "-c", "echo o; echo e >&2; exit 9"])
    assert (x.stdout, x.stderr, x.exit_code) == (b"o\n", b"e\n", 9)
    refused(lambda: r.ExecSync(container_id=c, cmd=["sleep", "100"], timeout=1), "DEADLINE_EXCEEDED", "exceeded")
    s, t = spdy.exec_session(r.Exec(container_id=c, cmd=["sh", "-c", "cat; exit 6"], stdin=True, stdout=True, stderr=True).url, "stdin", "stdout",
                             "stderr")
    t["stdin"].send(b"hello", last=True)
    assert t["stdout"].read() == b"hello"
    st = spdy.status(t)
    assert st["status"] == "Failure" and st["reason"] == "NonZeroExitCode" and st["details"]["causes"] == [{"reason": "ExitCode", "message": "6"}]
    s, t = spdy.exec_session(r.Exec(container_id=c, cmd=["true"], stdout=True).url, "stdout")
    assert spdy.status(t) == {"metadata": {}, "status": "Success"}


def test_port_forward(r, pod):
    c = r.run(pod, "nc -ll -p 7000 -e cat")
    r.sh(c, "until netstat -ltn | grep -q :7000; do sleep 0.1; done")
    s = spdy.Session(r.PortForward(pod_sandbox_id=pod[0], port=[7000]).url, ["portforward.k8s.io"])
    e = s.open(streamtype="error", port="7000", requestID="0")
    d = s.open(streamtype="data", port="7000", requestID="0")
    d.send(b"to and fro")
    until(lambda: d.data == b"to and fro")
    d.send(b"", last=True)
    assert d.read() == b"to and fro" and e.read() == b""
    s.close()


def test_stats(r, pod):
    c = r.run(pod, "sleep 1000")
    s = r.ContainerStats(container_id=c).stats
    assert s.attributes.id == c and s.memory.working_set_bytes.value > 0 and s.cpu.usage_core_nano_seconds.value > 0
    assert c in [x.attributes.id for x in r.ListContainerStats().stats]
    p = r.PodSandboxStats(pod_sandbox_id=pod[0]).stats
    assert p.attributes.id == pod[0] and p.linux.network.default_interface.name == "eth0"


def test_images(r):
    i = r.ImageStatus(image=m.ImageSpec(image="busybox")).image
    assert list(i.repo_tags) == ["docker.io/library/busybox:latest"] and i.id.startswith("sha256:")
    assert r.ImageStatus(image=m.ImageSpec(image=i.id)).image.id == i.id
    assert not r.ImageStatus(image=m.ImageSpec(image="none")).HasField("image")
    assert i.id in [x.id for x in r.ListImages().images]
    assert r.ImageFsInfo().image_filesystems[0].fs_id.mountpoint


def test_what_is_refused(r, pod):
    refused(lambda: r.PodSandboxStatus(pod_sandbox_id="none"), "NOT_FOUND")
    refused(lambda: r.StartContainer(container_id="none"), "NOT_FOUND")
    refused(lambda: r.ExecSync(container_id="none", cmd=["true"]), "NOT_FOUND")
    r.RemoveContainer(container_id="none")
    if r.name == "knarr":  # as containerd since 2.0
        r.StopContainer(container_id="none")
    r.RemovePodSandbox(pod_sandbox_id="none")
