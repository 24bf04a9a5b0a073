"""Pods of every kind, for tests that kill whoever runs them: what they do is written down by themselves, in a folder of the host."""
import base64
import json
import os
import pathlib
import subprocess

from node import IMAGE, SLOWER, cgroup_root, until

CORE = "/api/v1/namespaces/default"


def leaks(s):
    """What nobody accounts for when there is no pod."""
    found = [f"{d}/{n}" for d in (f"{s.d}/kubelet/pods", f"{s.d}/pods-log") for n in os.listdir(d)]
    found += [line for line in open("/proc/self/mounts") if f"{s.d}/kubelet" in line or f"{s.d}/run/engine/c" in line]
    found += subprocess.run(["find", "/sys/fs/cgroup", "-type", "d", "-path", f"*{cgroup_root(s.d)}/kubepods/*/pod*"],
                            capture_output=True, text=True).stdout.split()
    found += [f"{x}, {x.stat().st_size} bytes" for x in pathlib.Path(f"{s.d}/cni/state").rglob("10.*") if x.exists()]
    found += [x for x in subprocess.run(["ip", "-o", "link", "show", "type", "veth"], capture_output=True, text=True).stdout.splitlines()
              if ": out" not in x]
    if s.runtime == "containerd":
        return found + s.containers()
    for d in ("engine/cri/sandboxes", "engine/cri/containers", "run/engine/cri/netns", "run/engine/cri/containers"):
        found += [f"{d}/{x}" for x in os.listdir(f"{s.d}/{d}")] if os.path.isdir(f"{s.d}/{d}") else []
    return found + [x for x in os.listdir(f"{s.d}/engine/snapshots/live") if x.startswith("cri-")]


def sources(s):
    """What the volumes are made of."""
    s.post(f"{CORE}/configmaps", {"metadata": {"name": "map"}, "data": {"k": "map\n"}})
    s.post(f"{CORE}/secrets", {"metadata": {"name": "sec"}, "data": {"k": base64.b64encode(b"sec\n").decode()}})


class Round:
    """Pods of every kind, each of which writes what it does into a folder of the host."""

    def __init__(self, s, t, n, out=None):
        self.s, self.n, self.t, self.out = s, n, t, f"{out or s.d}/out/{n}"
        self.manifest = f"{s.d}/manifests/st{n}.json"
        os.makedirs(self.out)

    def lines(self, name):
        path = f"{self.out}/{name}"
        return open(path).read().split() if os.path.exists(path) else []

    def begin(self):
        s, n = self.s, self.n
        volumes = [{"name": "out", "hostPath": {"path": self.out}}, {"name": "e", "emptyDir": {}}]
        mounts = [{"name": "out", "mountPath": "/out"}, {"name": "e", "mountPath": "/e"}]

        def box(name, script, **more):
            return {"name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script],
                    "volumeMounts": mounts + more.pop("mounts", []), **more}

        def pod(name, *containers, init=(), policy="Always", volumes=volumes, **spec):
            s.pod(f"{name}{n}", containers=list(containers), initContainers=list(init), restartPolicy=policy, volumes=volumes, **spec)
        os.makedirs(f"{s.d}/manifests", exist_ok=True)
        with open(f"{s.d}/manifests/.st", "w") as f:
            json.dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"st{n}"}, "spec": {
                "terminationGracePeriodSeconds": 1, "volumes": volumes, "containers": [box("c", "echo ran >> /out/static; exec sleep 1000")]}}, f)
            f.flush()
            os.fsync(f.fileno())
        os.rename(f"{s.d}/manifests/.st", self.manifest)
        folder = os.open(f"{s.d}/manifests", os.O_RDONLY)  # who wrote it means it to outlast a power cut
        os.fsync(folder)
        os.close(folder)
        pod("never", box("c", "echo ran >> /out/never; exit 3"), policy="Never")
        # Twice, or more where the runtime gives up a start that had begun (containerd): what ran is counted in WROTE.
        pod("again", box("c", "echo ran >> /out/again; test $(grep -c ran /out/again) -ge 2"), policy="OnFailure")
        pod("steps", box("c", "cat /e/order >> /out/steps; exec sleep 1000"),
            init=[box("a", "echo a | tee -a /e/order >> /out/init-a"), box("b", "echo b | tee -a /e/order >> /out/init-b")])
        pod("broken", box("c", "echo ran >> /out/broken"), init=[box("a", "echo ran >> /out/broken-init; exit 1")], policy="Never")
        pod("side", box("c", "echo ran >> /out/side; sleep 1"), init=[box("s", "trap 'exit 0' TERM; while :; do sleep 0.1; done", restartPolicy="Always")],
            policy="Never")
        true = {"exec": {"command": ["true"]}, "periodSeconds": 1, "timeoutSeconds": SLOWER}
        pod("hooks", box("c", "exec sleep 1000", startupProbe=true, readinessProbe=true, livenessProbe=true, lifecycle={
            "postStart": {"exec": {"command": ["sh", "-c", "echo post >> /out/hooks"]}},
            "preStop": {"exec": {"command": ["sh", "-c", "echo pre >> /out/hooks"]}}}), terminationGracePeriodSeconds=3)
        more = [{"name": "m", "mountPath": "/m"}, {"name": "s", "mountPath": "/s"}, {"name": "d", "mountPath": "/d"}, {"name": "p", "mountPath": "/p"},
                {"name": "mem", "mountPath": "/mem"}, {"name": "e", "mountPath": "/sub", "subPath": "x/y"}]
        pod("vols", box("c", "echo sub > /sub/f; cat /m/k /s/k /d/name /p/k /p/ns /e/x/y/f >> /out/vols; exec sleep 1000", mounts=more), volumes=volumes + [
            {"name": "m", "configMap": {"name": "map"}}, {"name": "s", "secret": {"secretName": "sec"}}, {"name": "mem", "emptyDir": {"medium": "Memory"}},
            {"name": "d", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            {"name": "p", "projected": {"sources": [{"configMap": {"name": "map"}}, {"downwardAPI": {"items": [
                {"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}}])

    def now(self):
        """What the API says: phase, ready, restarts, how it ended."""
        out = {}
        for p in self.s.get(f"{CORE}/pods").json["items"]:
            st = p.get("status", {})
            c = (st.get("containerStatuses") or [{}])[0]
            ready = [x["status"] for x in st.get("conditions", []) if x["type"] == "Ready"]
            name, restarts = p["metadata"]["name"], c.get("restartCount", 0)
            # An engine that dies under a postStart hook has failed it, and with it the container.
            restarts = 0 if restarts == 1 and self.failed_hook(name, "PostStart") else restarts
            out[name] = (st.get("phase"), ready == ["True"], restarts, c.get("state", {}).get("terminated", {}).get("exitCode"))
        return out

    def failed_hook(self, name, which):
        return any(e.startswith(f"Warning Failed{which}Hook") for e in self.s.events(name))

    def exec_failed(self, id):
        """containerd loses an exec whose client was killed in a bad moment, and the next ones wait for it beyond every grace period."""
        if self.s.runtime != "containerd":
            return False
        with open(f"{self.s.d}/engine.log", errors="replace") as f:
            return f'ExecSync for \\"{id}\\" failed' in f.read()

    def want(self):
        n = self.n
        runs = ("Running", True, 0, None)
        return {f"never{n}": ("Failed", False, 0, 3), f"again{n}": ("Succeeded", False, 1, 0), f"steps{n}": runs, f"hooks{n}": runs, f"vols{n}": runs,
                f"broken{n}": ("Failed", False, 0, None), f"side{n}": ("Succeeded", False, 0, 0), f"st{n}-n1": runs}

    def wrote(self):
        return {x: self.lines(x) for x in ("never", "again", "steps", "init-a", "init-b", "broken", "broken-init", "side", "vols", "static")}

    WROTE = {"never": ["ran"], "again": ["ran", "ran"], "steps": ["a", "b"], "init-a": ["a"], "init-b": ["b"], "broken": [], "broken-init": ["ran"],
             "side": ["ran"], "vols": ["map", "sec", "defaultmap", "defaultsub"], "static": ["ran"]}

    def settled(self, what):
        if self.s.runtime == "containerd":
            # It gives up a start whose client has left: the container has ended with 128, and another is made where the policy says so.
            ends = lambda: {k: v[:2] for k, v in self.now().items()}
            want = {k: v[:2] for k, v in self.want().items()}
            self.t.eq(f"{what}: what the API says", until(lambda: self.ends_well(ends(), want), True, 60) is True or ends(), True)
            return
        self.t.eq(f"{what}: what the API says", until(self.now, self.want(), 60), self.want())
        self.t.eq(f"{what}: what ran", until(self.wrote, self.WROTE, 5), self.WROTE)

    def ends_well(self, got, want):
        """Pods that are never begun again may have failed."""
        ended = (f"side{self.n}",)
        return all(got.get(k) == v or k in ended and got.get(k) == ("Failed", False) for k, v in want.items()) and len(got) == len(want)

    def ran_again(self):
        """Of what must not run twice."""
        return {x: self.lines(x) for x in ("never", "side", "broken", "broken-init") if len(self.lines(x)) > len(self.WROTE[x])}

    def end(self, what):
        s, t = self.s, self.t
        os.unlink(self.manifest)
        pod = f"hooks{self.n}"
        hooked = s.get(f"{CORE}/pods/{pod}").json["status"]["containerStatuses"][0]["containerID"].split("//")[1]
        for name in self.want():
            if not name.endswith("-n1"):
                t.eq(f"{what}: {name} is deleted", s.delete(f"{CORE}/pods/{name}").code, 200)
        t.eq(f"{what}: all go", until(self.now, {}, 60), {})
        t.eq(f"{what}: nothing is left", until(lambda: leaks(s), [], 60), [])
        t.eq(f"{what}: nothing ran again", self.ran_again(), {})
        if s.runtime == "knarr":
            t.eq(f"{what}: not even by an attempt", self.wrote(), self.WROTE)
        hooks = self.lines("hooks")
        # Whoever is killed while a hook runs cannot know whether it ran to its end: postStart not again, preStop once more, as upstream.
        t.eq(f"{what}: postStart", hooks.count("post") < 2 or self.failed_hook(pod, "PostStart"), True)
        t.eq(f"{what}: preStop", hooks[-1:] == ["pre"] or self.failed_hook(pod, "PreStop") or self.exec_failed(hooked), True)
