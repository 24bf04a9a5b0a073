"""Create, start, wait, stop, kill, restart, pause, rename, remove: states, codes, words, events."""
import os
import re
import signal
import time

from conftest import SLOWER, refused, takes


def test_run(engine):
    id = engine.create("args", "one", "two", name="first")
    assert len(id) == 64
    s = engine.state("first")
    assert s["Status"] == "created" and not s["Running"] and s["StartedAt"] == "0001-01-01T00:00:00Z"
    began, start = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()), time.monotonic()
    engine.start("/first")
    assert engine.wait(id[:12]) == 0
    s = engine.state(id)
    assert s["Status"] == "exited" and s["Pid"] == 0 and s["FinishedAt"] >= s["StartedAt"] > began
    assert engine.log(id) == "arg args\narg one\narg two\n"
    engine.call("remove", name="first")
    refused(lambda: engine.inspect("first"), "NOT_FOUND", "No such container: first")
    assert engine.names(id) == ["create", "start", "die", "destroy"]
    die = [e for e in engine.events if e["event"] == "die"][0]["attributes"]
    assert die["exitCode"] == "0" and die["name"] == "first" and die["image"] == "ct" and int(die["execDuration"]) <= time.monotonic() - start


def test_exit_code_and_second_start(engine):
    id = engine.create("exit", "7")
    for _ in range(2):
        engine.start(id)
        assert engine.wait(id) == 7
    assert engine.names(id) == ["create", "start", "die", "start", "die"]


def test_image_defaults(engine):
    assert engine.run() == "arg args\narg of-image\n"
    assert engine.run("x", Entrypoint=["/bin/ct", "args"]) == "arg args\narg x\n"


def test_errors_of_create(engine):
    refused(lambda: engine.create("args", image="nothing:1"), "NOT_FOUND", "No such image: nothing:1")
    refused(lambda: engine.create("args", name="a"), "INVALID_REQUEST", "Invalid container name (a), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    id = engine.create("args", name="web")
    refused(lambda: engine.create("args", name="web"), "EXISTS",
            f'Conflict. The container name "/web" is already in use by container "{id}". You have to remove (or rename) that container to be able to reuse that name.')
    refused(lambda: engine.create("args", host={"Memory": 4096}), "INVALID_REQUEST", "Minimum memory limit allowed is 6MB")
    refused(lambda: engine.create("args", host={"CapAdd": ["NO"]}), "INVALID_REQUEST", 'unknown capability: "CAP_NO"')
    refused(lambda: engine.create("args", host={"RestartPolicy": {"Name": "often"}}), "INVALID_REQUEST", "unknown policy 'often'")
    refused(lambda: engine.create("args", host={"AutoRemove": True, "RestartPolicy": {"Name": "always"}}), "INVALID_REQUEST",
            "can't create 'AutoRemove' container with restart policy")
    refused(lambda: engine.create("args", host={"Runtime": "kata"}), "INVALID_REQUEST", "unknown or invalid runtime name: kata")
    refused(lambda: engine.create("args", WorkingDir="here"), "INVALID_REQUEST", "the working directory 'here' is invalid, it needs to be an absolute path")
    refused(lambda: engine.create("args", StopSignal="SIGNONE"), "INVALID_REQUEST", "Invalid signal: SIGNONE")
    refused(lambda: engine.create("args", host={"NetworkMode": "container:nobody"}), "INVALID_REQUEST", "No such container: nobody")
    refused(lambda: engine.create("args", host={"NetworkMode": "container:web"}, Hostname="x"), "INVALID_REQUEST",
            "conflicting options: hostname and the network mode")
    refused(lambda: engine.create("args", Tty="yes"), "INVALID_REQUEST", "invalid Tty")
    refused(lambda: engine.create("args", host={"SecurityOpt": ["magic=on"]}), "INVALID_REQUEST", 'invalid --security-opt 2: "magic=on"')
    assert len(engine.call("list")) == 1


def test_no_command(engine, env):
    env.image(engine, ref="bare", config={})
    refused(lambda: engine.create(image="bare"), "INVALID_REQUEST", "no command specified")


def test_names_and_prefixes(engine):
    a, b = engine.create("args"), engine.create("args", name="b-name")
    name = engine.inspect(a)["Name"]
    assert name.count("_") == 1 and name[0] == "/"
    refused(lambda: engine.inspect(""), "INVALID_REQUEST", "invalid name or ID supplied: \"\"")
    ids = [a, b]
    while len({i[0] for i in ids}) == len(ids):
        ids.append(engine.create("args"))
    twice = next(i[0] for i in ids if sum(j[0] == i[0] for j in ids) > 1)
    refused(lambda: engine.inspect(twice), "INVALID_REQUEST", f"Multiple IDs found with provided prefix: {twice}")
    engine.call("rename", name="b-name", to="other")
    assert engine.inspect("other")["Id"] == b
    refused(lambda: engine.inspect("b-name"), "NOT_FOUND", "b-name")
    refused(lambda: engine.call("rename", name="other", to="other"), "INVALID_REQUEST", "same name")
    refused(lambda: engine.call("rename", name="other", to=name), "EXISTS", "is already in use by container")
    assert engine.events[-1]["event"] == "rename" and engine.events[-1]["attributes"]["oldName"] == "/b-name"


def test_missing_and_unusable_programs(engine):
    for cmd, code, words in (("/no/such", 127, "no such file or directory"), ("nosuch", 127, "executable file not found in $PATH"),
                             ("/bin/plain", 126, "permission denied"), ("/etc", 126, "is a directory")):
        id = engine.create(Entrypoint=[cmd])
        refused(lambda: engine.start(id), "INVALID_REQUEST", words)
        s = engine.state(id)
        assert s["ExitCode"] == code and s["Status"] == "created" and words in s["Error"], s
        assert engine.names(id) == ["create"]
        engine.call("remove", name=id)


def test_stop(engine):
    id = engine.create("sleep", "100")
    engine.start(id)
    engine.start(id)
    assert engine.unchanged
    began = time.monotonic()
    engine.call("stop", name=id, timeout=1)
    assert 0.9 < time.monotonic() - began < 5 * SLOWER  # process 1 without a handler does not take TERM
    assert engine.state(id)["ExitCode"] == 137
    assert engine.names(id) == ["create", "start", "kill", "kill", "die", "stop"]
    engine.call("stop", name=id)
    assert engine.unchanged
    refused(lambda: engine.call("kill", name=id), "IN_USE", f"container {id} is not running")


def test_init_takes_the_signal(engine):
    id = engine.create("sleep", "100", host={"Init": True})
    engine.start(id)
    engine.until(lambda: takes(engine.state(id)["Pid"], signal.SIGTERM))
    engine.call("stop", name=id, timeout=20)
    assert engine.state(id)["ExitCode"] == 143
    assert engine.names(id) == ["create", "start", "kill", "die", "stop"]


def test_kill(engine):
    id = engine.create("sleep", "100")
    engine.start(id)
    refused(lambda: engine.call("kill", name=id, signal="NO"), "INVALID_REQUEST", "Invalid signal: NO")
    waiting = engine.send("wait", name=id, condition="next-exit")
    engine.call("kill", name=id)
    assert engine.answer(waiting)["StatusCode"] == 137


def test_restart(engine):
    id = engine.create("sleep", "100")
    engine.start(id)
    pid = engine.state(id)["Pid"]
    engine.call("restart", name=id, timeout=0)
    assert engine.state(id)["Pid"] not in (0, pid) and engine.state(id)["Running"]
    assert engine.names(id)[-1] == "restart" and "stop" in engine.names(id)
    engine.call("remove", name=id, force=True)


def test_pause(engine):
    id = engine.create("sleep", "100")
    refused(lambda: engine.call("pause", name=id), "IN_USE", "is not running")
    engine.start(id)
    engine.call("pause", name=id)
    assert engine.state(id)["Paused"] and engine.state(id)["Status"] == "paused"
    refused(lambda: engine.call("pause", name=id), "IN_USE", "is already paused")
    refused(lambda: engine.start(id), "IN_USE", "cannot start a paused container, try unpause instead")
    engine.call("unpause", name=id)
    refused(lambda: engine.call("unpause", name=id), "IN_USE", "is not paused")
    engine.call("pause", name=id)
    refused(lambda: engine.call("remove", name=id), "IN_USE", "container is paused and must be unpaused first")
    engine.call("stop", name=id, timeout=0)
    assert engine.state(id)["Status"] == "exited"


def test_remove(engine):
    id = engine.create("sleep", "100", name="web")
    engine.start(id)
    refused(lambda: engine.call("remove", name=id), "IN_USE",
            'cannot remove container "/web": container is running: stop the container before removing or force remove')
    waiting = engine.send("wait", name=id, condition="removed")
    engine.call("remove", name=id, force=True)
    assert engine.answer(waiting)["StatusCode"] == 137
    assert engine.names(id) == ["create", "start", "kill", "die", "destroy"]
    assert engine.call("list") == []


def test_auto_remove(engine, env):
    id = engine.create("exit", "3", host={"AutoRemove": True})
    waiting = engine.send("wait", name=id, condition="removed")
    engine.start(id)
    assert engine.answer(waiting)["StatusCode"] == 3
    assert engine.call("list") == [] and not env.left()


def test_prune(engine):
    keep = engine.create("sleep", "100")
    engine.start(keep)
    gone = engine.create("args")
    got = engine.call("prune")
    assert got["ContainersDeleted"] == [gone]
    assert [c["Id"] for c in engine.call("list")] == [keep]
    engine.call("remove", name=keep, force=True)
    assert engine.call("prune")["ContainersDeleted"] is None


def test_summary(engine):
    id = engine.create("sleep", "100", name="ps", Labels={"a": "b"})
    c = engine.call("list")[0]
    assert c["Status"] == "Created" and c["Names"] == ["/ps"] and c["Command"] == "/bin/ct sleep 100" and c["Labels"] == {"a": "b"}
    engine.start(id)
    assert re.fullmatch(r"Up (Less than a second|1 second|\d+ seconds)", engine.call("list")[0]["Status"])
    engine.call("kill", name=id)
    engine.wait(id)
    assert engine.call("list")[0]["Status"].startswith("Exited (137) ")


def test_images_in_use(engine):
    assert not engine.call("image_used", ref="ct")["used"]
    id = engine.create("sleep", "100")
    assert engine.call("image_used", ref="ct") == {"used": True, "running": False}
    engine.start(id)
    assert engine.call("image_used", ref="ct") == {"used": True, "running": True}
    engine.call("remove", name=id, force=True)
    assert not engine.call("image_used", ref="ct")["used"]


def test_restart_policy(engine):
    id = engine.create("exit", "1", host={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}})
    engine.start(id)
    engine.until(lambda: engine.names(id).count("die") == 4)
    engine.until(lambda: engine.state(id)["Status"] == "exited")
    assert engine.inspect(id)["RestartCount"] == 3
    id = engine.create("exit", "0", host={"RestartPolicy": {"Name": "always"}})
    engine.start(id)
    engine.until(lambda: engine.names(id).count("start") >= 3)
    engine.call("stop", name=id)
    n = len(engine.events)
    time.sleep(0.5)
    engine.call("list")
    assert engine.state(id)["Status"] == "exited" and len(engine.events) == n


def test_update(engine):
    id = engine.create("sleep", "100", host={"PidsLimit": 50})
    engine.start(id)
    assert engine.call("update", name=id, doc={"PidsLimit": 77, "RestartPolicy": {"Name": "unless-stopped"}}) == {"Warnings": None}
    h = engine.inspect(id)["HostConfig"]
    assert h["PidsLimit"] == 77 and h["RestartPolicy"]["Name"] == "unless-stopped"
    refused(lambda: engine.call("update", name=id, doc={"Memory": 100}), "INVALID_REQUEST", "Minimum memory limit allowed is 6MB")
    engine.call("remove", name=id, force=True)


def test_many_at_once(engine):
    ids = [engine.create("exit", str(i % 5)) for i in range(20)]
    starts = [engine.send("start", name=i) for i in ids]
    for s in starts:
        engine.answer(s)
    assert [engine.wait(i) for i in ids] == [i % 5 for i in range(20)]
    for r in [engine.send("remove", name=i) for i in ids]:
        engine.answer(r)


def test_the_root_is_kept_between_starts(engine):
    id = engine.create("write", "/data/mine", "hello", "--", "cat", "/data/mine", "/data/kept")
    for _ in range(2):
        engine.start(id)
        assert engine.wait(id) == 0
    assert "of the image" in engine.log(id)
    assert os.path.exists(engine.inspect(id)["LogPath"])
