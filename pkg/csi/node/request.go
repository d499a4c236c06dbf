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

// staging is what NodeStageVolume and NodePublishVolume requests have in common: the volume, its target, the staging
// path, and how the volume is to be used.
type staging struct {
	id     rds.VolumeID
	target nvme.Target
	path   string
	use    use
}

// use is how a volume is to be used: as a raw block device, or with a filesystem.
type use struct {
	// Filesystem has no kind and no options for a raw block device. ReadOnly applies to both: it forbids every publication
	// to write.
	host.Filesystem
	block bool
	// singlePod is set if the volume may be published at one path of this node only (ReadWriteOncePod).
	singlePod bool
}

type stagingRequest interface {
	GetVolumeId() string
	GetStagingTargetPath() string
	GetVolumeCapability() *csi.VolumeCapability
	GetPublishContext() map[string]string
	GetVolumeContext() map[string]string
}

// parseStaging parses and checks a request. Errors are *failure.InvalidError, *nvme.OptionError, *rds.FieldError,
// failure.ErrOtherMachine, attach.ErrVersion0, or noPath if the request names no staging path.
func (n *Service) parseStaging(request stagingRequest, noPath error) (staging, error) {
	if err := checkVolumeID(request.GetVolumeId()); err != nil {
		return staging{}, err
	}
	wanted, err := parseUse(request.GetVolumeCapability())
	if err != nil {
		return staging{}, err
	}
	if request.GetStagingTargetPath() == "" {
		return staging{}, noPath
	}
	path, err := cleanPath("staging_target_path", request.GetStagingTargetPath())
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

// checkGrant checks that the grant is for this volume, this machine and the requested access type.
func (n *Service) checkGrant(grant attach.Grant, id rds.VolumeID, wanted use) error {
	if _, ours := id.Epoch(grant.SubsystemNQN); !ours {
		return &failure.InvalidError{Field: "publish_context " + attach.KeySubsystemNQN, Want: "a subsystem of this volume, " + id.SubsystemPrefix() + "<epoch>"}
	}
	if granted := grant.Access == attach.AccessBlock; granted != wanted.block {
		return &failure.InvalidError{Field: "volume_capability access_type", Want: "what the volume was published for, " + grant.Access}
	}
	if grant.Node != n.id {
		// The other machine may still be running, and writing.
		return fmt.Errorf("volume %s: %w: it is for %s, this is %s; delete the pod, so that the volume is attached anew", id, failure.ErrOtherMachine, grant.Node, n.id)
	}
	return nil
}

// parseUse returns how the volume is to be used according to its capability. Errors are *failure.InvalidError.
func parseUse(requested *csi.VolumeCapability) (use, error) {
	access, err := capability.Parse(requested)
	if err != nil {
		return use{}, err
	}
	mode := requested.GetAccessMode().GetMode()
	wanted := use{
		Filesystem: host.Filesystem{ReadOnly: mode == csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY},
		block:      access.Kind == attach.AccessBlock,
		singlePod:  mode == csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER,
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

// longestPath is the kernel's PATH_MAX without the terminating byte.
const longestPath = 4095

// cleanPath checks a path and returns it cleaned. The path must be spelled as in the mount table, where it is looked
// up. So it may have neither white space nor backslashes, which the mount table escapes. Errors are
// *failure.InvalidError.
func cleanPath(field, path string) (string, error) {
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

// checkVolumeID returns an error for a volume ID that is missing or too long, and attach.ErrVersion0 for a volume that v0.x
// made. It may still be none of this driver.
func checkVolumeID(volumeID string) error {
	if err := checkGiven(volumeID); err != nil {
		return err
	}
	return attach.CheckVersion(volumeID)
}

func checkGiven(volumeID string) error {
	switch {
	case volumeID == "":
		return &failure.InvalidError{Field: "volume_id", Want: "one"}
	case len(volumeID) > rds.MaxVolumeIDLength:
		return &failure.InvalidError{Field: "volume_id", Want: fmt.Sprintf("at most %d bytes, not %d", rds.MaxVolumeIDLength, len(volumeID))}
	default:
		return nil
	}
}

// checkRemoval checks the fields of NodeUnstageVolume and NodeUnpublishVolume requests, and returns the cleaned path. Any
// volume may be unmounted, also one that v0.x made: its pod must be able to end.
func checkRemoval(volumeID, field, path string) (string, error) {
	if err := checkGiven(volumeID); err != nil {
		return "", err
	}
	return cleanPath(field, path)
}

// checkOptionalPath checks a path as cleanPath does, but it may be empty.
func checkOptionalPath(field, path string) error {
	if path == "" {
		return nil
	}
	_, err := cleanPath(field, path)
	return err
}

// parseMounted parses a request about a volume that should be mounted at volume_path, and returns the volume ID and the
// cleaned path. CSI demands NOT_FOUND, which is failure.ErrNotHere, if the volume can't be there.
func parseMounted(volumeID, path, stagingPath string) (rds.VolumeID, string, error) {
	if err := checkVolumeID(volumeID); err != nil {
		return rds.VolumeID{}, "", err
	}
	clean, invalid := cleanPath("volume_path", path)
	if invalid != nil && (path == "" || filepath.IsAbs(path)) {
		return rds.VolumeID{}, "", invalid
	}
	id, err := rds.ParseVolumeID(volumeID)
	if err != nil {
		return rds.VolumeID{}, "", fmt.Errorf("%w: volume_id: %w", failure.ErrNotHere, err)
	}
	if invalid != nil {
		return rds.VolumeID{}, "", fmt.Errorf("%w: volume_path %q is not absolute", failure.ErrNotHere, path)
	}
	return id, clean, checkOptionalPath("staging_target_path", stagingPath)
}
