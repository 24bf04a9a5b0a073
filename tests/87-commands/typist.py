"""Command lines typed as the facts' table has them, and what a person sees: what the lines of this folder share.

The table (../shared/facts/commands.tsv beside the repository, or in $KNARR_FACTS) has a row for some commands that are typed after each other.
`@line(row)` names the row that a function is the test of. Inside it every command is typed with `see(command)`; words in capitals (REG, IMG, P)
stand for what `names` says. When the function is over, each command of the row must have been typed, letter by letter."""
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "50-apiserver")]
import waiting  # noqa: E402
from harness import SLOWER, Checks  # noqa: E402

LINES = {}
PROGRAMS = ("docker", "kubectl", "curl", "nslookup")


class Absent(Exception):
    """Something that a line needs is not on this machine."""


def line(row, without=None):
    """The test of a row. without: why it does not apply yet, and the function is what is true until then."""
    def keep(f):
        assert row not in LINES, row
        LINES[row] = (f, without)
        return f
    return keep


def table():
    """Rows: (commands, what a person must see), or None where the facts are not beside us."""
    root = os.path.join(HERE, "..", "..")
    for folder in (os.environ.get("KNARR_FACTS"), f"{root}/../shared/facts", f"{root}/../../shared/facts"):
        if folder and os.path.exists(f"{folder}/commands.tsv"):
            with open(f"{folder}/commands.tsv") as f:
                return [tuple(row.rstrip("\n").split("\t")) for row in f][1:]
    return None


def commands(row):
    """Each command of a row with the words that it shares with the first, all that may be meant: `docker volume create v ; ls` is
    `docker volume ls`, and `docker run --network host|none IMG` two commands."""
    out = []
    for part in row.split(" ; "):
        part = re.sub(r" \(.*\)$", "", part)  # a remark
        words = part.split(" ")
        head = [] if words[0] in PROGRAMS else row.split(" ")[:2]
        for i, word in enumerate(words):
            choices = word.split("|")
            if len(choices) > 1:
                out += [[" ".join([*words[:i], c, *words[i + 1:]])] for c in choices]
                break
        else:
            out.append([" ".join([*head[:n], part]) for n in range(len(head), 0, -1)] or [part])
    return out


class Seen:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __str__(self):
        return f"{self.out}{self.err}[{self.code}]"

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def columns(self):
        """Rows of a table as lists of cells, heads first."""
        return [re.split(r" {2,}", l.strip()) for l in self.lines]


class Typist(Checks):
    """Somebody in a folder with a shell. env: what the shell was told; names: what the words in capitals stand for."""

    def __init__(self, folder, env):
        super().__init__()
        self.folder, self.env, self.names, self.typed, self.row = folder, {**os.environ, "LC_ALL": "C", **env}, {}, set(), ""
        self.children = []

    def words(self, command, names):
        for name, value in {**self.names, **names}.items():
            command = re.sub(rf"(?<![\w.-]){name}(?![\w-])", lambda _: value, command)
        return command

    def start(self, command, **names):
        """Goes on beside us; its output is a pipe of text."""
        self.typed.add(command)
        p = subprocess.Popen(["bash", "-c", "exec " + self.words(command, names)], cwd=self.folder, env=self.env, text=True, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=1)
        self.children.append(p)
        return p

    def stop(self, p):
        p.send_signal(signal.SIGINT)
        try:
            out = p.communicate(timeout=10 * SLOWER)[0]
        except subprocess.TimeoutExpired:
            p.kill()
            out = p.communicate()[0]
        self.children.remove(p)
        return out

    def rest(self, p):
        """How it ends by itself, and what it said until then."""
        try:
            out = p.communicate(timeout=60 * SLOWER)[0]
        except subprocess.TimeoutExpired:
            p.kill()
            out = p.communicate()[0] + f"(no end within {60 * SLOWER} s)"
        self.children.remove(p)
        return p.returncode, out

    def see(self, command, *, answer=None, within="", timeout=120, **names):
        """Without a terminal. answer: what is typed into it. within: what stands before it to bring it to where it is typed."""
        self.typed.add(command)
        p = subprocess.Popen(["bash", "-c", self.words(f"{within} {command}" if within else command, names)], cwd=self.folder, env=self.env, text=True,
                             stdin=subprocess.PIPE if answer is not None else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             errors="replace", start_new_session=True)
        try:
            out, err = p.communicate(answer, timeout=timeout * SLOWER)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            out, err = p.communicate()
            err += f"(no end within {timeout * SLOWER} s)"
        return Seen(p.returncode, out, err)

    def ok(self, command, **more):
        """What is printed by a command that must succeed."""
        seen = self.see(command, **more)
        self.eq(f"{self.row}: `{command}` succeeds: {seen}", seen.code, 0)
        return seen

    def screen(self, command, *talk, timeout=60, **names):
        """At a terminal of 132 columns. talk: pairs (what is waited for, what is typed then). What the terminal showed is in out."""
        self.typed.add(command)
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.execvpe("bash", ["bash", "-c", "stty cols 132 rows 40; exec " + self.words(command, names)], self.env)
        shown, end, talk, at = "", time.monotonic() + timeout * SLOWER, list(talk), 0
        while time.monotonic() < end:
            while talk and (found := re.search(talk[0][0], shown[at:])):
                at += found.end()
                os.write(fd, talk.pop(0)[1].encode())
            if not select.select([fd], [], [], 0.2)[0]:
                continue
            try:
                got = os.read(fd, 65536)
            except OSError:
                break
            if not got:
                break
            shown += got.decode(errors="replace")
        else:
            os.kill(pid, signal.SIGKILL)
            shown += f"(no end within {timeout * SLOWER} s)"
        os.close(fd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return Seen(code, shown.replace("\r\n", "\n"), "")

    def until(self, what, seconds=60):
        """The first truth that what() returns, or its last answer."""
        return waiting.eventually(what, seconds)

    def holds(self, what, got):
        """A check by itself: what, in words, of the row that is being typed."""
        return self.eq(f"{self.row}: {what}", bool(got), True)

    def same(self, what, got, want):
        return self.eq(f"{self.row}: {what}", got, want)

    def shows(self, what, got, *parts):
        for part in parts:
            self.has(f"{self.row}: {what}", got, part)

    def looks(self, what, got, pattern):
        """A line of got is this pattern, whole."""
        if any(re.fullmatch(pattern, l) for l in str(got).splitlines()):
            self.passed += 1
            return True
        self.failed += 1
        print(f"not ok {self.row}: {what}\n got: {got}\nwant a line like: {pattern}", flush=True)
        return False

    def walk(self, kind, **more):
        """Every row of the table whose first word is kind, with what the lines need."""
        rows = table()
        if rows is None:
            self.skip("no table of commands here (../shared/facts, $KNARR_FACTS): whether each of its lines has a test is not looked at")
            rows = [(row, "") for row in LINES]
        for row in sorted(set(LINES) - {r[0] for r in rows}):
            self.eq(f"a test of a line that the table does not have: {row}", True, False)
        for row, _ in rows:
            if row.split(" ")[0] not in kind:
                continue
            if row not in LINES:
                self.eq(f"no test for this line: {row}", True, False)
                continue
            f, without = LINES[row]
            self.row, self.typed = row, set()
            began = time.monotonic()
            try:
                f(self, **more)
            except Absent as e:
                self.skip(f"{row}: {e}")
                continue
            except Exception as e:  # a line that breaks must not hide those behind it
                import traceback
                traceback.print_exc(file=sys.stdout)
                self.eq(f"{row}: went through", repr(e), None)
            if without:
                self.skip(f"{row}: {without}")
                continue
            for meant in commands(row):
                self.eq(f"{row}: typed as written: {' or '.join(meant)}", any(m in self.typed for m in meant), True)
            if os.environ.get("KNARR_TEST_VERBOSE"):
                print(f"   {time.monotonic() - began:5.1f} s  {row}", flush=True)
