package controller

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/capability"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// parameters are those of a StorageClass, and those that external-provisioner adds with --extra-create-metadata.
type parameters struct {
	// pool is the mount point of the RouterOS filesystem that volumes are made on.
	pool string
	// pv and pvc ("namespace/name") are only for people who look at the appliance; empty if they weren't given.
	pv, pvc string
	// filesystem is "" if it wasn't given. external-provisioner doesn't pass it on, and puts it into the capabilities;
	// other orchestrators may pass it on.
	filesystem string
	// options are the NVMe options, by name.
	options map[string]string
}

const (
	parameterPool = "pool"
	// reservedPrefix is the prefix of the keys that belong to the sidecars.
	reservedPrefix      = "csi.storage.k8s.io/"
	parameterFilesystem = reservedPrefix + "fstype"
)

// parseParameters refuses keys that it doesn't know: a misspelt one would silently have no effect.
func parseParameters(values map[string]string) (parameters, error) {
	known := append(nvme.OptionNames(), parameterPool)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(known, key) && !strings.HasPrefix(key, reservedPrefix) {
			return parameters{}, &failure.InvalidError{Field: "StorageClass parameter " + key, Want: "only " + strings.Join(slices.Sorted(slices.Values(known)), ", ")}
		}
	}
	if values[parameterPool] == "" {
		return parameters{}, &failure.InvalidError{Field: "StorageClass parameter " + parameterPool, Want: "the mount point of a RouterOS filesystem, such as raid10"}
	}
	if len(values[parameterPool]) > maxNameLength {
		return parameters{}, &failure.InvalidError{Field: "StorageClass parameter " + parameterPool, Want: fmt.Sprintf("at most %d bytes", maxNameLength)}
	}
	if _, err := nvme.ParseOptions(values); err != nil {
		return parameters{}, fmt.Errorf("StorageClass parameters: %w", err)
	}
	result := parameters{pool: values[parameterPool], pv: values[reservedPrefix+"pv/name"], filesystem: values[parameterFilesystem]}
	if name := values[reservedPrefix+"pvc/name"]; name != "" {
		result.pvc = fmt.Sprintf("%s/%s", values[reservedPrefix+"pvc/namespace"], name)
	}
	result.options = maps.Clone(values)
	maps.DeleteFunc(result.options, func(key, _ string) bool { return !slices.Contains(nvme.OptionNames(), key) })
	return result, nil
}

// checkFilesystem checks the StorageClass's filesystem. The capabilities must not contradict it.
func (p parameters) checkFilesystem(capabilities []*csi.VolumeCapability) error {
	if !capability.SupportedFilesystem(p.filesystem) {
		return &failure.InvalidError{Field: "StorageClass parameter " + parameterFilesystem + " " + p.filesystem, Want: "ext4 or xfs"}
	}
	for _, wanted := range capabilities {
		if p.filesystem != "" && wanted.GetBlock() != nil {
			return &failure.InvalidError{Field: "StorageClass parameter " + parameterFilesystem, Want: "none for a raw block volume"}
		}
		// Nodes only know the capability.
		if other := capability.Filesystem(wanted.GetMount()); p.filesystem != "" && other != p.filesystem {
			return &failure.InvalidError{Field: "StorageClass parameter " + parameterFilesystem + " " + p.filesystem, Want: other + ", as the capability's fs_type has it (ext4 if it is empty)"}
		}
	}
	return nil
}
