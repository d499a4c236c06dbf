#!/usr/bin/env bash
# build.sh DIR: builds the programs that the tests run (control plane, kubelet, sidecars, kubectl) into DIR/bin.
# What Go has built before is taken from its build cache: a cold run takes some 15 minutes of two cores, a warm one seconds.
set -euo pipefail
cd "$(dirname "$0")"
dir=$1
mkdir -p "$dir/bin"

# external-provisioner v6.4.0 wants version 13.1.0 of its library, which has no downloadable archive; 13.0.0 lacks one
# type that it uses. So it is built against a copy of 13.0.0 with that type added, through a module file of our own.
library=sigs.k8s.io/sig-storage-lib-external-provisioner/v13
go mod download
rm -rf "$dir/provisioner-lib"
cp -r "$(go list -m -f '{{.Dir}}' "$library")" "$dir/provisioner-lib"
chmod -R u+w "$dir/provisioner-lib"
cat > "$dir/provisioner-lib/controller/volume_in_use.go" <<'GO'
package controller

// VolumeInUseError says that a volume can't be deleted yet.
type VolumeInUseError struct{ Reason string }

func (e *VolumeInUseError) Error() string { return e.Reason }
GO
cp go.sum "$dir/harness.sum"
sed "s#^replace $library => .*#replace $library => $dir/provisioner-lib#" go.mod > "$dir/harness.mod"

version="v$(go list -m -f '{{slice .Version 1}}' k8s.io/kubernetes)"
flags="-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/client-go/pkg/version.gitVersion=$version"
total=$(go list -modfile="$dir/harness.mod" -deps ./cmd/... tool | wc -l)
echo "harness: $total packages; those in Go's build cache are not built again"
started=$SECONDS
go build -v -modfile="$dir/harness.mod" -ldflags "$flags" -o "$dir/bin/" ./cmd/... tool 2> >(
  awk -v total="$total" '/^[a-z0-9.]+(\/|$)/ { if (++n % 200 == 0) { print "harness: " n " of at most " total " packages built"; fflush() }; next } { print; fflush() }' >&2)
mv "$dir/bin/server" "$dir/bin/etcd" 2>/dev/null || mv "$dir/bin/v3" "$dir/bin/etcd" 2>/dev/null || true
for program in controlplane csi-attacher csi-provisioner csi-resizer etcd kubectl kubelet registrar; do
  [ -x "$dir/bin/$program" ] || { echo "harness: the build made no $dir/bin/$program" >&2; exit 1; }
done
echo "harness: built in $((SECONDS - started)) s, in $dir/bin"
