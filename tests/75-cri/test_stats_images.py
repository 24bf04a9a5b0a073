"""Statistics, metrics; the image service against Debian's docker-registry."""
import base64
import subprocess
import threading
import time

import pytest

from conftest import ENV, SLOWER, Refused, bridge, docker_registry, engine, m, until
from test_pods import refused


@pytest.fixture(scope="module")
def k():
    with engine(conflist=bridge()) as e:
        yield e


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    yield from docker_registry(tmp_path_factory.mktemp("registry"))


def test_stats(k):
    p = k.run_pod(k.pod_config("st", labels={"s": "1"}))
    r = m.LinuxContainerResources(memory_limit_in_bytes=64 << 20)
    c = k.run(p, "head -c 1000000 /dev/zero > /data/file; while :; do :; done", labels={"c": "1"},
              linux=m.LinuxContainerConfig(resources=r, security_context=m.LinuxContainerSecurityContext()))
    until(lambda: k.ContainerStats(container_id=c).stats.cpu.usage_core_nano_seconds.value > 10**7)
    s = k.ContainerStats(container_id=c).stats
    assert s.attributes.id == c and s.attributes.labels["c"] == "1"
    assert s.writable_layer.fs_id.mountpoint.endswith("/snapshots")
    mem = s.memory
    assert 0 < mem.working_set_bytes.value <= mem.usage_bytes.value <= 64 << 20
    assert mem.available_bytes.value == (64 << 20) - mem.working_set_bytes.value
    time.sleep(1.1)
    assert k.ContainerStats(container_id=c).stats.cpu.HasField("usage_nano_cores")
    done = k.run(p, "true", name="done")
    k.ended(done)
    assert [x.attributes.id for x in k.ListContainerStats().stats] == [c]
    assert not k.ListContainerStats(filter=m.ContainerStatsFilter(label_selector={"c": "2"})).stats
    assert [x.attributes.id for x in k.ListContainerStats(filter=m.ContainerStatsFilter(pod_sandbox_id=p[0])).stats] == [c]
    assert not k.ContainerStats(container_id=done).stats.HasField("cpu")
    ps = k.PodSandboxStats(pod_sandbox_id=p[0]).stats
    assert ps.attributes.metadata.name == "st" and ps.linux.network.default_interface.name == "eth0"
    assert ps.linux.process.process_count.value >= 2 and [x.attributes.id for x in ps.linux.containers] == [c]
    assert ps.linux.cpu.usage_core_nano_seconds.value >= s.cpu.usage_core_nano_seconds.value
    assert [x.attributes.id for x in k.ListPodSandboxStats(filter=m.PodSandboxStatsFilter(label_selector={"s": "1"})).stats] == [p[0]]
    refused(lambda: k.ContainerStats(container_id="none"), "NOT_FOUND")
    descriptors = {d.name: d for d in k.ListMetricDescriptors().descriptors}
    got = k.ListPodSandboxMetrics().pod_metrics
    assert [x.pod_sandbox_id for x in got] == [p[0]] and [x.container_id for x in got[0].container_metrics] == [c]
    for metric in [*got[0].metrics, *got[0].container_metrics[0].metrics]:
        assert len(metric.label_values) == len(descriptors[metric.name].label_keys), metric
    labels = dict(zip(descriptors["container_memory_rss"].label_keys, got[0].container_metrics[0].metrics[3].label_values))
    assert (labels["pod"], labels["namespace"], labels["container"]) == ("st", "default", "c")
    k.StopPodSandbox(pod_sandbox_id=p[0])
    refused(lambda: k.PodSandboxStats(pod_sandbox_id=p[0]), "FAILED_PRECONDITION")
    assert not k.ListPodSandboxStats().stats
    k.RemovePodSandbox(pod_sandbox_id=p[0])


def test_a_sandbox_keeps_the_time_of_what_has_ended(k):
    p = k.run_pod()
    c = k.run(p, "while :; do :; done")
    until(lambda: k.PodSandboxStats(pod_sandbox_id=p[0]).stats.linux.cpu.usage_core_nano_seconds.value > 2 * 10**8, 60)
    before = k.PodSandboxStats(pod_sandbox_id=p[0]).stats.linux.cpu.usage_core_nano_seconds.value
    k.StopContainer(container_id=c)
    k.RemoveContainer(container_id=c)
    time.sleep(1.1)
    after = k.PodSandboxStats(pod_sandbox_id=p[0]).stats.linux.cpu
    assert after.usage_core_nano_seconds.value >= before and after.HasField("usage_nano_cores")
    k.RemovePodSandbox(pod_sandbox_id=p[0])


def test_pull(k, registry):
    name = f"{registry}/team/app:1"
    k.docker("tag", "busybox", name)
    k.docker("push", name)
    id = k.docker("image", "inspect", "-f", "{{.Id}}", name)
    digest = k.docker("image", "inspect", "-f", "{{index .RepoDigests 0}}", name)
    k.load("keep:1", "ENV X=1")
    k.docker("rmi", name, "busybox")
    assert not k.ImageStatus(image=m.ImageSpec(image=name)).HasField("image")
    pod = k.run_pod()
    refused(lambda: k.make(pod, "true", image=name), "NOT_FOUND")
    assert k.PullImage(image=m.ImageSpec(image=name), sandbox_config=pod[1]).image_ref == id
    i = k.ImageStatus(image=m.ImageSpec(image=name)).image
    assert list(i.repo_tags) == [name] and list(i.repo_digests) == [digest]
    assert name in k.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert k.output(pod, "echo pulled", image=name) == "pulled"
    c = k.run(pod, "sleep 1000", image=i.id)
    s = k.status(c)
    assert s.image_ref == digest and s.image_id == id and s.image.image == name
    k.RemoveImage(image=m.ImageSpec(image=name))  # the kubelet knows what it needs; the container keeps its layers
    assert not k.ImageStatus(image=m.ImageSpec(image=id)).HasField("image")
    assert k.sh(c, "echo still here") == "still here"
    k.RemovePodSandbox(pod_sandbox_id=pod[0])
    assert k.PullImage(image=m.ImageSpec(image=digest)).image_ref == id
    assert list(k.ImageStatus(image=m.ImageSpec(image=digest)).image.repo_digests) == [digest]
    k.RemoveImage(image=m.ImageSpec(image=id))
    k.RemoveImage(image=m.ImageSpec(image=id))


def test_a_build_keeps_its_images(k, registry, tmp_path):
    """What a build stands on is pinned, and not removed under it, by this face either: here a stage without a container."""
    name = f"{registry}/team/first:1"
    k.load(name, "ENV X=first")
    k.load("second:1", "ENV X=second")
    k.docker("push", name)
    first = k.ImageStatus(image=m.ImageSpec(image=name)).image
    assert not first.pinned
    (tmp_path / "Dockerfile").write_text(f"FROM {name} AS first\nFROM second:1\nRUN until [ -e /go ]; do sleep 0.1; done\nCOPY --from=first /bin/busybox /copied\n")
    p = subprocess.Popen(["docker", "build", "-q", "--network", "none", "-t", "built:1", tmp_path], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, env={**ENV, "DOCKER_HOST": f"unix://{k.sock}", "DOCKER_BUILDKIT": "0"})
    step = until(lambda: k.docker("ps", "-q") or p.poll() is not None)
    assert p.poll() is None
    assert k.ImageStatus(image=m.ImageSpec(image=name)).image.pinned
    refused(lambda: k.RemoveImage(image=m.ImageSpec(image=first.id)), "FAILED_PRECONDITION", "unable to remove image")
    k.docker("exec", step, "touch", "/go")
    assert p.wait(60 * SLOWER) == 0, p.stdout.read()
    k.docker("rmi", "built:1", "second:1")
    k.RemoveImage(image=m.ImageSpec(image=first.id))
    assert not k.ImageStatus(image=m.ImageSpec(image=name)).HasField("image")


def test_images_without_a_registry_are_pinned(k, registry):
    """The kubelet's collection of garbage does not take what cannot be had again."""
    k.load("own:1", "ENV X=own")
    assert k.ImageStatus(image=m.ImageSpec(image="own:1")).image.pinned
    name = f"{registry}/team/own:1"
    k.docker("tag", "own:1", name)
    k.docker("push", name)
    assert not k.ImageStatus(image=m.ImageSpec(image="own:1")).image.pinned
    k.docker("rmi", "own:1", name)


def test_pull_fails(k, registry):
    e = refused(lambda: k.PullImage(image=m.ImageSpec(image=f"{registry}/no/such:1")), "NOT_FOUND", "failed to pull and unpack image")
    assert f"{registry}/no/such:1" in e.text
    refused(lambda: k.PullImage(image=m.ImageSpec(image="a/UPPER")), "INVALID_ARGUMENT", "failed to parse image reference")
    refused(lambda: k.PullImage(), "INVALID_ARGUMENT", "image spec is empty")
    refused(lambda: k.PullImage(image=m.ImageSpec(image="a/b"), auth=m.AuthConfig(auth="!")), "INVALID_ARGUMENT", 'invalid "auth"')


def test_credentials_are_sent(k):
    """A registry that asks for them, and sees them."""
    import http.server
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="here"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        do_HEAD = do_GET

        def log_message(self, *a):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    wanted = "Basic " + base64.b64encode(b"me:secret").decode()
    here = f"127.0.0.1:{server.server_port}"
    for auth in (m.AuthConfig(username="me", password="secret"), m.AuthConfig(auth=base64.b64encode(b"me:secret").decode()),
                 m.AuthConfig(username="me", password="secret", server_address=here),
                 m.AuthConfig(username="me", password="secret", server_address=f"https://{here}/v2/")):
        seen.clear()
        with pytest.raises(Refused) as e:
            k.PullImage(image=m.ImageSpec(image=f"{here}/a/b"), auth=auth)
        assert wanted in seen, (seen, e.value)
    seen.clear()  # another registry's credentials are not for this one
    with pytest.raises(Refused):
        k.PullImage(image=m.ImageSpec(image=f"{here}/a/b"), auth=m.AuthConfig(username="me", password="secret", server_address="https://example.com"))
    assert seen and set(seen) == {None}
    server.shutdown()


def test_docker_keeps_its_images(k):
    k.load("held:1", "ENV HELD=1")
    c = k.docker("create", "--network", "none", "held:1")
    refused(lambda: k.RemoveImage(image=m.ImageSpec(image="held:1")), "FAILED_PRECONDITION", "used by docker's container")
    k.docker("rm", c)
    k.RemoveImage(image=m.ImageSpec(image="held:1"))
    assert "held" not in k.docker("images")
