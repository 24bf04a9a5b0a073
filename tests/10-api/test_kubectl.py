"""The semantics of src/api side by side with the real kubectl, which carries the same libraries as the API server:
`kubectl patch --local` applies patches, and `-o jsonpath=` runs templates. Skipped, with the reason, where there is no kubectl."""

import json
import os
import random
import shutil
import subprocess
import tempfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(ROOT, os.environ.get("BUILD", "build"), "src", "api", "api-tool")
# Some packages keep other versions beside the program that the name leads to.
FOUND = shutil.which("kubectl")
BESIDE = FOUND and os.path.join(os.path.dirname(os.path.realpath(FOUND)), "kubectl.1.33")
KUBECTL = os.environ.get("KUBECTL") or next(
    (k for k in (shutil.which("kubectl.1.33"), BESIDE, FOUND) if k and os.path.exists(k)), None)
LONG = os.environ.get("KNARR_TEST_LONG") == "1"

pytestmark = [
    pytest.mark.skipif(not KUBECTL, reason="no kubectl on this machine"),
    pytest.mark.skipif(not os.path.exists(TOOL), reason="api-tool is not built (make build)"),
]

POD = {
    "apiVersion": "v1", "kind": "Pod",
    "metadata": {"name": "web", "namespace": "d", "labels": {"app": "x", "kubernetes.io/h": "n1"}, "annotations": {"n": "1"}},
    "spec": {
        "containers": [
            {"name": "a", "image": "i1", "args": ["x", "y"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
             "ports": [{"containerPort": 80}, {"containerPort": 81, "protocol": "UDP"}]},
            {"name": "b", "image": "i2", "ports": []}],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "hostPath": {"path": "/w"}}],
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "s1"}, {"name": "s2"}],
        "terminationGracePeriodSeconds": 30, "hostNetwork": True},
    "status": {"conditions": [{"type": "Ready", "status": "True"}], "qosClass": "<&>"},
}


def ours(verb, arg, obj):
    p = subprocess.run([TOOL, verb, arg], input=json.dumps(obj).encode(), capture_output=True, check=False)
    assert p.returncode in (0, 1), p.stderr
    return p.returncode == 0, p.stdout.decode()


def kubectl(obj, *args):
    with tempfile.TemporaryDirectory() as home:
        path = os.path.join(home, "o.json")
        with open(path, "w") as f:
            json.dump(obj, f)
        p = subprocess.run([KUBECTL, "patch", "--local", "-f", path, *args], capture_output=True, check=False,
                           env={"HOME": home, "KUBECONFIG": "/dev/null", "PATH": "/usr/bin"})
    return p.returncode == 0, (p.stdout if p.returncode == 0 else p.stderr).decode()


def same_patch(kind, verb, patch, obj):
    good, text = ours(verb, patch, obj)
    theirs_good, theirs = kubectl(obj, "--type=" + kind, "-p", patch, "-o", "json")
    if good and theirs_good:
        assert json.loads(text) == json.loads(theirs), patch
    else:
        # kubectl has words of its own for this one
        theirs = theirs.replace("Object to be patched is missing field (", "replace operation does not apply: doc is missing key: ")
        theirs = theirs.strip().removesuffix(")") if "doc is missing key" in theirs else theirs.strip()
        assert (good, "error: " + text.strip()) == (theirs_good, theirs), patch


JSONPATHS = r"""
{.metadata.name}
{.spec.containers[*].name}
{.spec.containers[*].ports}
{.spec.containers[0].ports[1]}
{.spec.containers[-1].name}
{.spec.containers[0:1].name}
{.spec.containers[::2].name}
{.spec.containers[5].name}
{.spec.containers[1:9]}
{.spec.containers[0:2:0]}
{.spec.containers[?(@.name=="b")].image}
{.spec.containers[?(@.ports)].image}
{.spec.containers[?(@.name!='b')].image}
{.spec.containers[*].ports[?(@.containerPort>80)]}
{.spec.containers[?(@.name>1)].image}
{.spec.containers[*]['name','image']}
{range .spec.containers[*]}{.name}{"\t"}{range .ports[*]}{.containerPort},{end}{"\n"}{end}tail
{range .spec.containers[*]}{.name}
{range .nothing[*]}{.name}{end}x
{.metadata.labels.kubernetes\.io/h}
{.metadata.labels['kubernetes\.io/h']}
{.metadata.labels}
{.status}
{.status.qosClass}
{.spec.hostNetwork} {.spec.terminationGracePeriodSeconds}
{..containerPort}
{.nothing}
{.nothing.more[0].x}-
{.}
{@}
{$.kind}
{.kind[0]}
{.kind.*}
{.metadata[0]}
{hello}
{end}
{
{.a
{.a[}
{.a[x]}
{.a[?(@.b}
{.a[?(@.b)}
{"a
{#}
{....a}
text only
{"\u00e9\n\x41"}{'q'}
{1}{1.50}{true}
{.spec.tolerations[?(@.operator=="Exists")].key}
{.spec.containers[?(@.image<>"x")]}
{.spec.containers[?(@.image==)]}
{.spec.volumes[?(@.hostPath.path=="/w")].name}
""".strip("\n").split("\n")


@pytest.mark.parametrize("template", JSONPATHS)
def test_jsonpath(template):
    template = template.replace("\\n", "\n") if template.startswith("{.a\\n") else template
    good, text = ours("jsonpath", template, POD)
    theirs_good, theirs = kubectl(POD, "--type=merge", "-p", "{}", "-o", "jsonpath=" + template)
    assert good == theirs_good, (text, theirs)
    if good:
        assert text == theirs
    else:
        assert text.strip() in theirs


JSON_PATCHES = [
    '[{"op":"add","path":"/spec/containers/-","value":{"name":"c"}}]',
    '[{"op":"add","path":"/spec/containers/0","value":{"name":"c"}}]',
    '[{"op":"add","path":"/spec/containers/7","value":{"name":"c"}}]',
    '[{"op":"add","path":"/spec/containers/x","value":{"name":"c"}}]',
    '[{"op":"add","path":"/spec/containers/-1","value":{"name":"c"}}]',
    '[{"op":"add","path":"/spec/nope/x","value":1}]',
    '[{"op":"add","path":"/metadata/labels/kubernetes.io~1h","value":"z"}]',
    '[{"op":"remove","path":"/spec/hostNetwork"},{"op":"remove","path":"/spec/containers/-1"}]',
    '[{"op":"remove","path":"/spec/nope"}]',
    '[{"op":"remove","path":"/spec/containers/2"}]',
    '[{"op":"replace","path":"/spec/nope","value":[1]}]',
    '[{"op":"replace","path":"/spec/containers/9","value":1}]',
    '[{"op":"replace","path":"/spec/containers/1/image","value":"z"}]',
    '[{"op":"move","from":"/spec/volumes/0","path":"/spec/volumes/1"}]',
    '[{"op":"move","from":"/spec/x","path":"/spec/y"}]',
    '[{"op":"copy","from":"/metadata/labels","path":"/metadata/annotations"}]',
    '[{"op":"copy","from":"/metadata/nope","path":"/spec/x"}]',
    '[{"op":"test","path":"/metadata/name","value":"web"}]',
    '[{"op":"test","path":"/metadata/name","value":"wob"}]',
    '[{"op":"test","path":"/metadata/labels","value":{"kubernetes.io/h":"n1","app":"x"}}]',
    '[{"op":"frob","path":"/a"}]',
    '[{"path":"/a"}]',
    '[{"op":"add","value":1}]',
    '[{"op":"remove","path":""}]',
]

MERGE_PATCHES = [
    '{"metadata":{"labels":{"app":null,"b":"c"}}}',
    '{"spec":{"containers":[{"name":"z"}]}}',
    '{"spec":{"new":{"a":null,"b":{"c":null,"d":[null,{"e":null}]}}}}',
    '{"spec":{"hostNetwork":{"a":null,"b":1}}}',
    '{"metadata":{"labels":["x"]},"status":null}',
]


@pytest.mark.parametrize("patch", JSON_PATCHES)
def test_json_patch(patch):
    same_patch("json", "json", patch, POD)


@pytest.mark.parametrize("patch", MERGE_PATCHES)
def test_merge_patch(patch):
    same_patch("merge", "merge", patch, POD)


STRATEGIC_PATCHES = [
    '{"spec":{"containers":[{"name":"a","image":"new"}]}}',
    '{"spec":{"containers":[{"name":"c","image":"new"}]}}',
    '{"spec":{"containers":[{"name":"a","$patch":"delete"}]}}',
    '{"spec":{"containers":[{"name":"z"},{"$patch":"replace"}]}}',
    '{"spec":{"containers":[{"image":"z"}]}}',
    '{"spec":{"containers":[{"name":"a","$patch":"frob"}]}}',
    '{"spec":{"containers":[{"name":"a","$patch":"merge"}]}}',
    '{"spec":{"containers":[{"$patch":"delete"}]}}',
    '{"spec":{"containers":["x"]}}',
    '{"spec":{"containers":null}}',
    '{"spec":{"containers":{}}}',
    '{"spec":{"containers":[{"name":"a","env":[{"name":"B","value":"3"},{"name":"C","value":"4"}],"args":["z"]}]}}',
    '{"spec":{"containers":[{"name":"a","ports":[{"containerPort":81,"protocol":"TCP"},{"containerPort":82}]}]}}',
    '{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}]}}',
    '{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"c"},{"name":"a"}],"containers":[{"name":"c","image":"c"}]}}',
    '{"spec":{"$setElementOrder/containers":[{"name":"c"}],"containers":[{"name":"c","image":"c"}]}}',
    '{"spec":{"$setElementOrder/containers":[{"name":"a"}],"containers":[{"name":"c","image":"c"}]}}',
    '{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"a","$patch":"delete"}]}}',
    '{"spec":{"$setElementOrder/containers":"x"}}',
    '{"spec":{"$setElementOrder":[]}}',
    '{"spec":{"$setElementOrder/containers":[{"x":1}],"containers":[{"name":"a"}]}}',
    '{"spec":{"volumes":[{"name":"v","$retainKeys":["name","hostPath"],"hostPath":{"path":"/v"}}]}}',
    '{"spec":{"volumes":[{"name":"v","$retainKeys":["name"],"hostPath":{"path":"/v"}}]}}',
    '{"spec":{"volumes":[{"name":"v","$retainKeys":"name"}]}}',
    '{"metadata":{"$deleteFromPrimitiveList/finalizers":["a"],"finalizers":["b"]}}',
    '{"metadata":{"$deleteFromPrimitiveList/finalizers":["a","f2"]}}',
    '{"metadata":{"finalizers":["f2","f3"]}}',
    '{"metadata":{"$setElementOrder/finalizers":["f2","f1"]}}',
    '{"metadata":{"$setElementOrder/finalizers":["f3","f2","f1"],"finalizers":["f3"]}}',
    '{"metadata":{"$deleteFromPrimitiveList":["f1"]}}',
    '{"metadata":{"labels":{"$patch":"replace","n":"w"}}}',
    '{"metadata":{"labels":{"$patch":"delete"}}}',
    '{"metadata":{"labels":{"$patch":"x"}}}',
    '{"metadata":{"labels":{"app":null,"n":null,"m":"1"}}}',
    '{"metadata":{"labels":{"app":{"a":"b"}}}}',
    '{"spec":{"tolerations":[{"key":"z"}]}}',
    '{"spec":{"imagePullSecrets":[{"name":"s3"},{"name":"s1","$patch":"delete"}]}}',
    '{"spec":{"affinity":{"nodeAffinity":null,"podAffinity":{"x":null}}}}',
    '{"status":{"conditions":[{"type":"Ready","status":"False"},{"type":"New","status":"True"}]}}',
    '{"spec":{"terminationGracePeriodSeconds":5,"hostNetwork":null}}',
    '{"spec":{"securityContext":{"sysctls":[{"name":"a","value":"b"}]}}}',
]

SERVICE = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
    "spec": {"ports": [{"name": "a", "port": 80, "protocol": "TCP"}, {"name": "b", "port": 80, "protocol": "UDP"},
                       {"name": "c", "port": 81}], "selector": {"a": "b"}, "externalIPs": ["1.1.1.1"]},
}
SERVICE_PATCHES = [
    '{"spec":{"ports":[{"port":80,"targetPort":8080}]}}',
    '{"spec":{"ports":[{"port":81,"protocol":"UDP"},{"port":82}]}}',
    '{"spec":{"ports":[{"port":80,"$patch":"delete"}]}}',
    '{"spec":{"ports":[{"port":80,"targetPort":"x"},{"port":81,"targetPort":"y"}],"$setElementOrder/ports":[{"port":81},{"port":80}]}}',
    '{"spec":{"externalIPs":["2.2.2.2"],"selector":{"$patch":"replace","x":"y"}}}',
]


def with_finalizers():
    pod = json.loads(json.dumps(POD))
    pod["metadata"]["finalizers"] = ["f1", "f2"]
    return pod


@pytest.mark.parametrize("patch", STRATEGIC_PATCHES)
def test_strategic(patch):
    same_patch("strategic", "strategic", patch, with_finalizers())


@pytest.mark.parametrize("patch", SERVICE_PATCHES)
def test_strategic_service(patch):
    same_patch("strategic", "strategic", patch, SERVICE)


def random_items(rng, names, extra):
    items = [dict({"name": n}, **rng.choice(extra)) for n in rng.sample(names, rng.randrange(0, len(names)))]
    for item in items:
        if rng.random() < 0.15:
            item["$patch"] = "delete"
    if rng.random() < 0.05:
        items.append({"$patch": "replace"})
    return items


def test_strategic_random():
    """Random merges of lists by key, with deletions, replacement and orders: the order of the result is the hard part."""
    rng = random.Random(33)
    names = list("abcdefgh")
    for _ in range(600 if LONG else 60):
        pod = json.loads(json.dumps(POD))
        pod["spec"]["containers"] = [{"name": n, "image": "i"} for n in rng.sample(names, rng.randrange(1, 7))]
        pod["metadata"]["finalizers"] = rng.sample(names, rng.randrange(1, 5))
        containers = random_items(rng, names, [{"image": "p"}, {"args": ["1"]}, {"image": None}])
        patch = {"spec": {"containers": containers}, "metadata": {"finalizers": rng.sample(names, rng.randrange(0, 4))}}
        if rng.random() < 0.6:
            kept = [c["name"] for c in containers if "name" in c and c.get("$patch") != "delete"]
            for c in pod["spec"]["containers"]:
                if c["name"] not in kept and rng.random() < 0.6:
                    kept.insert(rng.randrange(0, len(kept) + 1), c["name"])
            if rng.random() < 0.1:
                rng.shuffle(kept)
            patch["spec"]["$setElementOrder/containers"] = [{"name": n} for n in kept]
        if rng.random() < 0.4:
            # Not what is added too: upstream takes the two members in random order.
            others = [n for n in names if n not in patch["metadata"]["finalizers"]]
            patch["metadata"]["$deleteFromPrimitiveList/finalizers"] = rng.sample(others, 2)
            if rng.random() < 0.5:
                del patch["metadata"]["finalizers"]
        same_patch("strategic", "strategic", json.dumps(patch), pod)


def pointer(rng, value):
    """A random JSON pointer, mostly to something that is there."""
    out = ""
    while isinstance(value, (dict, list)) and value and rng.random() < 0.8:
        key = rng.choice(sorted(value)) if isinstance(value, dict) else rng.randrange(len(value))
        out += "/" + str(key).replace("~", "~0").replace("/", "~1")
        value = value[key]
    if rng.random() < 0.2:
        out += "/" + rng.choice(["new", "0", "-", "-1", "99"])
    return out or "/metadata"


def test_json_patch_random():
    rng = random.Random(6902)
    for _ in range(400 if LONG else 40):
        ops = []
        for _ in range(rng.randrange(1, 4)):
            op = rng.choice(["add", "remove", "replace", "move", "copy", "test"])
            one = {"op": op, "path": pointer(rng, POD)}
            if op in ("move", "copy"):
                one["from"] = pointer(rng, POD)
            if op in ("add", "replace", "test"):
                one["value"] = rng.choice([1, "x", None, [], {"k": [1]}, "web"])
            ops.append(one)
        if any(o["path"].startswith(("/apiVersion", "/kind", "/metadata")) and o["op"] != "test" for o in ops) or \
           any(o.get("from", "").startswith(("/apiVersion", "/kind", "/metadata")) for o in ops):
            continue  # kubectl itself needs those
        if any(o["op"] == "test" and o["value"] is None for o in ops):
            continue  # upstream stops with a nil dereference there
        same_patch("json", "json", json.dumps(ops), POD)
