#!/usr/bin/env python3
"""Real kubectl against the documents: kubectl_test.py OPENAPI_CAT

A small HTTP server on loopback answers with what openapi_cat wrote; every kubectl on the machine explains kinds from it
(v3, and v2 where that version can), and validates manifests in a client dry run. Exits 77 without kubectl.
"""
import glob
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading

failures = []
asked = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition('?')[0].rstrip('/')
        accept = self.headers.get('Accept', '')
        asked.append((path, accept))
        body = kind = None
        if path.startswith('/openapi') and 'proto-openapi' in accept and 'application/json' not in accept.split(',')[0]:
            kind, end = accept.split(',')[0].replace('@', '.'), '.pb'  # clients before 1.29 cannot parse the @ they send
        else:
            kind, end = 'application/json', '.json'
        try:
            with open(self.server.root + path + end, 'rb') as f:
                body = f.read()
        except OSError:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def check(ok, what, got=''):
    print(('ok   ' if ok else 'FAIL ') + what)
    if not ok:
        failures.append(what)
        print('---- got\n%s\n----' % got)


POD = """apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - {name: web, image: nginx, imagePullPolicy: IfNotPresent}
"""
WIDGET = """apiVersion: stable.example.com/v1
kind: Widget
metadata: {name: one}
spec: {size: 3, port: http, maybe: null}
"""


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = shutil.which('kubectl') or ''
    beside = os.path.dirname(os.path.realpath(found)) if found else '/usr/bin'
    kubectls = sorted({os.path.realpath(p) for p in [found] + glob.glob('/usr/bin/kubectl*') + glob.glob(beside + '/kubectl.*')
                       if p and os.access(p, os.X_OK)})
    if not kubectls:
        print('no kubectl on this machine')
        sys.exit(77)
    with tempfile.TemporaryDirectory() as tmp:
        root = os.path.join(tmp, 'docs')
        os.mkdir(root)
        subprocess.run([sys.argv[1], root], check=True)
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        server.root = root
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for n, kubectl in enumerate(kubectls):
            home = os.path.join(tmp, 'home%d' % n)
            os.mkdir(home)
            env = {'HOME': home, 'PATH': os.environ['PATH'], 'NO_PROXY': '*'}

            def run(*args, stdin=None):
                r = subprocess.run([kubectl, '--server', 'http://127.0.0.1:%d' % server.server_port, *args], input=stdin,
                                   env=env, text=True, capture_output=True, timeout=60)
                return r.returncode, r.stdout, r.stdout + r.stderr

            version = run('version', '--client', '--output', 'yaml')[1]
            git = next((l.split(':')[1].strip() for l in version.splitlines() if 'gitVersion' in l), kubectl)
            tests(git, run)
        server.shutdown()
    if failures:
        sys.exit('%d checks failed' % len(failures))


def tests(git, run):
    def has(args, *parts, absent=(), stdin=None, code=0):
        rc, _, text = run(*args, stdin=stdin)
        missing = [p for p in parts if p not in text] + ['not ' + p for p in absent if p in text]
        check(rc == code and not missing, '%s: kubectl %s %s' % (git, ' '.join(args), missing or ''), text)

    has(['explain', 'pod.spec.containers', '--recursive'], 'imagePullPolicy', 'livenessProbe', 'containerPort', 'resources')
    has(['explain', 'deployment'], 'Deployment', 'apps', 'spec', 'FIELDS')
    has(['explain', 'pod.spec.containers.imagePullPolicy'], 'IfNotPresent')
    has(['explain', 'service.spec.ports'], 'targetPort', 'IntOrString')
    has(['explain', 'pods.spec.containers.resources.limits'], 'Quantity')
    has(['explain', 'widget.spec'], 'size', 'required', 'parts', 'port')
    has(['explain', 'widgets', '--recursive'], 'status', 'metadata', 'Widget')
    has(['explain', 'crd.spec.versions.schema', '--recursive'], 'openAPIV3Schema')
    before = len(asked)
    modern = run('explain', 'pod', '--output', 'plaintext-openapiv2')
    if modern[0] == 0:
        check('<Object>' in modern[1], git + ': explain from v2', modern[2])
        check(any(p == '/openapi/v2' for p, _ in asked[before:]), git + ': v2 was fetched', asked[before:])
    has(['create', '--dry-run=client', '--validate=true', '-f', '-'], 'pod/web created', stdin=POD)
    has(['create', '--dry-run=client', '--validate=true', '-f', '-'], 'widget.stable.example.com/one created', stdin=WIDGET)


if __name__ == '__main__':
    main()
