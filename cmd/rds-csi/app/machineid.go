package app

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// machineFiles returns the files that kubelet reads for status.nodeInfo.systemUUID, in its order. The last one is also
// what it reports as machineID: the host's, which a container with the host's processes sees through the first one.
func machineFiles() []string {
	return []string{
		"/sys/class/dmi/id/product_uuid",
		"/proc/device-tree/system-id",
		"/proc/device-tree/vm,uuid",
		"/proc/1/root/etc/machine-id",
	}
}

var (
	errNoMachineIdentity = errors.New("this machine has no identity, and without one a re-created node can't be told from the old one")
	errPlaceholder       = errors.New("it is a placeholder, which many machines report")
)

// machineIdentity returns the first identity in the files, in lower case. Firmware isn't consistent in the case, and
// the identity is compared with that of the Node object. A placeholder is an error and not skipped: kubelet reports the
// same one, and another file's identity may be one that the Node doesn't report.
func machineIdentity(files []string) (string, error) {
	var failures []error
	for _, file := range files {
		content, err := os.ReadFile(file) //nolint:gosec // fixed names, see machineFiles
		if err != nil {
			failures = append(failures, err)
			continue
		}
		identity := normalized(string(content))
		switch {
		case identity == "":
			failures = append(failures, fmt.Errorf("%s is empty", file))
		case attach.IsPlaceholder(identity):
			return "", fmt.Errorf("%w: %s has %q: %w; set --machine-id to status.nodeInfo.machineID of the Node, which is the host's /etc/machine-id and what the controller compares in that case; give the machine one if that is a placeholder too",
				errNoMachineIdentity, file, identity, errPlaceholder)
		default:
			return identity, nil
		}
	}
	return "", fmt.Errorf("%w: give the container the host's processes (hostPID), or set --machine-id to the host's /etc/machine-id: %w", errNoMachineIdentity, errors.Join(failures...))
}

// normalized returns the identity in lower case, without white space and the NUL bytes that end a device tree property.
func normalized(identity string) string {
	return strings.ToLower(strings.Trim(identity, " \t\r\n\x00"))
}
