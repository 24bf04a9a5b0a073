"""The lines of kubectl, of names in pods, and of ingress: on a cluster of one node, in a namespace called ns."""
import calendar
import json
import os
import re
import time

from docker_lines import fetch, write
from typist import SLOWER, line

AGE = r"(\d+[smh]){1,2}"
HTTPD = "trap 'sleep 3; exit 0' TERM; httpd -f -h /www & wait"
DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, labels: {app: shop}}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - name: c
        image: pod:1
        ports: [{containerPort: 80}]
        readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {selector: {app: shop}, ports: [{port: 80}]}
"""


def get(t, what, path, **more):
    return t.see(f"kubectl get {what} -o jsonpath='{path}'", **more).out


def pods(t, selector="app=shop"):
    """Those that nobody has asked to end."""
    return [p for p in json.loads(t.see(f"kubectl get pods -l {selector} -o json").out or '{"items": []}')["items"] if "deletionTimestamp" not in p["metadata"]]


def ready(pod):
    return any((c["type"], c["status"]) == ("Ready", "True") for c in pod["status"].get("conditions", []))


def settled(t, n, image=None, selector="app=shop"):
    def now():
        p = pods(t, selector)
        return len(p) == n and all(map(ready, p)) and all(image in (None, x["spec"]["containers"][0]["image"]) for x in p)
    return t.until(now)


def pod(t, name, script, **spec):
    """A pod of box that runs a line of shell."""
    c = {"name": "main", "image": "box:latest", "imagePullPolicy": "Never", "command": ["sh", "-c", script], **spec.pop("container", {})}
    spec = {"terminationGracePeriodSeconds": 0, **spec, "containers": [c, *spec.get("containers", [])]}
    write(t, f"{name}.json", json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **spec.pop("metadata", {})}, "spec": spec}))
    t.see(f"kubectl apply -f {name}.json")


def begin(t):
    """Images and the namespace, for all lines below."""
    for n in (1, 2):
        write(t, "Dockerfile.pod", f"FROM box\nRUN mkdir /www && echo version {n} >/www/index.html && echo {n} >/f\nCMD {json.dumps(['sh', '-c', HTTPD])}\n")
        t.ok(f"docker build -t pod:{n} -f Dockerfile.pod .")
    t.ok("kubectl create namespace ns")
    t.ok("kubectl config set-context --current --namespace=ns")
    t.until(lambda: get(t, "sa default", "{.metadata.name}") == "default")
    t.names |= {"IMG": "pod", "D": "shop", "S": "front", "N": get(t, "nodes", "{.items[0].metadata.name}")}


@line("kubectl apply -f deployment.yaml")
def apply(t, **_):
    begin(t)
    write(t, "deployment.yaml", DEPLOYMENT.replace("REPLICAS", "2"))
    t.same("created", t.ok("kubectl apply -f deployment.yaml").lines, ["deployment.apps/shop created", "service/front created"])
    t.same("again", t.ok("kubectl apply -f deployment.yaml").lines, ["deployment.apps/shop unchanged", "service/front unchanged"])
    write(t, "deployment.yaml", DEPLOYMENT.replace("REPLICAS", "3"))
    t.same("after an edit", t.ok("kubectl apply -f deployment.yaml").lines, ["deployment.apps/shop configured", "service/front unchanged"])
    t.holds("it runs", settled(t, 3))


@line("kubectl get pods ; kubectl get services ; kubectl get nodes")
def gets(t, **_):
    seen = t.ok("kubectl get pods")
    t.same("pods", seen.columns[0], ["NAME", "READY", "STATUS", "RESTARTS", "AGE"])
    t.looks("a pod", seen.out, rf"shop-[a-z0-9]+-[a-z0-9]{{5}} +1/1 +Running +0 +{AGE}")
    seen = t.ok("kubectl get services")
    t.same("services", seen.columns[0], ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"])
    t.looks("a service", seen.out, rf"front +ClusterIP +10\.96\.\d+\.\d+ +<none> +80/TCP +{AGE}")
    seen = t.ok("kubectl get nodes")
    t.same("nodes", seen.columns[0], ["NAME", "STATUS", "ROLES", "AGE", "VERSION"])
    t.looks("a node", seen.out, re.escape(t.names["N"]) + r" +Ready +\S+ +\S+ +v1\.33\.\S+")


@line("kubectl delete -f deployment.yaml")
def delete(t, **_):
    began, ending = time.monotonic(), set()
    t.same("deleted", t.ok("kubectl delete -f deployment.yaml").lines, ['deployment.apps "shop" deleted', 'service "front" deleted'])

    def gone():
        seen = t.see("kubectl get pods -l app=shop")
        ending.update(r[0] for r in seen.columns if "Terminating" in r)
        return "No resources found in ns namespace." in seen.err
    t.holds("pods gone", t.until(gone))
    t.holds(f"after their grace, of which they use three seconds: {sorted(ending)}", ending and time.monotonic() - began > 2.5)
    t.see("kubectl apply -f deployment.yaml")
    t.holds("it runs again", settled(t, 3))


@line("kubectl describe pod P ; kubectl describe svc S")
def describe(t, **_):
    p = pods(t)[0]
    seen = t.ok("kubectl describe pod P", P=p["metadata"]["name"])
    for pattern in (rf"Name: +{p['metadata']['name']}", "Namespace: +ns", rf"Node: +{t.names['N']}/[\d.]+", "Labels: +app=shop", "Status: +Running",
                    rf"IP: +{p['status']['podIP']}", "Controlled By: +ReplicaSet/shop-.*", "  c:", r"    Container ID: +\S+://[0-9a-f]{64}",
                    "    Image: +pod:1",
                    r"    Image ID: +\S+", r"    Port: +80/TCP", "    State: +Running", r"      Started: +\w{3}, .*", "    Ready: +True",
                    "    Restart Count: +0",
                    r"    Readiness: +http-get http://:80/ delay=0s timeout=1s period=1s #success=1 #failure=3",
                    r"      /var/run/secrets/kubernetes.io/serviceaccount from kube-api-access-\w+ \(ro\)", "  PodReadyToStartContainers +True *",
                    "  Ready +True *",
                    "  PodScheduled +True *", "QoS Class: +BestEffort",
                    "Tolerations: +node.kubernetes.io/not-ready:NoExecute op=Exists for 300s", r"  Type +Reason +Age +From +Message",
                    rf"  Normal +Scheduled +\S+ +default-scheduler +Successfully assigned ns/{p['metadata']['name']} to {t.names['N']}",
                    r'  Normal +Pulled +\S+ +kubelet +Container image "pod:1" already present on machine',
                    "  Normal +Created +.* kubelet +Created container: c",
                    "  Normal +Started +.* kubelet +Started container c"):
        t.looks("describe pod", seen.out, pattern)
    t.until(lambda: len(get(t, "endpointslice -l kubernetes.io/service-name=front", "{.items[0].endpoints[*].addresses[0]}").split()) == 3)
    seen = t.ok("kubectl describe svc S")
    for pattern in ("Name: +front", "Namespace: +ns", "Selector: +app=shop", "Type: +ClusterIP", r"IP: +10\.96\.[\d.]+", r"Port: +<unset> +80/TCP",
                    "TargetPort: +80/TCP",
                    "Session Affinity: +None", "Events: +<none>"):
        t.looks("describe svc", seen.out, pattern)
    addresses = sorted(x["status"]["podIP"] + ":80" for x in pods(t))
    t.looks("endpoints", seen.out, r"Endpoints: +(10\.244\.\d+\.\d+:80,?){3}")
    t.same("of all pods", sorted(re.search(r"Endpoints: +(\S+)", seen.out + "Endpoints: -").group(1).split(",")), addresses)


@line("kubectl set image deployment/D c=IMG:2")
def set_image(t, **_):
    t.see("kubectl scale deployment D --replicas=4")
    t.holds("four run", settled(t, 4))
    watch = t.start("kubectl get pods -l app=shop -w --output-watch-events -o jsonpath='{.type} {.object.metadata.name} "
                    "{.object.metadata.deletionTimestamp} {.object.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}'")
    shown = b""
    while shown.count(b"\n") < 4 and (more := os.read(watch.stdout.fileno(), 65536)):
        shown += more
    t.same("says so", t.ok("kubectl set image deployment/D c=IMG:2").out, "deployment.apps/shop image updated\n")
    t.holds("all have the new image", settled(t, 4, "pod:2"))
    alive, most, least, seen = {}, 0, 4, 0
    for text in (shown.decode() + t.stop(watch)).splitlines():
        kind, name, ending, ok = (text + "  ").split(" ")[:4]
        if kind == "DELETED" or ending:
            alive.pop(name, None)
        else:
            alive[name] = ok == "True"
        seen += 1
        if seen >= 4:  # the four that were there
            most, least = max(most, len(alive)), min(least, sum(alive.values()))
    t.same("one more than wanted at most, and it was used (maxSurge 25 %)", most, 5)
    t.same("one less than wanted at least (maxUnavailable 25 %)", least, 3)


@line("kubectl rollout status deployment/D")
def status(t, **_):
    t.same("of one that is done", t.ok("kubectl rollout status deployment/D").lines[-1:], ['deployment "shop" successfully rolled out'])
    t.see("kubectl cordon N")  # it stays under way until it has been looked at
    t.see("kubectl rollout restart deployment/D")
    looks, seen = t.start("kubectl rollout status deployment/D"), ""
    while "rollout to finish" not in seen and (more := looks.stdout.readline()):
        seen += more
    t.see("kubectl uncordon N")
    t.shows("of one under way", seen, 'Waiting for deployment "shop" rollout to finish: ')
    code, seen = t.rest(looks)
    t.same("and its end", (code, seen.splitlines()[-1:]), (0, ['deployment "shop" successfully rolled out']))
    t.see("kubectl rollout undo deployment/D")
    t.ok("kubectl rollout status deployment/D")


@line("kubectl rollout history deployment/D ; rollout undo deployment/D --to-revision=1")
def history(t, **_):
    seen = t.ok("kubectl rollout history deployment/D")
    t.same("history", (seen.lines[:2], [l.split() for l in seen.lines[2:] if l]),
           (["deployment.apps/shop ", "REVISION  CHANGE-CAUSE"], [["1", "<none>"], ["3", "<none>"], ["4", "<none>"]]))
    t.same("undo", t.ok("kubectl rollout undo deployment/D --to-revision=1").out, "deployment.apps/shop rolled back\n")
    t.holds("back to that template", settled(t, 4, "pod:1"))
    t.same("which is a new revision", [l.split()[0] for l in t.see("kubectl rollout history deployment/D").lines[2:] if l], ["3", "4", "5"])


@line("kubectl rollout pause deployment/D ; rollout resume deployment/D")
def pause(t, **_):
    t.same("pause", t.ok("kubectl rollout pause deployment/D").out, "deployment.apps/shop paused\n")
    before = sorted(p["metadata"]["name"] for p in pods(t))
    t.see("kubectl set image deployment/D c=IMG:2")
    t.until(lambda: get(t, "deployment shop", "{.metadata.generation}") == get(t, "deployment shop", "{.status.observedGeneration}"))
    time.sleep(0.5)
    t.same("nothing changes meanwhile", sorted(p["metadata"]["name"] for p in pods(t)), before)
    t.same("resume", t.ok("kubectl rollout resume deployment/D").out, "deployment.apps/shop resumed\n")
    t.holds("then it does", settled(t, 4, "pod:2"))


@line("kubectl scale deployment D --replicas=5 ; kubectl autoscale deployment D --min=2 --max=5 --cpu-percent=50")
def scale(t, **_):
    t.same("scale", t.ok("kubectl scale deployment D --replicas=5").out, "deployment.apps/shop scaled\n")
    t.holds("replicas follow", settled(t, 5))
    t.same("autoscale", t.ok("kubectl autoscale deployment D --min=2 --max=5 --cpu-percent=50").out, "horizontalpodautoscaler.autoscaling/shop autoscaled\n")
    seen = t.see("kubectl get hpa")
    t.same("HPA: columns", seen.columns[0], ["NAME", "REFERENCE", "TARGETS", "MINPODS", "MAXPODS", "REPLICAS", "AGE"])
    t.looks("HPA made", seen.out, rf"shop +Deployment/shop +cpu: <unknown>/50% +2 +5 +\d +{AGE}")
    t.see("kubectl delete hpa shop")
    t.see("kubectl scale deployment D --replicas=2")
    t.holds("down again", settled(t, 2))


@line("kubectl logs P --previous ; kubectl logs -f P -c C")
def logs(t, **_):
    pod(t, "again", "n=$(cat /n/n 2>/dev/null || echo 1); echo incarnation $n; echo $((n + 1)) >/n/n; [ $n -gt 1 ] || exit 1; sleep 1000",
        volumes=[{"name": "n", "emptyDir": {}}], container={"volumeMounts": [{"name": "n", "mountPath": "/n"}]})
    restarts = lambda: get(t, "pod again", "{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}")
    t.holds("it was restarted", t.until(lambda: restarts() == "1 true"))
    t.same("of the last incarnation", t.ok("kubectl logs P --previous", P="again").out, "incarnation 1\n")
    t.same("of this one", t.until(lambda: t.see("kubectl logs again").out), "incarnation 2\n")
    pod(t, "two", "sleep 1000", restartPolicy="Never", containers=[
        {"name": "talks", "image": "box:latest", "imagePullPolicy": "Never", "command": ["sh", "-c", "echo one; sleep 2; echo two"]}])
    t.until(lambda: "one\n" in t.see("kubectl logs two -c talks").out)
    t.same("follows to the end", t.ok("kubectl logs -f P -c C", P="two", C="talks").out, "one\ntwo\n")
    t.see("kubectl delete pod again two --now")


@line("kubectl exec -it P -- sh ; kubectl cp P:/f f ; kubectl port-forward svc/S 8080:80")
def streams(t, **_):
    p = pods(t)[0]["metadata"]["name"]
    seen = t.screen("kubectl exec -it P -- sh", ("# ", "tty; hostname; echo $((6*7))\r"), ("42\n|42\r\n", "exit 3\r"), P=p)
    t.shows("exec: a shell at a terminal", seen.out, "/dev/pts/0", p, "42\n")
    t.same("exec: its exit status", (seen.code, "command terminated with exit code 3" in seen.out), (3, True))
    seen = t.ok("kubectl cp P:/f f", P=p)
    t.same("cp", open(f"{t.folder}/f").read() if os.path.exists(f"{t.folder}/f") else str(seen), "2\n")
    forward = t.start("kubectl port-forward svc/S 8080:80")
    t.same("port-forward says where", forward.stdout.readline(), "Forwarding from 127.0.0.1:8080 -> 80\n")
    t.same("and leads there", fetch("http://127.0.0.1:8080/"), "version 2\n")
    t.stop(forward)


@line("kubectl top nodes ; kubectl top pods", without="the metrics API belongs to the issue of observing")
def top(t, **_):
    for what in ("nodes", "pods"):
        seen = t.see(f"kubectl top {what}")
        t.same(f"top {what}", (seen.code, seen.err), (1, "error: Metrics API not available\n"))


@line("kubectl proxy --port=8001")
def proxy(t, **_):
    p = t.start("kubectl proxy --port=8001")
    t.same("says where", p.stdout.readline(), "Starting to serve on 127.0.0.1:8001\n")
    got = fetch("http://127.0.0.1:8001/api/v1/namespaces/ns/services/front")
    t.same("the API on localhost", json.loads(got)["metadata"]["name"] if got.startswith("{") else got, "front")
    t.same("through it a service", fetch("http://127.0.0.1:8001/api/v1/namespaces/ns/services/front:80/proxy/"), "version 2\n")
    t.stop(p)


@line("kubectl run P --image=IMG ; kubectl expose deployment D --port=80 --type=NodePort")
def run(t, world, **_):
    t.same("run", t.ok("kubectl run P --image=IMG", P="alone", IMG="pod:1").out, "pod/alone created\n")
    t.holds("it runs", settled(t, 1, selector="run=alone"))
    t.same("expose", t.ok("kubectl expose deployment D --port=80 --type=NodePort").out, "service/shop exposed\n")
    port = get(t, "svc shop", "{.spec.ports[0].nodePort}")
    for address in get(t, "nodes", "{.items[*].status.addresses[?(@.type==\"InternalIP\")].address}").split():
        t.holds(f"{address}:{port} answers here", t.until(lambda: fetch(f"http://{address}:{port}/") == "version 2\n"))
        t.same("and to others", world.exec("curl", "-s", "-m", "5", f"http://{address}:{port}/", check=False).stdout, "version 2\n")
    t.see("kubectl delete pod alone --now; kubectl delete svc shop")


@line("kubectl taint nodes N k=v:NoExecute ; kubectl cordon N ; kubectl drain N --ignore-daemonsets ; kubectl uncordon N")
def taint(t, **_):
    n = t.names["N"]
    pod(t, "tolerant", "sleep 1000", tolerations=[{"key": "k", "operator": "Exists", "effect": "NoExecute"}])
    t.until(lambda: get(t, "pod tolerant", "{.status.phase}") == "Running")
    was = {p["metadata"]["name"] for p in pods(t)}
    t.same("taint", t.ok("kubectl taint nodes N k=v:NoExecute").out, f"node/{n} tainted\n")
    t.holds("pods without toleration leave", t.until(lambda: not was & {p["metadata"]["name"] for p in pods(t)}))
    t.same("the other one stays", get(t, "pod tolerant", "{.status.phase}"), "Running")
    t.same("new ones wait", t.until(lambda: {p["status"]["phase"] for p in pods(t)} == {"Pending"}), True)
    t.see("kubectl taint nodes N k-")
    t.see("kubectl delete pod tolerant --now")
    t.holds("until it is taken off", settled(t, 2))

    write(t, "budget.yaml", "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: shop}\n"
          "spec: {minAvailable: 1, selector: {matchLabels: {app: shop}}}\n")
    t.see("kubectl apply -f budget.yaml")
    t.holds("the budget is reckoned", t.until(lambda: get(t, "pdb shop", "{.status.disruptionsAllowed}") == "1"))
    t.looks("and shown", t.see("kubectl get pdb").out, rf"shop +1 +N/A +1 +{AGE}")
    t.same("cordon", t.ok("kubectl cordon N").out, f"node/{n} cordoned\n")
    t.looks("shown", t.see("kubectl get nodes").out, re.escape(n) + r" +Ready,SchedulingDisabled .*")
    drain = t.start("kubectl drain N --ignore-daemonsets")
    t.holds("drain lets one go", t.until(lambda: sorted(map(ready, pods(t))) == [False, True]))
    time.sleep(1)
    t.same("and keeps the other, which nothing replaces", sorted(map(ready, pods(t))), [False, True])
    t.see("kubectl delete pdb shop")
    try:
        drain.wait(30 * SLOWER)
    except Exception:
        pass
    got = t.stop(drain)
    t.shows("drain", got, f"node/{n} already cordoned\n", "evicting pod ns/shop-", "Cannot evict pod as it would violate the pod's disruption budget.",
            f"node/{n} drained\n")
    t.same("nothing runs", [p["status"]["phase"] for p in pods(t)], ["Pending", "Pending"])
    t.same("uncordon", t.ok("kubectl uncordon N").out, f"node/{n} uncordoned\n")
    t.holds("they come back", settled(t, 2))


@line("kubectl label nodes N disk=ssd")
def label(t, **_):
    pod(t, "selects", "sleep 1000", nodeSelector={"disk": "ssd"})
    pod(t, "affine", "sleep 1000", affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd", "nvme"]}]}]}}})
    why = lambda n: get(t, f"pod {n}", "{.status.conditions[?(@.type==\"PodScheduled\")].message}")
    unscheduled = lambda n: "node(s) didn't match Pod's node affinity/selector" in why(n)
    t.holds("they wait", t.until(lambda: unscheduled("selects") and unscheduled("affine")))
    t.same("label", t.ok("kubectl label nodes N disk=ssd").out, f"node/{t.names['N']} labeled\n")
    labelled = time.time()
    t.holds("selectors and affinity see it", t.until(lambda: get(t, "pod selects affine", "{.items[*].status.phase}") == "Running Running"))
    path = "{.items[*].status.conditions[?(@.type==\"PodScheduled\")].lastTransitionTime}"
    when = [calendar.timegm(time.strptime(x, "%Y-%m-%dT%H:%M:%SZ")) for x in get(t, "pod selects affine", path).split()]
    t.holds(f"at once: {labelled}, {when}", len(when) == 2 and max(when) - labelled < 5 * SLOWER)
    t.see("kubectl delete pod selects affine --now; kubectl label nodes N disk-")


@line("kubectl create secret generic s --from-literal=p=x ; create secret tls t --cert c --key k ; create configmap c --from-file=dir")
def create(t, **_):
    t.same("generic", t.ok("kubectl create secret generic s --from-literal=p=x").out, "secret/s created\n")
    t.same("values base64", (get(t, "secret s", "{.data.p}"), get(t, "secret s", "{.type}")), ("eA==", "Opaque"))
    t.see("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -out c -subj /CN=shop -days 1")
    t.same("tls", t.ok("kubectl create secret tls t --cert c --key k").out, "secret/t created\n")
    t.same("its type", get(t, "secret t", "{.type}"), "kubernetes.io/tls")
    for key, file in (("tls.crt", "c"), ("tls.key", "k")):
        path = key.replace(".", "\\.")
        t.same(f"{key} is {file}", t.see(f"kubectl get secret t -o jsonpath='{{.data.{path}}}' | base64 -d").out, open(f"{t.folder}/{file}").read())
    write(t, "dir/one", "1")
    write(t, "dir/two.txt", "2\n")
    for name in set(os.listdir(f"{t.folder}/dir")) - {"one", "two.txt"}:
        os.remove(f"{t.folder}/dir/{name}")
    t.same("configmap", t.ok("kubectl create configmap c --from-file=dir").out, "configmap/c created\n")
    t.same("files under their names", json.loads(get(t, "configmap c", "{.data}") or "{}"), {"one": "1", "two.txt": "2\n"})


@line("kubectl create sa a ; create role r --verb=get --resource=pods ; create rolebinding b --role=r --serviceaccount=ns:a ; "
      "auth can-i get pods --as=system:serviceaccount:ns:a")
def rights(t, **_):
    may = "kubectl auth can-i get pods --as=system:serviceaccount:ns:a"
    t.same("before", (t.see(may).out, t.see(may).code), ("no\n", 1))
    t.same("sa", t.ok("kubectl create sa a").out, "serviceaccount/a created\n")
    t.same("role", t.ok("kubectl create role r --verb=get --resource=pods").out, "role.rbac.authorization.k8s.io/r created\n")
    t.same("rolebinding", t.ok("kubectl create rolebinding b --role=r --serviceaccount=ns:a").out, "rolebinding.rbac.authorization.k8s.io/b created\n")
    t.same("yes", t.ok("kubectl auth can-i get pods --as=system:serviceaccount:ns:a").out, "yes\n")
    t.same("and not more", t.see("kubectl auth can-i list pods --as=system:serviceaccount:ns:a").out, "no\n")


@line("kubectl config get-contexts ; config use-context X")
def contexts(t, **_):
    first = t.see("kubectl config current-context").out.strip()
    cluster, user = (get_config(t, first, k) for k in ("cluster", "user"))
    t.see(f"kubectl config set-context X --cluster={cluster} --user={user} --namespace=default", X="other")
    seen = t.ok("kubectl config get-contexts")
    t.same("columns", seen.lines[0].split(), ["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"])
    t.looks("the current one", seen.out, rf"\* +{first} +{cluster} +{user} +ns *")
    t.looks("the other one", seen.out, rf" +other +{cluster} +{user} +default *")
    t.same("switches", t.ok("kubectl config use-context X", X="other").out, 'Switched to context "other".\n')
    t.same("pods are looked for there", t.see("kubectl get pods").err, "No resources found in default namespace.\n")
    t.ok("kubectl config use-context X", X=first)


def get_config(t, context, what):
    return t.see(f"kubectl config view -o jsonpath='{{.contexts[?(@.name==\"{context}\")].context.{what}}}'").out


@line("kubectl get events --sort-by=.lastTimestamp")
def events(t, **_):
    seen = t.ok("kubectl get events --sort-by=.lastTimestamp")
    t.same("columns", seen.columns[0], ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"])
    t.looks("an event", seen.out, r"\d+\w+ +Normal +ScalingReplicaSet +deployment/shop +Scaled up replica set shop-\w+ from \d to \d")
    when = [e.get("lastTimestamp") or "" for e in json.loads(t.see("kubectl get events --sort-by=.lastTimestamp -o json").out)["items"]]
    t.same("in order", when, sorted(when))
    t.holds("many", len(when) > 30)
    seconds = [age(r[0]) for r in seen.columns[1:] if r[2] != "Scheduled"]  # those of the scheduler have an eventTime instead
    t.holds(f"also by what is shown: {seconds}", all(a + 60 >= b for a, b in zip(seconds, seconds[1:])) and len(seconds) > 20)


def age(text):
    return sum(int(n) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[u] for n, u in re.findall(r"(\d+)([smhd])", text.split(" ")[0]))


@line("nslookup foo (pod in the same namespace) ; nslookup foo.bar (from another) ; nslookup web-0.svc.ns.svc.cluster.local")
def names(t, **_):
    t.see("kubectl create service clusterip foo --tcp=80; kubectl create namespace bar; kubectl -n bar create service clusterip foo --tcp=80")
    write(t, "headless.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: svc}\nspec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}\n")
    t.see("kubectl apply -f headless.yaml")
    # busybox's nslookup does not search for names with a dot: the machine's is lent to the pod that asks.
    lent = ("usr", "lib", "lib64")
    pod(t, "web-0", "sleep 1000", hostname="web-0", subdomain="svc", metadata={"labels": {"app": "web"}})
    pod(t, "asks", "sleep 1000", volumes=[{"name": d, "hostPath": {"path": f"/{d}"}} for d in lent],
        container={"env": [{"name": "PATH", "value": "/usr/bin:/bin"}], "volumeMounts": [{"name": d, "mountPath": f"/{d}", "readOnly": True} for d in lent]})
    t.until(lambda: get(t, "pod web-0 asks", "{.items[*].status.phase}") == "Running Running")
    inside = "kubectl exec asks --"
    mine, other = (get(t, f"svc foo -n {n}", "{.spec.clusterIP}") for n in ("ns", "bar"))
    seen = t.until(lambda: (s := t.see("nslookup foo", within=inside)).code == 0 and s) or t.see("nslookup foo", within=inside)
    t.same("the service's address", found(seen), [("foo.ns.svc.cluster.local", mine)])
    seen = t.until(lambda: (s := t.see("nslookup foo.bar", within=inside)).code == 0 and s) or t.see("nslookup foo.bar", within=inside)
    t.same("of another namespace", found(seen), [("foo.bar.svc.cluster.local", other)])
    one = "nslookup web-0.svc.ns.svc.cluster.local"
    seen = t.until(lambda: (s := t.see(one, within=inside)).code == 0 and s) or t.see(one, within=inside)
    t.same("one pod's address", found(seen), [("web-0.svc.ns.svc.cluster.local", get(t, "pod web-0", "{.status.podIP}"))])
    t.see("kubectl delete pod web-0 asks --now; kubectl delete svc foo svc; kubectl delete namespace bar")


def found(seen):
    return re.findall(r"Name:\s+(\S+)\nAddress(?: 1)?:\s+(\S+)", seen.out)


@line("curl -k https://HOST/path (through ingress)", without="the ingress controller belongs to an issue of its own")
def ingress(t, **_):
    write(t, "ingress.yaml", "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: shop}\nspec:\n  tls: [{hosts: [shop.example], secretName: t}]\n"
          "  rules: [{host: shop.example, http: {paths: [{path: /path, pathType: Prefix, backend: {service: {name: front, port: {number: 80}}}}]}}]\n")
    t.same("the object is kept", t.see("kubectl apply -f ingress.yaml").out, "ingress.networking.k8s.io/shop created\n")
    t.looks("and shown", t.see("kubectl get ingress").out, rf"shop +<none> +shop.example +80, 443 +{AGE}")
