"""What a bundle of version 1.0.0 or 1.0.1 means where a later text, or an engine's need, says something else
(docs/decisions/0790), and what every version says about start and hooks."""
import json
import pathlib
import time

import pytest

from conftest import BUILD
from test_lifecycle import hooks
from test_sweep import rich, snapshot

OLD = ["1.0.0", "1.0.1", "1.0.0-rc6", "1.0.1-dev"]
NEW = ["1.0.2-dev", "1.0.2", "1.0.10", "1.1.0", "1.2.0"]
ALL = [OLD[0], OLD[1], NEW[1], NEW[4]]


def calls(log):
    """(point, status) of each hook that was called."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(l.split(" ")[0], json.loads(l.split(" ", 1)[1])["status"]) for l in lines]


def caps(rt, *names):
    rt.set("process.capabilities", {k: ["CAP_KILL", *names] for k in ("bounding", "permitted", "effective")})


# ---- capabilities (config.md, Linux Process)

@pytest.mark.parametrize("how", ["create", "run"])
@pytest.mark.parametrize("version", OLD)
def test_an_unknown_capability_was_an_error(rt, version, how):
    rt.set("ociVersion", version)
    caps(rt, "CAP_TEST")
    rt.args("exit", "0")
    rt.save()
    before = snapshot(rt)
    r = rt.quiet(how, rt.id, check=1)
    assert "process.capabilities: not known to this kernel: CAP_TEST" in r.err and version in r.err
    assert snapshot(rt) == before


@pytest.mark.parametrize("version", NEW)
def test_an_unknown_capability_is_a_warning(rt, version):
    rt.set("ociVersion", version)
    caps(rt, "CAP_TEST")
    assert "level=warning" in (err := rt.run("exit", "0").err) and "unknown, not granted: CAP_TEST" in err


@pytest.mark.parametrize("version", ALL)
def test_known_capabilities_are_the_same_in_all_versions(rt, version):
    rt.set("ociVersion", version)
    caps(rt)
    r = rt.run("cat", "/proc/self/status")
    assert [l for l in r.out.splitlines() if l.startswith("CapEff")][0].split()[1] == f"{1 << 5:016x}" and not r.err


@pytest.mark.parametrize("version", ALL)
def test_an_exec_follows_the_container_s_version(rt, version):
    rt.set("ociVersion", version)
    rt.up("sleep", "1000")
    caps(rt, "CAP_TEST")
    process = rt.tmp / "process.json"
    process.write_text(json.dumps({**rt.config["process"], "args": ["/ct", "exit", "7"]}))
    r = rt.call("exec", "--process", str(process), rt.id)
    assert (r.code, "not known to this kernel: CAP_TEST" in r.err, "not granted: CAP_TEST" in r.err) == \
        ((255, True, False) if version in OLD else (7, False, True))


# ---- prestart (runtime.md, Lifecycle; config.md, Prestart)

@pytest.mark.parametrize("version", OLD)
def test_prestart_was_part_of_start(rt, version):
    rt.set("ociVersion", version)
    rt.set("annotations", {"k": "v"})
    log = hooks(rt, ["prestart", "createRuntime", "createContainer", "poststart", "poststop"])
    rt.create("write", "/ran", "x", "--", "sleep", "1000")
    pid = rt.state()["pid"]
    assert calls(log) == [("createRuntime", "creating"), ("createContainer", "creating")]
    rt.start()
    assert calls(log)[2:] == [("prestart", "created"), ("poststart", "running")]
    s = json.loads(log.read_text().splitlines()[2].split(" ", 1)[1])
    assert (s["id"], s["pid"], s["bundle"], s["annotations"]) == (rt.id, pid, str(rt.bundle), {"k": "v"})
    rt.delete()
    assert calls(log)[4:] == [("poststop", "stopped")]


@pytest.mark.parametrize("version", NEW)
def test_prestart_is_part_of_create(rt, version):
    rt.set("ociVersion", version)
    log = hooks(rt, ["prestart"])
    rt.create("sleep", "1000")
    assert calls(log) == [("prestart", "creating")]
    rt.start()
    assert len(calls(log)) == 1


@pytest.mark.parametrize("version", ALL)
def test_prestart_comes_before_the_program(rt, version):
    rt.set("ociVersion", version)
    log = rt.tmp / "seen"
    rt.config["hooks"] = {"prestart": [{"path": "/bin/sh", "args": ["sh", "-c", f"ls {rt.rootfs} >{log}"], "env": ["PATH=/bin"]}]}
    assert rt.run("write", "/ran", "x", "--", "exit", "9", check=9).code == 9
    assert "ct" in log.read_text() and "ran" not in log.read_text() and (rt.rootfs / "ran").exists()


@pytest.mark.parametrize("version", ALL)
def test_prestart_of_run(rt, version):
    rt.set("ociVersion", version)
    log = hooks(rt, ["prestart", "poststart", "poststop"])
    rt.run("exit", "0")
    assert calls(log) == [("prestart", "created" if version in OLD else "creating"), ("poststart", "running"), ("poststop", "stopped")]
    log.unlink()
    rt.config["process"]["args"] = ["/no-such"]
    assert rt.run(check=1).err.count("no-such") >= 1
    assert calls(log)[-1:] == [("poststop", "stopped")] and not rt.root.joinpath(rt.id).exists()


@pytest.mark.parametrize("how", ["create", "run"])
@pytest.mark.parametrize("version", OLD[:2])
def test_a_failing_prestart_hook_stops_the_container(rt, version, how):
    """runtime.md 1.0.1, Lifecycle, 4: an error, the container is stopped, and on to step 9: destroyed, and the poststop hooks."""
    rt.set("ociVersion", version)
    log = hooks(rt, ["prestart", "poststart", "poststop"], code=4)
    rt.args("write", "/ran", "x", "--", "sleep", "1000")
    rt.save()
    before = snapshot(rt)
    if how == "create":
        rt.create()
        r = rt.start(check=1)
    else:
        r = rt.run(check=1)
    assert "error running prestart hook #0" in r.err and "exit status 4" in r.err
    assert calls(log) == [("prestart", "created"), ("poststop", "stopped")]
    log.unlink()
    log.with_suffix(".ns").unlink()
    assert snapshot(rt) == before and not (rt.rootfs / "ran").exists()


@pytest.mark.parametrize("point", ["runtime.step", "runtime.create", "runtime.hook"])
def test_sweep_of_a_run_that_is_held_for_its_hooks(rt, point):
    rich(rt)
    rt.set("ociVersion", "1.0.1")
    rt.config["hooks"]["prestart"] = [{"path": "/bin/true"}] * 2
    rt.args("exit", "0")
    rt.save()
    before = snapshot(rt)
    failed = 0
    for n in range(1, 100):
        # Of the hooks only those before the program are errors: poststart is a warning in this version, as poststop is in all.
        r = rt.quiet("run", rt.id, check=None, env={"KNARR_FAIL": f"{point}=EIO@{n}"})
        assert snapshot(rt) == before, (n, r.err)
        if r.code == 0:
            break
        failed += 1
        assert r.code == 1 and ("Input/output error" in r.err or "failpoint" in r.err)
    # The parent's hooks count: createRuntime, prestart twice (the first process counts its own).
    assert failed == 3 if point == "runtime.hook" else failed > 5, failed


# ---- poststart, poststop

@pytest.mark.parametrize("version", OLD[:2])
def test_a_failing_poststart_hook_was_a_warning(rt, version):
    rt.set("ociVersion", version)
    log = hooks(rt, ["poststart"], code=4)
    rt.config["hooks"]["poststart"] *= 2
    r = rt.up("sleep", "1000")
    assert "level=warning" in r.err and "poststart hook #0" in r.err and "poststart hook #1" in r.err
    assert calls(log) == [("poststart", "running")] * 2 and rt.state()["status"] == "running"
    rt.delete()
    assert "poststart hook #1" in rt.run("exit", "6", check=6).err


@pytest.mark.parametrize("version", ALL)
def test_the_remaining_poststop_hooks_run(rt, version):
    rt.set("ociVersion", version)
    log = hooks(rt, ["poststop"], code=4)
    rt.config["hooks"]["poststop"] *= 2
    rt.up("sleep", "1000")
    r = rt.delete()
    assert calls(log) == [("poststop", "stopped")] * 2
    assert "poststop hook #0" in r.err and "poststop hook #1" in r.err
    log.unlink()
    assert "poststop hook #1" in rt.run("exit", "0").err and len(calls(log)) == 2
    log.unlink()
    rt.config["process"]["args"] = ["/no-such"]
    assert "poststop hook #1" in rt.run(check=1).err and len(calls(log)) == 2


@pytest.mark.parametrize("version", ALL)
def test_a_hook_may_ask(rt, version):
    """Whoever runs the hooks holds the container's lock: asking does not wait for it."""
    rt.set("ociVersion", version)
    said = rt.tmp / "said"
    knarr = f"{BUILD}/src/app/knarr-run runtime --root {rt.root}"
    asks = f"{knarr} state {rt.id} | grep status; {knarr} list -q; {knarr} exec {rt.id} /ct exit 3; echo exec $?; {knarr} ps {rt.id} | wc -l"

    def hook(words):
        return [{"path": "/bin/sh", "args": ["sh", "-c", f"({words}) >>{said} 2>&1"], "env": ["PATH=/bin:/usr/bin"], "timeout": 10}]
    rt.config["hooks"] = {"prestart": hook(f"{knarr} state {rt.id} | grep status"), "poststart": hook(asks)}
    rt.up("sleep", "1000")
    lines = said.read_text().split("\n")
    assert '"status": "created"' in lines[0] if version in OLD else lines[0], lines
    assert '"status": "running"' in lines[1] and lines[2:5] == [rt.id, "exec 3", "2"], lines


# ---- delete (runtime.md, Delete)

@pytest.mark.parametrize("version", OLD)
def test_a_created_container_could_not_be_deleted(rt, version):
    rt.set("ociVersion", version)
    rt.create("write", "/ran", "x", "--", "sleep", "1000")
    assert "not stopped: created" in rt.quiet("delete", rt.id, check=1).err
    assert rt.state()["status"] == "created" and not (rt.rootfs / "ran").exists()
    rt.start()
    assert "not stopped: running" in rt.quiet("delete", rt.id, check=1).err
    rt.quiet("kill", rt.id, "KILL")
    rt.wait_status("stopped")
    rt.quiet("delete", rt.id)
    rt.create("sleep", "1000")
    rt.quiet("delete", "--force", rt.id)
    rt.create("sleep", "1000")
    rt.quiet("kill", rt.id, "KILL")
    rt.wait_status("stopped")
    rt.quiet("delete", rt.id)


@pytest.mark.parametrize("version", NEW)
def test_a_created_container_can_be_deleted(rt, version):
    rt.set("ociVersion", version)
    rt.create("sleep", "1000")
    rt.quiet("delete", rt.id)
    assert "does not exist" in rt.call("state", rt.id, check=1).err


# ---- pid (runtime.md, State)

@pytest.mark.parametrize("version", ALL)
def test_the_pid_of_a_stopped_container(rt, version):
    rt.set("ociVersion", version)
    log = hooks(rt, ["poststop"])
    rt.up("sleep", "1000")
    pid = rt.state()["pid"]
    assert pid > 0
    rt.quiet("kill", rt.id, "KILL")
    rt.wait_status("stopped")
    assert rt.state()["pid"] == (pid if version in OLD else 0)
    rt.quiet("delete", rt.id)
    assert json.loads(log.read_text().split(" ", 1)[1])["pid"] == (pid if version in OLD else 0)


# ---- process (config.md: "REQUIRED when start is called"; runtime.md, Start)

@pytest.mark.parametrize("version", ALL)
def test_without_a_process_start_is_the_error(rt, version):
    rt.set("ociVersion", version)
    process = rt.config.pop("process")
    log = hooks(rt, ["poststart"])
    rt.save()
    rt.quiet("create", rt.id)
    for _ in range(2):
        assert "process: is missing, there is nothing to run" in rt.start(check=1).err
        assert rt.state()["status"] == "created" and calls(log) == []
    rt.quiet("kill", rt.id, "KILL")
    rt.wait_status("stopped")
    rt.quiet("delete", rt.id)
    assert "process: is missing, there is nothing to run" in rt.call("run", rt.id, check=1).err
    assert not rt.root.joinpath(rt.id).exists()
    rt.config["process"] = process
    rt.run("exit", "5", check=5)


def test_what_waits_without_a_process_has_no_rights(rt):
    del rt.config["process"]
    rt.save()
    rt.quiet("create", rt.id)
    status = pathlib.Path(f"/proc/{rt.state()['pid']}/status").read_text()
    assert [l.split()[1] for l in status.splitlines() if l.startswith("Cap")] == ["0" * 16] * 5
    t = time.monotonic()
    rt.quiet("delete", rt.id)
    assert time.monotonic() - t < 5
