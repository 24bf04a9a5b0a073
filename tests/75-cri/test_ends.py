"""What must end well: the engine with everything open, clients of every kind; and pods over our own CNI plugin."""
import json
import shutil
import signal
import socket
import subprocess
import threading
import time

import grpc
import pytest

import spdy
from conftest import BUILD, SLOWER, Refused, bridge, engine, m, make_engine, until


@pytest.fixture
def k():
    with engine(leaves_nothing=True, conflist=bridge()) as e:
        yield e


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_stops_with_everything_open(k, sig):
    """Every kind of client at once: the engine ends at once and in order, pods go on, all is found again."""
    pod = k.run_pod()
    c = k.run(pod, "while :; do date; sleep 0.1; done", stdin=True)
    answers = []

    def ask(call):
        try:
            answers.append(call())
        except (Refused, grpc.RpcError) as e:
            answers.append(e)
    asking = [threading.Thread(target=ask, args=(x,)) for x in (
        lambda: k.ExecSync(container_id=c, cmd=["sleep", "100"]), lambda: list(k.GetContainerEvents()),
        lambda: k.PullImage(image=m.ImageSpec(image=f"127.0.0.1:{deaf.getsockname()[1]}/a/b")))]
    with socket.socket() as deaf:  # a registry that never answers
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        for t in asking:
            t.daemon = True
            t.start()
        open_, t1 = spdy.exec_session(k.Exec(container_id=c, cmd=["cat"], stdin=True, stdout=True).url, "stdin", "stdout")
        attached, t2 = spdy.exec_session(k.Attach(container_id=c, stdin=True, stdout=True).url, "stdin", "stdout")
        ports = spdy.Session(k.PortForward(pod_sandbox_id=pod[0]).url, ["portforward.k8s.io"])
        k.Exec(container_id=c, cmd=["true"], stdout=True)  # a token that nobody takes
        until(lambda: t2["stdout"].data)
        deaf.settimeout(20 * SLOWER)
        with deaf.accept()[0]:  # the pull has come so far
            until(lambda: [x for x in (k.data / "run/cri/exec").iterdir()])  # and the others
            time.sleep(0.3)
            k.process.send_signal(sig)
            assert k.process.wait(20 * SLOWER) == (0 if sig == signal.SIGTERM else -9), k.tail()
            for s in (open_, attached, ports):
                assert s.gone.wait(20 * SLOWER)
            for t in asking:
                t.join(20 * SLOWER)
            assert len(answers) == 3
    k.channel.close()
    k.start()
    assert k.status(c).state == 1 and k.PodSandboxStatus(pod_sandbox_id=pod[0]).status.state == 0
    assert k.sh(c, "echo fine") == "fine"
    until(lambda: not [x for x in (k.data / "run/cri/exec").iterdir()], 10)


def test_ends_behind_execs_that_nobody_waits_for(k):
    """A program that cannot be begun, and by then its time is over, or who asked has left (a kubelet that was killed): that is answered, and the
    engine ends."""
    c = k.run(k.run_pod(), "sleep 1000")
    assert k.stop() == 0, k.tail()
    held, said = k.dir / "held", []

    def ask(**how):
        try:
            k.ExecSync(container_id=c, cmd=["/none"], **how)
        except Refused as e:
            said.append(e.text)
    held.touch()
    k.start(KNARR_FAIL=f"container.exec.start=while:{held}")
    late = threading.Thread(target=ask, kwargs={"timeout": 1})
    late.start()
    ask(within=2)
    assert said == ["Deadline Exceeded"]
    held.unlink()
    late.join()
    assert "timeout 1s exceeded: context deadline exceeded" in said[1]
    assert k.stop() == 0, k.tail()
    k.start()


def test_restart_while_things_are_made_and_removed(k):
    """SIGKILL at any time, again and again, under load: nothing is left, nothing is lost that was answered."""
    stop, made, removing, problems = threading.Event(), set(), set(), []

    def work(n):
        i = 0
        while not stop.is_set():
            i += 1
            config = k.pod_config(f"w{n}-{i}")
            try:
                p = k.run_pod(config, within=5 * SLOWER)  # who gives up leaves a pod that is being made
                made.add(p[0])
                c = k.run(p, "sleep 1000")
                k.StopContainer(container_id=c)
                removing.add(p[0])  # which may be done and not answered
                k.RemovePodSandbox(pod_sandbox_id=p[0], within=5 * SLOWER)
            except (Refused, ValueError):
                time.sleep(0.05)  # the engine is away
            except Exception as e:  # noqa: BLE001: told below
                problems.append(repr(e))
                return
    workers = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for w in workers:
        w.start()
    try:
        for _ in range(4):
            time.sleep(1.0)
            k.process.kill()
            k.process.wait()
            k.channel.close()
            k.start()
    finally:
        stop.set()
        for w in workers:
            w.join(60 * SLOWER)
            assert not w.is_alive()
    assert not problems, problems
    assert made - removing <= {p.id for p in k.ListPodSandbox().items}
    k.clean()
    k.nothing_left()


def test_our_own_plugin():
    """Pods over knarr-cni: addresses, traffic between pods, host ports, everything given back."""
    k = make_engine()
    folder = k.dir / "bin"
    folder.mkdir()
    (folder / "knarr-cni").symlink_to(BUILD / "src/app/knarr-run")
    state = k.dir / "cni-state"
    try:
        k.stop()
        k.plugins = folder
        (k.conf / "10-knarr.conflist").write_text(json.dumps({"cniVersion": "1.0.0", "name": "knarr", "plugins": [
            {"type": "knarr-cni", "id": "75", "subnet": "10.77.0.0/24", "stateDir": str(state), "capabilities": {"portMappings": True}}]}))
        subprocess.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
        k.start()
        k.load()
        a = k.run_pod(k.pod_config("a", port_mappings=[m.PortMapping(container_port=8080, host_port=18081)]))
        b = k.run_pod(k.pod_config("b"))
        ip = k.PodSandboxStatus(pod_sandbox_id=a[0]).status.network.ip
        assert ip.startswith("10.77.0.")
        k.run(a, "nc -ll -p 8080 -e echo answer")
        assert k.output(b, f"until nc {ip} 8080 </dev/null; do sleep 0.3; done") == "answer"
        k.stop(signal.SIGKILL)
        k.start()
        assert k.PodSandboxStatus(pod_sandbox_id=a[0]).status.network.ip == ip
        time.sleep(0.5)
        assert "not as its plugins made it" not in k.tail()
        k.clean()
        k.nothing_left()
        assert not [x for x in state.rglob("10.77.*")], list(state.rglob("*"))
    finally:
        try:
            k.close()
        finally:
            shutil.rmtree(k.dir, ignore_errors=True)


def test_check_finds_what_somebody_broke(k):
    """After a restart the plugins look (CHECK); what they find is told in the log, and the pod is left as it is."""
    p = k.run_pod()
    k.stop()
    netns = k.data / f"run/cri/netns/{p[0]}"
    subprocess.run(["nsenter", f"--net={netns}", "ip", "addr", "flush", "dev", "eth0"], check=True)
    k.start()
    until(lambda: "a sandbox' network is not as its plugins made it" in k.tail())
    assert k.PodSandboxStatus(pod_sandbox_id=p[0]).status.state == 0
