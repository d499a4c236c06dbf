package appliance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// ErrOptions is wrapped by every error about a bad [Options].
var ErrOptions = errors.New("invalid simulator options")

// Appliance is one simulated appliance. It is safe for concurrent use.
type Appliance struct {
	options  Options
	version  version
	language script.Language
	exports  *export.Registry
	filesDir string
	files    *os.Root

	// mu is held for one statement at a time.
	mu     sync.Mutex
	disks  []*disk
	nextID int
	// unsettled are disks as they were before a line that still runs, by ID.
	unsettled map[int]disk
	// traffic of each slot that has any.
	traffic map[string]Traffic
	booted  time.Time
	// boot counts the reboots; phase is how far the last one has come.
	boot          int
	phase         Phase
	emptyListings bool
	conditions    map[Condition]int
	flash         []image // oldest first; see flash.go
}

// Open loads the state directory and exports what was exported.
func Open(options Options) (*Appliance, error) {
	if options.Version == "" {
		options.Version = "7.24.4"
	}
	if options.Unknowns.SlotMax == 0 {
		options.Unknowns.SlotMax = 32
	}
	options.Unknowns.Texts = options.Unknowns.Texts.withDefaults()
	if options.Console.Width == 0 {
		options.Console.Width = defaultWidth
	}
	v, err := parseVersion(options.Version)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if len(options.Pools) == 0 || options.Exports == nil {
		return nil, fmt.Errorf("%w: at least one pool and an export registry are needed", ErrOptions)
	}
	stateDir, err := filepath.Abs(options.StateDir)
	if err != nil {
		return nil, fmt.Errorf("find state directory: %w", err)
	}
	options.StateDir = stateDir
	a := &Appliance{
		options:    options,
		version:    v,
		booted:     time.Now().Add(-options.Uptime),
		exports:    options.Exports,
		filesDir:   filepath.Join(stateDir, "files"),
		nextID:     len(options.Pools) + 1,
		conditions: map[Condition]int{},
		traffic:    map[string]Traffic{},
		unsettled:  map[int]disk{},
	}
	a.language = a.newLanguage()
	return a, a.open()
}

// open makes the pool directories and reads the configuration.
func (a *Appliance) open() error {
	for _, pool := range a.options.Pools {
		if err := os.MkdirAll(filepath.Join(a.filesDir, pool.Name), 0o750); err != nil {
			return fmt.Errorf("make pool %s: %w", pool.Name, err)
		}
	}
	root, err := os.OpenRoot(a.filesDir)
	if err != nil {
		return fmt.Errorf("open pools: %w", err)
	}
	a.files = root
	if err := a.load(); err != nil {
		return errors.Join(err, root.Close())
	}
	for _, d := range a.disks {
		a.publish(d)
	}
	return nil
}

// Close releases the state directory. No line may be running.
func (a *Appliance) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.files.Close(); err != nil {
		return fmt.Errorf("close pools: %w", err)
	}
	return nil
}
