"""A node whose kubelet the API server may talk to: what the tests of logs, streams and volumes share."""
import glob
import http.client
import json
import os
import shutil
import socket
import subprocess

from harness import make_certificates
from node import CNI, IMAGE, Node, image, until

APPLETS = "sh sleep cat echo ls env true touch rm test httpd head stat ps readlink"


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Serving(Node):
    def __init__(self, knarr, kubectl, *flags):
        super().__init__(knarr, kubectl)
        make_certificates(self.dir, "192.0.2.10")
        self.kubelet_flags = flags

    def start(self, *flags):
        super().start(f"--kubelet-client-certificate={self.dir}/client.crt", f"--kubelet-client-key={self.dir}/client.key",
                      "--kubelet-preferred-address-types=InternalIP", *flags)

    def start_kubelet(self, *more):
        self.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
            "metadata": {"name": "kubelet-api"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                                                             "name": "system:kubelet-api-admin"},
            "subjects": [{"kind": "User", "name": "client", "apiGroup": "rbac.authorization.k8s.io"}]})
        super().start_kubelet("--client-ca-file", f"{self.dir}/ca.crt", *self.kubelet_flags, *more)

    def start_runtime(self):
        """containerd, or with KUBELET_TEST_RUNTIME=knarr our own engine."""
        if os.environ.get("KUBELET_TEST_RUNTIME") != "knarr":
            return super().start_runtime()
        d = self.d
        for sub in ("run", "cni/net.d", "cni/state"):
            os.makedirs(f"{d}/{sub}", exist_ok=True)
        open(f"{d}/cni/net.d/10-pods.conflist", "w").write(CNI % f"{d}/cni/state")
        self.endpoint = f"unix://{d}/run/cri.sock"
        self.containerd = subprocess.Popen(
            [self.knarr, "engine", "--data-dir", f"{d}/engine", "--host", f"unix://{d}/run/docker.sock", "--cri-host", self.endpoint,
             "--cni-conf-dir", f"{d}/cni/net.d", "--cni-bin-dir", "/usr/lib/cni"], stdout=open(f"{d}/containerd.log", "ab"), stderr=subprocess.STDOUT)
        busybox = open(shutil.which("busybox"), "rb").read()
        image(f"{d}/box.tar", IMAGE, {"bin/busybox": (busybox, 0o755), **{f"bin/{n}": "busybox" for n in APPLETS.split()},
                                      "etc/passwd": (b"root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/home:/bin/sh\n", 0o644)},
              {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]})

        def load():
            c = Unix(f"{d}/run/docker.sock")
            c.request("POST", "/images/load", open(f"{d}/box.tar", "rb").read(), {"Content-Type": "application/x-tar"})
            return c.getresponse().status
        if until(load, 200) != 200:
            self.show()
            raise RuntimeError("the engine takes no image")

    def kubectls(self):
        """The one of the suite; in long form every version beside it, else the oldest too."""
        found = sorted(glob.glob(os.path.join(os.path.dirname(os.path.realpath(self.kubectl_path)), "kubectl.1.[0-9]*")))
        if not found:
            return [self.kubectl_path]
        return found if os.environ.get("KNARR_TEST_LONG") == "1" else [found[0], found[-1]]

    def command(self, kubectl, *args):
        return self.kubectl_command(kubectl, *args)

    def run(self, kubectl, *args, input=None, timeout=60):
        """(exit status, standard output, standard error)"""
        r = subprocess.run(self.command(kubectl, *args), input=input, capture_output=True, text=True, timeout=timeout)
        return r.returncode, r.stdout, r.stderr

    def running(self, name):
        return until(lambda: self.phase(name), "Running") == "Running"

    def raw(self, path):
        got = self.k("get", "--raw", path)
        try:
            return json.loads(got)
        except ValueError:
            raise RuntimeError(f"{path}: {got}") from None
