package csi

import (
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

// How a volume can be held, as the record has it.
const (
	accessMount = "mount"
	accessBlock = "block"
)

// access is a volume capability reduced to what decides: the access type and mode, in the record's words.
type access struct{ kind, mode string }

// accessOf judges one volume capability. Only single-node modes of filesystem volumes are accepted: two nodes that
// mount one filesystem destroy it, read-only or not. Its errors are *invalidError.
func accessOf(capability *csi.VolumeCapability) (access, error) {
	switch {
	case capability == nil:
		return access{}, &invalidError{field: "volume_capability", want: "one"}
	case capability.GetBlock() != nil:
		return access{}, &invalidError{field: "volume_capability access_type", want: "a filesystem; this version has no raw block volumes (volumeMode: Filesystem)"}
	case capability.GetMount() == nil:
		return access{}, &invalidError{field: "volume_capability access_type", want: "mount"}
	case !supportedFilesystem(capability.GetMount().GetFsType()):
		return access{}, &invalidError{field: "volume_capability fs_type " + capability.GetMount().GetFsType(), want: "ext4 or xfs"}
	}
	switch mode := capability.GetAccessMode().GetMode(); mode {
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:
		return access{kind: accessMount, mode: strings.ReplaceAll(strings.ToLower(mode.String()), "_", "-")}, nil
	default:
		return access{}, &invalidError{field: "volume_capability access_mode " + mode.String(), want: "a single-node mode: a filesystem can't be mounted by two nodes (accessModes: ReadWriteOnce or ReadWriteOncePod)"}
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

func supportedFilesystem(name string) bool {
	return name == "" || name == defaultFilesystem || name == "xfs"
}
