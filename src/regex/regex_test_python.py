"""Answers of Python's re for regex_test.c: lines "pattern TAB text" in, "from,to from,to ..." for all groups out, "-" without a match.

The test uses only what both mean alike. \\Z is Python's name for the end of the text; a $ of Python would also match
before a last newline, and the texts have none. An expression that takes too long is answered with "?".
"""
import re
import signal
import sys


def stop(*_):
    raise TimeoutError


signal.signal(signal.SIGALRM, stop)
for line in sys.stdin.read().split("\n")[:-1]:
    pattern, text = line.split("\t")
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        m = re.search(pattern, text, re.ASCII)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(" ".join("%d,%d" % m.span(i) for i in range(len(m.groups()) + 1)) if m else "-")
    except TimeoutError:
        print("?")
