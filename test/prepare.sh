#!/usr/bin/env bash
# prepare.sh: installs the Debian packages behind the commands that tests and demo call, if any is missing.
set -euo pipefail
packages=()
need() { command -v "$1" >/dev/null || packages+=("$2"); }
need gcc gcc
need git git
need mount mount
need losetup mount
need blkid util-linux
need mkfs.ext4 e2fsprogs
need mkfs.xfs xfsprogs
need buildah buildah
need debootstrap debootstrap
need jq jq
need ssh-keyscan openssh-client
[ -e /usr/include/stdlib.h ] || packages+=(libc6-dev)
if [ ${#packages[@]} -eq 0 ]; then
  echo "every command is there"
  exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "prepare: install these Debian packages, or run as root on Debian: ${packages[*]}" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends "${packages[@]}"
