package attach

import (
	"errors"
	"fmt"
	"regexp"
)

// ErrVersion0 is about a volume that was made by v0.x of rds-csi, which had the same driver name. This version knows neither
// its disk nor who is connected to it, so it does nothing with it, and never says that it did.
var ErrVersion0 = errors.New("it was made by rds-csi v0.x, and this version does nothing with it before it is moved as docs/migrating.md says")

// version0Handle is the form of every handle that v0.x made: the volume's name, as external-provisioner gives it. No handle of
// this version has it.
var version0Handle = regexp.MustCompile(`^pvc-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// CheckVersion returns ErrVersion0 for the handle of a volume that v0.x made, and nil for any other text.
func CheckVersion(handle string) error {
	if version0Handle.MatchString(handle) {
		return fmt.Errorf("volume %s: %w", handle, ErrVersion0)
	}
	return nil
}
