package csi

import (
	"fmt"
	"slices"
	"strings"
)

// parameters are what a StorageClass may say, and what external-provisioner adds with --extra-create-metadata.
type parameters struct {
	// pool is the mount point of the RouterOS filesystem that volumes are made on.
	pool string
	// pv and pvc ("namespace/name") are only for whoever reads the appliance; empty where they weren't told.
	pv, pvc string
}

const (
	parameterPool = "pool"
	// reservedPrefix begins the keys that belong to the sidecars.
	reservedPrefix = "csi.storage.k8s.io/"
)

// parseParameters refuses keys it doesn't know: a misspelt one would silently not take effect.
func parseParameters(values map[string]string) (parameters, error) {
	for key := range values {
		if key != parameterPool && !strings.HasPrefix(key, reservedPrefix) {
			return parameters{}, &invalidError{field: "StorageClass parameter " + key, want: "only " + strings.Join(slices.Sorted(slices.Values([]string{parameterPool})), ", ")}
		}
	}
	if values[parameterPool] == "" {
		return parameters{}, &invalidError{field: "StorageClass parameter " + parameterPool, want: "the mount point of a RouterOS filesystem, such as raid10"}
	}
	result := parameters{pool: values[parameterPool], pv: values[reservedPrefix+"pv/name"]}
	if name := values[reservedPrefix+"pvc/name"]; name != "" {
		result.pvc = fmt.Sprintf("%s/%s", values[reservedPrefix+"pvc/namespace"], name)
	}
	return result, nil
}
