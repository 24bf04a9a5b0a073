"""Every row of the table on ours, compared with what Debian's dockerd made of it: kept in golden.json, asked again in the long form."""
import json

import pytest
from conftest import HERE, LONG, Cli
from outcome import outcome
from table import ROWS
from test_build import triggers_by_change

GOLDEN = json.loads((HERE / "golden.json").read_text())
FACTS = ("code", "error", "config", "author", "history", "layers", "tree")


def compare(name, o, got, want):
    for fact in FACTS if "differs" not in o else o["same"]:
        if fact not in want and fact not in got:
            continue
        assert got.get(fact) == want.get(fact), f"{name}: {fact}\n ours:    {got.get(fact)}\n dockerd: {want.get(fact)}\n{got['output'][-2000:]}"


@pytest.mark.parametrize("name,text,o", [r for r in ROWS if not r[2].get("ours")], ids=lambda v: v if isinstance(v, str) and "\n" not in v else "")
def test_as_dockerd(cli, web, name, text, o):
    got = outcome(cli, name, text, o, web.server_port)
    if o.get("http"):
        assert got["code"] == 0 and got["texts"]["x"] == b"binary\n" and got["tree"]["y/file.bin"].startswith("f 600 0:0"), got
        return
    if "expect" in o:  # where it is meant to differ, it is told how
        expected(got, o["expect"])
    else:
        assert "differs" not in o or o["same"], f"{name}: what comes instead?"
    compare(name, o, got, GOLDEN[name])


def expected(got, want):
    if "error" in want:
        assert got["code"] != 0 and want["error"] in got["output"], got["output"]
        return
    assert got["code"] == 0, got["output"]
    for path, body in want.get("file", {}).items():
        assert got["texts"].get(path) == body.encode(), (path, got["texts"].get(path), got["tree"])
    for path, mode in want.get("mode", {}).items():
        assert got["tree"][path].split()[1] == f"{mode:o}", got["tree"][path]
    for path in want.get("absent", []):
        assert path not in got["tree"], got["tree"]
    assert want.get("said", "") in got["output"], got["output"]
    for key, value in want.get("config", {}).items():
        assert got["config"].get(key) == value, got["config"]


@pytest.mark.parametrize("name,text,o", [r for r in ROWS if r[2].get("ours")], ids=lambda v: v if isinstance(v, str) and "\n" not in v else "")
def test_beyond(cli, name, text, o):
    expected(outcome(cli, name, text, o), o["expect"])


@pytest.mark.parametrize("name,text,o", [r for r in ROWS if not r[2].get("ours") and not r[2].get("http")] if LONG else [],
                         ids=lambda v: v if isinstance(v, str) and "\n" not in v else "")
def test_dockerd_says_so_still(dockerd, tmp_path, name, text, o):
    got = outcome(Cli(dockerd, tmp_path), name, text, o)
    for fact in FACTS if "differs" not in o else o["same"]:
        assert got.get(fact) == GOLDEN[name].get(fact), (name, fact, got.get(fact), GOLDEN[name].get(fact))


def test_dockerd_refuses_triggers_so(dockerd):
    triggers_by_change(dockerd)
