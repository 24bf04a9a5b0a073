# What the tests of this folder share. Each is an executable called as `tests/50-apiserver/NAME KNARR KUBECTL`; it prints a line
# for each check that fails and closes with `finish`. This file is sourced:
#
#     . "$(dirname "$0")/common.sh"
#     start --authorization-mode=RBAC
#     is "namespaces" "namespace/default" k get ns default -o name
#     code "no such path" 404 GET /nope
#     finish
#
# start makes DIR/data, a token file (users admin in system:masters, jane in dev, joe in ops) and a server on a free port.
set -u
export LC_ALL=C
knarr=$1 kubectl=$2
dir=$(mktemp -d)
pid= port= token=secret
passed=0 failed=0 skipped=0
printf 'secret,admin,u1,"system:masters"\njanes,jane,u2,"dev"\njoes,joe,u3,"ops"\n' >"$dir/tokens"
cleanup() { [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null; wait 2>/dev/null; rm -rf "$dir"; }
trap cleanup EXIT

start() { # extra flags
	[ -z "$pid" ] || stop
	: >"$dir/log" # the child opens it too late for the loop below
	"$knarr" apiserver --data-dir "$dir/data" --secure-port "${port:-0}" --bind-address 127.0.0.1 --token-auth-file "$dir/tokens" \
		--unix-socket "$dir/api.sock" "$@" 2>"$dir/log" &
	pid=$!
	local end=$((SECONDS + 60 * ${KNARR_SLOWER:-1}))
	while [ $SECONDS -lt $end ]; do
		port=$(sed -n 's/.* serving port=\([0-9]*\).*/\1/p' "$dir/log")
		[ -n "$port" ] && { url=https://127.0.0.1:$port; return 0; }
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.05
	done
	echo "the server did not start:"; cat "$dir/log"
	failed=$((failed + 1)); finish
}
stop() { kill "-${1:-TERM}" "$pid"; wait "$pid" 2>/dev/null; local rc=$?; pid=; return $rc; }
k() { "$kubectl" --kubeconfig /dev/null --cache-dir "$dir/cache" --server="$url" --certificate-authority="$dir/data/pki/ca.crt" --token="$token" "$@" 2>&1; }
# req METHOD PATH [curl options]: the body, as the user of $token (empty: nobody)
req() { local m=$1 p=$2; shift 2; curl -s --max-time $((60 * ${KNARR_SLOWER:-1})) --path-as-is --cacert "$dir/data/pki/ca.crt" ${token:+-H "Authorization: Bearer $token"} -X "$m" "$@" "$url$p"; }
# headers METHOD PATH [curl options]: status line and headers, the body thrown away
headers() { req "$1" "$2" -o /dev/null -D - "${@:3}" | tr -d '\r'; }
# jqr FILTER METHOD PATH [curl options]: what jq makes of the body
jqr() { local f=$1; shift; req "$@" | jq -rc "$f"; }
ok() { passed=$((passed + 1)); }
not_ok() { failed=$((failed + 1)); printf 'not ok %s\n got: %s\nwant%s: %s\n' "$1" "${2:0:1000}" "$4" "${3:0:1000}"; }
# is NAME WANT COMMAND...: the output is exactly WANT
is() { local name=$1 want=$2 got; shift 2; got=$("$@"); if [ "$got" = "$want" ]; then ok; else not_ok "$name" "$got" "$want" ""; fi; }
# has NAME PART COMMAND...: the output holds PART;  hasnt: it does not
has() { local name=$1 part=$2 got; shift 2; got=$("$@"); case $got in *"$part"*) ok ;; *) not_ok "$name" "$got" "$part" " it to hold" ;; esac; }
hasnt() { local name=$1 part=$2 got; shift 2; got=$("$@"); case $got in *"$part"*) not_ok "$name" "$got" "$part" " it not to hold" ;; *) ok ;; esac; }
# code NAME WANT METHOD PATH [curl options]: the HTTP status
code() { local name=$1 want=$2 m=$3 p=$4; shift 4; is "$name" "$want" req "$m" "$p" -o /dev/null -w '%{http_code}' "$@"; }
# status NAME CODE REASON METHOD PATH [curl options]: a Status object with that code and reason, and the same HTTP status
status() {
	local name=$1 want="$2 Status $2 $3" m=$4 p=$5; shift 5
	is "$name" "$want" bash -c 'jq -r "\"\($0) \(.kind) \(.code) \(.reason)\"" <<<"$1"' "$(req "$m" "$p" -o "$dir/body" -w '%{http_code}' "$@")" "$(cat "$dir/body")"
}
# eventually COMMAND...: true within 30 seconds (on a slow machine as many times more), which is long only for who fails
eventually() { local end=$((SECONDS + 30 * ${KNARR_SLOWER:-1})); until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.05; done; }
# becomes NAME WANT COMMAND...: the output is WANT in the end; what happens behind an answer (counting, logging) may take its time
becomes() {
	local name=$1 want=$2 got end=$((SECONDS + 30 * ${KNARR_SLOWER:-1})); shift 2
	until got=$("$@"); [ "$got" = "$want" ]; do [ $SECONDS -lt $end ] || { not_ok "$name" "$got" "$want" ""; return; }; sleep 0.05; done
	ok
}
finish() { echo "$passed passed, $failed failed, $skipped skipped"; [ $failed = 0 ]; exit; }
