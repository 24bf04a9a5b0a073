# shellcheck shell=bash
# What the suites of tests/suites share; sourced as their first line of work. It goes to the root of the tree and keeps the counts that the
# last line of every suite gives: `N passed, N failed, N skipped`. A suite exits 0 if nothing failed.
#   KNARR_BUILD      the build folder (build); a program that is there is taken as it is
#   KNARR_TEST_LONG  1: the long form
#   KNARR_SLOWER     how many times limits of time are stretched (tools/slower)
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
build=${KNARR_BUILD:-build} slower=${KNARR_SLOWER:-1}
passed=0 failed=0 skipped=0
# kubectl remembers for hours what the server at an address has, and tests make servers at addresses that were others' before.
KUBECACHEDIR=$PWD/build-tests/kube-cache/$(basename "$0")
export KUBECACHEDIR
rm -rf "$KUBECACHEDIR"

long() {
	[ "${KNARR_TEST_LONG:-0}" = 1 ]
}

# The last line, and the end.
summary() {
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ]
	exit
}

# The whole suite cannot run here.
skip() { # why
	echo "skip: $1"
	skipped=$((skipped + 1))
	summary
}

# It cannot even begin.
give_up() { # what failed
	echo "not ok $1"
	failed=$((failed + 1))
	summary
}

need_root() { # what needs it
	[ "$(id -u)" = 0 ] || skip "$1 root"
}

# Makes what is not there. Without KNARR_BUILD everything is brought up to date.
need_built() { # a program in the build folder...
	local each
	[ -n "${KNARR_BUILD:-}" ] || make -s build >/dev/null || give_up "the build"
	for each; do
		[ -x "$build/$each" ] || make -s BUILD="$build" build || give_up "the build of $each"
	done
}

# Counts one thing that either works or does not.
check() { # name, command...
	local name=$1
	shift
	if "$@"; then echo "ok   $name"; passed=$((passed + 1)); else echo "not ok $name"; failed=$((failed + 1)); fi
}

# Runs a command in a network namespace of its own: bridges, addresses and tables go with it.
alone() {
	unshare -n sh -c 'ip link set lo up; exec "$@"' sh "$@"
}

# The same with mounts that go with it too. What is said after the summary line, of whatever kind, is a failure: both streams are one.
alone_with_mounts() {
	unshare -n -m --propagation private sh -c 'ip link set lo up; exec "$@"' sh "$@" 2>&1
}

# Every kubectl on the machine, the oldest first, in the array kubectls. Some packages keep versions beside the program that the name leads to.
find_kubectls() {
	local real
	real=$(readlink -f "$(command -v kubectl)")
	mapfile -t kubectls < <(for k in "$(dirname "$real")"/kubectl.[0-9]*; do [ -x "$k" ] && echo "$k"; done | sort -V)
	[ ${#kubectls[@]} -gt 0 ] || [ ! -x "$real" ] || kubectls=("$real")
	[ ${#kubectls[@]} -gt 0 ] || skip "no kubectl here"
}

# Adds the counts of the summary line of some output. What ends without its closing line has failed.
add() { # name, output, how long it took
	local p _ f s line
	line=$(tail -1 <<<"$2")
	grep -v ' skipped$' <<<"$2"
	read -r p _ f _ s _ <<<"$line"
	case $line in *' skipped') ;; *) echo "not ok $1: it ended without its summary line"; p=0 f=1 s=0 ;; esac
	echo "   $1: $p passed, $f failed ($3 s)"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

# Runs every program of a folder and adds up what they say.
programs() { # folder, command before the program and its words: [WRAPPER...] -- WORDS...
	local folder=$1 before=() each started
	shift
	while [ "$1" != -- ]; do before+=("$1"); shift; done
	shift
	for each in "$folder"/*; do
		[ -f "$each" ] && [ -x "$each" ] || continue
		started=$SECONDS
		add "$(basename "$each")" "$("${before[@]}" "$each" "$@")" $((SECONDS - started))
	done
}

# Runs Python's tests of a folder and adds up what pytest counted. That none of them passed is a failure, but with may_skip=1 before the call
# not when all were skipped.
pytests() { # folder, [WRAPPER...] [-- OPTIONS of pytest...]
	local folder=$1 before=() out code p f e s
	shift
	while [ $# -gt 0 ] && [ "$1" != -- ]; do before+=("$1"); shift; done
	shift
	out=$(mktemp)
	"${before[@]}" /usr/bin/python3 -m pytest -q -rsfE --tb=short --disable-warnings -p no:cacheprovider "$@" "$folder" 2>&1 | tee "$out"
	code=${PIPESTATUS[0]} # of a run that was interrupted the counts say nothing
	count() { tail -1 "$out" | grep -oE "[0-9]+ $1" | cut -d' ' -f1; }
	p=$(count passed) f=$(count failed) e=$(count 'errors?') s=$(count skipped)
	passed=$((passed + ${p:-0})) failed=$((failed + ${f:-0} + ${e:-0})) skipped=$((skipped + ${s:-0}))
	rm -f "$out"
	if [ $((${f:-0} + ${e:-0})) -gt 0 ]; then return; fi
	[ "$code" = 0 ] || { echo "not ok pytest ended with $code"; failed=$((failed + 1)); return; }
	[ "${p:-0}" -gt 0 ] || [ -n "${may_skip:-}" ] || { echo "not ok $folder: nothing passed"; failed=$((failed + 1)); }
}
