#!/bin/bash
# Installs what is needed, builds, and runs every test that continuous integration runs.
#   ./test.sh         the short form of each suite (under 20 minutes)
#   ./test.sh --all   the long form: full sweeps, the virtual machine, side by side with the peers
#   ./test.sh NN...   these suites alone
#   -j N  as many suites at once (one for each processor; with --all and -v one);  -v  everything they print, as it comes
# Each suite in tests/suites/NN-name prints its own output, which is kept in build-tests/NN-name, and ends with a line
# `N passed, N failed, N skipped`; this script adds them up and closes with the same line. A skip says why. Of a suite that failed the output
# is shown, and what failed is listed once more at the end.
set -uo pipefail
# A shell's background job ignores SIGINT, and so would everything that is started here; some tests send it.
[ -n "${KNARR_TEST_SIGNALS:-}" ] || KNARR_TEST_SIGNALS=1 exec env --default-signal=INT,QUIT "$0" "$@"
cd "$(dirname "$0")" || exit 1
long=0
only=
verbose=0
lanes=$(nproc)
while [ $# -gt 0 ]; do
	case $1 in
	--all) long=1 ;;
	-v | --verbose) verbose=1 ;;
	-j) shift; lanes=${1:-1} ;;
	-j[0-9]*) lanes=${1#-j} ;;
	-h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
	[0-9]*) only="$only $1" ;;
	*) echo "test.sh: unknown option: $1 (see --help)" >&2; exit 2 ;;
	esac
	shift
done
# What is measured is measured alone, and what is shown as it comes has the screen to itself.
[ $((long + verbose)) = 0 ] || lanes=1
export KNARR_TEST_LONG=$long

lists="packages/run packages/build packages/test"
[ $long = 0 ] || lists="$lists packages/vm packages/peers"
# shellcheck disable=SC2086
tools/apt-install $lists || exit 1

# An emulated processor, or one that many share: limits of time are stretched, and a limit ends with what it waits for.
[ -n "${KNARR_SLOWER:-}" ] || KNARR_SLOWER=$(tools/slower)
export KNARR_SLOWER
[ "$KNARR_SLOWER" = 1 ] || echo "this machine is slow: limits of time are $KNARR_SLOWER times as long"

# The lines in which suites say what failed and what was skipped.
broken='^(not ok|FAIL|FAILED|ERROR|TIMEOUT)\b|^ +[^ ].*: [0-9]+ passed, [1-9][0-9]* failed'
left_out='^(SKIPPED|SKIP|skip:|skipped)'
kept=build-tests
mkdir -p "$kept" || exit 1

# What a suite printed, as much of it as somebody needs who was not there: why things were skipped, and all about what failed.
told() { # output, whether it failed
	if [ "$2" = 0 ]; then
		grep -E "$left_out" "$1"
	elif grep -qE '^=+ (FAILURES|ERRORS) =' "$1"; then
		sed -nE '/^=+ (FAILURES|ERRORS) =/,$p' "$1" | head -300
	else
		grep -vE '^ok\b' "$1" | tail -150
	fi
}

passed=0 failed=0 skipped=0
wrong=()
started=$SECONDS
declare -A running=() begun=()
ended() { # suite, exit code
	local name=$1 out=$kept/$1 line p _ f s
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$out" | tail -1)
	read -r p _ f _ s _ <<<"${line:-0 passed, 1 failed, 0 skipped}"
	# A suite that fails without counting a failure still fails.
	[ "$2" = 0 ] || [ "$f" != 0 ] || f=1
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	[ $verbose = 1 ] || told "$out" "$f"
	[ "$f" = 0 ] || wrong+=("$name")
	echo "-- $name: ${line:-it ended without its summary line} ($((SECONDS - begun[$name])) s$([ "$2" = 0 ] || echo ", exit $2"))"
}
one_ends() {
	local pid
	wait -n -p pid "${!running[@]}"
	ended "${running[$pid]}" $?
	unset "running[$pid]"
}
for suite in tests/suites/[0-9]*; do
	name=$(basename "$suite")
	if [ -n "$only" ]; then
		case " $only " in *" ${name%%-*} "*) ;; *) continue ;; esac
	fi
	[ ${#running[@]} -lt "$lanes" ] || one_ends
	echo "== $name"
	begun[$name]=$SECONDS
	if [ $verbose = 1 ]; then
		"$suite" 2>&1 | tee "$kept/$name"
		ended "$name" "${PIPESTATUS[0]}"
		continue
	fi
	# A job in the background would ignore these.
	env --default-signal=INT,QUIT "$suite" >"$kept/$name" 2>&1 &
	running[$!]=$name
	# The first builds what the others use, and uses every processor for it.
	[ "$name" != 10-check ] || one_ends
done
while [ ${#running[@]} -gt 0 ]; do one_ends; done
echo
if [ ${#wrong[@]} -gt 0 ]; then
	echo "what failed (the whole output is in $kept/):"
	for name in "${wrong[@]}"; do
		{ grep -E "$broken" "$kept/$name" || tail -5 "$kept/$name"; } | cut -c1-400 | head -40 | sed "s/^ */   $name: /"
	done
	echo
fi
echo "all suites took $((SECONDS - started)) s"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
