"""Sandboxes and containers: the tour that a kubelet makes. CNI by Debian's plugins: bridge, host-local, portmap."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

import pytest

from conftest import PLUGINS, SLOWER, Refused, bridge, engine, m, until

NODE = 2


def refused(call, code, words=""):
    with pytest.raises(Refused) as e:
        call()
    assert e.value.code == code, e.value
    assert words in e.value.text, e.value
    return e.value


@pytest.fixture(scope="module")
def k():
    if not pathlib.Path(PLUGINS, "bridge").exists():
        pytest.skip("containernetworking-plugins is not installed (packages/test)")
    with engine(leaves_nothing=True, conflist=bridge()) as e:
        yield e


@pytest.fixture(autouse=True)
def clean(k):
    """A test that fails must not make the others fail."""
    yield
    if k.process.poll() is None:
        k.clean()


@pytest.fixture
def pod(k):
    p = k.run_pod()
    yield p
    k.StopPodSandbox(pod_sandbox_id=p[0])
    k.RemovePodSandbox(pod_sandbox_id=p[0])


@pytest.fixture
def privileged(k):
    """A pod that lets such containers in."""
    p = k.run_pod(k.pod_config(linux=m.LinuxPodSandboxConfig(security_context=m.LinuxSandboxSecurityContext(privileged=True))))
    yield p
    k.StopPodSandbox(pod_sandbox_id=p[0])
    k.RemovePodSandbox(pod_sandbox_id=p[0])


def test_tour(k):
    config = k.pod_config("web", labels={"app": "web"}, annotations={"a": "b"})
    p, _ = k.run_pod(config)
    s = k.PodSandboxStatus(pod_sandbox_id=p, verbose=True)
    assert s.status.state == 0 and s.status.metadata == config.metadata
    assert s.status.network.ip.startswith("10.88.") and not s.status.network.additional_ips
    assert json.loads(s.info["info"])["config"]["hostname"] == "web"
    assert [x.id for x in k.ListPodSandbox(filter=m.PodSandboxFilter(label_selector={"app": "web"})).items] == [p]
    assert not k.ListPodSandbox(filter=m.PodSandboxFilter(label_selector={"app": "other"})).items
    assert not k.ListPodSandbox(filter=m.PodSandboxFilter(state=m.PodSandboxStateValue(state=1))).items
    assert k.ListPodSandbox(filter=m.PodSandboxFilter(id=p[:12])).items[0].id == p
    c = k.make((p, config), "echo hello; echo oops >&2; sleep 100", labels={"c": "1"})
    assert k.status(c).state == 0
    k.StartContainer(container_id=c)
    st = k.status(c)
    assert st.state == 1 and st.started_at >= st.created_at > 0 and st.image.image == "docker.io/library/busybox:latest"
    assert st.image_id == k.ImageStatus(image=m.ImageSpec(image="busybox")).image.id
    until(lambda: sorted(k.log(c)) == [("stderr", "oops"), ("stdout", "hello")])
    assert [x.id for x in k.ListContainers(filter=m.ContainerFilter(pod_sandbox_id=p)).containers] == [c]
    assert [x.id for x in k.ListContainers(filter=m.ContainerFilter(label_selector={"c": "1"})).containers] == [c]
    assert not k.ListContainers(filter=m.ContainerFilter(state=m.ContainerStateValue(state=2))).containers
    k.StopContainer(container_id=c, timeout=60 * SLOWER)  # sh is not process 1 here, and ends by TERM
    st = k.status(c)
    assert (st.state, st.exit_code, st.reason) == (2, 143, "Error") and st.finished_at > st.started_at
    k.StopContainer(container_id=c, timeout=1)
    refused(lambda: k.StartContainer(container_id=c), "FAILED_PRECONDITION", "container is in CONTAINER_EXITED state")
    k.RemoveContainer(container_id=c)
    k.RemoveContainer(container_id=c)
    refused(lambda: k.status(c), "NOT_FOUND")
    k.StopPodSandbox(pod_sandbox_id=p)
    assert k.PodSandboxStatus(pod_sandbox_id=p).status.state == 1
    assert not k.PodSandboxStatus(pod_sandbox_id=p).status.network.ip
    k.StopPodSandbox(pod_sandbox_id=p)
    k.RemovePodSandbox(pod_sandbox_id=p)
    k.RemovePodSandbox(pod_sandbox_id=p)
    refused(lambda: k.PodSandboxStatus(pod_sandbox_id=p), "NOT_FOUND")
    k.StopPodSandbox(pod_sandbox_id=p)


def test_docker_does_not_see_pods(k, pod):
    k.run(pod, "sleep 100")
    assert k.docker("ps", "-aq") == ""
    image = k.docker("rmi", "busybox", check=False)
    assert image.returncode == 1 and b"conflict" in image.stderr, image.stderr
    k.docker("container", "prune", "-f")
    k.docker("image", "prune", "-af")
    assert k.ImageStatus(image=m.ImageSpec(image="busybox")).image.id
    assert len(k.ListContainers(filter=m.ContainerFilter(pod_sandbox_id=pod[0])).containers) == 1


def test_exit_codes_and_reasons(k, pod):
    c = k.run(pod, "exit 3", name="three")
    s = k.ended(c)
    assert (s.exit_code, s.reason) == (3, "Error")
    c = k.run(pod, "true", name="zero")
    s = k.ended(c)
    assert (s.exit_code, s.reason) == (0, "Completed")
    c = k.make(pod, ["/no/such/program"], name="none")
    refused(lambda: k.StartContainer(container_id=c), "INVALID_ARGUMENT", "failed to start container")
    s = k.status(c)
    assert (s.state, s.exit_code, s.reason) == (2, 128, "StartError") and "no such file" in s.message
    assert s.finished_at and not s.started_at


def test_names_are_taken_once(k):
    config = k.pod_config("once")
    p = k.run_pod(config)
    refused(lambda: k.run_pod(config), "ALREADY_EXISTS", "is reserved for")
    k.make(p, "true", name="a")
    refused(lambda: k.make(p, "true", name="a"), "ALREADY_EXISTS", "is reserved for")
    k.RemovePodSandbox(pod_sandbox_id=p[0])  # which stops it first
    assert not k.ListContainers(filter=m.ContainerFilter(pod_sandbox_id=p[0])).containers
    p = k.run_pod(config)
    k.RemovePodSandbox(pod_sandbox_id=p[0])


def test_requests_that_make_no_sense(k, pod):
    refused(lambda: k.RunPodSandbox(), "INVALID_ARGUMENT", "must include metadata")
    refused(lambda: k.run_pod(runtime_handler="kata"), "INVALID_ARGUMENT", 'no runtime for "kata" is configured')
    refused(lambda: k.CreateContainer(pod_sandbox_id="none"), "NOT_FOUND", "failed to find sandbox id")
    refused(lambda: k.CreateContainer(pod_sandbox_id=pod[0]), "INVALID_ARGUMENT", "must include metadata")
    refused(lambda: k.make(pod, "true", image="none:1"), "NOT_FOUND", "No such image")
    refused(lambda: k.StartContainer(container_id="none"), "NOT_FOUND")
    refused(lambda: k.make(pod, "true", CDI_devices=[m.CDIDevice(name="x/y=z")]), "UNIMPLEMENTED", "CDI")
    refused(lambda: k.make(pod, "true", mounts=[m.Mount(container_path="/x", image=m.ImageSpec(image="busybox"))]), "UNIMPLEMENTED", "image volumes")
    userns = m.NamespaceOption(userns_options=m.UserNamespace(mode=0, uids=[m.IDMapping(host_id=65536, container_id=0, length=65536)]))
    linux = m.LinuxPodSandboxConfig(security_context=m.LinuxSandboxSecurityContext(namespace_options=userns))
    refused(lambda: k.run_pod(k.pod_config(linux=linux)), "UNIMPLEMENTED", "user namespaces are not supported")
    refused(lambda: k.CheckpointContainer(container_id="x"), "UNIMPLEMENTED", "checkpoint")
    k.StopPodSandbox(pod_sandbox_id=pod[0])
    refused(lambda: k.make(pod, "true"), "FAILED_PRECONDITION", "is not running")


def test_namespaces_are_shared(k):
    config = k.pod_config("shared", hostname="my-host")
    p = k.run_pod(config)
    a = k.run(p, "sleep 100", name="a")
    b = k.run(p, "sleep 100", name="b")
    ns = {x: [os.readlink(f"/proc/{pid(k, x)}/ns/{n}") for n in ("net", "ipc", "uts", "pid", "mnt")] for x in (a, b)}
    assert ns[a][:3] == ns[b][:3] and ns[a][4] != ns[b][4]
    assert ns[a][3] == ns[b][3]  # PID namespace: POD is the zero value, as the kubelet sends it when shared
    assert ns[a][:3] != [os.readlink(f"/proc/self/ns/{n}") for n in ("net", "ipc", "uts")]
    assert k.output(p, "hostname; echo $HOSTNAME") == "my-host\nmy-host"
    assert "pause" in k.output(p, "cat /proc/1/cmdline")
    k.RemovePodSandbox(pod_sandbox_id=p[0])


def pid(k, c):
    return json.loads(k.ContainerStatus(container_id=c, verbose=True).info["info"])["pid"]


def security(**kw):
    return m.LinuxContainerConfig(security_context=m.LinuxContainerSecurityContext(**kw))


@pytest.mark.parametrize("how", ["stop", "stop pod", "remove", "remove pod"])
def test_a_stop_that_waits_is_overtaken(k, how):
    """A kubelet that lost its patience asks again with less time, or kills the pod: the hour of the first call is not waited for."""
    p = k.run_pod()
    c = k.run(p, "trap 'echo told' TERM; echo ready; while :; do sleep 0.1; done")
    until(lambda: ("stdout", "ready") in k.log(c))
    first = threading.Thread(target=lambda: k.StopContainer(container_id=c, timeout=3600, within=3600), daemon=True)
    first.start()
    until(lambda: ("stdout", "told") in k.log(c))
    assert first.is_alive() and k.status(c).state == 1
    began = time.monotonic()
    {"stop": lambda: k.StopContainer(container_id=c, timeout=1),
     "stop pod": lambda: k.StopPodSandbox(pod_sandbox_id=p[0]),
     "remove": lambda: k.RemoveContainer(container_id=c),
     "remove pod": lambda: k.RemovePodSandbox(pod_sandbox_id=p[0])}[how]()
    assert time.monotonic() - began > (0.9 if how == "stop" else 0)
    first.join(20 * SLOWER)
    assert not first.is_alive()


def test_pid_modes(k, pod):
    own = security(namespace_options=m.NamespaceOption(pid=1))
    assert k.output(pod, "echo $$", linux=own) == "1"
    host = security(namespace_options=m.NamespaceOption(pid=NODE))
    assert int(k.output(pod, "echo $$", linux=host)) > 1
    a = k.run(pod, "sleep 100", name="target", linux=own)
    target = security(namespace_options=m.NamespaceOption(pid=3, target_id=a))
    assert "sleep" in k.output(pod, "tr '\\0' ' ' < /proc/1/cmdline", linux=target)
    refused(lambda: k.make(pod, "true", linux=security(namespace_options=m.NamespaceOption(pid=3, target_id="f" * 64))), "INVALID_ARGUMENT",
            "invalid target container")


def test_host_network(k):
    linux = m.LinuxPodSandboxConfig(security_context=m.LinuxSandboxSecurityContext(namespace_options=m.NamespaceOption(network=NODE, pid=1, ipc=NODE)))
    p = k.run_pod(k.pod_config("host", linux=linux, dns_config=m.DNSConfig(servers=["1.2.3.4"])))
    s = k.PodSandboxStatus(pod_sandbox_id=p[0]).status
    assert not s.network.ip and s.linux.namespaces.options.network == NODE
    c = k.run(p, "sleep 100", linux=security(namespace_options=m.NamespaceOption(network=NODE, pid=1, ipc=NODE)))
    for n in ("net", "uts", "ipc"):
        assert os.readlink(f"/proc/{pid(k, c)}/ns/{n}") == os.readlink(f"/proc/self/ns/{n}"), n
    assert k.output(p, "cat /etc/resolv.conf; hostname") == f"nameserver 1.2.3.4\n{socket.gethostname()}"
    k.RemovePodSandbox(pod_sandbox_id=p[0])


def test_dns(k):
    p = k.run_pod(k.pod_config(dns_config=m.DNSConfig(servers=["10.96.0.10", "1.1.1.1"], searches=["a.local", "b.local"], options=["ndots:5"])))
    assert k.output(p, "cat /etc/resolv.conf") == "search a.local b.local\nnameserver 10.96.0.10\nnameserver 1.1.1.1\noptions ndots:5"
    k.RemovePodSandbox(pod_sandbox_id=p[0])


def test_sysctls(k):
    p = k.run_pod(k.pod_config(linux=m.LinuxPodSandboxConfig(sysctls={"net.ipv4.ip_local_port_range": "10000 20000", "kernel.shm_rmid_forced": "1"})))
    assert k.output(p, "cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/shm_rmid_forced").split() == ["10000", "20000", "1"]
    k.RemovePodSandbox(pod_sandbox_id=p[0])
    refused(lambda: k.run_pod(k.pod_config(linux=m.LinuxPodSandboxConfig(sysctls={"vm.swappiness": "1"}))), "INVALID_ARGUMENT", "vm.swappiness")


def test_network_reaches_pods(k):
    a, b = k.run_pod(k.pod_config("a")), k.run_pod(k.pod_config("b"))
    ip = k.PodSandboxStatus(pod_sandbox_id=a[0]).status.network.ip
    other = k.PodSandboxStatus(pod_sandbox_id=b[0]).status.network.ip
    assert ip != other
    k.run(a, "nc -ll -p 8080 -e echo answer")
    until(lambda: b"answer" in http(ip, 8080))
    assert k.output(b, f"nc {ip} 8080 < /dev/null") == "answer"
    assert k.output(b, "ip link show lo | head -1").count("<LOOPBACK,UP,") == 1
    for p in (a, b):
        k.RemovePodSandbox(pod_sandbox_id=p[0])


def http(host, port):
    try:
        with socket.create_connection((host, port), 2) as s:
            return s.recv(100)
    except OSError:
        return b""


def test_port_mapping(k):
    p = k.run_pod(k.pod_config(port_mappings=[m.PortMapping(container_port=80, host_port=18080)]))
    k.run(p, "nc -ll -p 80 -e echo mapped")
    outside = "10.88.0.1"  # the bridge's own address: an address of the host
    until(lambda: b"mapped" in http(outside, 18080))
    k.RemovePodSandbox(pod_sandbox_id=p[0])
    assert http(outside, 18080) == b""


def test_addresses_are_given_back(k):
    given = pathlib.Path(k.dir / "ipam/test")
    before = sorted(x.name for x in given.iterdir() if x.name.startswith("10."))
    p = k.run_pod()
    assert len([x for x in given.iterdir() if x.name.startswith("10.")]) == len(before) + 1
    k.StopPodSandbox(pod_sandbox_id=p[0])
    assert sorted(x.name for x in given.iterdir() if x.name.startswith("10.")) == before
    k.RemovePodSandbox(pod_sandbox_id=p[0])


def test_a_plugin_fails(k):
    """Its words come through; nothing stays."""
    f = k.conf / "10-test.conflist"
    kept = f.read_text()

    def use(text):
        f.write_text(text)
        until(lambda: json.loads(k.Status(verbose=True).info["cniconfig"] or "{}") == json.loads(text))
    bad = json.loads(kept)
    bad["plugins"][0]["ipam"]["ranges"] = [[{"subnet": "10.99.0.0/30", "rangeStart": "10.99.0.2", "rangeEnd": "10.99.0.2"}]]
    bad["name"], bad["plugins"][0]["bridge"] = "small", "knarr75b"
    try:
        use(json.dumps(bad))
        p = k.run_pod()
        e = refused(lambda: k.run_pod(), "INTERNAL", "failed to setup network for sandbox")
        assert 'plugin type="bridge" failed (add)' in e.text and "no IP addresses available" in e.text, e.text
        bad["plugins"].append({"type": "none-such"})
        use(json.dumps(bad))
        k.RemovePodSandbox(pod_sandbox_id=p[0])  # by the configuration that it was made with
        refused(lambda: k.run_pod(), "INTERNAL", 'failed to find plugin "none-such" in path')
    finally:
        use(kept)
    assert not k.ListPodSandbox().items
    k.nothing_left()


def test_without_a_network(k):
    f = k.conf / "10-test.conflist"
    kept = f.read_text()
    f.unlink()
    try:
        until(lambda: not [c for c in k.Status().status.conditions if c.type == "NetworkReady"][0].status)
        refused(lambda: k.run_pod(), "INTERNAL", "cni plugin not initialized")
    finally:
        f.write_text(kept)
    until(lambda: [c for c in k.Status().status.conditions if c.type == "NetworkReady"][0].status)
    k.nothing_left()


def test_user_and_groups(k, pod):
    def ids(**kw):
        return k.output(pod, "echo $(id -u) $(id -g) $(id -G | tr ' ' '\\n' | sort -n)", linux=security(**kw))
    v = m.Int64Value
    assert ids() == "0 0 0"
    assert ids(run_as_user=v(value=1000)) == "1000 1000 1000 2000"
    assert ids(run_as_user=v(value=1000), run_as_group=v(value=3000)) == "1000 3000 2000 3000"
    assert ids(run_as_username="user") == "1000 1000 1000 2000"
    assert ids(run_as_user=v(value=1000), supplemental_groups=[4000, 5000]) == "1000 1000 1000 2000 4000 5000"
    assert ids(run_as_user=v(value=1000), supplemental_groups=[4000], supplemental_groups_policy=1) == "1000 1000 1000 4000"
    refused(lambda: ids(run_as_group=v(value=1)), "INVALID_ARGUMENT", "is specified without user")


def caps(k, pod, **kw):
    out = k.output(pod, "grep Cap /proc/self/status", linux=security(**kw))
    return {x.split()[0].rstrip(":"): int(x.split()[1], 16) for x in out.splitlines()}


def test_status_says_who_runs(k, pod):
    """ContainerUser: who the program began as, also for one that was only named, after the engine's return and after its end."""
    S = m.LinuxContainerSecurityContext
    rows = [(S(), (0, 0, [0])), (S(run_as_username="user"), (1000, 1000, [1000, 2000])),
            (S(run_as_user=m.Int64Value(value=1000), run_as_group=m.Int64Value(value=3000), supplemental_groups=[4000]), (1000, 3000, [3000, 4000, 2000])),
            (S(run_as_user=m.Int64Value(value=1000), supplemental_groups=[4000], supplemental_groups_policy=1), (1000, 1000, [1000, 4000]))]
    made = []
    for n, (s, (uid, gid, groups)) in enumerate(rows):
        c = k.make(pod, "sleep 1000", name=f"c{n}", linux=m.LinuxContainerConfig(security_context=s))
        assert not k.status(c).HasField("user")
        k.StartContainer(container_id=c)
        made.append((c, uid, gid, sorted(groups)))

    def check():
        for c, *wanted in made:
            u = k.status(c).user.linux
            assert [u.uid, u.gid, sorted(u.supplemental_groups)] == wanted
            field = {x.split(":")[0]: x.split()[1:] for x in open(f"/proc/{pid(k, c)}/status")}
            assert [int(field["Uid"][0]), int(field["Gid"][0]), sorted(map(int, field["Groups"]))] == wanted
    check()
    k.stop()
    k.start()
    check()
    c, uid, gid, groups = made[1]
    k.StopContainer(container_id=c, timeout=0)
    u = k.ended(c).user.linux
    assert (u.uid, u.gid) == (uid, gid)


def test_status_says_what_a_stop_begins_with(k, pod):
    """The pod's word, else the image's, else SIGTERM."""
    k.load("signalled", "STOPSIGNAL SIGUSR1")
    c = [k.make(pod, "sleep 1000"), k.make(pod, "sleep 1000", name="d", image="signalled"),
         k.make(pod, "sleep 1000", name="e", image="signalled", stop_signal=m.Signal.Value("Signal_SIGINT"))]
    assert [m.Signal.Name(k.status(x).stop_signal) for x in c] == ["Signal_SIGTERM", "Signal_SIGUSR1", "Signal_SIGINT"]
    k.stop()
    k.start()
    assert [m.Signal.Name(k.status(x).stop_signal) for x in c] == ["Signal_SIGTERM", "Signal_SIGUSR1", "Signal_SIGINT"]


def test_capabilities(k, pod, privileged):
    NET_ADMIN, CHOWN, ALL = 1 << 12, 1, m.Capability(add_capabilities=["ALL"])
    plain = caps(k, pod)["CapEff"]
    assert plain & CHOWN and not plain & NET_ADMIN
    assert caps(k, pod, capabilities=m.Capability(add_capabilities=["NET_ADMIN"], drop_capabilities=["CHOWN"]))["CapEff"] == plain & ~CHOWN | NET_ADMIN
    assert caps(k, pod, capabilities=m.Capability(drop_capabilities=["ALL"]))["CapEff"] == 0
    assert caps(k, pod, capabilities=m.Capability(drop_capabilities=["ALL"], add_capabilities=["NET_ADMIN"]))["CapBnd"] == NET_ADMIN
    everything = caps(k, pod, capabilities=ALL)["CapEff"]
    assert everything == caps(k, privileged, privileged=True)["CapEff"] and everything & NET_ADMIN
    c = m.Capability(add_capabilities=["NET_ADMIN"], add_ambient_capabilities=["NET_ADMIN"])
    assert caps(k, pod, capabilities=c, run_as_user=m.Int64Value(value=1000))["CapAmb"] == NET_ADMIN


def test_privileged_and_paths(k, pod, privileged):
    refused(lambda: k.make(pod, "true", linux=security(privileged=True)), "INVALID_ARGUMENT", "no privileged container allowed in sandbox")
    assert k.output(privileged, "test -e /dev/kmsg && echo yes; grep -c 'sysfs.*rw' /proc/mounts", linux=security(privileged=True)) == "yes\n1"
    assert k.output(pod, "ls -A /proc/acpi | wc -l; grep -c 'sysfs.*ro' /proc/mounts", linux=security(masked_paths=["/proc/acpi"])) == "0\n1"
    assert k.output(pod, "echo x > /proc/sys/kernel/hostname 2>/dev/null || echo no", linux=security(readonly_paths=["/proc/sys"])) == "no"
    assert k.output(pod, "touch /x 2>/dev/null || echo no", linux=security(readonly_rootfs=True)) == "no"


def test_seccomp_and_no_new_privs(k, pod, privileged, tmp_path):
    def mode(pod=pod, **kw):
        out = k.output(pod, "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status", linux=security(**kw))
        return [int(x.split()[1]) for x in sorted(out.splitlines())]
    assert mode() == [0, 0]
    assert mode(seccomp=m.SecurityProfile(profile_type=0)) == [0, 2]
    assert mode(seccomp=m.SecurityProfile(profile_type=1), no_new_privs=True) == [1, 0]
    (tmp_path / "p.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}))
    local = m.SecurityProfile(profile_type=2, localhost_ref=str(tmp_path / "p.json"))
    assert mode(seccomp=local) == [0, 2]
    assert "not implemented" in k.output(pod, "mkdir /x 2>&1 || true", linux=security(seccomp=local))
    refused(lambda: k.make(pod, "true", linux=security(seccomp=m.SecurityProfile(profile_type=2, localhost_ref="/none"))), "NOT_FOUND",
            "failed to load seccomp profile")
    assert mode(privileged, seccomp=m.SecurityProfile(profile_type=0), privileged=True) == [0, 0]


def test_mounts(k, pod, tmp_path):
    (tmp_path / "f").write_text("from outside")
    (tmp_path / "d").mkdir()
    made = tmp_path / "made/by/us"
    mounts = [m.Mount(container_path="/mnt/f", host_path=str(tmp_path / "f"), readonly=True), m.Mount(container_path="d", host_path=str(tmp_path / "d")),
              m.Mount(container_path="/etc/hosts", host_path=str(tmp_path / "f")), m.Mount(container_path="/made", host_path=str(made)),
              m.Mount(container_path="/dev/termination-log", host_path=str(tmp_path / "log"))]
    (tmp_path / "log").write_text("")
    c = k.run(pod, "cat /mnt/f /etc/hosts; echo inside > /d/x; echo y > /mnt/f; echo z > /made/z; echo bye > /dev/termination-log", mounts=mounts)
    s = k.ended(c)
    assert ("stdout", "from outsidefrom outside") in k.log(c)
    assert (tmp_path / "d/x").read_text() == "inside\n" and (tmp_path / "f").read_text() == "from outside"
    assert (made / "z").read_text() == "z\n" and (tmp_path / "log").read_text() == "bye\n"
    assert list(s.mounts) == mounts
    refused(lambda: k.make(pod, "true", name="rro", mounts=[m.Mount(container_path="/x", host_path="/tmp", recursive_read_only=True)]), "INVALID_ARGUMENT",
            "recursive_read_only")


def test_propagation(k, privileged, tmp_path):
    pod = privileged
    sub = tmp_path / "sub"
    sub.mkdir()
    subprocess.run(["mount", "--bind", tmp_path, tmp_path], check=True)
    subprocess.run(["mount", "--make-shared", tmp_path], check=True)
    try:
        c = k.run(pod, "sleep 100", mounts=[m.Mount(container_path="/private", host_path=str(tmp_path)),
                                            m.Mount(container_path="/slave", host_path=str(tmp_path), propagation=1)])
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", sub], check=True)
        (sub / "late").write_text("")
        inside = pathlib.Path(f"/proc/{pid(k, c)}/root")
        assert (inside / "slave/sub/late").exists() and not (inside / "private/sub/late").exists()
        k.RemoveContainer(container_id=c)
        c = k.run(pod, "mount -t tmpfs t /both/sub && touch /both/sub/mine && sleep 100", name="both", linux=security(privileged=True),
                  mounts=[m.Mount(container_path="/both", host_path=str(tmp_path), propagation=2)])
        until(lambda: (sub / "mine").exists())
        k.RemoveContainer(container_id=c)
        subprocess.run(["umount", sub], check=True)
    finally:
        subprocess.run(["umount", "-R", "-l", tmp_path])


def test_recursive_read_only(k, pod, tmp_path):
    if not k.Status().runtime_handlers[0].features.recursive_read_only_mounts:
        pytest.skip("the kernel has no recursive read-only mounts")
    (tmp_path / "sub").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path / "sub"], check=True)
    try:
        out = k.output(pod, "touch /a/sub/x 2>/dev/null || echo a; touch /b/sub/x 2>/dev/null || echo b", mounts=[
            m.Mount(container_path="/a", host_path=str(tmp_path), readonly=True, recursive_read_only=True),
            m.Mount(container_path="/b", host_path=str(tmp_path), readonly=True)])
        assert out == "a"
    finally:
        subprocess.run(["umount", tmp_path / "sub"])


def test_devices(k, pod):
    d = [m.Device(container_path="/dev/mine", host_path="/dev/zero", permissions="r")]
    assert k.output(pod, "head -c 3 /dev/mine | wc -c", devices=d) == "3"


def test_environment_directory_and_image_defaults(k, pod):
    k.load("conf:1", "ENV A=1", "WORKDIR /var", 'ENTRYPOINT ["echo","entry"]', 'CMD ["cmd"]', "STOPSIGNAL SIGUSR1")
    assert k.output(pod, [], image="conf:1") == "entry cmd"
    assert k.output(pod, [], image="conf:1", args=["mine"]) == "entry mine"
    assert k.output(pod, ["pwd"], image="conf:1") == "/var"
    assert k.output(pod, "echo $A $B; pwd", image="conf:1", working_dir="/tmp", envs=[m.KeyValue(key="B", value="x=y z")]) == "1 x=y z\n/tmp"
    c = k.run(pod, "trap 'exit 5' USR1; echo ready; while :; do sleep 0.05; done", image="conf:1", name="usr1")
    until(lambda: ("stdout", "ready") in k.log(c))  # it has its trap
    k.StopContainer(container_id=c, timeout=20 * SLOWER)
    assert k.status(c).exit_code == 5
    c = k.run(pod, "trap 'exit 6' USR2; echo ready; while :; do sleep 0.05; done", image="conf:1", name="usr2", stop_signal=30)
    until(lambda: ("stdout", "ready") in k.log(c))
    k.StopContainer(container_id=c, timeout=20 * SLOWER)
    assert k.status(c).exit_code == 6


def group_file(k, pod, c, controller, v1, v2):
    parent = pod[1].linux.cgroup_parent
    # systemd's scope has more in its name, and in version 2 the limits are those of a group in it.
    for f in (f"{controller}{parent}/*{c}*/{v1}", f"{parent[1:]}/*{c}*.scope/container/{v2}", f"{parent[1:]}/{c}/{v2}", f"unified{parent}/{c}/{v2}"):
        for found in pathlib.Path("/sys/fs/cgroup").glob(f):
            return found.read_text().split()
    pytest.skip(f"no {controller} controller here")


def test_resources_and_update(k, pod):
    r = m.LinuxContainerResources(cpu_period=100000, cpu_quota=50000, cpu_shares=512, memory_limit_in_bytes=64 << 20, oom_score_adj=900)
    linux = m.LinuxContainerConfig(resources=r, security_context=m.LinuxContainerSecurityContext())
    c = k.run(pod, "sleep 100", linux=linux)
    assert pathlib.Path(f"/proc/{pid(k, c)}/oom_score_adj").read_text() == "900\n"
    assert k.status(c).resources.linux == r
    assert str(64 << 20) in group_file(k, pod, c, "memory", "memory.limit_in_bytes", "memory.max")
    new = m.LinuxContainerResources(memory_limit_in_bytes=128 << 20, cpu_quota=70000)
    k.UpdateContainerResources(container_id=c, linux=new)
    assert str(128 << 20) in group_file(k, pod, c, "memory", "memory.limit_in_bytes", "memory.max")
    now = k.status(c).resources.linux
    assert (now.memory_limit_in_bytes, now.cpu_quota, now.cpu_shares) == (128 << 20, 70000, 512)
    assert "70000" in group_file(k, pod, c, "cpu", "cpu.cfs_quota_us", "cpu.max")
    # What an update does not change it does not claim to have changed.
    k.UpdateContainerResources(container_id=c, linux=m.LinuxContainerResources(oom_score_adj=500, cpu_shares=300))
    assert pathlib.Path(f"/proc/{pid(k, c)}/oom_score_adj").read_text() == "900\n"
    now = k.status(c).resources.linux
    assert (now.oom_score_adj, now.cpu_shares) == (900, 300)


def test_updates_at_once(k, pod):
    """Each keeps the words of the others."""
    R, r = m.LinuxContainerResources, m.LinuxContainerResources(cpu_shares=100)
    c = k.run(pod, "sleep 1000", linux=m.LinuxContainerConfig(resources=r, security_context=m.LinuxContainerSecurityContext()))
    wants = [R(cpu_shares=200), R(cpu_quota=60000, cpu_period=100000), R(memory_limit_in_bytes=100 << 20)]
    threads = [threading.Thread(target=lambda w=w: k.UpdateContainerResources(container_id=c, linux=w)) for w in wants]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    k.stop()
    k.start()
    now = k.ContainerStatus(container_id=c, verbose=True).status.resources.linux
    assert (now.cpu_shares, now.cpu_quota, now.memory_limit_in_bytes) == (200, 60000, 100 << 20)


def test_out_of_memory(k, pod):
    r = m.LinuxContainerResources(memory_limit_in_bytes=16 << 20)
    c = k.run(pod, "dd if=/dev/zero of=/dev/null bs=100M", linux=m.LinuxContainerConfig(resources=r, security_context=m.LinuxContainerSecurityContext()))
    s = k.ended(c)
    assert s.reason == "OOMKilled" and s.exit_code == 137, s


def test_log_is_reopened(k, pod):
    c = k.run(pod, "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done")
    path = pathlib.Path(k.status(c).log_path)
    until(lambda: path.exists() and path.read_text().count("\n") > 2)
    path.rename(path.with_suffix(".1"))
    k.ReopenContainerLog(container_id=c)
    until(lambda: path.exists() and path.read_text().count("\n") > 2)
    k.StopContainer(container_id=c)
    rows = path.with_suffix(".1").read_text() + path.read_text()
    numbers = [int(x.split()[3]) for x in rows.splitlines()]
    assert numbers == list(range(len(numbers)))
    refused(lambda: k.ReopenContainerLog(container_id=c), "FAILED_PRECONDITION", "container is not running")


def test_partial_lines_and_no_log(k, pod):
    c = k.run(pod, "head -c 40000 /dev/zero | tr '\\0' a; echo; printf end")
    k.ended(c)
    rows = [x.split(" ", 3)[1:] for x in pathlib.Path(k.status(c).log_path).read_text().splitlines()]
    assert [(s, tag, len(t)) for s, tag, t in rows] == [("stdout", "P", 16384), ("stdout", "P", 16384), ("stdout", "F", 7232), ("stdout", "F", 3)]
    c = k.run(pod, "echo x", name="quiet", log_path="")
    k.ended(c)
    assert k.status(c).log_path == ""


def test_volumes_of_images(k, pod):
    k.load("vol:1", "VOLUME /data")
    assert k.output(pod, "echo x > /data/y && cat /data/y && grep -c ' /data ' /proc/mounts", image="vol:1") == "x\n1"


def test_many_at_once(k):
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        pods = list(pool.map(lambda i: k.run_pod(k.pod_config(f"m{i}")), range(12)))
        ips = {k.PodSandboxStatus(pod_sandbox_id=p[0]).status.network.ip for p in pods}
        assert len(ips) == 12
        containers = list(pool.map(lambda p: k.run(p, "sleep 100"), pods))
        assert all(k.status(c).state == 1 for c in containers)
        list(pool.map(lambda p: k.RemovePodSandbox(pod_sandbox_id=p[0]), pods))
    k.nothing_left()


def test_events(k):
    stream = k.GetContainerEvents()
    stream.initial_metadata()  # we are heard
    seen = []
    import threading

    def read():
        try:
            for e in stream:
                seen.append(e)
        except Exception:
            pass
    threading.Thread(target=read, daemon=True).start()
    p = k.run_pod(k.pod_config("ev"))
    c = k.run(p, "exit 4")
    k.ended(c)
    k.RemoveContainer(container_id=c)
    k.RemovePodSandbox(pod_sandbox_id=p[0])
    until(lambda: len(seen) >= 8)
    stream.cancel()
    kinds = [(e.container_id == c, e.container_event_type) for e in seen]
    assert [t for mine, t in kinds if mine] == [0, 1, 2, 3]
    assert [t for mine, t in kinds if not mine] == [0, 1, 2, 3]
    stopped = [e for e in seen if e.container_id == c and e.container_event_type == 2][0]
    assert stopped.pod_sandbox_status.metadata.name == "ev" and stopped.containers_statuses[0].exit_code == 4
    assert stopped.created_at > 0


# ---- death

def test_everything_is_found_again(k):
    p = k.run_pod(k.pod_config("again", labels={"x": "y"}))
    before = k.PodSandboxStatus(pod_sandbox_id=p[0]).status
    c = k.run(p, "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done", labels={"l": "1"})
    ends = k.run(p, "sleep 1.5; exit 7", name="ends")
    state = k.status(c)
    k.stop(signal.SIGKILL)
    time.sleep(1.5)
    k.start()
    after = k.PodSandboxStatus(pod_sandbox_id=p[0]).status
    assert after == before and after.network.ip
    assert k.status(c) == state
    assert k.ended(ends).exit_code == 7
    size = len(k.log(c))
    until(lambda: len(k.log(c)) > size)
    assert [x.id for x in k.ListContainers(filter=m.ContainerFilter(label_selector={"l": "1"})).containers] == [c]
    refused(lambda: k.run_pod(p[1]), "ALREADY_EXISTS")
    k.RemovePodSandbox(pod_sandbox_id=p[0])
    k.nothing_left()


POINTS = ["cri.net.intent", "cri.net.made", "cri.net.plugin", "cri.net.added", "container.create.checked", "container.create.recorded", "cri.pod.made",
          "container.start.mounted", "container.start.spawned", "container.start.asked", "cri.pod.started"]


@pytest.mark.parametrize("point", POINTS)
def test_death_while_a_pod_is_made(k, point):
    k.stop()
    k.start(KNARR_FAIL=f"{point}=kill")
    with pytest.raises(Refused):
        k.run_pod(k.pod_config("dies"), within=20 * SLOWER)
    until(lambda: k.process.poll() is not None)
    k.channel.close()
    k.start()
    left = k.ListPodSandbox().items
    if point == "cri.pod.started":  # it was whole: the kubelet finds it by its labels
        assert len(left) == 1 and left[0].state == 0
    if point in ("container.start.asked", "cri.pod.started"):  # of the first nobody knows how far its plugins had come
        assert len(left) <= 1
        for x in left:
            assert x.state == 0 and k.PodSandboxStatus(pod_sandbox_id=x.id).status.network.ip
            k.RemovePodSandbox(pod_sandbox_id=x.id)
    else:
        until(lambda: not k.ListPodSandbox().items)
    until(lambda: not k.left())


def test_death_while_a_file_is_written(k):
    """Whatever file the engine writes when it dies, what it has written so far keeps nobody from removing the sandbox."""
    k.stop()
    n, died = 0, True
    while died:
        n += 1
        k.start(KNARR_FAIL=f"io.write_file.before_rename=kill@{n}", wait=False)
        try:
            k.wait()
            p = k.run_pod(k.pod_config("dies"), within=20 * SLOWER)
            k.run(p, "sleep 1000")
            k.RemovePodSandbox(pod_sandbox_id=p[0])
            died = False
        except (AssertionError, Refused):
            until(lambda: k.process.poll() is not None)
            k.channel.close()
            k.start()
            k.clean()
        k.nothing_left()
        k.stop()
    assert n > 8 and "cannot be taken up" not in (k.dir / "log").read_text(errors="replace")
    k.start()


@pytest.mark.parametrize("point", ["cri.net.deleted", "cri.net.unpinned", "cri.pod.emptied", "container.clear.deleted", "container.clear.unmounted"])
def test_death_while_a_pod_is_removed(k, point):
    k.stop()
    k.start(KNARR_FAIL=f"{point}=kill")
    p = k.run_pod(k.pod_config("dies"))
    k.run(p, "sleep 1000")
    with pytest.raises(Refused):
        k.RemovePodSandbox(pod_sandbox_id=p[0], within=20 * SLOWER)
    until(lambda: k.process.poll() is not None)
    k.channel.close()
    k.start()
    for x in k.ListPodSandbox().items:
        k.RemovePodSandbox(pod_sandbox_id=x.id)
    until(lambda: not k.left())


def alone():
    """A pid namespace of its own, as a kubelet asks for: its first process' end is the end of all in it."""
    return m.LinuxContainerConfig(security_context=m.LinuxContainerSecurityContext(namespace_options=m.NamespaceOption(pid=1)))


def test_an_end_is_told_before_it_is_cleared_away(k):
    """Who makes a successor need not wait for the unmounting; who removes waits for it."""
    def mounted():
        return [x for x in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if c in x]
    k.stop()
    k.start(KNARR_FAIL=f"container.clear.deleted=sleep:{10000 * min(SLOWER, 6)}@1")
    p = k.run_pod()
    c = k.run(p, "exit 7", linux=alone())
    assert k.ended(c).exit_code == 7
    again = k.run(p, "sleep 1000", name="again")
    assert k.status(again).state == 1
    assert mounted()  # still being cleared away
    k.StopContainer(container_id=c)
    k.RemoveContainer(container_id=c)
    assert not mounted()
    k.RemovePodSandbox(pod_sandbox_id=p[0])
    k.nothing_left()


def test_an_end_that_was_told_is_cleared_away_by_the_next_engine(k):
    k.stop()
    k.start(KNARR_FAIL="container.clear.deleted=sleep:60000")
    p = k.run_pod()
    c = k.run(p, "exit 7", linux=alone())
    assert k.ended(c).exit_code == 7
    k.stop(signal.SIGKILL)
    k.start()
    assert (k.status(c).state, k.status(c).exit_code) == (2, 7)
    k.RemovePodSandbox(pod_sandbox_id=p[0])
    k.nothing_left()


def test_a_dead_pause_is_no_ready_sandbox(k):
    p = k.run_pod()
    until(lambda: k.PodSandboxStatus(pod_sandbox_id=p[0]).status.state == 0)
    os.kill(json.loads(k.PodSandboxStatus(pod_sandbox_id=p[0], verbose=True).info["info"])["pid"], 9)
    until(lambda: k.PodSandboxStatus(pod_sandbox_id=p[0]).status.state == 1)
    k.StopPodSandbox(pod_sandbox_id=p[0])
    k.RemovePodSandbox(pod_sandbox_id=p[0])
    k.nothing_left()
