"""A control plane without nodes: our API server, our controller manager, and a stand-in for scheduler and kubelets that moves pods along.
What the tests of this folder share."""
import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "50-apiserver"))
from harness import SLOWER, Answer, Checks, Server, free_port, until  # noqa: E402,F401


class Nodes:
    """Binds pods to a node and reports them Running and Ready, Succeeded (annotation test/exit: "0") or Failed (another number), and
    lets go of what is being deleted. A pod with annotation test/hold stays as it is."""

    def __init__(self, s, nodes=("n1", "n2"), bind=True):
        self.s, self.nodes, self.bind, self.turn, self.n_ip = s, nodes, bind, 0, 0
        self.stopping = False
        self.seen_uids = set()
        for n in nodes:
            s.post("/api/v1/nodes", {"metadata": {"name": n}})
            self.beat(n)
        self.silent = set()
        threading.Thread(target=self.run, daemon=True).start()
        threading.Thread(target=self.beats, daemon=True).start()

    def beats(self):
        """Each node says every second that it lives, those of self.silent aside."""
        while not self.stopping:
            for n in self.nodes:
                if n not in self.silent:
                    try:
                        self.beat(n)
                    except OSError:  # the server restarts
                        pass
            time.sleep(1)

    def beat(self, name):
        self.s.call("PATCH", f"/api/v1/nodes/{name}/status", {"status": {"conditions": [
            {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now(), "lastTransitionTime": now()}],
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"}, "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}},
            type="application/strategic-merge-patch+json")

    def run(self):
        while not self.stopping:
            try:
                listed = self.s.get("/api/v1/pods").json
                for pod in listed["items"]:
                    self.step(pod)
                watch = self.s.open("GET", f"/api/v1/pods?watch=1&timeoutSeconds=20&resourceVersion={listed['metadata']['resourceVersion']}")
                for line in watch:
                    e = json.loads(line)
                    if e["type"] in ("ADDED", "MODIFIED"):
                        self.step(e["object"])
                    if self.stopping:
                        return
            except Exception:  # the server restarts
                time.sleep(0.1)

    def step(self, pod):
        meta, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
        self.seen_uids.add(meta["uid"])
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        notes = meta.get("annotations", {})
        if meta.get("deletionTimestamp"):
            if "test/hold" not in notes:
                self.s.delete(path, {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}})
            return
        if "test/pending" in notes:
            return
        if not spec.get("nodeName"):
            if self.bind:
                self.turn += 1
                self.s.post(path + "/binding", {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta["name"]}, "target": {
                    "kind": "Node", "name": self.nodes[self.turn % len(self.nodes)]}})
            return
        if status.get("phase") in ("Succeeded", "Failed"):
            return
        if "test/exit" in notes:
            code = int(notes["test/exit"])
            if "test/fail-indexes" in notes:
                index = notes.get("batch.kubernetes.io/job-completion-index")
                code = 1 if index in notes["test/fail-indexes"].split(",") else 0
            self.status(path, {"phase": "Failed" if code else "Succeeded", "conditions": [], "containerStatuses": [
                {"name": c["name"], "image": c["image"], "imageID": "", "ready": False, "restartCount": 0, "state": {"terminated": {"exitCode": code}}}
                for c in spec["containers"]]})
        elif status.get("phase") != "Running":
            self.n_ip += 1
            ready = "False" if "test/unready" in notes else "True"
            ip = f"10.9.{self.n_ip // 250}.{self.n_ip % 250 + 1}"
            self.status(path, {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "192.0.2.1", "startTime": now(), "conditions": [
                {"type": t, "status": ready, "lastTransitionTime": now()} for t in ("Ready", "ContainersReady")] + [
                {"type": t, "status": "True", "lastTransitionTime": now()} for t in ("Initialized", "PodScheduled")]})

    def status(self, path, status):
        self.s.call("PATCH", path + "/status", {"status": status}, type="application/merge-patch+json")

    def stop(self):
        self.stopping = True


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Cluster(Server):
    """Server with every admission plugin, and a controller manager. What is made by hand in the base class is made by controllers here."""

    def __init__(self, knarr, kubectl, *flags, cm_flags=()):
        super().__init__(knarr, *flags)
        self.kubectl_path, self.cm_flags, self.cm, self.nodes = kubectl, list(cm_flags), None, None
        self.kubeconfig = f"{self.dir}/kubeconfig"

    def __enter__(self):
        self.start()
        self.write_kubeconfig()
        self.start_cm()
        return self

    def __exit__(self, *_):
        if self.nodes:
            self.nodes.stop()
        self.stop_cm()
        super().__exit__()

    def start(self, *flags):
        # The base class leaves the ServiceAccount plugin out; a later flag of that name holds.
        super().start(*flags)

    def write_kubeconfig(self):
        with open(self.kubeconfig, "w") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "c",
                       "clusters": [{"name": "c", "cluster": {"server": self.url, "certificate-authority": self.ca}}],
                       "users": [{"name": "u", "user": {"token": self.token}}],
                       "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}, f)

    def start_cm(self, *flags, leader_elect="false"):
        with open(f"{self.dir}/cm.log", "ab") as log:
            self.cm = subprocess.Popen([self.knarr, "controller-manager", "--kubeconfig", self.kubeconfig, "--secure-port", "0",
                                        f"--leader-elect={leader_elect}", *self.cm_flags, *flags], stderr=log, stdout=log)

    def stop_cm(self, sig=signal.SIGTERM):
        code = None
        if self.cm:
            self.cm.send_signal(sig)
            code = self.cm.wait(30)
            self.cm = None
        return code

    def open(self, method, path):
        """The lines of a long answer."""
        import http.client
        c = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls, timeout=40 * SLOWER)
        c.request(method, path, headers={"Authorization": f"Bearer {self.token}"})
        r = c.getresponse()
        while True:
            line = r.readline()
            if not line:
                c.close()
                return
            yield line

    def k(self, *args, input=None, timeout=60):
        return self.kubectl(self.kubectl_path, *args, input=input, timeout=timeout)

    def apply_yaml(self, text):
        return self.k("apply", "--validate=false", "-f", "-", input=text)

    def pods_are_seen(self):
        """Waits until the controller manager has seen what happened to pods so far: it watches each kind by itself, and takes what comes of
        one in order. A pod of nobody's that is made now is seen when a ReplicaSet has adopted it. Both are gone afterwards."""
        pods, sets = "/api/v1/namespaces/default/pods", "/apis/apps/v1/namespaces/default/replicasets"
        template = {"metadata": {"labels": {"app": "barrier"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
        until(lambda: self.get(f"{pods}/barrier").code, 404)
        self.post(pods, {"metadata": {"name": "barrier", **template["metadata"]}, "spec": template["spec"]})
        self.post(sets, {"metadata": {"name": "barrier"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "barrier"}}, "template": template}})
        until(lambda: (p := self.get(f"{pods}/barrier")).code == 404 or p.json["metadata"].get("ownerReferences"))
        self.delete(f"{sets}/barrier", {"propagationPolicy": "Background"})
        until(lambda: [p for p in self.items(pods) if p["metadata"].get("labels", {}).get("app") == "barrier"], [])

    def items(self, path):
        return self.get(path).json.get("items", [])

    def events(self, ns="default"):
        return [f"{e['reason']}: {e['message']}" for e in self.items(f"/api/v1/namespaces/{ns}/events")]


def rows(objects, *paths):
    """For each object the values of dotted paths, sorted."""
    def at(o, path):
        for part in path.split("."):
            o = o.get(part) if isinstance(o, dict) else None
        return o
    return sorted([tuple(at(o, p) for p in paths) for o in objects], key=str)
