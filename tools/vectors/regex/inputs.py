#!/usr/bin/env python3
"""Random patterns and texts for record.go. usage: inputs.py SEED COUNT

Most patterns are well formed; a third get a piece of bad syntax put somewhere. What Go 1.19 does not know
((?<name>...), Unicode after 13.0) is not used.
"""
import random
import sys

ATOMS = [b"a", b"b", b"c", b"ab", b".", rb"\d", rb"\w", rb"\s", rb"\W", rb"\D", rb"\S", b"[ab]", b"[^a]", b"[a-c]",
         b"[[:alpha:]]", b"[^[:^digit:]]", rb"\pL", rb"\p{Greek}", rb"\PN", rb"\p{^Lu}", b"^", b"$", rb"\b", rb"\B", rb"\A",
         rb"\z", b"", "é".encode(), "κ".encode(), b"K", b"k", b"s", "ſ".encode(), rb"\x41", rb"\x{3ba}", rb"\101", rb"\n",
         rb"[\d-z]", rb"[a\-z]", rb"\Qa.b\E", rb"\.", b"(?i)", b"(?-i)", b"(?s)", b"(?m)", b"(?U)", b"\n", b"_", b"1", b" ",
         rb"\pN", rb"\p{Lu}", rb"\p{Ll}", rb"[^\pL]", rb"\P{Han}"]
BAD = [b"(", b"[", b")", b"\\", rb"\p", rb"\pX", rb"\p{", rb"\p{Foo}", rb"\8", rb"\x", rb"\x4", rb"\xg", rb"\x{", rb"\x{}",
       rb"\x{110000}", b"[b-a]", b"[[:foo:]]", b"[a", b"(?", b"(?P<", b"(?P<n", b"(?P<n>", b"(?P<>a)", b"(?P=n)", b"(?z)",
       b"(?i", b"(?i-", b"(?--i)", b"(?i-)", b"(?=a)", b"*", b"+", b"?", b"{", b"}", b"{2", b"{2,", b"{2}", b"{2,1}",
       b"{1001}", b"{0}", b"{,2}", b"**", b"*?", b"+?", b"??", b"*??", b"{2}{3}", b"|", b"||", rb"\C", rb"\q", rb"\_", rb"\G",
       rb"\1", rb"\0", rb"\07", b"-", b"]", b"[]a]", b"[^]a]", b"[]", b"[^]", rb"\Q", rb"\E", rb"[\b]", rb"[a-\d]", b"(?#x)",
       b"(?:", b"(?'a'", b"\xc3", b"[\xff]", b"\\\xff", b"(?\xff", b"[[:^alpha:]", b"[:alpha:]", b"(?i:", b"{01}", b"{1,01}",
       b"{99999999999}", b"a{1000}", b"(a{30}){30}", b"(a{40}){30}"]
LETTERS = ["a", "b", "c", "A", "B", "k", "K", "\u212a", "s", "S", "ſ", "é", "É", "κ", "Κ", "1", "2", "_", " ", "\n", "-", ".",
           "z", "漢", "ab", "ab", "aab"]
TORN = [b"\xff", b"\xc3", b"\xe6\xbc", b"\xed\xa0\x80", "😀".encode()]
REPEATS = [b"*", b"+", b"?", b"*?", b"+?", b"??", b"{2}", b"{0,2}", b"{1,3}?", b"{2,}", b"{0}", b"{,1}"]


def pattern(rnd, depth):
    r = rnd.random()
    if depth <= 0 or r < .3:
        return rnd.choice(ATOMS)
    if r < .55:
        return b"".join(pattern(rnd, depth - 1) for _ in range(rnd.randint(1, 3)))
    if r < .7:
        return pattern(rnd, depth - 1) + b"|" + pattern(rnd, depth - 1)
    if r < .87:
        return rnd.choice([b"(%s)", b"(%s)", b"(?:%s)", b"(?P<n>%s)", b"(?i:%s)"]) % pattern(rnd, depth - 1)
    return rnd.choice([b"(%s)%s", b"(?:%s)%s", b"%s%s"]) % (pattern(rnd, depth - 1), rnd.choice(REPEATS))


def main():
    rnd = random.Random(int(sys.argv[1]))
    for _ in range(int(sys.argv[2])):
        p = pattern(rnd, 4)
        if rnd.random() < .33:
            at = rnd.randint(0, len(p))
            p = p[:at] + rnd.choice(BAD) + p[at:]
        t = "".join(rnd.choice(LETTERS) for _ in range(rnd.randint(0, 10))).encode()
        if rnd.random() < .2:
            at = rnd.randint(0, len(t))
            t = t[:at] + rnd.choice(TORN) + t[at:]
        print(p.hex(), t.hex())


if __name__ == "__main__":
    main()
