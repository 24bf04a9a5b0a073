"""http_demo (src/http/http_demo.c) driven by other people's clients: curl, nghttp, h2load, openssl and Python's own."""
import gzip, os, re, resource, signal, socket, ssl, subprocess, sys, tempfile, time
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, 'tests/lib'))
from waiting import SLOWER, until  # noqa: E402
DEMO = os.path.join(ROOT, os.environ.get('BUILD', 'build'), 'src/http/http_demo')


class Demo:
    def __init__(self, *args):
        self.dir = tempfile.mkdtemp()
        self.sock = self.dir + '/s.sock'
        self.proc = subprocess.Popen([DEMO, '--http', '0', '--https', '0', '--unix', self.sock, '--dir', self.dir, *args],
                                     stdout=subprocess.PIPE, text=True)
        self.port = {}
        for line in self.proc.stdout:
            if line.strip() == 'ready':
                break
            kind, at = line.split()
            self.port[kind] = int(at.rsplit(':', 1)[1])
        self.http = f'http://127.0.0.1:{self.port["http"]}'
        self.https = f'https://localhost:{self.port["https"]}'

    def stats(self):
        self.proc.send_signal(signal.SIGUSR1)
        line = self.proc.stdout.readline()
        return {k: int(v) for k, v in re.findall(r'(\w+)=(\d+)', line)}

    def memory_kb(self):
        for line in open(f'/proc/{self.proc.pid}/smaps_rollup'):
            if line.startswith('Private_Dirty'):
                return int(line.split()[1])

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        code = self.proc.wait(timeout=20 * SLOWER)
        subprocess.run(['rm', '-rf', self.dir])
        return code


@pytest.fixture(scope='module')
def demo():
    d = Demo()
    yield d
    assert d.stop() == 0


@pytest.fixture(scope='module')
def threaded():
    d = Demo('--threads', '3')
    yield d
    assert d.stop() == 0


def curl(demo, *args, data=None):
    return subprocess.run(['curl', '-sS', '-m', str(20 * SLOWER), '--cacert', demo.dir + '/ca.crt', *args], capture_output=True,
                          input=data, timeout=30 * SLOWER)


def transports(demo):
    yield ['--http1.1', demo.http]
    yield ['--http2-prior-knowledge', demo.http]
    yield ['--http1.1', demo.https]
    yield ['--http2', demo.https]
    yield ['--http1.1', '--unix-socket', demo.sock, 'http://x']


@pytest.mark.parametrize('n', range(5))
def test_curl(demo, n):
    *how, base = list(transports(demo))[n]
    assert curl(demo, *how, base + '/hello').stdout == b'Hello, world\n'
    assert len(curl(demo, *how, base + '/size/10000001').stdout) == 10000001
    plain = curl(demo, *how, base + '/json/3000000').stdout
    small = curl(demo, *how, '-H', 'Accept-Encoding: gzip', base + '/json/3000000').stdout
    assert len(small) < 300000 and gzip.decompress(small) == plain and len(plain) == 3000000
    body = os.urandom(2000003)
    assert curl(demo, *how, '--data-binary', '@-', base + '/echo', data=body).stdout == body
    assert curl(demo, *how, '--data-binary', '@-', base + '/whole', data=body[:1000000]).stdout == body[:1000000]
    assert curl(demo, *how, base + '/stream/2000').stdout.endswith(b'line 1999\n')
    code = curl(demo, *how, '-o', '/dev/null', '-w', '%{http_code}', '-H', 'Expect: 100-continue', '--data-binary',
                '@-', base + '/whole',
                data=body[:1100000]).stdout
    assert code == b'413'


def test_client_certificate(demo):
    out = curl(demo, '--cert', demo.dir + '/client.crt', '--key', demo.dir + '/client.key', demo.https + '/who').stdout
    assert b'cn=demo-client verified=1' in out
    assert b'cn=' not in curl(demo, demo.https + '/who').stdout


def test_unix_peer(demo):
    out = curl(demo, '--unix-socket', demo.sock, 'http://x/who').stdout
    assert f'peer=unix tls=0 version=11 uid={os.getuid()} '.encode() in out


@pytest.mark.parametrize('url', ['http', 'https'])
def test_nghttp(demo, url):
    out = subprocess.run(['nghttp', '-nv', '--no-verify', getattr(demo, url) + '/stream/50'], capture_output=True, text=True,
                         timeout=20 * SLOWER).stdout
    assert ':status: 200' in out and 'x-lines: all' in out and 'END_STREAM' in out
    out = subprocess.run(['nghttp', '-n', '--no-verify', '-m', '40', '-s', getattr(demo, url) + '/size/100000'],
                         capture_output=True, text=True, timeout=20 * SLOWER).stdout
    assert len(re.findall(r' 200 +97K ', out)) == 40


@pytest.mark.parametrize('args', [['-m', '1'], ['-m', '32'], ['--h1', '-m', '1'], ['--h1', '-m', '8']])
@pytest.mark.parametrize('path', ['/hello', '/size/70000'])
def test_h2load(demo, threaded, args, path):
    for d, base in ((demo, demo.https), (demo, demo.http), (threaded, threaded.https)):
        out = subprocess.run(['h2load', '-n', '4000', '-c', '20', *args, base + path], capture_output=True, text=True,
                             timeout=60 * SLOWER).stdout
        assert 'status codes: 4000 2xx, 0 3xx, 0 4xx, 0 5xx' in out, out
        assert '0 failed, 0 errored, 0 timeout' in out, out


def test_certificate_swap_under_load(demo):
    load = subprocess.Popen(['h2load', '-n', '60000', '-c', '20', '-m', '4', demo.https + '/hello'], stdout=subprocess.PIPE,
                            text=True)
    served = lambda: ssl.get_server_certificate(('127.0.0.1', demo.port['https']))
    seen = {served()}
    for _ in range(5):
        demo.proc.send_signal(signal.SIGHUP)
        seen.add(until(lambda: {served()} - seen).pop())
    out = load.communicate(timeout=60 * SLOWER)[0]
    assert '60000 succeeded, 0 failed' in out, out
    assert len(seen) == 6
    assert curl(demo, demo.https + '/hello').stdout == b'Hello, world\n'


def test_old_tls_is_refused(demo):
    out = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{demo.port["https"]}', '-tls1_1'], input='',
                         capture_output=True, text=True, timeout=20 * SLOWER)
    assert 'Cipher is (NONE)' in out.stdout
    out = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{demo.port["https"]}', '-alpn', 'gopher'], input='',
                         capture_output=True, text=True, timeout=20 * SLOWER)
    assert 'no application protocol' in out.stderr


def test_session_is_resumed(demo):
    ctx = ssl.create_default_context(cafile=demo.dir + '/ca.crt')
    session = None
    for n in range(2):
        with socket.create_connection(('127.0.0.1', demo.port['https'])) as s:
            with ctx.wrap_socket(s, server_hostname='localhost', session=session) as t:
                t.sendall(b'GET /hello HTTP/1.1\r\nHost: a\r\n\r\n')
                assert b'Hello' in t.recv(4096)
                assert t.session_reused == bool(n)
                session = t.session


@pytest.mark.parametrize('tls', [False, True])
def test_docker_hijack(demo, tls):
    s = socket.create_connection(('127.0.0.1', demo.port['https' if tls else 'http']))
    if tls:
        ctx = ssl.create_default_context(cafile=demo.dir + '/ca.crt')
        s = ctx.wrap_socket(s, server_hostname='localhost', suppress_ragged_eofs=False)
    s.sendall(b'POST /hijack HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly')
    got = b''
    while not got.endswith(b'early'):
        got += s.recv(4096)
    assert got.startswith(b'HTTP/1.1 101 Switching Protocols\r\n')
    big = os.urandom(1 << 20)
    s.settimeout(20)
    sent, back = 0, b''
    s.setblocking(False)
    while len(back) < len(big):
        try:
            if sent < len(big):
                sent += s.send(big[sent:sent + 65536])
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        try:
            back += s.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            time.sleep(0.001)
    assert back == big
    s.setblocking(True)
    if tls:
        s.close()
    else:
        s.shutdown(socket.SHUT_WR)
        assert s.recv(100) == b'bye\n' and s.recv(100) == b''
        s.close()


def test_watch_notices_that_its_client_went(demo):
    until(lambda: demo.stats()['streams'] == 0)  # those of tests before have ended
    for base in (['--http1.1', demo.http], ['--http2', demo.https]):
        p = subprocess.Popen(['curl', '-sN', '--cacert', demo.dir + '/ca.crt', *base[:-1], base[-1] + '/quiet'])
        until(lambda: demo.stats()['streams'])
        assert demo.stats()['streams'] == 1
        p.kill()
        p.wait()
        until(lambda: demo.stats()['streams'] == 0)


def test_idle_tls_connections_are_small():
    """The goal is 24 KB for each; a client in another process holds them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    n = min(2000, hard - 200)
    d = Demo('--idle-ms', str(180000 * SLOWER))  # the first are still there when the last has come
    ctx = ssl.create_default_context(cafile=d.dir + '/ca.crt')
    ctx.set_alpn_protocols(['http/1.1'])

    def dial():
        t = ctx.wrap_socket(socket.create_connection(('127.0.0.1', d.port['https'])), server_hostname='localhost')
        t.sendall(b'GET /hello HTTP/1.1\r\nHost: a\r\n\r\n')
        assert b'Hello' in t.recv(4096)
        return t
    conns = [dial() for _ in range(50)]
    before = d.memory_kb()
    conns += [dial() for _ in range(n)]
    each = (d.memory_kb() - before) / n
    print(f'{n} idle TLS connections, {each:.1f} KB of private memory each')
    assert d.stats()['idle'] == n + 50
    assert each <= 24
    for c in conns:
        c.close()
    assert d.stop() == 0


def test_a_burst_of_handshakes_leaves_little():
    """Every client comes back at once after a restart; the holes in the heap are given back a second later."""
    n = 1000
    d = Demo('--handshake-ms', str(10000 * SLOWER), '--idle-ms', str(180000 * SLOWER))
    ctx = ssl._create_unverified_context()
    before = d.memory_kb()
    conns = []
    for _ in range(n):
        s = socket.create_connection(('127.0.0.1', d.port['https']))
        s.setblocking(False)
        conns.append(ctx.wrap_socket(s, do_handshake_on_connect=False))
    waiting = list(conns)
    while waiting:
        still = []
        for t in waiting:
            try:
                t.do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                still.append(t)
        waiting = still
    for t in conns:
        t.send(b'GET /hello HTTP/1.1\r\nHost: a\r\n\r\n')
    until(lambda: d.stats()['idle'] == n)
    until(lambda: (d.memory_kb() - before) / n <= 32)
    each = (d.memory_kb() - before) / n
    print(f'{n} TLS connections that came at once, {each:.1f} KB of private memory each')
    assert d.stats()['idle'] == n
    assert each <= 32
    for t in conns:
        t.close()
    assert d.stop() == 0


def test_connection_limit():
    d = Demo('--connections', '3')
    held = [socket.create_connection(('127.0.0.1', d.port['http'])) for _ in range(3)]
    until(lambda: d.stats()['connections'] == 3)
    s = socket.create_connection(('127.0.0.1', d.port['http']))
    assert s.recv(4096).startswith(b'HTTP/1.1 503 ')
    held[0].close()
    s.close()
    until(lambda: d.stats()['connections'] == 2)
    assert curl(d, d.http + '/hello').stdout == b'Hello, world\n'
    assert d.stats()['refused'] == 1
    for h in held:
        h.close()
    assert d.stop() == 0


def test_slow_loris():
    d = Demo('--header-ms', '300')
    socks = [socket.create_connection(('127.0.0.1', d.port['http'])) for _ in range(100)]
    start = time.monotonic()
    for s in socks:
        s.sendall(b'GET /hello HTTP/1.1\r\n')

    def dripped():
        """A byte of each, and somebody else is served meanwhile."""
        for s in socks:
            try:
                s.sendall(b'X')
            except OSError:
                pass
        assert curl(d, d.http + '/hello').stdout == b'Hello, world\n'
        return d.stats()['timeouts'] == 100
    until(dripped)
    assert time.monotonic() - start > 0.29
    for s in socks:
        s.close()
    assert d.stop() == 0


def test_readers_that_stop_cost_little():
    d = Demo('--write-ms', '1500')
    before = d.memory_kb()
    socks = []
    for _ in range(100):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(('127.0.0.1', d.port['http']))
        s.sendall(b'GET /size/8000000 HTTP/1.1\r\nHost: a\r\n\r\n')
        socks.append(s)
    time.sleep(1)
    assert (d.memory_kb() - before) / 100 < 300  # references to shared pieces, not their bytes
    assert curl(d, d.http + '/hello').stdout == b'Hello, world\n'
    until(lambda: d.stats()['timeouts'] == 100)
    assert d.stats()['streams'] == 0
    for s in socks:
        s.close()
    assert d.stop() == 0


def test_graceful_stop():
    slowness = min(SLOWER, 20)
    d = Demo('--stop-ms', str(3000 * slowness))
    path = f'/slow/{1500 * slowness}'  # both have come before the first is answered
    slow = subprocess.Popen(['curl', '-sS', d.http + path], stdout=subprocess.PIPE)
    slow2 = subprocess.Popen(['curl', '-sSk', '--http2', d.https + path], stdout=subprocess.PIPE)
    until(lambda: d.stats()['streams'] == 2)
    d.proc.send_signal(signal.SIGTERM)

    def refused():
        try:
            socket.create_connection(('127.0.0.1', d.port['http']), timeout=1).close()
        except OSError:
            return True
    until(refused)
    assert slow.communicate(timeout=20 * SLOWER)[0] == b'at last\n'
    assert slow2.communicate(timeout=20 * SLOWER)[0] == b'at last\n'
    assert d.proc.wait(timeout=20 * SLOWER) == 0
