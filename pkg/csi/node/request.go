package node

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/capability"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/publishcontext"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// staging is what NodeStageVolume and NodePublishVolume both ask for: a volume, how it is reached, and where it is staged.
type staging struct {
	id     rds.VolumeID
	target nvme.Target
	path   string
	use    use
}

// use is how a volume is to be used: as a raw block device, or with a filesystem.
type use struct {
	// Filesystem has neither kind nor options for a block device. ReadOnly counts for both: no publication may write then.
	host.Filesystem
	block bool
	// single is set if the volume may be published at one path of this node only (ReadWriteOncePod).
	single bool
}

type stagingRequest interface {
	GetVolumeId() string
	GetStagingTargetPath() string
	GetVolumeCapability() *csi.VolumeCapability
	GetPublishContext() map[string]string
	GetVolumeContext() map[string]string
}

// stagingOf judges a request before anything is touched. Errors are *failure.InvalidError, *nvme.OptionError,
// *rds.FieldError, failure.ErrOtherMachine, or noPath if the request names no staging path.
func (n *Service) stagingOf(request stagingRequest, noPath error) (staging, error) {
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
	id, err := rds.ParseVolumeID(request.GetVolumeId())
	if err != nil {
		return staging{}, fmt.Errorf("volume_id: %w", err)
	}
	published, err := publishcontext.Decode(request.GetPublishContext())
	if err != nil {
		return staging{}, err
	}
	if err := n.checkGrant(published.Grant, id, wanted); err != nil {
		return staging{}, err
	}
	if published.Target.Options, err = nvme.ParseOptions(request.GetVolumeContext()); err != nil {
		return staging{}, fmt.Errorf("volume_context: %w", err)
	}
	wanted.ReadOnly = wanted.ReadOnly || published.Grant.ReadOnly
	return staging{id: id, target: published.Target, path: path, use: wanted}, nil
}

// checkGrant compares what the controller granted with this machine and with the rest of the request.
func (n *Service) checkGrant(grant attach.Grant, id rds.VolumeID, wanted use) error {
	if _, ours := id.Epoch(grant.SubsystemNQN); !ours {
		return &failure.InvalidError{Field: "publish_context " + attach.KeySubsystemNQN, Want: "a subsystem of this volume, " + id.SubsystemPrefix() + "<epoch>"}
	}
	if granted := grant.Access == attach.AccessBlock; granted != wanted.block {
		return &failure.InvalidError{Field: "volume_capability access_type", Want: "what the volume was published for, " + grant.Access}
	}
	if grant.Node != n.id {
		// Only its own machine may connect: the other one may be running still, and writing.
		return fmt.Errorf("volume %s: %w: it is for %s, this is %s; delete the pod, so that the volume is attached anew", id, failure.ErrOtherMachine, grant.Node, n.id)
	}
	return nil
}

// useOf reads from a capability how the volume is to be used.
func useOf(requested *csi.VolumeCapability) (use, error) {
	access, err := capability.Parse(requested)
	if err != nil {
		return use{}, err
	}
	mode := requested.GetAccessMode().GetMode()
	wanted := use{
		Filesystem: host.Filesystem{ReadOnly: mode == csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY},
		block:      access.Kind == attach.AccessBlock,
		single:     mode == csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER,
	}
	if wanted.block {
		return wanted, nil
	}
	wanted.Kind = capability.Filesystem(requested.GetMount())
	options, err := capability.MountOptions(requested.GetMount().GetMountFlags())
	if err != nil {
		return use{}, err
	}
	wanted.ReadOnly = wanted.ReadOnly || slices.Contains(options, "ro")
	wanted.Options = slices.DeleteFunc(options, func(option string) bool { return option == "ro" })
	return wanted, nil
}

// longestPath is the kernel's PATH_MAX without the byte that ends it.
const longestPath = 4095

// checkedPath accepts paths as the mount table spells them, so that a lookup there can't miss: it writes white space
// and backslashes in another way.
func checkedPath(field, path string) (string, error) {
	switch clean := filepath.Clean(path); {
	case path == "":
		return "", &failure.InvalidError{Field: field, Want: "one"}
	case len(path) > longestPath:
		return "", &failure.InvalidError{Field: field, Want: fmt.Sprintf("at most %d bytes, not %d", longestPath, len(path))}
	case !filepath.IsAbs(path), clean == "/", strings.ContainsAny(path, " \t\n\\\x00"):
		return "", &failure.InvalidError{Field: fmt.Sprintf("%s %q", field, path), Want: "an absolute path of a directory, without white space and backslashes"}
	default:
		return clean, nil
	}
}

// checkVolumeID refuses what no volume ID can be; whether it is one of ours is another question.
func checkVolumeID(volumeID string) error {
	switch {
	case volumeID == "":
		return &failure.InvalidError{Field: "volume_id", Want: "one"}
	case len(volumeID) > rds.MaxVolumeIDLength:
		return &failure.InvalidError{Field: "volume_id", Want: fmt.Sprintf("at most %d bytes, not %d", rds.MaxVolumeIDLength, len(volumeID))}
	default:
		return nil
	}
}

// checkRemoval judges the fields of NodeUnstageVolume and NodeUnpublishVolume.
func checkRemoval(volumeID, field, path string) (string, error) {
	if err := checkVolumeID(volumeID); err != nil {
		return "", err
	}
	return checkedPath(field, path)
}

// within reports whether path is folder, or below it.
func within(folder, path string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// checkOptionalPath is checkedPath for a field that may be empty.
func checkOptionalPath(field, path string) error {
	if path == "" {
		return nil
	}
	_, err := checkedPath(field, path)
	return err
}

// placeOf judges a request about a volume that should be staged or published at a path. CSI wants NOT_FOUND, failure.ErrNotHere,
// for everything that can't be there.
func placeOf(volumeID, path string) (rds.VolumeID, string, error) {
	if err := checkVolumeID(volumeID); err != nil {
		return rds.VolumeID{}, "", err
	}
	if path == "" {
		return rds.VolumeID{}, "", &failure.InvalidError{Field: "volume_path", Want: "one"}
	}
	if filepath.IsAbs(path) {
		if _, err := checkedPath("volume_path", path); err != nil {
			return rds.VolumeID{}, "", err
		}
	}
	id, err := rds.ParseVolumeID(volumeID)
	if err != nil {
		return rds.VolumeID{}, "", fmt.Errorf("%w: volume_id: %w", failure.ErrNotHere, err)
	}
	if !filepath.IsAbs(path) {
		return rds.VolumeID{}, "", fmt.Errorf("%w: volume_path %q is not absolute", failure.ErrNotHere, path)
	}
	return id, filepath.Clean(path), nil
}
