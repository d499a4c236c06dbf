#!/usr/bin/env bash
# release.sh VERSION DIR: makes in DIR what a release consists of:
#
#   rds-csi.yaml              the manifests, with the images of this version (REGISTRY goes before their names)
#   rds-csi-linux-ARCH        the static binary, for amd64 and arm64
#   rds-csi-linux-ARCH.cdx.json  what each binary is made of (CycloneDX), read out of the binary itself
#   SHA256SUMS                the checksums of them all
#
# The same sources, Go, VERSION and REGISTRY make the same bytes, wherever and whenever.
set -euo pipefail
version=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/tmp}/release.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Kustomize is the version that kubectl of test/harness has. The tool that lists the parts names itself in the list by its
# hash, so it's built in a way that doesn't depend on this machine.
tool() { env CGO_ENABLED=0 GOFLAGS= GOOS= GOARCH= go run -trimpath "$@"; }
kustomize() { tool sigs.k8s.io/kustomize/kustomize/v5@v5.8.1 "$@"; }
cyclonedx() { tool github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 "$@"; }

files=(rds-csi.yaml)
for arch in amd64 arm64; do
  binary=rds-csi-linux-$arch
  GOOS=linux GOARCH=$arch release/binary.sh "$version" "$dir/$binary"
  cyclonedx bin -json -noserial -notimestamp -std -version "$version" -output "$dir/$binary.cdx.json" "$dir/$binary"
  files+=("$binary" "$binary.cdx.json")
done

cp -r manifests "$work/"
registry=${REGISTRY:+${REGISTRY%/}/}
cat > "$work/kustomization.yaml" <<YAML
resources: [manifests]
images:
  - {name: rds-csi-controller, newName: ${registry}rds-csi-controller, newTag: "$version"}
  - {name: rds-csi-node, newName: ${registry}rds-csi-node, newTag: "$version"}
YAML
kustomize build "$work" > "$dir/rds-csi.yaml"

(cd "$dir" && sha256sum "${files[@]}" > SHA256SUMS)
echo "release: $version is in $dir: ${files[*]} SHA256SUMS"
