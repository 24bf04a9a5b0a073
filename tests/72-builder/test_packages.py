"""Images from Debian's packages, built and run: nginx, redis, postgresql, and a C program that a first stage compiles. Long form: the
packages (with all that they need, into an empty root) are downloaded with apt before, outside of the suite's network namespace."""
import os
import pathlib
import re
import subprocess

import pytest
from conftest import LONG, engine

STORE = pathlib.Path(os.environ.get("KNARR_DEBS", pathlib.Path.home() / ".cache/knarr-debs"))
BASE = ("dash", "coreutils", "libc6")
SETS = {"redis": ("redis-server", "redis-tools"), "nginx": ("nginx-light", "curl"), "postgresql": ("postgresql-15",), "gcc": ("gcc", "libc6-dev")}

pytestmark = pytest.mark.skipif(not LONG, reason="images from packages are built in the long form")


def download(name):
    """Run by the suite's script, where there is a network: python3 test_packages.py."""
    to = STORE / name
    if list(to.glob("*.deb")):
        return
    (to / "partial").mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "-y", "-qq", "install", "--download-only", "--no-install-recommends", "-o", "Dir::State::status=/dev/null",
                    "-o", f"Dir::Cache::archives={to}", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=",
                    "-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1", *BASE, *SETS[name]], stdout=subprocess.DEVNULL, check=True)


def root(name, folder):
    """Archives of the packages' files: what ADD gets."""
    debs = sorted((STORE / name).glob("*.deb"))
    if not debs:
        pytest.skip(f"the packages of {name} are not there: apt-get could not download them")
    for i, deb in enumerate(debs):
        with open(folder / f"{i:03}.tar", "wb") as f:
            subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], stdout=f, check=True)


FIRST = """FROM scratch AS root
ADD accounts /
ADD *.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN mkdir -p /tmp /run /var/tmp && chmod 1777 /tmp
"""


def build(d, tmp_path, name, text, tag):
    from conftest import tar
    import tarfile
    at = tmp_path / name
    at.mkdir()
    root(name, at)
    users = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\nredis:x:101:101::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\npostgres:x:102:102::/var/lib/postgresql:/bin/sh\n"
    groups = b"root:x:0:\nnogroup:x:65534:\nredis:x:101:\nwww-data:x:33:\npostgres:x:102:\nadm:x:4:\n"
    (at / "accounts").write_bytes(tar([("bin", None, {}), ("bin/sh", b"", {"type": tarfile.SYMTYPE, "linkname": "dash", "mode": 0o777}),
                                       ("etc", None, {}), ("etc/passwd", users, {}), ("etc/group", groups, {})]))
    (at / "Dockerfile").write_text(text)
    e = {**engine.ENV, "DOCKER_HOST": f"unix://{d.sock}", "DOCKER_CONFIG": str(d.dir / "cli"), "DOCKER_BUILDKIT": "0"}
    p = subprocess.run(["docker", "build", "--force-rm", "-t", tag, "."], env=e, cwd=at, capture_output=True, text=True, timeout=900)
    assert p.returncode == 0, p.stdout[-3000:] + p.stderr
    return p


def run(d, tag, script, *words):
    return d.out("run", "--rm", "--network", "none", *words, tag, "sh", "-ec", script, timeout=120)


def test_redis(knarr, tmp_path):
    build(knarr, tmp_path, "redis", FIRST + "EXPOSE 6379\nUSER redis\nWORKDIR /data\nCMD [\"redis-server\"]\n", "redis")
    out = run(knarr, "redis", "cd /tmp; redis-server --daemonize yes >/dev/null; for i in 1 2 3 4 5; do redis-cli ping && break; sleep 0.3; done; "
              "redis-cli set k v; redis-cli get k")
    assert out.split()[-3:] == ["PONG", "OK", "v"], out


def test_nginx(knarr, tmp_path):
    text = FIRST + ("RUN mkdir -p /var/log/nginx /var/lib/nginx /var/www/html && chown 33:33 /var/lib/nginx\n"
                    "COPY <<index.html /var/www/html/\nhello from nginx\nindex.html\n"
                    "COPY <<nginx.conf /etc/nginx/\nevents {}\nhttp { server { listen 127.0.0.1:80; root /var/www/html; } }\nnginx.conf\n"
                    "STOPSIGNAL SIGQUIT\nCMD [\"nginx\", \"-g\", \"daemon off;\"]\n")
    build(knarr, tmp_path, "nginx", text, "nginx")
    assert run(knarr, "nginx", "nginx; sleep 0.3; curl -s http://127.0.0.1/index.html") == "hello from nginx"


def test_postgresql(knarr, tmp_path):
    text = FIRST + ("ENV PATH=$PATH:/usr/lib/postgresql/15/bin LC_ALL=C\nRUN mkdir -p /data /var/run/postgresql && chown postgres:postgres /data /var/run/postgresql\n"
                    "USER postgres\nRUN initdb -D /data >/dev/null\nCMD [\"postgres\", \"-D\", \"/data\"]\n")
    build(knarr, tmp_path, "postgresql", text, "postgresql")
    out = run(knarr, "postgresql", "pg_ctl -D /data -l /tmp/log -w start >/dev/null || cat /tmp/log; psql -At -c 'select 6*7'; pg_ctl -D /data -m fast stop >/dev/null")
    assert out == "42", out


def test_c_program(knarr, tmp_path):
    text = FIRST + ("COPY <<main.c /src/\n#include <stdio.h>\nint main(void) { puts(\"compiled here\"); return 0; }\nmain.c\n"
                    "RUN gcc -static -O2 -o /hello /src/main.c\nFROM scratch\nCOPY --from=root /hello /hello\nENTRYPOINT [\"/hello\"]\n")
    build(knarr, tmp_path, "gcc", text, "hello")
    assert knarr.out("run", "--rm", "--network", "none", "hello") == "compiled here"
    assert len(knarr.api("GET", "/images/hello/json").json["RootFS"]["Layers"]) == 1


if __name__ == "__main__":
    for n in SETS:
        try:
            download(n)
        except (subprocess.CalledProcessError, OSError) as e:
            print(f"packages of {n}: {re.sub(chr(10), ' ', str(e))}")
