#!/bin/bash
# A shop on Knarr: nginx in front, a small C service behind it, PostgreSQL and Redis below, all made of Debian's packages and built here.
# Builds the images, deploys, buys something through the node port, updates under load, kills containers and components, and tidies up.
#   sudo examples/shop/run.sh [--data-dir D] [--keep] [--images FILE] [--patience S] [--archives D | --save FILE]
#   --data-dir D   the cluster of `knarr up --data-dir D` (default: the machine's)
#   --keep         leaves the shop running
#   --archives D   only makes the archives of Debian's packages, in D (else $KNARR_DEBIAN or ~/.cache/knarr-debian, as they are needed)
#   --save FILE    only builds the images and saves them in FILE
#   --images FILE  takes them from there: a machine without a network, or a slow one
#   --patience S   how many seconds it waits for one thing (default 180; 60 for what should come back at once)
# Ends with 0 when everything was as it should be.
set -euo pipefail
cd "$(dirname "$0")"
keep=0 data='' archives=${KNARR_DEBIAN:-$HOME/.cache/knarr-debian} only_archives=0 save='' images='' patience=180
while [ $# -gt 0 ]; do
	case $1 in
	--data-dir) data=$(realpath -- "${2:?--data-dir needs a folder}"); shift ;;
	--keep) keep=1 ;;
	--archives) archives=$(realpath -m -- "${2:?--archives needs a folder}") only_archives=1; shift ;;
	--save) save=$(realpath -m -- "${2:?--save needs a file}"); shift ;;
	--images) images=$(realpath -- "${2:?--images needs a file}"); shift ;;
	--patience) patience=${2:?--patience needs seconds}; shift ;;
	-h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
	*) echo "run.sh: unknown option: $1 (see --help)" >&2; exit 2 ;;
	esac
	shift
done

bold=$(tput bold 2>/dev/null || true) plain=$(tput sgr0 2>/dev/null || true)
[ -t 1 ] || bold='' plain=''
step() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
say() { printf '   %s\n' "$*"; }
shown() { # as a person types it
	printf '   $ %s\n' "$(sed 's/^k /kubectl -n shop /' <<<"$*")"
	"$@" 2>&1 | sed 's/^/   /'
}
die() { printf 'run.sh: %s\n' "$*" >&2; exit 1; }
now() { date +%s%3N; }

archives_make() {
	local rootfs=../../tools/debian-rootfs
	"$rootfs" "$archives/nginx.tar" nginx nginx-light
	"$rootfs" "$archives/redis.tar" redis redis-server redis-tools
	"$rootfs" "$archives/postgres.tar" postgres postgresql-15 postgresql-client-15
	"$rootfs" "$archives/shop.tar" shop libmicrohttpd12 libpq5 libhiredis0.14
	"$rootfs" "$archives/shop-build.tar" shop gcc libc6-dev libmicrohttpd-dev libpq-dev libhiredis-dev
}
if [ $only_archives = 1 ]; then
	archives_make
	exit 0
fi

knarr=${KNARR:-knarr}
command -v "$knarr" >/dev/null || die "no knarr here: sudo ./install.sh"
command -v docker >/dev/null || die "no docker client here: apt-get install docker.io --no-install-recommends, or Docker's docker-ce-cli"
cluster=(${data:+--data-dir "$data"})
"$knarr" status "${cluster[@]}" >/dev/null || die "the cluster is not well or does not run: sudo knarr up${data:+ --data-dir $data}"
if [ -n "$data" ]; then
	KUBECONFIG=$data/admin.kubeconfig
	DOCKER_HOST=unix://$(realpath "$data/run")/docker.sock
else
	KUBECONFIG=${KUBECONFIG:-/etc/knarr/admin.kubeconfig}
	DOCKER_HOST=unix:///run/knarr/docker.sock
fi
export KUBECONFIG DOCKER_HOST DOCKER_BUILDKIT=0
if [ "${KUBECTL:-}" = "knarr kubectl" ]; then kubectl=("$knarr" kubectl); elif [ -n "${KUBECTL:-}" ]; then kubectl=("$KUBECTL"); elif command -v kubectl >/dev/null; then kubectl=(kubectl); else kubectl=("$knarr" kubectl); fi
kubectl() { command "${kubectl[@]}" "$@"; }
k() { kubectl -n shop "$@"; }

tmp=$(mktemp -d)
finish() {
	rm -f "$tmp/load"
	wait
	rm -rf "$tmp"
}
trap finish EXIT

# The value of a path of an object, once it is the one that is wanted.
until_is() { # seconds, value, then the words of kubectl get
	local until=$(($(date +%s) + $1)) want=$2
	shift 2
	while [ "$(k get "$@" 2>/dev/null)" != "$want" ]; do
		[ "$(date +%s)" -lt "$until" ] || return 1
		sleep 0.1
	done
}

build() { # image, folder, archive=name in the context..., then options of docker build after --
	local image=$1 folder=$2 t words=()
	shift 2
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		words+=(--transform "s,^${1%=*}\$,${1#*=}," "${1%=*}")
		shift
	done
	[ $# = 0 ] || shift
	t=$(now)
	tar -C "$folder" -c . -C "$archives" "${words[@]}" | docker build -q -t "$image" "$@" - >"$tmp/out" 2>&1 || { cat "$tmp/out"; die "docker build of $image failed"; }
	say "$image  $(docker image inspect -f '{{.Size}}' "$image" | awk '{ printf "%d MB", $1 / 1e6 }')  $(($(now) - t)) ms"
}
all=(shop/web:1 shop/web:2 shop/redis:1 shop/postgres:1 shop/api:1)
if [ -n "$images" ]; then
	step "images, built by Knarr elsewhere"
	t=$(now)
	docker load -q -i "$images" | sed 's/^/   /'
	say "loaded in $(($(now) - t)) ms"
else
	step "images, built by Knarr from Debian's packages"
	archives_make
	build shop/web:1 web nginx.tar=rootfs.tar -- --build-arg VERSION=1
	build shop/web:2 web nginx.tar=rootfs.tar -- --build-arg VERSION=2
	build shop/redis:1 redis redis.tar=rootfs.tar
	build shop/postgres:1 postgres postgres.tar=rootfs.tar
	build shop/api:1 api shop-build.tar=build.tar shop.tar=rootfs.tar
fi
if [ -n "$save" ]; then
	docker save -o "$save" "${all[@]}"
	exit 0
fi

step "deploy"
t=$(now)
kubectl apply -f k8s | sed 's/^/   /'
for d in redis postgres api web; do
	k rollout status "deployment/$d" --timeout=${patience}s >"$tmp/out" 2>&1 || { cat "$tmp/out"; k get pods; die "deployment $d did not become ready"; }
done
until_is "$patience" 1 job load -o 'jsonpath={.status.succeeded}' || { k get pods; die "the job that loads the stock did not finish"; }
say "everything is ready after $(($(now) - t)) ms"
shown k get pods,services

step "a customer, through the node port"
node=$(kubectl get nodes -o 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}')
port=$(k get service web -o 'jsonpath={.spec.ports[0].nodePort}')
url=http://$node:$port
get() { curl -sS -m $((patience / 3)) "$@"; }
shown curl -sS "$url/"
shown curl -sS "$url/api/items"
shown curl -sS -X POST "$url/api/orders?item=1"
for _ in 1 2 3; do get -o /dev/null -X POST "$url/api/orders?item=3"; done
shown curl -sS -X POST "$url/api/orders?item=3"
[ "$(get -o /dev/null -w '%{http_code}' -X POST "$url/api/orders?item=3")" = 409 ] || die "the sail should be sold out"
[ "$(get "$url/api/orders")" = '{"orders":4}' ] || die "four orders were made, $(get "$url/api/orders") are there"

# Customers who never pause: three at once, each answer counted.
load_begin() {
	: >"$tmp/load"
	: >"$tmp/codes"
	for _ in 1 2 3; do
		while [ -e "$tmp/load" ]; do
			curl -s -o /dev/null -m $((patience / 3)) -w '%{http_code}\n' "$url/api/items" >>"$tmp/codes" || true
		done &
	done
}
load_end() {
	rm -f "$tmp/load"
	wait
	total=$(wc -l <"$tmp/codes") bad=$(grep -vc '^200$' "$tmp/codes" || true)
	say "$total requests meanwhile, $bad of them failed"
}

step "a new version, under load"
load_begin
t=$(now)
sed 's,shop/web:1,shop/web:2,' k8s/30-shop.yaml | kubectl apply -f - | grep configured | sed 's/^/   /'
k rollout status deployment/web --timeout=${patience}s | sed 's/^/   /'
say "rolled out in $(($(now) - t)) ms"
load_end
[ "$bad" = 0 ] || { sort "$tmp/codes" | uniq -c; die "requests failed during the update"; }
[[ "$(get "$url/")" = *"version 2"* ]] || die "version 2 does not answer"

step "a container is killed"
# The newest: those of the old version may still be on their way out.
pod=$(k get pods -l app=web --sort-by=.metadata.creationTimestamp -o 'jsonpath={.items[-1:].metadata.name}')
id=$(k get pod "$pod" -o 'jsonpath={.status.containerStatuses[0].containerID}')
# In its group or below it: under systemd a scope holds the container's own. Groups of others come and go while it looks. Its first process
# is number 1 inside; outside the numbers begin anew now and then, so the smallest may be another.
first=
for p in $(find /sys/fs/cgroup -path "*${id#*://}*" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -nu); do
	[ "$(awk '$1 == "NSpid:" { print $NF }' "/proc/$p/status" 2>/dev/null)" != 1 ] || first=$p
done
[ -n "$first" ] || die "no process in a control group of container $id"
restarts=$(k get pod "$pod" -o 'jsonpath={.status.containerStatuses[0].restartCount}')
t=$(now)
kill -9 "$first"
until_is "$((patience / 3))" "$((restarts + 1)) true" pod "$pod" -o 'jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}' ||
	{ k get pod "$pod" -o yaml; die "the container did not come back"; }
say "$pod was restarted and is ready again after $(($(now) - t)) ms"

step "every component is killed in turn, under load"
load_begin
for part in $("$knarr" status "${cluster[@]}" | awk '$2 == "ready" { print $1 }'); do
	pid=$("$knarr" status "${cluster[@]}" | awk -v p="$part" '$1 == p { print $3 }')
	t=$(now)
	kill -9 "$pid"
	until "$knarr" status "${cluster[@]}" 2>/dev/null | awk -v p="$part" -v pid="$pid" '$1 == p && $2 == "ready" && $3 != pid { f = 1 } END { exit !f }'; do
		[ $(($(now) - t)) -lt $((patience * 1000 / 3)) ] || die "$part did not come back"
		sleep 0.05
	done
	say "$part: back after $(($(now) - t)) ms"
done
load_end
[ "$bad" = 0 ] || { sort "$tmp/codes" | uniq -c; die "requests failed that running pods could have answered"; }

step "nothing was lost"
until_is "$((patience / 3))" "3" deployment web -o 'jsonpath={.status.readyReplicas}' || die "not all pods are ready"
shown k get pods
[ "$(get "$url/api/orders")" = '{"orders":4}' ] || die "orders were lost: $(get "$url/api/orders")"
say "4 orders were made, 4 are there"

if [ $keep = 1 ]; then
	say ""
	say "The shop stays open: $url/"
	exit 0
fi
step "tidy up"
kubectl delete namespace shop --timeout=${patience}s | sed 's/^/   /'
docker rmi -f "${all[@]}" >/dev/null
say "done"
