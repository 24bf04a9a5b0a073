"""Three-way patches side by side with the real kubectl: a small API server of our own hands out live objects and keeps what
`kubectl apply` sends. Built-in kinds go by strategic merge patch, custom resources by JSON merge patch."""

import copy
import http.server
import json
import os
import random
import subprocess
import tempfile
import threading

import pytest

from test_kubectl import KUBECTL, LONG, TOOL

pytestmark = [
    pytest.mark.skipif(not KUBECTL, reason="no kubectl on this machine"),
    pytest.mark.skipif(not os.path.exists(TOOL), reason="api-tool is not built (make build)"),
]
LAST = "kubectl.kubernetes.io/last-applied-configuration"
KINDS = {
    "Pod": ("v1", "pods"), "Service": ("v1", "services"), "ServiceAccount": ("v1", "serviceaccounts"),
    "ConfigMap": ("v1", "configmaps"), "Deployment": ("apps/v1", "deployments"), "Thing": ("example.com/v1", "things"),
}


class Fake:
    """Discovery of KINDS; GET of the objects given; PATCH bodies by name."""

    def __init__(self, objects):
        self.objects, self.patches = objects, {}
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self, code, body):
                data = json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                self.answer(*fake.get(self.path.split("?")[0]))

            def do_PATCH(self):
                name = self.path.split("?")[0].rsplit("/", 1)[1]
                body = self.rfile.read(int(self.headers["Content-Length"]))
                fake.patches[name] = (self.headers["Content-Type"], json.loads(body))
                self.answer(200, fake.objects[name])

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def get(self, path):
        if path == "/api":
            return 200, {"kind": "APIVersions", "versions": ["v1"]}
        groups = sorted({v.split("/")[0] for v, _ in KINDS.values() if "/" in v})
        if path == "/apis":
            return 200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
                {"name": g, "versions": [{"groupVersion": g + "/v1", "version": "v1"}],
                 "preferredVersion": {"groupVersion": g + "/v1", "version": "v1"}} for g in groups]}
        for version in {v for v, _ in KINDS.values()}:
            if path == ("/apis/" if "/" in version else "/api/") + version:
                return 200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [
                    {"name": plural, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get", "patch", "create"]}
                    for kind, (v, plural) in KINDS.items() if v == version]}
        name = path.rsplit("/", 1)[1]
        if "/namespaces/" in path and name in self.objects:
            return 200, self.objects[name]
        return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
                     "message": "not found"}


def live(case, name):
    """The live object: current, with the last applied configuration in its annotation."""
    out = copy.deepcopy(case["current"])
    out["metadata"]["name"] = name
    if case["original"] is not None:
        original = copy.deepcopy(case["original"])
        original["metadata"]["name"] = name
        original["metadata"].setdefault("annotations", {})
        out["metadata"].setdefault("annotations", {})[LAST] = json.dumps(original)
    return out


def kubectl_apply(cases, *args):
    """name -> (content type, patch), and kubectl's words."""
    objects = {f"o{i}": live(case, f"o{i}") for i, case in enumerate(cases)}
    fake = Fake(objects)
    with tempfile.TemporaryDirectory() as home:
        path = os.path.join(home, "list.json")
        items = []
        for i, case in enumerate(cases):
            item = copy.deepcopy(case["modified"])
            item["metadata"]["name"] = f"o{i}"
            items.append(item)
        with open(path, "w") as f:
            f.write("\n---\n".join(json.dumps(i) for i in items))
        p = subprocess.run([KUBECTL, "--server", fake.url, "apply", "--validate=false", "--openapi-patch=false", "-f", path, *args],
                           capture_output=True, check=False, text=True, timeout=300,
                           env={"HOME": home, "KUBECONFIG": "/dev/null", "PATH": "/usr/bin"})
    fake.server.shutdown()
    return fake.patches, p.stderr, objects


def ours(case, name, patch_of_kubectl, overwrite="overwrite"):
    """The same three documents as kubectl has them: its annotation stands in `modified`, as it sent it."""
    current = live(case, name)
    original = None
    if LAST in current["metadata"].get("annotations", {}):
        original = json.loads(current["metadata"]["annotations"][LAST])
    modified = copy.deepcopy(case["modified"])
    modified["metadata"]["name"] = name
    modified["metadata"].setdefault("annotations", {})
    sent = patch_of_kubectl.get("metadata", {}).get("annotations", {}).get(LAST) if patch_of_kubectl else None
    modified["metadata"]["annotations"][LAST] = sent or current["metadata"]["annotations"].get(LAST)
    p = subprocess.run([TOOL, "three", overwrite], check=False, capture_output=True, text=True,
                       input=json.dumps({"modified": modified, "current": current, **({"original": original} if original else {})}))
    assert p.returncode in (0, 1), p.stderr
    return p.returncode == 0, json.loads(p.stdout) if p.returncode == 0 else p.stdout


def compare(cases):
    patches, words, _ = kubectl_apply(cases)
    seen = 0
    for i, case in enumerate(cases):
        name = f"o{i}"
        content, theirs = patches.get(name, (None, None))
        good, patch = ours(case, name, theirs)
        if theirs is None:
            # kubectl sends nothing: nothing changed, or it could not make the patch
            assert (good and patch == {}) or (not good and patch.strip() in words), (case, patch, words[-2000:])
            continue
        seen += 1
        want = "application/merge-patch+json" if case["modified"]["kind"] == "Thing" else "application/strategic-merge-patch+json"
        assert content == want
        assert patch == theirs, json.dumps(case)
    return seen


def obj(kind, spec, **metadata):
    return {"apiVersion": KINDS[kind][0], "kind": kind, "metadata": {"namespace": "d", **metadata}, "spec": spec}


def case(kind, original, modified, current, **more):
    return {"original": None if original is None else obj(kind, original), "modified": obj(kind, modified),
            "current": obj(kind, current), **more}


C = [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]
ROWS = [
    case("Pod", {"containers": C}, {"containers": C[:1]}, {"containers": C}),
    case("Pod", {"containers": C}, {"containers": C[::-1]}, {"containers": C}),
    case("Pod", {"containers": C}, {"containers": C}, {"containers": C[::-1]}),
    case("Pod", None, {"containers": C}, {"containers": C[:1], "hostNetwork": True}),
    case("Pod", {"containers": C, "hostNetwork": True}, {"containers": C}, {"containers": C, "hostNetwork": True}),
    case("Pod", {"containers": []}, {"containers": C}, {"containers": []}),
    case("Pod", {"containers": [{"name": "a", "ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53}]}]},
         {"containers": [{"name": "a", "ports": [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]}]},
         {"containers": [{"name": "a", "ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}]}]}),
    case("Pod", {"volumes": [{"name": "v", "emptyDir": {}}]}, {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
         {"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "secret": {"secretName": "s"}}]}),
    case("Pod", {"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}, {"tolerations": [{"key": "a"}, {"key": "c"}]}),
    case("Deployment", {"strategy": {"type": "Recreate"}}, {"strategy": {"type": "RollingUpdate"}},
         {"strategy": {"type": "Recreate"}, "replicas": 3}),
    case("Deployment", {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}, {"strategy": {"type": "Recreate"}},
         {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}}}),
    case("Deployment", {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}}, {"selector": {"matchLabels": {"a": "c"}}},
         {"replicas": 5, "selector": {"matchLabels": {"a": "b", "x": "y"}}}),
    case("Service", {"ports": [{"port": 80, "name": "x"}, {"port": 81, "name": "y"}]},
         {"ports": [{"port": 81, "name": "y", "targetPort": "z"}, {"port": 82, "name": "n"}]},
         {"ports": [{"port": 80, "name": "x", "nodePort": 30000}, {"port": 81, "name": "y", "nodePort": 30001}]}),
    case("Thing", {"a": {"x": 1, "y": 2}, "l": [1, 2]}, {"a": {"x": 1}, "l": [1]}, {"a": {"x": 3, "y": 2, "z": 4}, "l": [1, 2], "m": 1}),
    case("Thing", {"a": {"x": 1}}, {"a": {}, "b": None, "c": {"d": None, "e": {}}}, {"b": 5}),
    case("Thing", None, {"a": 1.5, "b": "x"}, {"a": 2, "b": {"c": 1}}),
    case("Pod", {"containers": C}, {"containers": [{"image": "1"}]}, {"containers": C}),
    case("Pod", {"zork": {"a": 1}}, {"zork": {"a": 2}}, {"zork": {"a": 1}}),
    case("Pod", {"zork": {"a": 1}}, {"zork": {"a": 1}, "hostNetwork": True}, {"zork": {"a": 1}}),
]


def with_finalizers(original, modified, current):
    out = case("Pod", {}, {}, {})
    for which, names in (("original", original), ("modified", modified), ("current", current)):
        out[which]["metadata"]["finalizers"] = names
    return out


def test_rows():
    rows = ROWS + [
        with_finalizers(["b", "a"], ["b", "a"], ["b", "a"]),
        with_finalizers(["b", "a"], ["a"], ["b", "a", "c"]),
        with_finalizers(["a"], ["c", "a", "b"], ["x", "a"]),
        with_finalizers(["a", "b", "a"], [], ["a", "b"]),
        with_finalizers([], ["b", "a"], []),
    ]
    assert compare(rows) > 10


def random_spec(rnd, kind):
    def some(l):
        return rnd.sample(l, rnd.randrange(len(l) + 1))

    def container(name):
        c = {"name": name}
        if rnd.random() < .7:
            c["image"] = rnd.choice("xyz")
        if rnd.random() < .5:
            c["env"] = [{"name": n, "value": rnd.choice("12")} for n in some(list("ABCD"))]
        if rnd.random() < .5:
            c["ports"] = [{"containerPort": p, **({"protocol": rnd.choice(["TCP", "UDP"])} if rnd.random() < .5 else {})}
                          for p in some([80, 81, 443, 8080, 9])]
        if rnd.random() < .4:
            c["args"] = some(["p", "q", "r"])
        if rnd.random() < .4:
            c["resources"] = {k: {r: rnd.choice(["1", "2"]) for r in some(["cpu", "memory"])} for k in some(["limits", "requests"])}
        if rnd.random() < .3:
            c["volumeMounts"] = [{"name": n, "mountPath": "/" + n} for n in some(list("vw"))]
        return c

    if kind == "Thing":
        def value(depth):
            k = rnd.randrange(6 if depth else 4)
            if k == 0:
                return rnd.choice([1, 2, "s", True, None])
            if k == 1:
                return [rnd.choice([1, "a"]) for _ in range(rnd.randrange(3))]
            if k in (2, 3):
                return rnd.choice(["x", 7])
            return {n: value(depth - 1) for n in some(list("abc"))}
        return {n: value(3) for n in some(list("abcd"))}
    pod = {"containers": [container(n) for n in some(list("abcd"))]}
    if rnd.random() < .5:
        pod["volumes"] = [{"name": n, rnd.choice(["emptyDir", "hostPath"]): {}} for n in some(list("uvw"))]
    if rnd.random() < .5:
        pod["imagePullSecrets"] = [{"name": n} for n in some(["s1", "s2", "s3"])]
    if rnd.random() < .5:
        pod["tolerations"] = [{"key": n} for n in some(["k", "l"])]
    if rnd.random() < .5:
        pod["nodeSelector"] = {n: rnd.choice("12") for n in some(["n", "o"])}
    if rnd.random() < .5:
        pod["hostAliases"] = [{"ip": n, "hostnames": some(["h", "i"])} for n in some(["1.1.1.1", "2.2.2.2"])]
    if kind == "Pod":
        return pod
    return {"template": {"spec": pod}, "strategy": rnd.choice([{"type": "Recreate"}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}, {}]),
            **({"replicas": rnd.randrange(3)} if rnd.random() < .5 else {})}


def random_case(rnd):
    kind = rnd.choice(["Pod", "Pod", "Deployment", "Thing"])
    original = random_spec(rnd, kind) if rnd.random() < .9 else None
    modified = random_spec(rnd, kind)
    current = random_spec(rnd, kind) if rnd.random() < .5 or original is None else copy.deepcopy(original)
    out = case(kind, original, modified, current)
    for which in ("original", "modified", "current"):
        if out[which] is not None and rnd.random() < .6:
            out[which]["metadata"]["finalizers"] = rnd.sample(["f", "g", "h", "i"], rnd.randrange(5))
        if out[which] is not None and rnd.random() < .6:
            out[which]["metadata"]["labels"] = {k: rnd.choice("12") for k in rnd.sample(["l", "m"], rnd.randrange(3))}
    return out


@pytest.mark.parametrize("seed", range(20 if LONG else 2))
def test_random(seed):
    rnd = random.Random(seed)
    assert compare([random_case(rnd) for _ in range(100)]) > 50


CONFLICTS = [
    case("Pod", {"containers": C}, {"containers": [{"name": "a", "image": "3"}, C[1]]},
         {"containers": [{"name": "a", "image": "4"}, C[1]]}),
    case("Pod", {"containers": C}, {"containers": [{"name": "a", "image": "3"}, C[1]]},
         {"containers": [C[0], {"name": "b", "image": "9"}]}),
    case("Pod", {"hostNetwork": True}, {"hostNetwork": False}, {}),
    case("Pod", {"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}, {"tolerations": [{"key": "c"}]}),
    case("Pod", {"nodeSelector": {"a": "1"}}, {"nodeSelector": {"a": "2"}}, {"nodeSelector": {"a": "1", "b": "1"}}),
]


@pytest.mark.parametrize("n", range(len(CONFLICTS)))
def test_conflicts(n):
    patches, words, _ = kubectl_apply([CONFLICTS[n]], "--overwrite=false")
    _, theirs = patches.get("o0", (None, None))
    # The last applied configuration itself counts as changed on both sides, so kubectl finds a conflict in every change.
    assert theirs is None and "conflicts with changes made from original to current" in words
    good, patch = ours(CONFLICTS[n], "o0", {"metadata": {"annotations": {LAST: "new"}}}, "keep")
    assert not good
    for line in patch.strip().split("\n"):
        if line.strip() and LAST not in line:
            assert line.strip() in words, (line, words)
