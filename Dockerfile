# Two images of the one binary, for amd64 and arm64. `make image` builds both; so does docker, podman or buildah alone:
#
#   docker build --target controller -t rds-csi-controller .
#   docker build --target node -t rds-csi-node .
#
# The binary is built here, and not copied from outside, so that nobody needs Go to build an image. Both bases are
# arguments, so that a machine without any registry builds this very file on bases of its own (test/image.sh does), and
# whoever publishes images pins them: DEBIAN_IMAGE=docker.io/library/debian@sha256:…
#
# The defaults are tags. A digest that stands here is of the day it was written, and keeps the fixes out that Debian makes
# afterwards. The tag is Debian stable by its name, and not `stable`: that moves to the next release by itself, whose mkfs
# may make filesystems that the kernels of some nodes can't mount.
ARG GO_IMAGE=docker.io/library/golang:1.26-trixie
ARG DEBIAN_IMAGE=docker.io/library/debian:trixie-slim

# Go compiles for every platform, so this stage runs on the machine's own. The folder .git isn't sent to it
# (.dockerignore), so the version is an argument.
FROM --platform=$BUILDPLATFORM $GO_IMAGE AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=unknown
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH release/binary.sh "$VERSION" /rds-csi

# The controller needs the binary alone: no shell, no libraries. It speaks to the appliance and to the API server, whose
# certificate's authority comes with the ServiceAccount. The labels follow the binary, because older ones of podman and buildah
# take a label out of their cache without looking at its value; another version is another binary.
FROM scratch AS controller
COPY --from=build /rds-csi /usr/local/bin/rds-csi
ARG VERSION=unknown
LABEL org.opencontainers.image.title="rds-csi-controller" \
      org.opencontainers.image.description="Controller of the CSI driver for MikroTik RouterOS storage" \
      org.opencontainers.image.source="https://git.srvlab.io/whiskey/rds-csi-driver" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
# By number: only of a number can kubelet see that it isn't root (runAsNonRoot).
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/rds-csi"]

# The node runs what docs/nodes.md names: mkfs.ext4, e2fsck and resize2fs, mkfs.xfs and xfs_growfs, blkid and wipefs,
# mount and umount. It mounts, so it runs as root. It connects through the kernel and needs no nvme-cli.
FROM $DEBIAN_IMAGE AS node
RUN apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends e2fsprogs mount util-linux xfsprogs \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY --from=build /rds-csi /usr/local/bin/rds-csi
ARG VERSION=unknown
LABEL org.opencontainers.image.title="rds-csi-node" \
      org.opencontainers.image.description="Node plugin of the CSI driver for MikroTik RouterOS storage" \
      org.opencontainers.image.source="https://git.srvlab.io/whiskey/rds-csi-driver" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
USER 0:0
ENTRYPOINT ["/usr/local/bin/rds-csi"]
