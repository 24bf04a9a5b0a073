"""Other people's client libraries: docker-py (python3-docker) and dockerode (npm)."""
import pathlib
import subprocess
import time

import pytest
from conftest import *

ASIDE = pathlib.Path(os.environ.get("KNARR_NPM", pathlib.Path.home() / ".cache/knarr-npm"))


@pytest.fixture(scope="module")
def py(docker):
    lib = pytest.importorskip("docker", reason="python3-docker is not installed (packages/test)")
    client = lib.DockerClient(base_url=f"unix://{docker.sock}", version="auto", timeout=60 * SLOWER)
    yield client
    client.close()


def test_docker_py_system_and_images(docker, py, registry):
    assert py.ping() and py.version()["ApiVersion"] and py.info()["OSType"] == "linux"
    image_id = import_busybox(docker, "pybox:1")
    image = py.images.get("pybox:1")
    assert image.id == image_id and image.tags == ["pybox:1"] and image.history()[0]["Id"] == image_id
    assert image.tag(f"{registry}/pybox", "2")
    assert any("digest" in x.get("status", "") for x in py.images.push(f"{registry}/pybox", tag="2", stream=True, decode=True))
    py.images.remove(f"{registry}/pybox:2")
    pulled = py.images.pull(f"{registry}/pybox", tag="2")
    assert pulled.id == image_id
    data = b"".join(image.save())
    py.images.remove("pybox:1", force=True)
    py.images.remove(image_id, force=True)
    import docker as lib
    with pytest.raises(lib.errors.ImageNotFound):
        py.images.get("pybox:1")
    assert py.images.load(data)[0].id == image_id
    assert py.df()["LayersSize"] > 0 and py.images.prune(filters={"dangling": True})["SpaceReclaimed"] > 0


def test_docker_py_containers(docker, py):
    import docker as lib
    import_busybox(docker, "pybox:1")
    assert py.containers.run("pybox:1", ["echo", "hello"], remove=True, network_mode="none") == b"hello\n"
    with pytest.raises(lib.errors.ContainerError) as e:
        py.containers.run("pybox:1", ["sh", "-c", "echo bad >&2; exit 3"], remove=True, network_mode="none")
    assert e.value.exit_status == 3 and b"bad" in e.value.stderr
    c = py.containers.run("pybox:1", ["sh", "-c", "echo up; sleep 1000"], detach=True, name="pyc", labels={"k": "v"}, network_mode="none")
    assert py.containers.get("pyc").status == "running" and [x.name for x in py.containers.list(filters={"label": "k=v"})] == ["pyc"]
    until(lambda: c.logs() == b"up\n")
    r = c.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
    assert r.exit_code == 4 and r.output == (b"out\n", b"err\n")
    assert b"".join(c.exec_run(["cat", "/etc/group"], stream=True).output).startswith(b"root:")
    c.pause()
    c.unpause()
    c.rename("pyd")
    c.restart(timeout=0)
    c.reload()
    assert c.name == "pyd" and c.status == "running"
    c.kill()
    assert c.wait()["StatusCode"] == 137
    c.remove()
    with pytest.raises(lib.errors.NotFound):
        py.containers.get("pyd")


def test_docker_py_volumes_networks_events(docker, py):
    v = py.volumes.create("pyv", labels={"a": "b"})
    assert py.volumes.get("pyv").attrs["Labels"] == {"a": "b"} and [x.name for x in py.volumes.list(filters={"label": "a"})] == ["pyv"]
    v.remove()
    assert py.networks.list(names=["none"])[0].name == "none"
    start = time.time()
    py.volumes.create("pye").remove()
    assert [e["Action"] for e in py.events(since=int(start), until=int(time.time()) + 1, decode=True, filters={"volume": "pye"})] == ["create", "destroy"]


NODE = r"""
const Docker = require('dockerode'), assert = require('assert'), fs = require('fs'), { PassThrough } = require('stream');
const d = new Docker({ socketPath: process.argv[2] });
const text = s => new Promise((ok, no) => { let t = ''; s.on('data', x => t += x); s.on('end', () => ok(t)); s.on('error', no); });
(async () => {
	assert.equal((await d.ping()).toString(), 'OK');
	assert.equal((await d.info()).OSType, 'linux');
	const images = await d.listImages({ filters: { reference: ['nodebox'] } });
	assert.deepEqual(images[0].RepoTags, ['nodebox:1']);
	assert.equal((await d.getImage('nodebox:1').inspect()).Id, images[0].Id);
	await d.createVolume({ Name: 'nodev' });
	assert.equal((await d.getVolume('nodev').inspect()).Driver, 'local');
	await d.getVolume('nodev').remove();
	await assert.rejects(d.getImage('none').inspect(), e => e.statusCode === 404);
	let out = '';
	const sink = new PassThrough();
	sink.on('data', x => out += x);
	const [result, c] = await d.run('nodebox:1', ['sh', '-c', 'echo from node; exit 5'], sink, { HostConfig: { NetworkMode: 'none' } });
	assert.equal(result.StatusCode, 5);
	assert.match(out, /from node/);
	await c.remove();
	const k = await d.createContainer({ Image: 'nodebox:1', Cmd: ['sleep', '1000'], name: 'nodec', HostConfig: { NetworkMode: 'none' } });
	await k.start();
	const e = await k.exec({ Cmd: ['sh', '-c', 'cat; echo end'], AttachStdin: true, AttachStdout: true, AttachStderr: true });
	const s = await e.start({ hijack: true, stdin: true });
	const plain = new PassThrough();
	d.modem.demuxStream(s, plain, plain);
	s.on('end', () => plain.end());
	s.write('typed\n');
	s.end();
	assert.equal(await text(plain), 'typed\nend\n');
	assert.equal((await e.inspect()).ExitCode, 0);
	await k.stop({ t: 0 });
	assert.equal((await k.inspect()).State.ExitCode, 137);
	await k.remove();
})().then(() => console.log('done'), e => { console.error(e); process.exit(1); });
"""


@pytest.fixture(scope="module")
def dockerode():
    """The package, which the suite has fetched with npm before it went into its own network namespace."""
    if not (ASIDE / "node_modules/dockerode").exists():
        pytest.skip("npm could not fetch dockerode" if shutil.which("npm") and shutil.which("node") else "no npm here (packages/test)")
    return ASIDE


def test_dockerode(docker, dockerode):
    import_busybox(docker, "nodebox:1")
    p = subprocess.run(["node", "-e", NODE, "x", docker.sock], capture_output=True, text=True, timeout=120 * SLOWER,
                       env={**ENV, "NODE_PATH": str(dockerode / "node_modules")}, cwd=dockerode)
    assert p.returncode == 0 and p.stdout.strip().endswith("done"), p.stdout + p.stderr
