#!/usr/bin/env bash
# guest.sh CACHE KERNEL [--pair] ARGUMENTS...: runs `go test ARGUMENTS` as root inside throw-away QEMU guests, one boot for each
# test package, or two that reach each other. KERNEL is a Debian package that depends on the kernel to run, such as linux-image-6.12-cloud-amd64. What is
# downloaded or built stays in CACHE/guest; what is there is not fetched again. After a failure it repeats why.awk's choice of the output.
set -euo pipefail
cache=$1/guest kernel=$2
shift 2
pair=
if [ "$1" = --pair ]; then pair=--pair && shift; fi
here=$(cd "$(dirname "$0")" && pwd)

# apt runs apt-get, and once more after reading the package lists if that fails: they may be missing or outdated.
apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -q "$@" && return
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get -q "$@"
}
version() { apt-cache depends "$kernel" 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }'; }

packages=()
need() { command -v "$1" >/dev/null || packages+=("$2"); }
need qemu-system-x86_64 qemu-system-x86
need zstd zstd
need lz4 lz4
need xz xz-utils
if [ ${#packages[@]} -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "guest: install these Debian packages, or run as root on Debian: ${packages[*]}" >&2
    exit 1
  fi
  apt install -y --no-install-recommends "${packages[@]}"
fi

image=$(version)
[ -n "$image" ] || { apt-get update -q; image=$(version); }
[ -n "$image" ] || { echo "guest: apt knows no kernel behind the package $kernel" >&2; exit 1; }
recipe=$(cat "$here/mkguest.sh" "$here/init" | sha256sum)
base=$cache/$image-${recipe:0:12}
if [ ! -e "$base" ]; then
  begin=$SECONDS
  work=$(mktemp -d "${TMPDIR:-/tmp}/guest.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$cache" "$work/debs" "$work/unpacked"
  (cd "$work/debs" && apt -o APT::Sandbox::User=root download "$image" busybox-static)
  for package in "$work"/debs/*.deb; do dpkg -x "$package" "$work/unpacked"; done
  "$here/mkguest.sh" "$work/unpacked" "$here/init" "$work/base"
  rm -rf "$cache/$image"-*
  cp -r "$work/base" "$base.part"
  mv "$base.part" "$base"
  echo "guest: made $base in $((SECONDS - begin)) s"
fi

go build -o "$cache/vmrun" "$here/vmrun"
output=$(mktemp "${TMPDIR:-/tmp}/guest-output.XXXXXX")
trap 'rm -rf "${work:-}" "$output"' EXIT
code=0
CGO_ENABLED=0 go test -count=1 -exec "$cache/vmrun $pair $base" "$@" 2>&1 | tee "$output" || code=${PIPESTATUS[0]}
if [ "$code" -ne 0 ]; then # who keeps only the end of all this is to see the reason as well
  echo "guest: why it failed, out of the output above:"
  awk -f "$here/why.awk" "$output" "$output"
fi
exit "$code"
