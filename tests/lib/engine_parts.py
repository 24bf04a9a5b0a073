"""What the suites of the engine's two faces share (68-engine, 72-builder through it, 75-cri): where the program is, a root file
system, Debian's registry."""
import io
import os
import pathlib
import socket
import subprocess
import tarfile

from waiting import SLOWER, until  # noqa: F401

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = REPO / os.environ.get("KNARR_BUILD", "build")
KNARR = BUILD / "src/app/knarr"
LONG = os.environ.get("KNARR_TEST_LONG") == "1"
ENV = {k: v for k, v in os.environ.items() if k.lower() not in ("http_proxy", "https_proxy", "no_proxy", "docker_host", "docker_context")}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def rootfs(**files):
    """busybox-static and a few names, as a tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        def add(name, data=None, kind=None, mode=0o755, link=""):
            i = tarfile.TarInfo(name)
            i.type, i.mode, i.mtime, i.linkname = kind or (tarfile.REGTYPE if data is not None else tarfile.DIRTYPE), mode, 1700000000, link
            i.size = len(data or b"")
            t.addfile(i, io.BytesIO(data or b""))
        for d in ("bin", "etc", "proc", "sys", "dev", "root", "data", "var"):
            add(d)
        add("tmp", mode=0o1777)
        add("bin/busybox", pathlib.Path("/bin/busybox").read_bytes())
        for name in subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
            if name != "busybox":
                add(f"bin/{name}", kind=tarfile.SYMTYPE, link="busybox")
        add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n", mode=0o644)
        add("etc/group", b"root:x:0:\nuser:x:1000:\nextra:x:2000:user\n", mode=0o644)
        for name, data in files.items():
            add(name.replace("__", "/"), data.encode(), mode=0o644)
    return out.getvalue()


BUSYBOX = rootfs()


def import_words(name, *changes):
    """`docker` with these words and BUSYBOX as its input makes an image of it."""
    return ["import", *[w for c in ('CMD ["sh"]', "ENV PATH=/bin:/usr/bin", *changes) for w in ("-c", c)], "-", name]


def docker_registry(folder, users=None):
    """Debian's docker-registry on a port of its own, for a fixture to yield from: its address. users: names and passwords, else anybody."""
    port = free_port()
    config = (f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}\n"
              f"http: {{addr: '127.0.0.1:{port}'}}\n")
    if users:
        import crypt  # deprecated, and the only bcrypt of Debian's Python
        (folder / "htpasswd").write_text("".join(f"{n}:{crypt.crypt(p, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))}\n" for n, p in users.items()))
        config += f"auth: {{htpasswd: {{realm: registry, path: {folder}/htpasswd}}}}\n"
    (folder / "config.yml").write_text(config)
    with open(folder / "log", "w") as log:
        p = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log)

    def up():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    try:
        until(up)
        yield f"127.0.0.1:{port}"
    finally:
        p.terminate()
        p.wait()
