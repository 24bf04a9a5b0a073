"""The whole stream of events of a scripted life, as dockerd tells it: what happened, in which order, with which attributes."""
import json
import re
import time

import pytest
from conftest import *


def told(d, *words, until_seen=None):
    """What the client is told of while `words` are typed: "type action {attributes}" each, without ids. until_seen: how many at least,
    for what comes behind the answer."""
    since = f"{time.time():.9f}"
    for line in words:
        d.cli(*line, check=None)

    def now():
        lines = d.out("events", "--since", since, "--until", f"{time.time():.9f}", "--format", "{{.Type}} {{.Action}}|{{json .Actor.Attributes}}").splitlines()
        return lines if len(lines) >= (until_seen or 0) else None
    out = []
    for line in until(now) if until_seen else now():
        what, _, attributes = line.partition("|")
        a = json.loads(attributes)
        a.pop("execDuration", None)  # newer daemons
        out.append((what.strip(), {k: re.sub(r"\b[0-9a-f]{64}\b", "ID", v) for k, v in a.items()}))
    return out


def names(seen):
    return [n for n, _ in seen]


ME = {"image": "busybox", "k": "v", "name": "life"}
ON = {"container": "ID", "name": "bridge", "type": "bridge"}


def test_a_life(bridged):
    d = bridged
    import_busybox(d)
    seen = told(d, ("run", "-d", "--name", "life", "-l", "k=v", "busybox", "sleep", "1000"))
    assert seen == [("container create", ME), ("network connect", ON), ("container start", ME)]
    # One that cannot run was asked for all the same.
    seen = told(d, ("exec", "life", "nosuch"), ("exec", "life", "true"), until_seen=5)
    assert names(seen) == ["container exec_create: nosuch", "container exec_start: nosuch", "container exec_create: true", "container exec_start: true",
                           "container exec_die"] and seen[-1][1] == {**ME, "execID": "ID", "exitCode": "0"}
    assert told(d, ("pause", "life"), ("unpause", "life")) == [("container pause", ME), ("container unpause", ME)]
    assert told(d, ("rename", "life", "other"), ("rename", "other", "life")) == [
        ("container rename", {**ME, "name": "other", "oldName": "/life"}), ("container rename", {**ME, "oldName": "/other"})]
    assert told(d, ("kill", "-s", "USR1", "life")) == [("container kill", {**ME, "signal": "10"})]
    assert names(told(d, ("top", "life"), ("top", "life", "-o", "pid,bogus"))) == ["container top"]
    assert names(told(d, ("update", "-m", "64m", "--memory-swap", "96m", "life"), ("diff", "life"), ("logs", "life"))) == ["container update"]
    assert names(told(d, ("cp", "life:/etc/passwd", "-"), ("export", "life"))) == ["container archive-path", "container export"]
    # Paused while it is copied, unless told not to.
    commit = {**ME, "comment": "", "imageID": "sha256:ID", "imageRef": "made:1"}
    seen = told(d, ("commit", "life", "made:1"))
    assert seen == [("container pause", ME), ("image tag", {"k": "v", "name": "made:1"}), ("container commit", commit), ("container unpause", ME)]
    assert names(told(d, ("commit", "--pause=false", "life", "made:1"))) == ["image tag", "container commit"]
    seen = told(d, ("stop", "-t", "0", "life"), until_seen=5)
    assert sorted(names(seen)) == sorted(["container kill"] * 2 + ["container die", "container stop", "network disconnect"])
    assert names(seen).index("container die") < names(seen).index("container stop") and dict(seen)["container die"] == {**ME, "exitCode": "137"}
    assert told(d, ("start", "life")) == [("network connect", ON), ("container start", ME)]
    assert names(told(d, ("rm", "-f", "life"), until_seen=4)) == ["container kill", "container die", "network disconnect", "container destroy"]
    d.cli("rmi", "made:1")


def test_volumes_of_one_that_rests(bridged, tmp_path):
    """docker cp mounts what the container has, for as long as it copies: each of the client's two calls."""
    d = bridged
    import_busybox(d)
    (tmp_path / "f").write_text("x")
    id = d.out("create", "--name", "rests", "-v", "kept:/v", "-v", "ro:/ro:ro", "busybox")
    here = {"container": "ID", "driver": "local"}
    mounts = [("volume mount", {**here, "destination": "/v", "propagation": "", "read/write": "true"}),
              ("volume mount", {**here, "destination": "/ro", "propagation": "", "read/write": "false"})]

    def order(seen):
        return sorted(seen, key=lambda e: (e[0], e[1].get("destination", "")))
    seen = told(d, ("cp", tmp_path / "f", "rests:/v/"), until_seen=9)
    assert order(seen) == order([*mounts, ("volume unmount", here), ("volume unmount", here), ("container extract-to-dir", {"image": "busybox", "name": "rests"}),
                                 *mounts, ("volume unmount", here), ("volume unmount", here)])
    seen = told(d, ("cp", "rests:/v/f", "-"), until_seen=5)
    assert order(seen) == order([*mounts, ("volume unmount", here), ("volume unmount", here), ("container archive-path", {"image": "busybox", "name": "rests"})])
    assert names(seen).index("volume mount") < names(seen).index("volume unmount")
    assert names(told(d, ("rm", "rests"), ("volume", "rm", "kept", "ro"))) == ["container destroy", "volume destroy", "volume destroy"] and id


@pytest.mark.parametrize("words", [("--since", "0"), ("--since", "1970-01-01"), ()])
def test_from_the_beginning(docker, words):
    """A since of 0 is one, and an until alone asks for what was, too."""
    d = docker
    name = "from-" + ("-".join(w.strip("-") for w in words) or "until")
    d.cli("volume", "create", name)
    d.cli("volume", "rm", name)
    lines = d.out("events", *words, "--until", f"{time.time():.6f}", "--filter", f"volume={name}", "--format", "{{.Action}}").split()
    assert lines == ["create", "destroy"]
    assert d.out("events", "--since", f"{time.time():.6f}", "--until", f"{time.time() + 0.1:.6f}", "--filter", f"volume={name}") == ""
