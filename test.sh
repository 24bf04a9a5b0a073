#!/bin/bash
# Installs what is needed, builds, and runs every test that continuous integration runs.
#   ./test.sh         the short form of each suite (under 20 minutes)
#   ./test.sh --all   the long form: full sweeps, the virtual machine, side by side with the peers
# Each suite in tests/suites/NN-name prints its own output and ends with a line `N passed, N failed, N skipped`;
# this script adds them up and closes with the same line. A skip says why.
set -uo pipefail
# A shell's background job ignores SIGINT, and so would everything that is started here; some tests send it.
[ -n "${KNARR_TEST_SIGNALS:-}" ] || KNARR_TEST_SIGNALS=1 exec env --default-signal=INT,QUIT "$0" "$@"
cd "$(dirname "$0")" || exit 1
long=0
only=
for a in "$@"; do
	case $a in
	--all) long=1 ;;
	-h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
	[0-9]*) only="$only $a" ;;
	*) echo "test.sh: unknown option: $a (see --help)" >&2; exit 2 ;;
	esac
done
export KNARR_TEST_LONG=$long

lists="packages/run packages/build packages/test"
[ $long = 0 ] || lists="$lists packages/vm packages/peers"
# shellcheck disable=SC2086
tools/apt-install $lists || exit 1

# An emulated processor, or one that many share: limits of time are stretched, and a limit ends with what it waits for.
[ -n "${KNARR_SLOWER:-}" ] || KNARR_SLOWER=$(tools/slower)
export KNARR_SLOWER
[ "$KNARR_SLOWER" = 1 ] || echo "this machine is slow: limits of time are $KNARR_SLOWER times as long"

passed=0 failed=0 skipped=0
started=$SECONDS
for suite in tests/suites/[0-9]*; do
	name=$(basename "$suite")
	if [ -n "$only" ]; then
		case " $only " in *" ${name%%-*} "*) ;; *) continue ;; esac
	fi
	echo "== $name"
	out=$(mktemp)
	t=$SECONDS
	"$suite" 2>&1 | tee "$out"
	code=${PIPESTATUS[0]}
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$out" | tail -1)
	rm -f "$out"
	if [ -z "$line" ]; then
		echo "-- $name ended without its summary line (exit $code)"
		failed=$((failed + 1))
		continue
	fi
	set -- $line
	passed=$((passed + $1)) failed=$((failed + $3)) skipped=$((skipped + ${5:-0}))
	# A suite that fails without counting a failure still fails.
	if [ "$code" != 0 ] && [ "$3" = 0 ]; then
		echo "-- $name exited $code"
		failed=$((failed + 1))
	fi
	echo "-- $name: $line ($((SECONDS - t)) s)"
done
echo
echo "all suites took $((SECONDS - started)) s"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
