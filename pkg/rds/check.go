package rds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Result is how one check of an appliance went.
type Result string

// The results.
const (
	// ResultOK: as the driver needs it.
	ResultOK Result = "ok"
	// ResultNote: works, and somebody should know.
	ResultNote Result = "note"
	// ResultFailed: the driver can't work like that.
	ResultFailed Result = "FAILED"
)

// Finding is what one check showed.
type Finding struct {
	Check  string `json:"check"`
	Result Result `json:"result"`
	Detail string `json:"detail"`
}

// errCheckFailed says that at least one finding is ResultFailed.
var errCheckFailed = errors.New("the appliance isn't fit for the driver as it is")

// probeSize is the size of the check's disks in bytes: no round number, so that a size that is rounded shows.
const probeSize = 1<<20 + 4096

// Check says what is checked, and how.
type Check struct {
	// Pool is the mount point of the pool to make probe disks on, with backing files in Directory.
	Pool, Directory string
	// Connect connects to a subsystem as the host with this NQN. Its error is ErrRefused if the target answers and doesn't let
	// the host in.
	Connect func(ctx context.Context, subsystemNQN, hostNQN string) (Connection, error)
	// EndTimeout is how long a connection may outlive the appliance's answer that it was revoked; 10 s if it is 0.
	EndTimeout time.Duration
	// Report is called with each finding.
	Report func(Finding)
}

// Checker finds out whether an appliance is fit for the driver. It uses probe disks of 1 MiB as the driver would, connects to
// them, and removes them again, also when it is interrupted.
type Checker struct {
	Check

	client *Client
	// id is the probe disk's. kept is that of a disk on a file with content. neighbour is exported while another one changes hands.
	id, kept, neighbour VolumeID
	// shared is the slot of a second disk on the probe disk's backing file.
	shared string
	failed bool
}

// NewChecker returns a check. The client's cluster ID only marks the probe disks. Errors are *FieldError.
func NewChecker(client *Client, check Check) (*Checker, error) {
	check.EndTimeout = cmp.Or(check.EndTimeout, defaultEndTimeout)
	c := &Checker{Check: check, client: client}
	var second VolumeID
	for _, id := range []*VolumeID{&c.id, &c.kept, &c.neighbour, &second} {
		var err error
		if *id, err = NewVolumeID(check.Pool, check.Directory, client.config.ClusterID, "appliance check "+randomToken()); err != nil {
			return nil, err
		}
	}
	c.shared = second.Slot()
	return c, nil
}

// Run makes every check that the ones before it allow. It returns an error if any failed, or if ctx ended.
func (c *Checker) Run(ctx context.Context) error {
	if c.readOnly(ctx) {
		c.probe(ctx)
		c.cleanUp(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("the check was interrupted: %w", ctx.Err())
	case c.failed:
		return errCheckFailed
	default:
		return nil
	}
}

// probe makes the checks that need a disk.
func (c *Checker) probe(ctx context.Context) {
	disk, err := c.create(ctx, c.id)
	if err != nil {
		c.note("probe disk", ResultFailed, err.Error())
		return
	}
	c.permissions(ctx)
	c.note("probe disk", ResultOK, fmt.Sprintf("made and read back, %s", disk.ID))
	for _, step := range []struct {
		name string
		run  func(context.Context, Disk) error
	}{
		{"size", c.size},
		{"guards", c.guards},
		{"texts", c.texts},
		{"export", c.export},
		{"growth", c.growth},
		{"backing file", c.sharing},
		{"content", c.content},
		{"fence", c.fence},
	} {
		if err := step.run(ctx, disk); err != nil {
			c.note(step.name, ResultFailed, err.Error())
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// create makes one of the check's disks. Its record is as long as a record can be, with every character that one may have.
func (c *Checker) create(ctx context.Context, id VolumeID) (Disk, error) {
	record := NewRecord(id, "appliance-check", "pvc-0f923194-922a-5dd8-b376-c2c6ccb56dd8", "check_namespace/data.rds-csi-0")
	return c.client.Create(ctx, id, Size{Bytes: probeSize}, record)
}

func (c *Checker) note(check string, result Result, detail string) {
	c.failed = c.failed || result == ResultFailed
	c.Report(Finding{Check: check, Result: result, Detail: detail})
}

// readOnly makes the checks that change nothing. If one fails, nothing else is to be tried.
func (c *Checker) readOnly(ctx context.Context) (passed bool) {
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"connection", c.connection},
		{"version", c.version},
		{"pool", c.pool},
		{"inventory", c.inventory},
	} {
		if err := step.run(ctx); err != nil {
			c.note(step.name, ResultFailed, err.Error())
			return false
		}
	}
	return true
}

func (c *Checker) connection(ctx context.Context) error {
	took, err := c.roundTrips(ctx)
	if err != nil {
		return err
	}
	c.note("connection", ResultOK, fmt.Sprintf("%s; the first command took %s with the handshake, then %s (median of %d)",
		c.client.transport, took[0].Round(time.Millisecond), median(took[1:]).Round(100*time.Microsecond), len(took)-1))
	c.note("host key", ResultOK, c.client.transport.Trust()+" is the pinned one")
	return nil
}

func (c *Checker) version(ctx context.Context) error {
	version, err := c.client.Probe(ctx)
	if err != nil {
		return err
	}
	c.note("version", ResultOK, "RouterOS "+version.Text+" with rose-storage")
	return nil
}

// roundTrips measures one command with connecting, and some without.
func (c *Checker) roundTrips(ctx context.Context) ([]time.Duration, error) {
	const samples = 6
	var took []time.Duration
	for range samples {
		cmd := newCommand(KindCheck)
		cmd.showUptime()
		start := time.Now()
		if _, err := c.client.run(ctx, cmd); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}

func median(took []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(took))[len(took)/2]
}

func (c *Checker) pool(ctx context.Context) error {
	capacity, err := c.client.Capacity(ctx, c.id.Pool())
	if err != nil {
		return err
	}
	result := ResultOK
	if capacity.State != "" && capacity.State != "clean" {
		result = ResultNote
	}
	c.note("pool", result, fmt.Sprintf("%s: %d bytes, %d free, %d promised to disks, %d available, state %q",
		c.id.Pool(), capacity.Size, capacity.Free, capacity.Promised, capacity.Available, capacity.State))
	return nil
}

// inventory reports what is in the directory for backing files: the driver's disks, of all clusters, and what an operator
// should look at.
func (c *Checker) inventory(ctx context.Context) error {
	directory := path.Dir(c.id.directory)
	answer, err := c.client.surveyDisks(ctx, KindCheck)
	if err != nil {
		return err
	}
	listed, err := c.client.consoleFiles(ctx, listFiles(KindCheck, directory, "[^/]+/"))
	if err != nil {
		return err
	}
	ours, foreign := 0, []string{}
	for _, item := range answer.disks {
		file := strings.TrimSuffix(string(newFilePath(item.FilePath)), backingFileType)
		if !strings.HasPrefix(file, directory+"/") || file+backingFileType == directory+"/"+keeperFile {
			continue
		}
		if _, err := ParseVolumeID(file); err != nil {
			foreign = append(foreign, file)
			continue
		}
		ours++
	}
	files := unreferenced(listed, func(folder string) bool { return path.Dir(folder) == directory }, answer.disks)
	result := ResultOK
	if len(files)+len(foreign) > 0 {
		result = ResultNote
	}
	c.note("inventory", result, fmt.Sprintf("%d disks of this driver, files without a disk: %v, disks of others: %v", ours, files, foreign))
	return nil
}
