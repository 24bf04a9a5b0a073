#!/bin/bash
# Builds Knarr and installs it under /usr/local. Run as root on Debian 12.
#   ./install.sh [--prefix DIR]
# Installs the packages of packages/run and packages/build, starts no service, and prints what to type next.
set -euo pipefail
cd "$(dirname "$0")"
prefix=/usr/local
while [ $# -gt 0 ]; do
	case $1 in
	--prefix) prefix=${2:?--prefix needs a folder}; shift ;;
	-h | --help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
	*) echo "install.sh: unknown option: $1 (see --help)" >&2; exit 2 ;;
	esac
	shift
done
say() { printf '%s\n' "$*"; }
die() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "run as root: sudo ./install.sh"
command -v apt-get >/dev/null || die "this script installs packages with apt-get; on another system install those of packages/run and packages/build, then: meson setup build -Dtests=false -Dbench=false && meson install -C build"

say "1/3 packages"
tools/apt-install packages/run packages/build

say "2/3 build"
log=$(mktemp)
build=$(mktemp -d)
trap 'rm -rf "$log" "$build"' EXIT
{ meson setup "$build" --prefix "$prefix" -Dtests=false -Dbench=false --strip && ninja -C "$build"; } >"$log" 2>&1 ||
	{ tail -30 "$log" >&2; die "the build failed"; }

say "3/3 install under $prefix"
meson install -C "$build" --no-rebuild >"$log" 2>&1 || { tail -30 "$log" >&2; die "installing failed"; }

# The process that needs no privilege runs as this user.
getent passwd knarr >/dev/null || useradd --system --home-dir /var/lib/knarr --no-create-home --shell /usr/sbin/nologin knarr

say ""
"$prefix/bin/knarr" version
say "Type next:  knarr --help"
