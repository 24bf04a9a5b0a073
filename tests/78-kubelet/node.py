"""One node: our API server and our kubelet, on our engine or (KUBELET_TEST_RUNTIME=containerd) on containerd; in namespaces of their own.
What the tests of this folder share. A test that runs as root calls `inside()` first: it begins again in new network, mount, process and IPC namespaces,
which take with them whatever is left."""
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "50-apiserver"))
from harness import SLOWER, Checks, Server, until  # noqa: E402,F401

IMAGE, PAUSE = "docker.io/library/box:1", "registry.k8s.io/pause:3.10"
CNI = """{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false,
 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "dataDir": "%s", "routes": [{"dst": "0.0.0.0/0"}]}}]}"""
CONFIG = """version = 2
root = "{d}/containerd"
state = "{d}/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
                    "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{d}/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10"
  disable_apparmor = true
  restrict_oom_score_adj = true
  enable_selinux = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{d}/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def inside():
    if os.geteuid() != 0:
        print("skip: needs root\n0 passed, 0 failed, 1 skipped")
        sys.exit(0)
    real = os.environ.get("KUBELET_TEST_RUNTIME") == "containerd"
    for tool in ("containerd", "ctr", "runc", "busybox") if real else ("busybox",):
        if not shutil.which(tool):
            print(f"skip: no {tool} here\n0 passed, 0 failed, 1 skipped")
            sys.exit(0)
    if os.environ.get("KUBELET_TEST_INSIDE"):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run("ip link add out0 type veth peer out1 && ip link set out1 up && ip addr add 192.0.2.10/24 dev out0 && "
                       "ip link set out0 up && ip route add default via 192.0.2.1", shell=True, check=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
        if real:  # its plugins' results, which nobody asks where to keep
            os.makedirs("/var/lib/cni", exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "none", "/var/lib/cni"], check=True)
        reaper()
        return
    os.environ["KUBELET_TEST_INSIDE"] = "yes"
    d = tempfile.mkdtemp(prefix="knarr-kubelet-")
    os.environ["KUBELET_TEST_DIR"] = d
    r = subprocess.run(["unshare", "-n", "-m", "-i", "-p", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", sys.executable, *sys.argv])
    shutil.rmtree(d, ignore_errors=True)
    remove_cgroups(d)
    sys.exit(r.returncode)


def reaper():
    """Process 1 takes in what its parent has left, as a machine's does, and ends with the test, which goes on as its child: a zombie that
    nobody takes in would keep the pid namespace that it lived in, and with it a container that has ended, for ever."""
    test = os.fork()
    if not test:
        return
    for sig in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sig, signal.SIG_IGN)
    while True:
        pid, status = os.wait()
        if pid == test:
            os._exit(os.waitstatus_to_exitcode(status) & 255)


def cgroup_root(d):
    return "/knarr-" + hashlib.sha256(d.encode()).hexdigest()[:8]


def remove_cgroups(d):
    for _ in range(50):
        left = [os.path.join(base, cgroup_root(d)[1:]) for base in [f"/sys/fs/cgroup/{c}" for c in os.listdir("/sys/fs/cgroup")] + ["/sys/fs/cgroup"]]
        left = [p for p in left if os.path.isdir(p)]
        for top in left:
            for base, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(base)
                except OSError:
                    pass
        if not left:
            return
        time.sleep(0.1)


def image(path, tag, files, config):
    """An archive as `docker save` writes it: one layer of files {name: (bytes, mode) or "link"}."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as t:
        for d in ("bin", "tmp", "etc", "proc", "sys", "dev", "root", "home"):
            i = tarfile.TarInfo(d)
            i.type, i.mode = tarfile.DIRTYPE, 0o1777 if d == "tmp" else 0o755
            t.addfile(i)
        for name, what in files.items():
            i = tarfile.TarInfo(name)
            if isinstance(what, str):
                i.type, i.linkname = tarfile.SYMTYPE, what
                t.addfile(i)
            else:
                i.size, i.mode = len(what[0]), what[1]
                t.addfile(i, io.BytesIO(what[0]))
    layer = layer.getvalue()
    conf = json.dumps({"architecture": "amd64", "os": "linux", "config": config, "history": [],
                       "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
    name = hashlib.sha256(conf).hexdigest() + ".json"
    with tarfile.open(path, "w") as t:
        for n, data in ((name, conf), ("l/layer.tar", layer), ("manifest.json", json.dumps(
                [{"Config": name, "RepoTags": [tag], "Layers": ["l/layer.tar"]}]).encode())):
            i = tarfile.TarInfo(n)
            i.size = len(data)
            t.addfile(i, io.BytesIO(data))


def read(path):
    """A file of the kernel's, which may be gone by now."""
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ""


class Node(Server):
    """API server, containerd, kubelet. `flags` are the kubelet's."""

    def __init__(self, knarr, kubectl, *flags, api=()):
        super().__init__(knarr, *api)
        self.kubectl_path, self.flags = kubectl, list(flags)
        self.d = os.environ["KUBELET_TEST_DIR"]
        self.runtime = os.environ.get("KUBELET_TEST_RUNTIME", "knarr")
        self.kubeconfig = f"{self.dir}/kubeconfig"
        self.kubelet = self.engine = None
        self.name = "n1"
        self.endpoint = f"unix://{self.d}/run/{'cri' if self.runtime == 'knarr' else 'containerd'}.sock"

    def __enter__(self):
        self.start()
        self.write_kubeconfig()
        self.call("POST", "/api/v1/namespaces", {"metadata": {"name": "kube-node-lease"}})
        self.call("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        self.start_runtime()
        self.start_kubelet()
        return self

    def __exit__(self, *exc):
        if exc and exc[0]:
            self.show()
        self.stop_kubelet()
        if self.engine:
            self.engine.kill()
            self.engine.wait()
        super().__exit__()

    def show(self):
        for log in ("kubelet.log", "engine.log"):
            if os.path.exists(f"{self.d}/{log}"):
                print(f"--- {log}", *open(f"{self.d}/{log}", errors="replace").read().splitlines()[-25:], sep="\n")

    def write_kubeconfig(self):
        with open(self.kubeconfig, "w") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "c",
                       "clusters": [{"name": "c", "cluster": {"server": self.url, "certificate-authority": self.ca}}],
                       "users": [{"name": "u", "user": {"token": self.token}}],
                       "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}, f)

    def start_runtime(self):
        d = self.d
        for sub in ("run", "cni/net.d", "cni/state"):
            os.makedirs(f"{d}/{sub}", exist_ok=True)
        open(f"{d}/cni/net.d/10-pods.conflist", "w").write(CNI % f"{d}/cni/state")
        busybox = open(shutil.which("busybox"), "rb").read()
        links = {f"bin/{n}": "busybox" for n in ("sh", "sleep", "cat", "echo", "ls", "id", "env", "true", "false", "touch", "rm", "test", "nc", "httpd", "wget",
                                                 "hostname", "grep", "kill", "date", "mkdir", "head", "stat", "ps", "ip", "readlink")}
        passwd = b"root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/home:/bin/sh\n"
        image(f"{d}/box.tar", IMAGE, {"bin/busybox": (busybox, 0o755), **links, "etc/passwd": (passwd, 0o644),
                                      "etc/group": (b"root:x:0:\nweb:x:1000:\n", 0o644)}, {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]})
        getattr(self, "start_" + self.runtime)(d)

    def start_knarr(self, d):
        self.start_engine()
        self.load_box(d)

    def start_engine(self, fail=""):
        """Ours. fail: its failpoints."""
        d = self.d
        self.engine = subprocess.Popen([self.knarr, "engine", "--data-dir", f"{d}/engine", "--host", f"unix://{d}/run/docker.sock",
                                        "--cri-host", f"unix://{d}/run/cri.sock", "--cni-conf-dir", f"{d}/cni/net.d",
                                        "--cni-bin-dir", os.environ.get("KUBELET_TEST_CNI", "/usr/lib/cni"), "--exec-root", f"{d}/run/engine"],
                                       stdout=open(f"{d}/engine.log", "ab"), stderr=subprocess.STDOUT, env={**os.environ, "KNARR_FAIL": fail})

    def load_box(self, d):
        deadline = time.monotonic() + 30 * SLOWER
        while True:
            r = subprocess.run(["curl", "-sS", "--unix-socket", f"{d}/run/docker.sock", "-X", "POST", "-H", "Content-Type: application/x-tar",
                                "--data-binary", f"@{d}/box.tar", "http://d/images/load"], capture_output=True, text=True)
            if r.returncode == 0 and "Loaded" in r.stdout:
                return
            if time.monotonic() > deadline:
                self.show()
                raise RuntimeError(f"the engine takes no image: {r.stdout} {r.stderr}")
            time.sleep(0.1)

    def start_containerd(self, d):
        # A writable layer needs overlayfs; where the test's folder lies on one itself, copies do.
        fs = subprocess.run(["stat", "-f", "-c", "%T", d], capture_output=True, text=True).stdout.strip()
        snapshotter = "native" if "overlay" in fs else "overlayfs"
        open(f"{d}/containerd.toml", "w").write(CONFIG.format(d=d, snapshotter=snapshotter))
        self.engine = subprocess.Popen(["containerd", "-c", f"{d}/containerd.toml"], stdout=open(f"{d}/engine.log", "ab"), stderr=subprocess.STDOUT)
        run = os.path.join(os.path.dirname(self.knarr), "knarr-run")
        image(f"{d}/pause.tar", PAUSE, {"knarr-run": (open(run, "rb").read(), 0o755)}, {"Entrypoint": ["/knarr-run", "pause"]})
        deadline = time.monotonic() + 60 * SLOWER
        for tar in ("box", "pause"):
            while True:
                r = subprocess.run(["ctr", "-a", f"{d}/run/containerd.sock", "-n", "k8s.io", "images", "import", "--snapshotter", snapshotter,
                                    f"{d}/{tar}.tar"], capture_output=True, text=True)
                if r.returncode == 0:
                    break
                if time.monotonic() > deadline:
                    self.show()
                    raise RuntimeError(f"containerd takes no image: {r.stderr}")
                time.sleep(0.2)

    def start_kubelet(self, *more, fail=""):
        # KUBELET_TEST_WRAP: "valgrind -q" and the like
        wrap = os.environ.get("KUBELET_TEST_WRAP", "").split()
        self.kubelet = subprocess.Popen([*wrap, self.knarr, "kubelet", "--data-dir", self.d, "--kubeconfig", self.kubeconfig, "--hostname-override", self.name,
                                         "--container-runtime-endpoint", self.endpoint, "--node-ip", "192.0.2.10", "--cgroup-root", cgroup_root(self.d),
                                         "--pod-manifest-path", f"{self.d}/manifests", "--pod-log-dir", f"{self.d}/pods-log", "--cluster-dns", "10.96.0.10",
                                         "--cluster-domain", "cluster.local", "--v", "4", *self.flags, *more],
                                        stdout=open(f"{self.d}/kubelet.log", "ab"), stderr=subprocess.STDOUT,
                                        env={**os.environ, "KNARR_FAIL": fail})

    def stop_kubelet(self, sig=signal.SIGTERM):
        code = None
        if self.kubelet:
            self.kubelet.send_signal(sig)
            try:
                code = self.kubelet.wait(20 * SLOWER)
            except subprocess.TimeoutExpired:
                self.kubelet.kill()
                code = self.kubelet.wait()
            self.kubelet = None
        return code

    # ---- what tests ask

    def k(self, *args, input=None, timeout=60):
        return self.kubectl(self.kubectl_path, *args, input=input, timeout=timeout)

    def pod(self, name, *command, uid=None, **spec):
        """Makes a pod on this node: one container `c` of the box image, or what spec says."""
        meta = {"name": name, **spec.pop("metadata", {})}
        container = {"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", **spec.pop("container", {})}
        if command:
            container["command"] = list(command)
        body = {"metadata": meta, "spec": {"nodeName": self.name, "containers": [container], "automountServiceAccountToken": False, "enableServiceLinks": False,
                                           "terminationGracePeriodSeconds": 2, **spec}}
        r = self.post("/api/v1/namespaces/default/pods", body)
        if r.code != 201:
            raise RuntimeError(f"pod {name}: {r.code} {r.json}")
        return r.json

    def see(self, name, ns="default"):
        r = self.get(f"/api/v1/namespaces/{ns}/pods/{name}")
        return r.json if r.code == 200 else {}

    def phase(self, name):
        return self.see(name).get("status", {}).get("phase")

    def status(self, name, container="c", kind="containerStatuses"):
        for c in self.see(name).get("status", {}).get(kind, []):
            if c["name"] == container:
                return c
        return {}

    def condition(self, name, type):
        for c in self.see(name).get("status", {}).get("conditions", []):
            if c["type"] == type:
                return c["status"]

    def gone(self, name):
        return self.get(f"/api/v1/namespaces/default/pods/{name}").code == 404

    def end(self, name, grace=1):
        self.delete(f"/api/v1/namespaces/default/pods/{name}", {"gracePeriodSeconds": grace})
        return until(lambda: self.gone(name))

    def events(self, name):
        got = self.get("/api/v1/namespaces/default/events").json.get("items", [])
        return [f"{e['type']} {e['reason']}: {e['message']}" for e in got if e["involvedObject"]["name"] == name]

    def left(self):
        """Processes in cgroups of our pods."""
        found = []
        for base in [f"/sys/fs/cgroup/{c}" for c in ("pids", "memory", "")]:
            for at, _, files in os.walk(base + cgroup_root(self.d)):
                if "cgroup.procs" in files:
                    found += read(f"{at}/cgroup.procs").split()
        return sorted(set(found))

    def processes(self, name, ns="default"):
        """(pid, command line) of a pod's processes."""
        uid, found = self.see(name, ns)["metadata"]["uid"], set()
        for base in [f"/sys/fs/cgroup/{c}" for c in ("pids", "memory", "")]:
            for at, _, files in os.walk(base + cgroup_root(self.d)):
                if "cgroup.procs" in files and uid in at:
                    found |= set(read(f"{at}/cgroup.procs").split())
        lines = [(int(p), read(f"/proc/{p}/cmdline")) for p in found if p != "0"]
        return [(p, line) for p, line in lines if line]  # without those that have ended meanwhile: a probe's command comes and goes

    def containers(self):
        """What the runtime has, running or not."""
        return self.ctr("containers", "ls", "-q").split() if self.runtime == "containerd" else []

    def ctr(self, *args):
        return subprocess.run(["ctr", "-a", f"{self.d}/run/containerd.sock", "-n", "k8s.io", *args], capture_output=True, text=True).stdout

    def log(self, name, container="c", attempt=0):
        p = self.see(name)["metadata"]
        path = f"{self.d}/pods-log/default_{name}_{p['uid']}/{container}/{attempt}.log"
        try:
            return "".join(line.split(" ", 3)[3] for line in open(path))
        except OSError:
            return None
