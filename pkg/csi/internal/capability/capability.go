package capability

import (
	"cmp"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// Access is the access type and mode of a volume capability, as a record has them.
type Access struct{ Kind, Mode string }

// Parse checks one volume capability. A filesystem supports single-node modes only: two nodes that mount it destroy it,
// even if they mount it read only. A raw block volume may also be written by two nodes, while a virtual machine
// migrates. Errors are *failure.InvalidError.
func Parse(capability *csi.VolumeCapability) (Access, error) {
	mode := capability.GetAccessMode().GetMode()
	judged := Access{Kind: attach.AccessMount, Mode: strings.ReplaceAll(strings.ToLower(mode.String()), "_", "-")}
	switch {
	case capability == nil:
		return Access{}, &failure.InvalidError{Field: "volume_capability", Want: "one"}
	case capability.GetBlock() != nil:
		judged.Kind = attach.AccessBlock
	case capability.GetMount() == nil:
		return Access{}, &failure.InvalidError{Field: "volume_capability access_type", Want: "mount or block"}
	case !SupportedFilesystem(capability.GetMount().GetFsType()):
		return Access{}, &failure.InvalidError{Field: "volume_capability fs_type " + capability.GetMount().GetFsType(), Want: "ext4 or xfs"}
	}
	if capability.GetMount().GetVolumeMountGroup() != "" {
		return Access{}, &failure.InvalidError{Field: "volume_capability volume_mount_group", Want: "none: VOLUME_MOUNT_GROUP is not offered"}
	}
	if _, err := MountOptions(capability.GetMount().GetMountFlags()); err != nil {
		return Access{}, err
	}
	if singleNode(mode) || attach.Shared(judged.Kind, judged.Mode) {
		return judged, nil
	}
	return Access{}, &failure.InvalidError{
		Field: "volume_capability access_mode " + mode.String(),
		Want:  "a single-node mode (accessModes: ReadWriteOnce or ReadWriteOncePod), or ReadWriteMany with volumeMode: Block: a filesystem can't be mounted by two nodes",
	}
}

func singleNode(mode csi.VolumeCapability_AccessMode_Mode) bool {
	return slices.Contains([]csi.VolumeCapability_AccessMode_Mode{
		csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER,
	}, mode)
}

// The filesystems that volumes may have.
const (
	XFS = "xfs"
	// defaultFilesystem is used if the request names none.
	defaultFilesystem = "ext4"
)

// Filesystem returns the filesystem that a mount capability asks for.
func Filesystem(volume *csi.VolumeCapability_MountVolume) string {
	return cmp.Or(volume.GetFsType(), defaultFilesystem)
}

// SupportedFilesystem reports whether volumes may have this filesystem; an empty name stands for the default.
func SupportedFilesystem(name string) bool {
	return name == "" || name == defaultFilesystem || name == XFS
}
