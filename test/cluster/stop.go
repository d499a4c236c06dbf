package cluster

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

const (
	askedFor  = 5 * time.Second  // a process gets this long to end by itself
	killedFor = 30 * time.Second // and this long to vanish after SIGKILL
)

// Stop ends every process of the run in folder, last started first, then unmounts what is still mounted below the
// folder and frees loop devices on files in it. Nothing else is touched, and the folder with its logs stays. It may be
// called from another process than the one that started the run, and again after it failed. A folder without a run is
// ErrFolder. It takes at most some seconds a process.
func Stop(folder string) error {
	f, err := resolveFolder(folder)
	if err != nil {
		return err
	}
	records, err := f.ledger().read()
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: nothing was ever started in %s", ErrFolder, f)
	}
	if err != nil {
		return err
	}
	var failures []error
	for _, r := range slices.Backward(records) {
		failures = append(failures, r.end(askedFor, killedFor))
	}
	failures = append(failures, releaseBelow(f))
	return errors.Join(failures...)
}
