package csi

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// staging is what NodeStageVolume and NodePublishVolume both are told: which volume belongs where, reached how.
type staging struct {
	volume     rds.VolumeID
	target     nvme.Target
	path       string
	filesystem filesystem
}

// filesystem is how a volume is to be mounted.
type filesystem struct {
	kind     string
	options  []string
	readOnly bool
}

type stagingRequest interface {
	GetVolumeId() string
	GetStagingTargetPath() string
	GetVolumeCapability() *csi.VolumeCapability
	GetPublishContext() map[string]string
	GetVolumeContext() map[string]string
}

// stagingOf judges a request before anything is touched. Its errors are *invalidError, *nvme.OptionError, *rds.FieldError
// or errOtherMachine, or noPath if the request names no staging path.
func (n *Node) stagingOf(request stagingRequest, noPath error) (staging, error) {
	if request.GetVolumeId() == "" {
		return staging{}, &invalidError{field: "volume_id", want: "one"}
	}
	wanted, err := filesystemOf(request.GetVolumeCapability())
	if err != nil {
		return staging{}, err
	}
	if request.GetStagingTargetPath() == "" {
		return staging{}, noPath
	}
	path, err := checkedPath("staging_target_path", request.GetStagingTargetPath())
	if err != nil {
		return staging{}, err
	}
	volume, err := rds.ParseVolumeID(request.GetVolumeId())
	if err != nil {
		return staging{}, err
	}
	published, err := decodePublishContext(request.GetPublishContext())
	if err != nil {
		return staging{}, err
	}
	if !strings.HasPrefix(published.target.SubsystemNQN, volume.SubsystemPrefix()) {
		return staging{}, &invalidError{field: "publish_context " + attach.KeySubsystemNQN, want: "a subsystem of this volume, beginning with " + volume.SubsystemPrefix()}
	}
	if published.grant.Node != n.id {
		// Only its own machine may connect: the other one may be running still, and writing.
		return staging{}, fmt.Errorf("volume %s: %w: it is for %s, this is %s; delete the pod, so that the volume is attached anew", volume, errOtherMachine, published.grant.Node, n.id)
	}
	if published.target.Options, err = nvme.ParseOptions(request.GetVolumeContext()); err != nil {
		return staging{}, fmt.Errorf("volume_context: %w", err)
	}
	return staging{volume: volume, target: published.target, path: path, filesystem: wanted}, nil
}

// filesystemOf reads what is to be mounted from a capability.
func filesystemOf(capability *csi.VolumeCapability) (filesystem, error) {
	access, err := accessOf(capability)
	if err != nil {
		return filesystem{}, err
	}
	if access.kind != accessMount {
		return filesystem{}, &invalidError{field: "volume_capability access_type", want: "a filesystem; nodes of this version don't offer raw block volumes yet"}
	}
	wanted := filesystem{kind: capability.GetMount().GetFsType()}
	if wanted.kind == "" {
		wanted.kind = defaultFilesystem
	}
	for _, flag := range capability.GetMount().GetMountFlags() {
		for option := range strings.SplitSeq(flag, ",") {
			switch option {
			case "bind", "rbind", "move", "remount":
				return filesystem{}, &invalidError{field: "volume_capability mount_flags " + option, want: "options of a filesystem, not another kind of mount"}
			case "ro":
				wanted.readOnly = true
			case "":
			default:
				wanted.options = append(wanted.options, option)
			}
		}
	}
	if capability.GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY {
		wanted.readOnly = true
	}
	return wanted, nil
}

// mountOptions are the arguments of mount -o for the staging mount.
func (f filesystem) mountOptions() []string {
	options := slices.Clone(f.options)
	if f.readOnly {
		options = append(options, "ro")
	}
	if f.kind == "xfs" {
		// A pod that still holds the dead mount of an earlier epoch must not keep the same filesystem from being
		// mounted again: xfs refuses a second one of the same UUID otherwise.
		options = append(options, "nouuid")
	}
	return options
}

// checkedPath accepts paths as the mount table spells them, so that a lookup there can't miss: it writes white space
// and backslashes in another way.
func checkedPath(field, path string) (string, error) {
	switch clean := filepath.Clean(path); {
	case path == "":
		return "", &invalidError{field: field, want: "one"}
	case !filepath.IsAbs(path), clean == "/", strings.ContainsAny(path, " \t\n\\"):
		return "", &invalidError{field: fmt.Sprintf("%s %q", field, path), want: "an absolute path of a directory, without white space and backslashes"}
	default:
		return clean, nil
	}
}

// checkRemoval judges what NodeUnstageVolume and NodeUnpublishVolume are told.
func checkRemoval(volumeID, field, path string) (string, error) {
	if volumeID == "" {
		return "", &invalidError{field: "volume_id", want: "one"}
	}
	return checkedPath(field, path)
}
