"""How a client comes to the daemon and to registries: contexts, ssh, logins that are typed, kept in a file or by a helper."""
import base64
import json
import os
import pathlib
import pwd
import subprocess

import pytest
from conftest import *

SSHD = pathlib.Path(os.environ.get("KNARR_SSHD", pathlib.Path.home() / ".cache/knarr-sshd"))


NOWHERE = {"DOCKER_HOST": ""}  # the context decides


def test_contexts(docker):
    d = docker
    assert d.out("context", "create", "near", "--docker", f"host=unix://{d.sock}", env=NOWHERE) == "near"
    name = d.out("info", "-f", "{{.DockerRootDir}}")
    assert d.out("--context", "near", "info", "-f", "{{.DockerRootDir}}", env=NOWHERE) == name
    assert d.out("info", "-f", "{{.DockerRootDir}}", env={**NOWHERE, "DOCKER_CONTEXT": "near"}) == name
    d.cli("context", "use", "near", env=NOWHERE)
    assert d.out("context", "show", env=NOWHERE) == "near" and d.out("info", "-f", "{{.DockerRootDir}}", env=NOWHERE) == name
    d.cli("context", "create", "away", "--docker", f"host=unix://{d.dir}/nobody.sock", env=NOWHERE)
    assert "Cannot connect to the Docker daemon" in d.cli("--context", "away", "ps", check=1, env=NOWHERE).stderr
    d.cli("context", "use", "default", env=NOWHERE)
    d.cli("context", "rm", "near", "away", env=NOWHERE)


def test_a_context_with_tls(make_knarr, tmp_path):
    certificates(tmp_path)
    port = free_port()
    k = make_knarr("--host", f"tcp://127.0.0.1:{port}", "--tlsverify", f"--tlscacert={tmp_path}/ca.pem", f"--tlscert={tmp_path}/server.pem",
                   f"--tlskey={tmp_path}/server.key")
    import_busybox(k)
    files = f"ca={tmp_path}/ca.pem,cert={tmp_path}/client.pem,key={tmp_path}/client.key"
    k.cli("context", "create", "tls", "--docker", f"host=tcp://127.0.0.1:{port},{files}", env=NOWHERE)
    k.cli("context", "create", "bare", "--docker", f"host=tcp://127.0.0.1:{port},ca={tmp_path}/ca.pem", env=NOWHERE)
    k.cli("context", "use", "tls", env=NOWHERE)
    assert k.out("run", "--rm", "-i", "--network", "none", "busybox", "cat", stdin="through", env=NOWHERE) == "through"
    assert k.cli("--context", "bare", "ps", check=1, env=NOWHERE).stderr


@pytest.fixture
def sshd(docker, tmp_path):
    """Debian's sshd on loopback with a key of its own: the environment of a login reaches the daemon's socket as on its host."""
    program = SSHD / "usr/sbin/sshd"
    if not program.exists():
        pytest.skip("Debian's openssh-server was not fetched (tests/suites/68-engine)")
    port = free_port()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    (tmp_path / "passwd").write_text(pathlib.Path("/etc/passwd").read_text() + "sshd:x:64999:65534::/run/sshd:/usr/sbin/nologin\n")
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/user.pub\nStrictModes no\nUsePAM no\n"
        f"PidFile none\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nMaxStartups 50\nSetEnv DOCKER_HOST=unix://{docker.sock} "
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n")
    (tmp_path / "ssh").write_text(f"#!/bin/sh\nexec /usr/bin/ssh -o IdentityFile={tmp_path}/user -o StrictHostKeyChecking=no "
                                  f"-o UserKnownHostsFile={tmp_path}/known -o LogLevel=ERROR -F none \"$@\"\n")
    (tmp_path / "ssh").chmod(0o755)
    log = open(tmp_path / "log", "wb")
    # Its user for what is before a login exists nowhere but in its own view of /etc/passwd.
    p = subprocess.Popen(["unshare", "-m", "sh", "-c", f"mount --bind {tmp_path}/passwd /etc/passwd && mkdir -p /run/sshd && exec {program} -D -e -f "
                          f"{tmp_path}/sshd_config"], stderr=log, env={**ENV, "LD_LIBRARY_PATH": str(SSHD / "usr/lib/x86_64-linux-gnu")})

    def up():
        assert p.poll() is None, (tmp_path / "log").read_text()
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    try:
        until(up)
        yield {"DOCKER_HOST": f"ssh://{pwd.getpwuid(0).pw_name}@127.0.0.1:{port}", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    finally:
        p.terminate()
        p.wait()
        log.close()


def test_ssh(docker, sshd):
    """`docker system dial-stdio` at the other end: plain calls, a body, a stream that is taken over and closed halfway."""
    d = docker
    import_busybox(d)
    assert d.out("info", "-f", "{{.DockerRootDir}}", env=sshd) == d.out("info", "-f", "{{.DockerRootDir}}")
    assert import_busybox_by(d, sshd, "over:ssh").startswith("sha256:")
    p = d.cli("run", "--rm", "-i", "--network", "none", "over:ssh", "sh", "-c", "wc -c; echo said >&2; exit 7", stdin=b"x" * 300000, env=sshd, check=7)
    assert p.stdout.strip() == "300000" and p.stderr.strip() == "said"
    id = d.out("run", "-d", "--network", "none", "over:ssh", "sh", "-c", "echo first; sleep 1000", env=sshd)
    assert d.out("exec", id, "echo", "inside", env=sshd) == "inside" and d.out("logs", id, env=sshd) == "first"
    d.cli("rm", "-f", id, env=sshd)
    d.cli("rmi", "over:ssh", env=sshd)


def import_busybox_by(d, env, name):
    return d.out(*import_words(name), stdin=BUSYBOX, env=env)


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    yield from docker_registry(tmp_path_factory.mktemp("locked"), users={"me": "secret"})


HELPER = r"""#!/usr/bin/python3
# Keeps what it is told in a file; says what was asked of it in another.
import json, pathlib, sys
here = pathlib.Path(__file__).parent
kept, told = here / "kept.json", here / "told"
have = json.loads(kept.read_text()) if kept.exists() else {}
text = sys.stdin.read().strip()
with open(told, "a") as f:
    f.write(sys.argv[1] + "\n")
if sys.argv[1] == "store":
    v = json.loads(text)
    have[v["ServerURL"]] = v
elif sys.argv[1] == "erase":
    have.pop(text, None)
elif sys.argv[1] == "list":
    print(json.dumps({k: v["Username"] for k, v in have.items()}))
elif text not in have:
    print("credentials not found in native keychain")
    sys.exit(1)
else:
    print(json.dumps(have[text]))
kept.write_text(json.dumps(have))
"""


def use(d, registry, **cli):
    """Push, pull with a login; what is refused without."""
    import_busybox(d, f"{registry}/box:1")
    d.cli("push", f"{registry}/box:1", **cli)
    d.cli("rmi", f"{registry}/box:1")
    d.cli("pull", f"{registry}/box:1", **cli)
    d.cli("rmi", f"{registry}/box:1")


@pytest.mark.parametrize("how", ["credsStore", "credHelpers"])
def test_credential_helper(docker, locked, tmp_path, how):
    d = docker
    (tmp_path / "docker-credential-knarrtest").write_text(HELPER)
    (tmp_path / "docker-credential-knarrtest").chmod(0o755)
    config = tmp_path / "config"
    config.mkdir()
    (config / "config.json").write_text(json.dumps({how: "knarrtest" if how == "credsStore" else {locked: "knarrtest"}}))
    e = {"DOCKER_CONFIG": str(config), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert "no basic auth credentials" in d.fails("pull", f"{locked}/box:1", env=e)
    assert d.fails("login", "-u", "me", "-p", "wrong", locked, env=e)
    assert "Login Succeeded" in d.out("login", "-u", "me", "-p", "secret", locked, env=e)
    assert "secret" not in (config / "config.json").read_text() and base64.b64encode(b"me:secret").decode() not in (config / "config.json").read_text()
    use(d, locked, env=e)
    d.cli("logout", locked, env=e)
    assert "no basic auth credentials" in d.fails("pull", f"{locked}/box:1", env=e)
    assert {"store", "get", "erase"} <= set((tmp_path / "told").read_text().split())


def test_login_by_standard_input_and_file(docker, locked, tmp_path):
    d = docker
    e = {"DOCKER_CONFIG": str(tmp_path)}
    assert d.fails("login", "-u", "me", "--password-stdin", locked, stdin="wrong\n", env=e)
    assert "Login Succeeded" in d.out("login", "-u", "me", "--password-stdin", locked, stdin="secret\n", env=e)
    assert json.loads((tmp_path / "config.json").read_text())["auths"][locked]["auth"] == base64.b64encode(b"me:secret").decode()
    assert "Login Succeeded" in d.out("login", locked, env=e)  # with what the file has
    use(d, locked, env=e)
    d.cli("logout", locked, env=e)
    assert "no basic auth credentials" in d.fails("pull", f"{locked}/box:1", env=e)
    # A file that somebody wrote, with headers of its own for each request.
    auth = base64.b64encode(b"me:secret").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {locked: {"auth": auth}}, "HttpHeaders": {"X-Meta-Of": "a person"}}))
    use(d, locked, env=e)
    (tmp_path / "config.json").write_text(json.dumps({"auths": {locked: {"auth": base64.b64encode(b"me:other").decode()}}}))
    assert "authentication required" in d.fails("pull", f"{locked}/box:1", env=e) or "unauthorized" in d.fails("pull", f"{locked}/box:1", env=e)
