#!/usr/bin/env bash
# release.sh: makes a release twice, from copies of the sources in two folders, and shows that it's the same bytes and that each
# file is what it says.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/tmp}/release-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
failures=0
fail() {
  echo "release: $*" >&2
  failures=$((failures + 1))
}

version=v0.0.0-release-test
for copy in one another/place; do
  mkdir -p "$work/$copy"
  git ls-files -z --cached --others --exclude-standard | tar --create --null --ignore-failed-read --files-from - | tar -x -C "$work/$copy"
  REGISTRY=registry.example/storage "$work/$copy/release/release.sh" "$version" "$work/$copy/dist"
  sleep 1 # a time in any of the files is another one
done
one=$work/one/dist
diff -r "$one" "$work/another/place/dist" || fail "two releases of the same sources differ"
(cd "$one" && sha256sum --check --strict --quiet SHA256SUMS) || fail "SHA256SUMS is wrong"
unsummed=$(cd "$one" && find . -type f ! -name SHA256SUMS -printf '%P\n' | grep -vxFf <(awk '{ print $2 }' SHA256SUMS)) &&
  fail "SHA256SUMS lacks $unsummed"

for arch in amd64 arm64; do
  binary=$one/rds-csi-linux-$arch
  go version -m "$binary" > "$work/made-of"
  for setting in GOOS=linux "GOARCH=$arch" CGO_ENABLED=0 -trimpath=true; do
    grep -q "build[[:space:]]$setting$" "$work/made-of" || fail "$arch isn't built with $setting"
  done
  # Every module of the binary is in its list, with its version.
  while read -r module module_version; do
    grep -q "\"bom-ref\": \"pkg:golang/$module@$module_version?type=module\"" "$binary.cdx.json" || fail "the list of $arch lacks $module $module_version"
  done < <(awk '$1 == "dep" { print $2, $3 }' "$work/made-of")
done
# The manifests want exactly the driver's two images of this version, and leave the others' alone.
ours=$(sed -n 's/^ *image: \(.*rds-csi-.*\)/\1/p' "$one/rds-csi.yaml" | sort -u | xargs)
[ "$ours" = "registry.example/storage/rds-csi-controller:$version registry.example/storage/rds-csi-node:$version" ] ||
  fail "the manifests have the images $ours"
host=$one/rds-csi-linux-$(go env GOHOSTARCH)
[ "$("$host" version)" = $version ] || fail "\"version\" says $("$host" version)"
[ $failures -eq 0 ] || exit 1
echo "release: two releases of the same sources are the same bytes"
