"""Stages side by side: built at once, told one after the other, with the hits and the failure that one by one would have had."""
import os
import pathlib
import re
import signal
import time

import pytest
from conftest import Cli, engine
from test_build import begin, cached, cancel, context_of, post, quiet, read_until, settled_threads, threads

make_knarr = engine.make_knarr

# A waits for what B makes, and B for what A makes: only side by side do both end.
MEET = """FROM busybox AS a
RUN --mount=type=cache,target=/c,id=meet{n} touch /c/a; i=0; until test -e /c/b; do i=$((i+1)); test $i -lt 300; sleep .1; done; echo a saw b; echo 1 >/f
FROM busybox AS b
RUN --mount=type=cache,target=/c,id=meet{n} touch /c/b; i=0; until test -e /c/a; do i=$((i+1)); test $i -lt 300; sleep .1; done; echo b saw a; echo 2 >/f
FROM busybox
COPY --from=a /f /a
COPY --from=b /f /b
"""


def streams(r):
    return "".join(l.get("stream", "") for l in r.lines)


def shape(out):
    """The stream without what is another in each build."""
    return re.sub(r"\b[0-9a-f]{12}\b", "ID", out)


def test_side_by_side(knarr):
    out = streams(post(knarr, context_of(MEET.format(n=1)), "nocache=1&t=met"))
    want = """Step 1/7 : FROM busybox AS a
 ---> ID
Step 2/7 : RUN .*
 ---> Running in ID
a saw b
Removing intermediate container ID
 ---> ID
Step 3/7 : FROM busybox AS b
 ---> ID
Step 4/7 : RUN .*
 ---> Running in ID
b saw a
Removing intermediate container ID
 ---> ID
Step 5/7 : FROM busybox
 ---> ID
Step 6/7 : COPY --from=a /f /a
 ---> ID
Step 7/7 : COPY --from=b /f /b
 ---> ID
Successfully built ID
"""
    assert re.match(want, shape(out)), out
    assert knarr.out("run", "--rm", "--network", "none", "met", "cat", "/a", "/b") == "1\n2"
    again = streams(post(knarr, context_of(MEET.format(n=1))))
    assert cached(again) == [2, 4, 6, 7], again
    quiet(knarr)


def test_four_meet(knarr):
    """Four at once on every machine: a step mostly waits, and not for a processor."""
    wait = "for o in 0 1 2 3; do i=0; until test -e /c/$o; do i=$((i+1)); test $i -lt 300 || exit 1; sleep .1; done; done"
    text = "".join(f"FROM busybox AS s{n}\nRUN --mount=type=cache,target=/c,id=meet4 touch /c/{n}; {wait}; echo {n} >/f\n" for n in range(4))
    text += "FROM busybox\n" + "".join(f"COPY --from=s{n} /f /f{n}\n" for n in range(4))
    post(knarr, context_of(text), "nocache=1&t=four")
    assert knarr.out("run", "--rm", "--network", "none", "four", "cat", "/f0", "/f1", "/f2", "/f3") == "0\n1\n2\n3"


def test_three_seconds_each(knarr):
    """As a person sees it: two stages of three seconds are not six. Each notes when it sleeps; on a busy machine one begins later."""
    nap = "RUN cut -d' ' -f1 /proc/uptime >/f; sleep 3; cut -d' ' -f1 /proc/uptime >>/f; :"
    text = f"FROM busybox AS a\n{nap} a\nFROM busybox AS b\n{nap} b\nFROM busybox\nCOPY --from=a /f /a\nCOPY --from=b /f /b\n"
    assert b"Successfully built" in post(knarr, context_of(text), "nocache=1&t=naps").body
    times = [float(x) for x in knarr.out("run", "--rm", "--network", "none", "naps", "cat", "/a", "/b").split()]
    both, each = max(times) - min(times), (times[1] - times[0]) + (times[3] - times[2])
    assert both < each, times


def test_until_it_copies(knarr):
    """A stage begins when its base is there and waits where it needs another: what stands before that runs beside it."""
    text = ("FROM busybox AS a\nRUN --mount=type=cache,target=/c,id=until i=0; until test -e /c/b; do i=$((i+1)); test $i -lt 300; sleep .1; done; echo 1 >/f\n"
            "FROM busybox\nRUN --mount=type=cache,target=/c,id=until touch /c/b\nCOPY --from=a /f /a\n")
    out = streams(post(knarr, context_of(text), "nocache=1"))
    assert "Successfully built" in out, out
    assert [s for s in re.findall(r"^Step (\d)/5", out, re.M)] == ["1", "2", "3", "4", "5"]


def test_one_that_has_not_begun_is_not_waited_for(knarr):
    """However few threads there are: the second stage begins alike (its base), has to wait for the first, and the first for the third."""
    text = ("FROM busybox AS a\nRUN --mount=type=cache,target=/c,id=few i=0; until test -e /c/b; do i=$((i+1)); test $i -lt 300; sleep .1; done; echo 1 >/f\n"
            "FROM busybox AS b\nCOPY --from=a /f /f\nFROM busybox AS c\nRUN --mount=type=cache,target=/c,id=few touch /c/b; echo 2 >/g\n"
            "FROM busybox\nCOPY --from=b /f /f\nCOPY --from=c /g /g\n")
    out = streams(post(knarr, context_of(text)))
    assert "Successfully built" in out, out


def test_same_steps_are_made_once(make_knarr):
    """Two stages that begin alike: the second finds what the first makes, as if it had been built behind it."""
    d = make_knarr()
    engine.import_busybox(d)
    for n in range(4):
        text = (f"FROM busybox AS a\nRUN echo {n} >/f; sleep .3\nRUN echo more >>/f\nRUN echo a >>/f\n"
                f"FROM busybox AS b\nRUN echo {n} >/f; sleep .3\nRUN echo more >>/f\nRUN echo b >>/f\n"
                "FROM busybox\nCOPY --from=a /f /a\nCOPY --from=b /f /b\n")
        before = len(d.out("images", "-aq").split())
        out = streams(post(d, context_of(text)))
        assert cached(out) == [6, 7] and out.count("Running in") == 4, out
        assert len(d.out("images", "-aq").split()) - before == 6


def test_triggers_and_aliases_are_made_once(make_knarr):
    d = make_knarr()
    engine.import_busybox(d)
    assert b"Successfully built" in post(d, context_of("FROM busybox\nONBUILD RUN echo trigger >/t; sleep .2\n"), "t=on").body
    text = "FROM on AS a\nRUN echo a >/f\nFROM on:latest AS b\nRUN echo b >/f\nFROM busybox\nCOPY --from=a /f /a\nCOPY --from=b /t /b\n"
    out = streams(post(d, context_of(text)))
    assert out.count("Running in") == 3 and out.count("Using cache") == 1, out


FAILS = ("FROM busybox AS a\nRUN --mount=type=cache,target=/c,id=order{n} i=0; until test -e /c/b; do i=$((i+1)); test $i -lt 300; sleep .1; done; sleep .5; {a}\n"
         "FROM busybox AS b\nRUN --mount=type=cache,target=/c,id=order{n} touch /c/b; echo b fails; exit 5\n"
         "FROM busybox AS c\nRUN sleep 60\n"
         "FROM busybox\nCOPY --from=a / /a\nCOPY --from=b / /b\nCOPY --from=c / /c\n")


@pytest.mark.parametrize("n, first", [(1, True), (2, False)])
def test_first_failure_in_the_files_order(knarr, n, first):
    """The second stage fails while the first runs. Whether that one fails too decides which is told, and nothing behind it is."""
    r = post(knarr, context_of(FAILS.format(n=n, a="echo a fails; exit 4" if first else "echo a ends")), "nocache=1&forcerm=1")
    out = streams(r)
    assert r.lines[-1]["errorDetail"]["code"] == (4 if first else 5), r.body
    assert ("a fails\n" in out) == first and ("b fails\n" in out) != first and "Step 5/10" not in out, out
    assert f"Dockerfile:{2 if first else 4}\n" in out, out
    quiet(knarr)


def test_cancel_ends_all(knarr):
    text = "FROM busybox AS a\nRUN --mount=type=cache,target=/c,id=all until test -e /c/b; do sleep .1; done; echo be''gun; sleep 60\n" \
           "FROM busybox AS b\nRUN --mount=type=cache,target=/c,id=all touch /c/b; sleep 60\nFROM busybox\nCOPY --from=a / /a\nCOPY --from=b / /b\n"
    s = begin(knarr, context_of(text), "buildid=all&nocache=1")
    read_until(s, b"begun")
    assert len(knarr.out("ps", "-q").split()) == 2
    got = cancel(knarr, s, "all")
    assert b'"error":"the build was cancelled"' in got, got
    engine.until(lambda: knarr.out("ps", "-aq") == "")
    quiet(knarr)


def test_client_leaves_while_another_is_told(make_knarr):
    d = make_knarr()
    engine.import_busybox(d)
    text = "FROM busybox AS a\nRUN echo be''gun; sleep 60\nFROM busybox AS b\nRUN while :; do echo yes; sleep .1; done\nFROM busybox\nCOPY --from=a / /a\nCOPY --from=b / /b\n"
    d.out("run", "--rm", "busybox", "true")  # the first container starts a thread of the network's
    before = settled_threads(d)
    s = begin(d, context_of(text), "nocache=1")
    read_until(s, b"begun")
    s.close()
    engine.until(lambda: d.out("ps", "-aq") == "")
    engine.until(lambda: threads(d) == before)
    quiet(d)


def test_killed_with_two_steps(make_knarr):
    """SIGKILL while two stages run: the next engine has neither container, and the same build succeeds."""
    d = make_knarr()
    engine.import_busybox(d)
    body = context_of(MEET.format(n="kill").replace("test -e /c/b;", "test -e /c/never -o -e /c/go;").replace("test -e /c/a;", "test -e /c/go;"))
    s = begin(d, body)
    engine.until(lambda: len(d.out("ps", "-q").split()) == 2)
    d.process.send_signal(signal.SIGKILL)
    d.process.wait(20 * engine.SLOWER)
    s.close()
    d.start()
    engine.until(lambda: d.out("ps", "-aq") == "")
    quiet(d)
    (mark,) = [p.parent for p in (d.data / "builder/cache").glob("*/id") if p.read_text() == "meetkill"]
    (mark / "data/go").touch()
    assert b"Successfully built" in post(d, body).body


def test_much_output_beside(knarr):
    """What is held back lies in a file: 20 MB of it cost no memory, and come whole and in order."""
    text = ("FROM busybox AS a\nRUN --mount=type=cache,target=/c,id=much until test -e /c/b; do sleep .1; done; echo a is ready\n"
            "FROM busybox AS b\nRUN --mount=type=cache,target=/c,id=much seq 1 2500000; touch /c/b\nFROM busybox\nCOPY --from=a / /a\nCOPY --from=b / /b\n")
    peak = lambda: int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{knarr.process.pid}/status").read_text())[1])
    before = peak()
    out = streams(post(knarr, context_of(text), "nocache=1"))
    assert peak() - before < 12 << 10, (before, peak())
    numbers = out.split("\nStep 4/")[1].split("Running in ")[1].split("\n", 1)[1].split("Removing")[0]
    assert numbers == "".join(f"{i}\n" for i in range(1, 2500001)), numbers[:200]
    quiet(knarr)


def test_reproducible_side_by_side(make_knarr, tmp_path):
    ids = []
    text = ("FROM scratch AS root\nADD root.tar /\nFROM root AS a\nRUN [\"/bin/busybox\", \"touch\", \"/a\"]\nFROM root AS b\nRUN [\"/bin/busybox\", \"touch\", \"/b\"]\n"
            "FROM root\nCOPY --from=a /a /a\nCOPY --from=b /b /b\n")
    for n in range(2):
        d = make_knarr()
        (tmp_path / str(n)).mkdir()
        ids.append(Cli(d, tmp_path / str(n)).build("-q", "--build-arg", "SOURCE_DATE_EPOCH=1600000000", text=text, files={"root.tar": engine.BUSYBOX}).stdout)
        time.sleep(1.1)
    assert ids[0] == ids[1]


def test_many_stages(knarr):
    """More stages than threads, each needed by the last, some of them by each other."""
    n = 40
    text = "".join(f"FROM {'busybox' if i % 4 else 'scratch'} AS s{i}\nCOPY x /x{i}\n" + (f"COPY --from=s{i // 2} /x{i // 2} /y\n" if i else "") for i in range(n))
    text += "FROM busybox\n" + "".join(f"COPY --from=s{i} /x{i} /x{i}\n" for i in range(n))
    body = context_of(text, ("x", os.urandom(8), {}))
    out = streams(post(knarr, body))
    assert [int(s) for s in re.findall(r"^Step (\d+)/", out, re.M)] == list(range(1, 2 * n + (n - 1) + n + 2)), out[-2000:]
    assert "Successfully built" in out
    again = streams(post(knarr, body))
    assert again.count("Using cache") == n + n - 1 + n, again
    quiet(knarr)
