"""A node whose kubelet the API server may talk to: what the tests of logs, streams and volumes share."""
import glob
import json
import os
import subprocess

from harness import make_certificates
from node import SLOWER, Node, until


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
        r = subprocess.run(self.command(kubectl, *args), input=input, capture_output=True, text=True, timeout=timeout * SLOWER)
        return r.returncode, r.stdout, r.stderr

    def running(self, name):
        return until(lambda: self.phase(name), "Running") == "Running"

    def raw(self, path):
        got = self.k("get", "--raw", path)
        try:
            return json.loads(got)
        except ValueError:
            raise RuntimeError(f"{path}: {got}") from None
