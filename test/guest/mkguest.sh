#!/usr/bin/env bash
# mkguest.sh UNPACKED INIT OUT: makes what a guest boots from: OUT/vmlinux and OUT/base.cpio, out of the unpacked packages of
# a kernel and of busybox-static, and of programs of this machine.
set -euo pipefail
unpacked=$(realpath "$1") init=$2 out=$3
root=$out/root
busybox=$unpacked/bin/busybox
mkdir -p "$root"/{usr/bin,usr/lib,usr/lib64,dev,proc,sys,run,tmp,etc,out}
for folder in bin sbin; do ln -s usr/bin "$root/$folder"; done
for folder in lib lib64; do ln -s "usr/$folder" "$root/$folder"; done
ln -s bin "$root/usr/sbin"

# The kernel as the ELF file inside the boot image: QEMU enters it directly, which spares the guest its decompression.
# The image's header says where it is; its last four bytes are a size that decompressors don't know.
image=$(echo "$unpacked"/boot/vmlinuz-*)
number() { od -An -t "u$2" -j "$1" -N "$2" "$image" | tr -d ' '; }
payload=$out/payload
dd if="$image" of="$payload" bs=64K iflag=skip_bytes,count_bytes status=none \
  skip=$((($(number 497 1) + 1) * 512 + $(number 584 4))) count=$(($(number 588 4) - 4))
case $(od -An -t x1 -N 4 "$payload" | tr -d ' ') in
  28b52ffd) zstd -dcq "$payload" ;;
  02214c18) lz4 -dcq "$payload" ;;
  fd377a58) xz -dc "$payload" ;;
  *) echo "mkguest: $image is compressed in a way that isn't known here" >&2; exit 1 ;;
esac > "$out/vmlinux"
rm "$payload"

# The modules are stored as they are loaded: unpacking them is slow in the guest.
source=$(echo "$unpacked"/lib/modules/*)
version=$(basename "$source")
modules=$root/lib/modules/$version
mkdir -p "$modules"
cp "$source"/modules.{builtin,order} "$modules"
(cd "$source" && find kernel/{arch/x86/crypto,crypto,lib,net/core,fs/configfs,fs/ext4,fs/jbd2,fs/xfs,drivers/nvme,drivers/virtio} \
  kernel/drivers/{block/loop,char/virtio_console,net/virtio_net,net/net_failover,net/veth}.ko* -name '*.ko*' 2>/dev/null || true) |
  while read -r module; do
    mkdir -p "$modules/$(dirname "$module")"
    case $module in
      *.xz) xz -dc "$source/$module" > "$modules/${module%.xz}" ;;
      *) cp "$source/$module" "$modules/$module" ;;
    esac
  done
"$busybox" depmod -b "$root" "$version"

# Programs that the node side calls, with the libraries they need; busybox stands in for everything else.
for program in mount umount findmnt blkid wipefs blockdev losetup lsblk fsck mkfs.ext4 e2fsck dumpe2fs tune2fs resize2fs mkfs.xfs xfs_repair xfs_growfs xfs_io; do
  path=$(PATH=$PATH:/usr/sbin:/sbin command -v "$program") || { echo "mkguest: $program is missing: run test/prepare.sh" >&2; exit 1; }
  cp -L "$path" "$root/usr/bin/$program"
  ldd "$path" | awk '/\// { print $(NF - 1) }' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
  done
done
cp "$busybox" "$root/usr/bin/busybox"
"$busybox" --list | while read -r name; do [ -e "$root/usr/bin/$name" ] || ln -s busybox "$root/usr/bin/$name"; done
cp /etc/mke2fs.conf "$root/etc/"
echo root:x:0:0:root:/tmp:/bin/sh > "$root/etc/passwd"
echo 127.0.0.1 localhost > "$root/etc/hosts"
ln -s /proc/self/mounts "$root/etc/mtab"
install -m 755 "$init" "$root/init"
(cd "$root" && find . | "$busybox" cpio -o -H newc) > "$out/base.cpio"
rm -rf "$root"
