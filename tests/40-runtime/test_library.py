"""What src/app/ puts in the place of what musl lacks (docs/decisions/0862)."""
import pathlib
import re
import signal
import subprocess

import pytest
from conftest import PROGRAM

REPO = pathlib.Path(__file__).resolve().parent.parent.parent

CALLS = {
    "memcpy": "memcpy(o.small, from, n)",
    "memmove": "memmove(o.small, from, n)",
    "memset": "memset(o.small, 7, n)",
    "memset of the heap": "memset(heap, 7, n)",
    "read": "read(fd, o.small, n)",
    "pread": "pread(fd, o.small, n, 0)",
    "recv": "recv(fd, o.small, n, 0)",
    "readlink": 'readlink("/proc/self/exe", o.small, n)',
    "readlinkat": 'readlinkat(-100, "/proc/self/exe", o.small, n)',
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_that_writes_beyond_its_object_traps(tmp_path, call):
    """src/app/fortify.h: the size is known when the program runs, the call's length comes from its arguments."""
    (tmp_path / "t.c").write_text(f"""#include <stdlib.h>
        char from[64];
        int main(int argc, char **argv)
        {{
            struct {{ char small[16]; }} o;
            size_t n = strtoul(argv[1], NULL, 10);
            int fd = -1;
            char *heap = malloc((size_t)argc * 8);
            (void)!{call};
            __asm__ volatile("" : : "r"(&o), "r"(heap), "r"(fd) : "memory");
            return 0;
        }}""")
    subprocess.run(["cc", "-O2", "-U_FORTIFY_SOURCE", "-Wno-unused", "-D_GNU_SOURCE", "-include", REPO / "src/app/fortify.h", "-o", tmp_path / "t",
                    tmp_path / "t.c"], check=True)
    assert subprocess.run([tmp_path / "t", "16"]).returncode == 0
    assert subprocess.run([tmp_path / "t", "17"]).returncode == -signal.SIGILL


def test_the_program_has_those_traps():
    """... and knarr-run is compiled with it."""
    code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert len(re.findall(r"\tud2\b", code)) >= 8  # where neither is known to the compiler nothing is compared; glibc's had 16
