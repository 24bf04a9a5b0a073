"""The runtime as a whole: what a kubelet asks first."""
import json
import time

import pytest

from conftest import Refused, m, until


def test_version(knarr):
    v = knarr.Version(version="0.1.0")
    assert (v.version, v.runtime_name, v.runtime_api_version) == ("0.1.0", "knarr", "v1")
    assert v.runtime_version


def test_network_ready_follows_the_folder(knarr):
    def network():
        s = knarr.Status()
        return {c.type: c for c in s.status.conditions}
    c = network()
    assert c["RuntimeReady"].status
    assert not c["NetworkReady"].status
    assert c["NetworkReady"].reason == "NetworkPluginNotReady"
    assert c["NetworkReady"].message == "Network plugin returns error: cni plugin not initialized"
    (knarr.conf / "20-b.conflist").write_text("{")
    (knarr.conf / "99-c.conflist").write_text(json.dumps({"cniVersion": "1.0.0", "name": "c", "plugins": [{"type": "loopback"}]}))
    until(lambda: "20-b.conflist" in network()["NetworkReady"].message)
    time.sleep(0.1)
    assert not network()["NetworkReady"].status  # the next is another network: pods would be in it without a word
    (knarr.conf / "20-b.conflist").write_text(json.dumps({"cniVersion": "1.0.0", "name": "b", "plugins": [{"type": "loopback"}]}))
    until(lambda: network()["NetworkReady"].status)
    (knarr.conf / "10-a.conf").write_text(json.dumps({"cniVersion": "0.3.1", "name": "a", "type": "loopback"}))
    until(lambda: json.loads(knarr.Status(verbose=True).info["cniconfig"]).get("name") == "a")
    for f in knarr.conf.iterdir():
        f.unlink()
    until(lambda: not network()["NetworkReady"].status)
    knarr.conf.rmdir()
    assert not network()["NetworkReady"].status
    knarr.conf.mkdir()
    (knarr.conf / "x.conflist").write_text(json.dumps({"cniVersion": "1.0.0", "name": "b", "plugins": [{"type": "loopback"}]}))
    until(lambda: network()["NetworkReady"].status)
    knarr.conf.rename(knarr.dir / "old")
    knarr.conf.mkdir()
    until(lambda: not network()["NetworkReady"].status)
    time.sleep(0.3)
    (knarr.conf / "y.conflist").write_text((knarr.dir / "old/x.conflist").read_text())
    until(lambda: network()["NetworkReady"].status)
    (knarr.conf / "y.conflist").unlink()
    until(lambda: not network()["NetworkReady"].status)
    (knarr.conf / "x.conflist").symlink_to(knarr.dir / "old/x.conflist")
    until(lambda: network()["NetworkReady"].status)
    (knarr.conf / "x.conflist").unlink()
    until(lambda: not network()["NetworkReady"].status)


def test_verbose_status_and_features(knarr):
    s = knarr.Status(verbose=True)
    assert json.loads(s.info["config"])["sandboxImage"] == "registry.k8s.io/pause:3.10"
    assert json.loads(s.info["lastCNILoadStatus"])
    assert {h.name for h in s.runtime_handlers} == {"", "knarr", "runc"}
    assert s.features.supplemental_groups_policy
    assert knarr.Status().info == {}


def test_runtime_config(knarr):
    assert knarr.RuntimeConfig().linux.cgroup_driver in (0, 1)
    knarr.UpdateRuntimeConfig(runtime_config=m.RuntimeConfig(network_config=m.NetworkConfig(pod_cidr="10.0.0.0/24")))


def test_nothing_is_there(knarr):
    assert list(knarr.ListPodSandbox().items) == []
    assert list(knarr.ListContainers().containers) == []
    for call, words in ((lambda: knarr.PodSandboxStatus(pod_sandbox_id="none"), "find sandbox"),
                        (lambda: knarr.ContainerStatus(container_id="none"), "find container")):
        with pytest.raises(Refused) as e:
            call()
        assert e.value.code == "NOT_FOUND" and words in e.value.text


def test_images_are_shared(knarr):
    images = {t: i for i in knarr.ListImages().images for t in i.repo_tags}
    i = images["docker.io/library/busybox:latest"]
    assert i.id == knarr.docker("image", "inspect", "-f", "{{.Id}}", "busybox")
    assert i.size > 0 and i.pinned  # no registry has it
    for name in ("busybox", "busybox:latest", "docker.io/library/busybox", i.id, i.id[7:19]):
        assert knarr.ImageStatus(image=m.ImageSpec(image=name)).image.id == i.id, name
    assert not knarr.ImageStatus(image=m.ImageSpec(image="other")).HasField("image")
    knarr.docker("tag", "busybox", "example.com/a/b:1")
    assert "example.com/a/b:1" in knarr.ImageStatus(image=m.ImageSpec(image="busybox")).image.repo_tags
    assert [x.id for x in knarr.ListImages(filter=m.ImageFilter(image=m.ImageSpec(image="example.com/a/b:1"))).images] == [i.id]
    assert not knarr.ListImages(filter=m.ImageFilter(image=m.ImageSpec(image="none"))).images
    knarr.docker("rmi", "example.com/a/b:1")
    verbose = knarr.ImageStatus(image=m.ImageSpec(image="busybox"), verbose=True)
    assert json.loads(verbose.info["info"])["imageSpec"]["config"]["Cmd"] == ["sh"]


def test_image_user(knarr):
    knarr.load("user:1", "USER 1000:2000")
    knarr.load("user:2", "USER user")
    assert knarr.ImageStatus(image=m.ImageSpec(image="user:1")).image.uid.value == 1000
    i = knarr.ImageStatus(image=m.ImageSpec(image="user:2")).image
    assert i.username == "user" and not i.HasField("uid")
    knarr.docker("rmi", "user:1", "user:2")


def test_image_of_a_docker_container_is_pinned(knarr):
    knarr.load("pin:1")
    c = knarr.docker("create", "--network", "none", "pin:1")
    assert knarr.ImageStatus(image=m.ImageSpec(image="pin:1")).image.pinned
    knarr.docker("rm", c)
    knarr.docker("rmi", "pin:1")


def test_image_fs_info(knarr):
    info = knarr.ImageFsInfo()
    assert info.image_filesystems[0].fs_id.mountpoint == f"{knarr.data}/snapshots"
    assert info.image_filesystems[0].used_bytes.value > 100000
    assert info.container_filesystems[0].timestamp > 0
