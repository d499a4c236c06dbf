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
	volume rds.VolumeID
	target nvme.Target
	path   string
	use    use
}

// use is how a volume is to be used: as a raw block device, or with a filesystem on it.
type use struct {
	block bool
	// kind is the filesystem's, and options are what it is mounted with; neither is there for a block device.
	kind    string
	options []string
	// readOnly: the volume is never to be written, not by one publication or another.
	readOnly bool
	// single: the volume may be published at one path of this node only (ReadWriteOncePod).
	single bool
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
	if err := checkVolumeID(request.GetVolumeId()); err != nil {
		return staging{}, err
	}
	wanted, err := useOf(request.GetVolumeCapability())
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
		return staging{}, fmt.Errorf("volume_id: %w", err)
	}
	published, err := decodePublishContext(request.GetPublishContext())
	if err != nil {
		return staging{}, err
	}
	if err := n.checkGrant(published.grant, volume, wanted); err != nil {
		return staging{}, err
	}
	if published.target.Options, err = nvme.ParseOptions(request.GetVolumeContext()); err != nil {
		return staging{}, fmt.Errorf("volume_context: %w", err)
	}
	wanted.readOnly = wanted.readOnly || published.grant.ReadOnly
	return staging{volume: volume, target: published.target, path: path, use: wanted}, nil
}

// checkGrant compares what the controller granted with this machine and with the rest of the request.
func (n *Node) checkGrant(grant attach.Grant, volume rds.VolumeID, wanted use) error {
	if _, ours := volume.Epoch(grant.SubsystemNQN); !ours {
		return &invalidError{field: "publish_context " + attach.KeySubsystemNQN, want: "a subsystem of this volume, " + volume.SubsystemPrefix() + "<epoch>"}
	}
	if granted := grant.Access == attach.AccessBlock; granted != wanted.block {
		return &invalidError{field: "volume_capability access_type", want: "what the volume was published for, " + grant.Access}
	}
	if grant.Node != n.id {
		// Only its own machine may connect: the other one may be running still, and writing.
		return fmt.Errorf("volume %s: %w: it is for %s, this is %s; delete the pod, so that the volume is attached anew", volume, errOtherMachine, grant.Node, n.id)
	}
	return nil
}

// useOf reads from a capability how the volume is to be used.
func useOf(capability *csi.VolumeCapability) (use, error) {
	access, err := accessOf(capability)
	if err != nil {
		return use{}, err
	}
	mode := capability.GetAccessMode().GetMode()
	wanted := use{
		block:    access.kind == attach.AccessBlock,
		readOnly: mode == csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY,
		single:   mode == csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER,
	}
	if wanted.block {
		return wanted, nil
	}
	wanted.kind = filesystemOf(capability.GetMount())
	options, err := mountOptionsOf(capability.GetMount().GetMountFlags())
	if err != nil {
		return use{}, err
	}
	wanted.readOnly = wanted.readOnly || slices.Contains(options, "ro")
	wanted.options = slices.DeleteFunc(options, func(option string) bool { return option == "ro" })
	return wanted, nil
}

// mountOptions are the arguments of mount -o for the staging mount.
func (u use) mountOptions() []string {
	options := slices.Clone(u.options)
	if u.readOnly {
		options = append(options, "ro")
	}
	if u.kind == filesystemXFS {
		// A pod that still holds the dead mount of an earlier epoch must not keep the same filesystem from being
		// mounted again: xfs refuses a second one of the same UUID otherwise.
		options = append(options, "nouuid")
	}
	return options
}

// longestPath is the kernel's PATH_MAX without the byte that ends it.
const longestPath = 4095

// checkedPath accepts paths as the mount table spells them, so that a lookup there can't miss: it writes white space
// and backslashes in another way.
func checkedPath(field, path string) (string, error) {
	switch clean := filepath.Clean(path); {
	case path == "":
		return "", &invalidError{field: field, want: "one"}
	case len(path) > longestPath:
		return "", &invalidError{field: field, want: fmt.Sprintf("at most %d bytes, not %d", longestPath, len(path))}
	case !filepath.IsAbs(path), clean == "/", strings.ContainsAny(path, " \t\n\\\x00"):
		return "", &invalidError{field: fmt.Sprintf("%s %q", field, path), want: "an absolute path of a directory, without white space and backslashes"}
	default:
		return clean, nil
	}
}

// checkVolumeID refuses what no volume ID can be; whether it is one of ours is another question.
func checkVolumeID(volumeID string) error {
	switch {
	case volumeID == "":
		return &invalidError{field: "volume_id", want: "one"}
	case len(volumeID) > rds.MaxVolumeIDLength:
		return &invalidError{field: "volume_id", want: fmt.Sprintf("at most %d bytes, not %d", rds.MaxVolumeIDLength, len(volumeID))}
	default:
		return nil
	}
}

// checkRemoval judges what NodeUnstageVolume and NodeUnpublishVolume are told.
func checkRemoval(volumeID, field, path string) (string, error) {
	if err := checkVolumeID(volumeID); err != nil {
		return "", err
	}
	return checkedPath(field, path)
}

// within tells whether path is folder, or below it.
func within(folder, path string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}
