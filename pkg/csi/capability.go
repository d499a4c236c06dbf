package csi

import (
	"cmp"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// accessMount is a filesystem, as the record has it; attach.AccessBlock is the other access type.
const accessMount = "mount"

// access is a volume capability reduced to what decides: the access type and mode, in the record's words.
type access struct{ kind, mode string }

// accessOf judges one volume capability. A filesystem takes single-node modes only: two nodes that mount one destroy it,
// read-only or not. A raw block volume may also be written by two nodes, for the time that a virtual machine takes to move
// from one to the other. Its errors are *invalidError.
func accessOf(capability *csi.VolumeCapability) (access, error) {
	mode := capability.GetAccessMode().GetMode()
	judged := access{kind: accessMount, mode: strings.ReplaceAll(strings.ToLower(mode.String()), "_", "-")}
	switch {
	case capability == nil:
		return access{}, &invalidError{field: "volume_capability", want: "one"}
	case capability.GetBlock() != nil:
		judged.kind = attach.AccessBlock
	case capability.GetMount() == nil:
		return access{}, &invalidError{field: "volume_capability access_type", want: "mount or block"}
	case !supportedFilesystem(capability.GetMount().GetFsType()):
		return access{}, &invalidError{field: "volume_capability fs_type " + capability.GetMount().GetFsType(), want: "ext4 or xfs"}
	}
	if capability.GetMount().GetVolumeMountGroup() != "" {
		return access{}, &invalidError{field: "volume_capability volume_mount_group", want: "none: VOLUME_MOUNT_GROUP is not offered"}
	}
	if _, err := mountOptionsOf(capability.GetMount().GetMountFlags()); err != nil {
		return access{}, err
	}
	if singleNode(mode) || attach.Shared(judged.kind, judged.mode) {
		return judged, nil
	}
	return access{}, &invalidError{
		field: "volume_capability access_mode " + mode.String(),
		want:  "a single-node mode (accessModes: ReadWriteOnce or ReadWriteOncePod), or ReadWriteMany with volumeMode: Block: a filesystem can't be mounted by two nodes",
	}
}

func singleNode(mode csi.VolumeCapability_AccessMode_Mode) bool {
	switch mode {
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:
		return true
	default:
		return false
	}
}

// checkCapabilities judges a list that must not be empty.
func checkCapabilities(capabilities []*csi.VolumeCapability) error {
	if len(capabilities) == 0 {
		return &invalidError{field: "volume_capabilities", want: "at least one"}
	}
	for _, capability := range capabilities {
		if _, err := accessOf(capability); err != nil {
			return err
		}
	}
	return nil
}

// defaultFilesystem is made where nothing else is asked for.
const defaultFilesystem = "ext4"

const filesystemXFS = "xfs"

// filesystemOf is what a mount capability asks for.
func filesystemOf(volume *csi.VolumeCapability_MountVolume) string {
	return cmp.Or(volume.GetFsType(), defaultFilesystem)
}

func supportedFilesystem(name string) bool {
	return name == "" || name == defaultFilesystem || name == filesystemXFS
}
