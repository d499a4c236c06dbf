#!/usr/bin/env bash
# promtool.sh DIR: puts promtool into DIR, out of Debian's package prometheus. The package isn't installed: that would start
# a Prometheus.
set -euo pipefail
dir=$1
[ ! -x "$dir/promtool" ] || exit 0
command -v apt-get >/dev/null || { echo "promtool: put the program promtool into $dir; only on Debian this script can" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cd "$work"
# A machine that has never updated its lists doesn't know the package.
apt-cache show prometheus >/dev/null 2>&1 || apt-get update -q
apt-get download -q -o APT::Sandbox::User="$(id -un)" prometheus
dpkg -x prometheus_*.deb .
mkdir -p "$dir"
mv usr/bin/promtool "$dir/promtool"
