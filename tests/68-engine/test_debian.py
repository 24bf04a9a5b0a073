"""Images made of Debian's packages: nginx, redis and postgresql run, find each other by name, and keep their data in volumes.
Long form: the archives come from debian-images, which the suite runs before it goes into its own network namespace."""
import json
import time

import pytest
from conftest import *

CACHE = pathlib.Path(os.environ.get("KNARR_DEBIAN", pathlib.Path.home() / ".cache/knarr-debian"))
START = {
    "nginx": ["EXPOSE 80", 'CMD ["nginx","-g","daemon off; error_log stderr;"]'],
    "redis": ["EXPOSE 6379", "USER redis", 'CMD ["redis-server","--bind","0.0.0.0","--protected-mode","no","--dir","/data","--save","900","1"]'],
    "postgres": ["EXPOSE 5432", "USER postgres", "ENV PGDATA=/data/pg PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin", "VOLUME /data",
                  'CMD ["sh","-c","[ -s $PGDATA/PG_VERSION ] || initdb -A trust --locale=C >/dev/null && '
                  'echo host all all all trust >> $PGDATA/pg_hba.conf; mkdir -p /tmp/s; exec postgres -c listen_addresses=* -k /tmp/s"]'],
}


@pytest.fixture(scope="module")
def d(bridged):
    if not LONG:
        pytest.skip("long form (KNARR_TEST_LONG=1)")
    for name, changes in START.items():
        if not (CACHE / f"{name}.tar").exists():
            pytest.skip(f"tests/68-engine/debian-images has not made {CACHE}/{name}.tar")
        bridged.cli("import", *[w for c in changes for w in ("-c", c)], CACHE / f"{name}.tar", f"{name}:debian", timeout=300)
    import_busybox(bridged)
    bridged.cli("network", "create", "shop")
    try:
        yield bridged
    finally:
        left = bridged.out("ps", "-aq", check=None).split()
        if left:
            bridged.cli("rm", "-fv", *left, check=None)
        bridged.cli("network", "rm", "shop", check=None)
        bridged.cli("volume", "rm", "redis-data", "pg-data", check=None)


def says(d, words, wanted, seconds=90):
    end = time.time() + seconds
    while True:
        p = d.cli(*words, check=None)
        if p.stdout.strip() == wanted:
            return
        assert time.time() < end, (words, wanted, p.stdout, p.stderr, d.cli("ps", "-a").stdout,
                                   *[d.cli("logs", n).stderr[-500:] for n in d.out("ps", "-a", "--format", "{{.Names}}").split()])
        time.sleep(0.3)


def psql(d, sql, where="db"):
    return ["run", "--rm", "--network", "shop", "postgres:debian", "psql", "-h", where, "-U", "postgres", "-tAc", sql]


def test_three_services_and_their_data(d):
    d.cli("run", "-d", "--name", "cache", "--network", "shop", "-v", "redis-data:/data", "redis:debian")
    d.cli("run", "-d", "--name", "db", "--network", "shop", "--network-alias", "sql", "-v", "pg-data:/data", "--shm-size", "128m", "--stop-signal", "SIGINT", "postgres:debian")
    d.cli("run", "-d", "--name", "front", "--network", "shop", "-p", "127.0.0.1::80", "nginx:debian")
    # by name, from one to the other
    says(d, ["run", "--rm", "--network", "shop", "redis:debian", "redis-cli", "-h", "cache", "set", "k", "v1"], "OK")
    says(d, psql(d, "select 1"), "1")
    d.cli(*psql(d, "create table t(a int)"))
    d.cli(*psql(d, "insert into t values (7)", "sql"))
    d.cli("exec", "front", "sh", "-c", "mkdir -p /var/www/html; echo a page > /var/www/html/index.html")
    says(d, ["run", "--rm", "--network", "shop", "busybox", "wget", "-qO-", "http://front/"], "a page")
    port = d.out("port", "front", "80").splitlines()[0].rsplit(":", 1)[1]
    assert d.beside("busybox", "wget", "-qO-", f"http://127.0.0.1:{port}/") == "a page\n"
    # restart: data stay in the volumes
    for name in ("cache", "db"):
        d.cli("restart", "-t", "30", name, timeout=90)
    says(d, ["run", "--rm", "--network", "shop", "redis:debian", "redis-cli", "-h", "cache", "get", "k"], "v1")
    says(d, psql(d, "select a from t"), "7")
    # removed and made anew: still there
    d.cli("stop", "-t", "30", "cache", "db", timeout=90)
    assert json.loads(d.out("inspect", "db"))[0]["State"]["ExitCode"] == 0
    d.cli("rm", "cache", "db")
    d.cli("run", "-d", "--name", "cache", "--network", "shop", "-v", "redis-data:/data", "redis:debian")
    d.cli("run", "-d", "--name", "db", "--network", "shop", "-v", "pg-data:/data", "postgres:debian")
    says(d, ["run", "--rm", "--network", "shop", "redis:debian", "redis-cli", "-h", "cache", "get", "k"], "v1")
    says(d, psql(d, "select a from t"), "7")
