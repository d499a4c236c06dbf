package host

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// errNoTools says that commands are missing which the driver runs.
var errNoTools = errors.New("these commands aren't there")

// toolNames returns the commands that the driver runs on a node.
func toolNames() []string {
	return []string{"blkid", "e2fsck", "mkfs.ext4", "mkfs.xfs", "mount", "resize2fs", "umount", "wipefs", "xfs_growfs"}
}

// CheckTools returns an error that names every command that is missing.
func (h *Host) CheckTools() error {
	var missing []string
	for _, tool := range toolNames() {
		if _, err := h.commands.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s (PATH is %q); run the image that is made for nodes, or install e2fsprogs, xfsprogs, util-linux and mount",
		errNoTools, strings.Join(missing, ", "), os.Getenv("PATH"))
}
