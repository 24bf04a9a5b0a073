#!/bin/bash
# Builds Knarr, installs it, and starts a one-node cluster. Run as root on Debian 12.
#   ./install.sh [--prefix DIR] [--no-build] [--no-start]
# Installs the packages of packages/run and packages/build, the programs under /usr/local (or DIR), a systemd unit where systemd runs;
# starts the cluster, waits until it is ready, adds the context "knarr" to the kubeconfig of the person who called sudo, and
# prints what to type next. --no-build: the programs are under the prefix already (meson install --destdir on another machine).
# --no-start: installs only. Running it again upgrades; containers go on.
set -euo pipefail
cd "$(dirname "$0")"
prefix=/usr/local
start=1
build=1
while [ $# -gt 0 ]; do
	case $1 in
	--prefix) prefix=${2:?--prefix needs a folder}; shift ;;
	--no-build) build=0 ;;
	--no-start) start=0 ;;
	-h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
	*) echo "install.sh: unknown option: $1 (see --help)" >&2; exit 2 ;;
	esac
	shift
done
say() { printf '%s\n' "$*"; }
die() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "run as root: sudo ./install.sh"
steps=$((3 * build + 2 * start)) step=0
title() { step=$((step + 1)); say "$step/$steps $*"; }

if [ $build = 1 ]; then
	command -v apt-get >/dev/null || die "this script installs packages with apt-get; on another system install those of packages/run and packages/build, then: meson setup build -Dtests=false -Dbench=false && meson install -C build"
	title packages
	tools/apt-install packages/run packages/build

	title build
	log=$(mktemp)
	build_dir=$(mktemp -d)
	trap 'rm -rf "$log" "$build_dir"' EXIT
	{ meson setup "$build_dir" --prefix "$prefix" -Dtests=false -Dbench=false --strip && ninja -C "$build_dir"; } >"$log" 2>&1 ||
		{ tail -30 "$log" >&2; die "the build failed"; }

	title "install under $prefix"
	meson install -C "$build_dir" --no-rebuild >"$log" 2>&1 || { tail -30 "$log" >&2; die "installing failed"; }
fi
[ -x "$prefix/bin/knarr" ] || die "there is no $prefix/bin/knarr"
# The process that needs no privilege runs as this user; who is in this group may speak to the engine, which is root's right.
getent passwd knarr >/dev/null || useradd --system --home-dir /var/lib/knarr --no-create-home --shell /usr/sbin/nologin knarr
getent group docker >/dev/null || groupadd --system docker
systemd=0
[ ! -d /run/systemd/system ] || systemd=1

if [ $start = 0 ]; then
	say ""
	"$prefix/bin/knarr" version
	say "Type next:  sudo knarr up"
	exit 0
fi

# In the foreground of a person: what stands in the way is told before anything is started.
title start
if [ $systemd = 1 ]; then
	# Under another prefix systemd does not look: a link tells it.
	[ "$prefix" = /usr/local ] || ln -sfn "$prefix/lib/systemd/system/knarr.service" /etc/systemd/system/knarr.service
	systemctl daemon-reload
	systemctl enable --quiet knarr.service || die "systemctl enable knarr.service failed"
fi
# 0: runs well, 1: runs, and is not well (which may be why one upgrades), 3: does not run.
state=0
"$prefix/bin/knarr" status >/dev/null 2>&1 || state=$?
if [ $state != 3 ]; then # an upgrade: the new programs take over, containers go on
	"$prefix/bin/knarr" down --keep || die "the cluster that runs could not be stopped; knarr logs server says more"
fi
"$prefix/bin/knarr" up || die "the cluster did not start; what is above says why"

say ""
title "for you"
who=${SUDO_USER:-root}
home=$(getent passwd "$who" | cut -d: -f6)
if [ -n "$home" ] && [ -d "$home" ]; then
	[ -d "$home/.kube" ] || install -d -m 700 -o "$who" -g "$(id -g "$who")" "$home/.kube"
	"$prefix/bin/knarr" kubeconfig --user "$who" --merge "$home/.kube/config"
	say "  context \"knarr\" is in $home/.kube/config (current: $(sed -n 's/^current-context: //p' "$home/.kube/config"))"
fi
# /run/docker.sock is ours when no other engine has it: there is none, or it is our link.
sock=/run/docker.sock ours=/run/knarr/docker.sock
if [ ! -e $sock ] && [ ! -L $sock ] || [ "$(readlink $sock || true)" = $ours ]; then
	ln -sfn $ours $sock
	# /run is empty after a restart of the machine.
	[ ! -d /etc/tmpfiles.d ] || printf 'L %s - - - - %s\n' $sock $ours >/etc/tmpfiles.d/knarr.conf
	say "  $sock leads to Knarr's engine"
elif command -v docker >/dev/null && [ -n "$home" ]; then
	run=()
	[ "$who" = root ] || run=(runuser -u "$who" --)
	"${run[@]}" docker context inspect knarr >/dev/null 2>&1 ||
		"${run[@]}" docker context create knarr --docker host=unix://$ours >/dev/null
	say "  $sock is another engine's: docker --context knarr leads to Knarr's"
else
	say "  $sock is another engine's: DOCKER_HOST=unix://$ours leads to Knarr's"
fi
if [ "$who" != root ] && ! id -nG "$who" | tr ' ' '\n' | grep -qx docker; then
	say "  to use docker without sudo (which is root's right): sudo usermod -aG docker $who, then log in again"
fi
say ""
say "Type next:  kubectl get nodes      docker info      sudo knarr status"
