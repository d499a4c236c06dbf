#!/usr/bin/env bash
# image.sh VERSION [OPTION]...: builds rds-csi-controller:VERSION and rds-csi-node:VERSION with whichever builder works here, and
# says which. OPTIONs go to the builder. REGISTRY goes before the names; DEBIAN_IMAGE and GO_IMAGE are the bases (Dockerfile);
# PLATFORM, such as linux/arm64, is the nodes' if it isn't this machine's; the node's image then takes a machine that can run
# the other's programs (binfmt_misc). TARGETS="controller" builds one of the two.
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/.."
version=$1
shift

# Docker's client may be there without an engine, and without buildx it knows no BUILDPLATFORM.
builder=
if docker buildx version >/dev/null 2>&1 && docker info >/dev/null 2>&1; then
  builder=docker command=(docker buildx build --load)
elif podman info >/dev/null 2>&1; then
  builder=podman command=(podman build)
elif buildah info >/dev/null 2>&1; then
  builder=buildah command=(buildah build)
else
  echo "image: nothing here builds images: install docker (with buildx, and start its engine), podman or buildah;" \
    "on Debian: apt-get install buildah" >&2
  exit 1
fi

# Older ones of podman and buildah don't say BUILDPLATFORM by themselves.
here=linux/$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
[ $builder = docker ] || command+=(--build-arg "BUILDPLATFORM=$here")
options=(--platform "${PLATFORM:-$here}" --build-arg "VERSION=$version")
! revision=$(git rev-parse HEAD 2>/dev/null) || options+=(--label "org.opencontainers.image.revision=$revision")
for base in DEBIAN_IMAGE GO_IMAGE; do
  [ -z "${!base:-}" ] || options+=(--build-arg "$base=${!base}")
done
for target in ${TARGETS:-controller node}; do
  image=${REGISTRY:+${REGISTRY%/}/}rds-csi-$target:$version
  echo "image: $builder builds $image"
  "${command[@]}" "${options[@]}" "$@" --target "$target" --tag "$image" .
done
