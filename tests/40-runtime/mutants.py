#!/usr/bin/python3
"""Takes the runtime's defences away one at a time and expects the attack tests to notice.

usage: tests/40-runtime/mutants.py [NAME...]      as root; compiles a copy of the tree (half a minute each at load)

Each row: a name, the file, the defence as it stands there, what stands there without it, and the tests (pytest -k) of which at
least one must fail then. A row whose text is not found any more is an error: the defence moved, and its row has to follow.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

REPO = pathlib.Path(__file__).resolve().parent.parent.parent

ROWS = [
    # CVE-2024-21626. One defence alone suffices against the working directory: both away, then each where it stands alone.
    ("descriptors-closed", "src/runtime/final.c", "\t\tr = close_others(f, err);", "\t\tr = 0;", "left_open_by_the_caller"),
    ("cwd-inside", "src/runtime/final.c", "|| here[0] != '/')", "|| here[0] == 0)", "preserved_folder or leads_out_through_cwd",
     "src/runtime/rootfs.c", "\tif (errno != ENOENT)\n\t\treturn err_sys(err, \"process.cwd: %s\", cwd);", "\treturn 0;"),
    # CVE-2019-5736
    ("program-protected", "src/runtime/protect.c", "\tif (is_read_only())\n", "\tif (true)\n", "overwritten or read_only_mount or memory_copy"),
    ("program-sealed", "src/runtime/protect.c", "fcntl(copy, F_ADD_SEALS, SEALS) < 0", "false", "memory_copy"),
    # CVE-2021-30465: names in the container, by openat2 and by the walk that stands in for it
    ("resolved-in-root", "src/sys/path.c", "RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS", "RESOLVE_NO_MAGICLINKS", "links_in_the_image or swapped"),
    ("walked-in-root", "src/sys/path.c", "\t\t\tif (w.depth)\n\t\t\t\twalk_pop_to(&w, w.depth - 1);\n\t\t\tcontinue;", "\t\t\t;",
     "links_in_the_image or swapped"),
    # CVE-2019-19921, CVE-2019-16884
    ("proc-no-link", "src/runtime/rootfs_mount.c", "bool no_link = system || m->opts.dest_nofollow;", "bool no_link = m->opts.dest_nofollow;",
     "must_not_be_links"),
    ("proc-kept", "src/runtime/rootfs_mount.c", "\t\tint r = target_check(m, target, err);", "\t\tint r = 0;", "proc_cannot_be_replaced"),
    # CVE-2025-31133, CVE-2025-52565
    ("host-null", "src/runtime/rootfs.c", "\tc->null = openat(c->old_root, \"dev/null\", O_PATH | O_NOFOLLOW | O_CLOEXEC);",
     "\tc->null = openat(c->root, \"dev/null\", O_PATH | O_CLOEXEC);", "host_s_null_device",
     "src/runtime/rootfs.c", "\tif (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))", "\tif (false)"),
    ("console-no-link", "src/runtime/rootfs_dev.c", "sys_path_target(c->root, \"/dev/console\", false, true)",
     "sys_path_open(c->root, \"/dev/console\", O_PATH, 0)", "console_target"),
    # masks, tracing, sockets, keys
    ("masked", "src/runtime/plan.c", "\t\tput(plan, STEP_READONLY, i);", "\t\t;", "masks_cannot_be_lifted"),
    ("undumpable", "src/runtime/birth.c", "\tif (hide && ", "\tif (false && ", "cannot_be_traced"),
    ("start-socket", "src/runtime/create.c", "umask(0177)", "umask(0)", "start_socket"),
    ("keyring", "src/runtime/birth.c", "\tif (sys_keyctl_join_session(name) < 0 &&", "\tif (false &&", "keyring"),
]


def copy(to):
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=REPO, check=True, capture_output=True, text=True).stdout
    for name in names.split("\n"):
        if name and (REPO / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, to / name)


def compile_it(tree, build):
    r = subprocess.run(["ninja", "-C", str(build), "-j2", "--quiet", "src/app/knarr-run"], capture_output=True, text=True)
    return r.stdout + r.stderr if r.returncode else ""


def change(tree, pairs):
    """The texts before, so that they can be put back."""
    before = {}
    for file, old, new in pairs:
        text = (tree / file).read_text()
        if text.count(old) != 1:
            sys.exit(f"mutants: {file}: found {text.count(old)} times, not once:\n{old}")
        before.setdefault(file, text)
        (tree / file).write_text(text.replace(old, new))
    return before


def main():
    wanted = sys.argv[1:]
    survived = 0
    tree = pathlib.Path(tempfile.mkdtemp(prefix="knarr-mutants-"))
    try:
        copy(tree)
        build = tree / "build"
        subprocess.run(["meson", "setup", str(build), "-Dbench=false", "-Dtests=false", "-Dwerror=false"], cwd=tree, check=True, stdout=subprocess.DEVNULL)
        out = compile_it(tree, build)
        if out:
            sys.exit(f"mutants: the tree does not compile:\n{out}")
        for name, file, old, new, tests, *more in ROWS:
            if wanted and name not in wanted:
                continue
            before = change(tree, [(file, old, new)] + ([tuple(more)] if more else []))
            # What becomes unused is no news here.
            out = compile_it(tree, build)
            if out:
                sys.exit(f"mutants: {name} does not compile:\n{out}")
            r = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "-k", tests,
                                str(tree / "tests/40-runtime")], capture_output=True, text=True, env={**os.environ, "KNARR_BUILD": str(build)})
            failed = re.search(r"(\d+) failed", r.stdout)
            print(f"{'ok' if failed else 'NOT OK'} {name}: {r.stdout.strip().splitlines()[-1] if r.stdout.strip() else r.stderr}", flush=True)
            survived += not failed
            for f, text in before.items():
                (tree / f).write_text(text)
        return 1 if survived else 0
    finally:
        shutil.rmtree(tree, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
