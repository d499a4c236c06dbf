#!/usr/bin/env bash
# image.sh CACHE: builds both images as `make image` does, with buildah, and shows what they are made of and that they work.
# Nothing is pulled from a registry: the base is a Debian made by debootstrap, and Go is this machine's, with its caches.
# The base and the layers stay in CACHE/image.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=$1/image
mkdir -p "$cache/tmp"
work=$(mktemp -d "$cache/tmp/test.XXXXXX")
container=
finish() {
  [ -z "$container" ] || buildah rm "$container" >/dev/null
  rm -rf "$work"
}
trap finish EXIT
failures=0
fail() {
  echo "image: $*" >&2
  failures=$((failures + 1))
}
equal() { [ "$2" = "$3" ] || fail "$1 is \"$2\", want \"$3\""; }

# chroot works inside a container as well, where runc may not; so does vfs, which takes more time and space than overlay.
export BUILDAH_ISOLATION=chroot CONTAINERS_STORAGE_CONF=$work/storage.conf TMPDIR=$cache/tmp
for driver in overlay vfs; do
  printf '[storage]\ndriver = "%s"\ngraphroot = "%s"\nrunroot = "%s"\n' $driver "$cache/$driver" "$cache/run-$driver" > "$CONTAINERS_STORAGE_CONF"
  ! buildah info >/dev/null 2>&1 || break
done

# bases DEBIAN GO: makes the base, the Debian that the Dockerfile names, and the same that finds the Go which is mounted into it.
bases() {
  debootstrap --variant=minbase "$suite" "$work/root" > "$work/debootstrap.log" || { tail "$work/debootstrap.log" >&2; exit 1; }
  rm -rf "$work"/root/var/cache/apt/archives/*.deb
  container=$(buildah from scratch)
  buildah add -q "$container" "$work/root" / >/dev/null
  buildah commit -q "$container" "$1" >/dev/null
  buildah config --env PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin --env GOMODCACHE=/modules --env GOCACHE=/built \
    --env GOPROXY=off --env GOTOOLCHAIN=local "$container"
  buildah commit -q --rm "$container" "$2" >/dev/null
  container=
  rm -rf "$work/root"
}
suite=$(sed -n 's/^ARG DEBIAN_IMAGE=.*debian:\([a-z]*\)-slim$/\1/p' Dockerfile)
tag=$suite-$(declare -f bases | sha256sum | head -c 12)
debian=localhost/debian:$tag go=localhost/go:$tag
if ! buildah images "$go" >/dev/null 2>&1; then
  begin=$SECONDS
  bases "$debian" "$go"
  echo "image: made $debian with debootstrap in $((SECONDS - begin)) s"
fi

# As `git describe` says it, each commit is another version.
version=v0.0.0-test-$(git rev-parse --short HEAD)
build() {
  DEBIAN_IMAGE=$debian GO_IMAGE=$go release/image.sh "$version" --quiet --layers --pull-never \
    --volume "$(go env GOROOT):/usr/local/go:ro" --volume "$(go env GOMODCACHE):/modules" --volume "$(go env GOCACHE):/built" "$@"
}
# of IMAGE FIELD: prints a field of an image's configuration.
of() { buildah inspect --type image --format "{{$2}}" "$1"; }

# A machine without a builder is told what to install.
mkdir "$work/empty"
if message=$(PATH=$work/empty "$BASH" release/image.sh "$version" 2>&1); then fail "an image without a builder is no error"; fi
[[ $message == *"install docker"*podman*buildah* ]] || fail "without a builder it says: $message"

go mod download
build

# Both images: what they say of themselves, and that the binary in them is the one of a release, byte for byte.
release/binary.sh "$version" "$work/rds-csi"
for target in controller node; do
  image=localhost/rds-csi-$target:$version
  container=$(buildah from --pull-never "$image")
  root=$(buildah mount "$container")
  cmp "$work/rds-csi" "$root/usr/local/bin/rds-csi" || fail "the binary of $target isn't that of a release"
  entrypoint=$(of "$image" 'index .OCIv1.Config.Entrypoint 0')
  user=$(of "$image" .OCIv1.Config.User)
  # Not by buildah run, which now and then loses what so short a program says.
  equal "what \"version\" of $target says" "$(chroot --userspec "${user:-0:0}" "$root" "$entrypoint" version 2>&1)" "$version"
  label() { equal "the label $1 of $target" "$(of "$image" "index .OCIv1.Config.Labels \"org.opencontainers.image.$1\"")" "$2"; }
  label title "rds-csi-$target"
  label version "$version"
  label revision "$(git rev-parse HEAD)"
  label licenses Apache-2.0
  if [ $target = controller ]; then
    equal "the user of $target" "$user" 65532:65532
    # Nothing but the binary, so no shell.
    equal "all that $target has" "$(find "$root" ! -type d -printf '%P ')" "usr/local/bin/rds-csi "
    buildah rm "$container" >/dev/null
  else
    equal "the user of $target" "$user" 0:0
    [ -z "$(find "$root/var/lib/apt/lists" "$root/var/cache/apt" -type f)" ] || fail "$target has what apt-get left"
  fi
done

# The node's programs, used by the driver itself: what its tests do with this machine's programs, they do with the image's, on
# loop devices. Whatever is skipped is missing in the image.
CGO_ENABLED=0 GOFLAGS= go test -c -trimpath -buildvcs=false -o "$work/" ./pkg/csi/node ./pkg/csi/node/host
for tests in host node; do
  # shellcheck disable=SC2016 # the inner shell expands them
  unshare --mount bash -c '
    for folder in dev proc sys; do mount --rbind "/$folder" "$1/$folder"; done
    cp "$2" "$1/tests"
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$1" /tests -test.v -test.run "^TestReal"
  ' - "$root" "$work/$tests.test" > "$work/$tests.log" 2>&1 || fail "the tests of $tests fail with the programs of the image"
  [ "$(grep -c '^--- PASS' "$work/$tests.log")" -ge 5 ] && ! grep -q -- '--- SKIP' "$work/$tests.log" ||
    fail "tests of $tests were left out with the programs of the image"
  [ $failures -eq 0 ] || grep -vE '^=== RUN|^I[0-9]{4}' "$work/$tests.log" >&2
done

# The other platform's controller is built here, too; what is in it is of that platform.
other=arm64
[ "$(go env GOHOSTARCH)" != arm64 ] || other=amd64
image=localhost/other/rds-csi-controller:$version
REGISTRY=localhost/other PLATFORM=linux/$other TARGETS=controller build
equal "the architecture of the other controller" "$(of "$image" .OCIv1.Architecture)" $other
buildah rm "$container" >/dev/null
container=$(buildah from --pull-never --arch $other "$image")
GOARCH=$other release/binary.sh "$version" "$work/rds-csi"
cmp "$work/rds-csi" "$(buildah mount "$container")/usr/local/bin/rds-csi" || fail "the binary of the other controller isn't that of a release"

# Images of other versions, and layers that none has any more, would pile up.
buildah rm "$container" >/dev/null
container=
buildah images --format '{{.Name}}:{{.Tag}}' | awk -v "kept=:$version" '/\/rds-csi-/ && !index($0, kept)' | xargs -r buildah rmi >/dev/null
buildah rmi --prune >/dev/null
[ $failures -eq 0 ] || exit 1
echo "image: both images of $version are as they should be"
