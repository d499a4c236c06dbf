package rds

import (
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
	Check  string
	Result Result
	Detail string
}

// errCheckFailed says that at least one finding is ResultFailed.
var errCheckFailed = errors.New("the appliance isn't fit for the driver as it is")

// cleanUpTimeout bounds the removal of the probe disk after an interruption.
const cleanUpTimeout = 30 * time.Second

// Checker finds out whether an appliance is fit for the driver. It uses a probe disk of 1 MiB as the driver would, and
// removes it again, also when it is interrupted.
type Checker struct {
	client *Client
	// id is the probe disk's. kept is that of a disk on a file with content.
	id, kept VolumeID
	// shared is the slot of a second disk on the probe disk's backing file.
	shared string
	report func(Finding)
	failed bool
}

// NewChecker returns a check of the pool, with backing files in directory. report is called with each finding. The client's
// cluster ID only marks the probe disk.
func NewChecker(client *Client, pool, directory string, report func(Finding)) (*Checker, error) {
	var ids [3]VolumeID
	for i := range ids {
		id, err := NewVolumeID(pool, directory, client.config.ClusterID, "appliance check "+randomToken())
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	return &Checker{client: client, id: ids[0], kept: ids[1], shared: ids[2].Slot(), report: report}, nil
}

// Run makes every check that the ones before it allow. It returns an error if any failed, or if ctx ended.
func (c *Checker) Run(ctx context.Context) error {
	if err := c.readOnly(ctx); err != nil {
		return err
	}
	defer c.cleanUp(ctx)
	disk, err := c.client.Create(ctx, c.id, Size{Bytes: 1 << 20}, NewRecord(c.id, "appliance-check", "", ""))
	if err != nil {
		c.note("probe disk", ResultFailed, err.Error())
		return c.outcome(ctx)
	}
	c.permissions(ctx)
	c.note("probe disk", ResultOK, fmt.Sprintf("made and read back, %d bytes, %s", disk.Size, disk.ID))
	for _, step := range []func(context.Context, Disk) error{c.texts, c.export, c.growth, c.sharing, c.content} {
		if err := step(ctx, disk); err != nil {
			c.note("probe disk", ResultFailed, err.Error())
			return c.outcome(ctx)
		}
	}
	return c.outcome(ctx)
}

func (c *Checker) note(check string, result Result, detail string) {
	c.failed = c.failed || result == ResultFailed
	c.report(Finding{Check: check, Result: result, Detail: detail})
}

func (c *Checker) outcome(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("the check was interrupted: %w", ctx.Err())
	case c.failed:
		return errCheckFailed
	default:
		return nil
	}
}

// readOnly makes the checks that change nothing. If one fails, nothing else is tried.
func (c *Checker) readOnly(ctx context.Context) error {
	took, err := c.roundTrips(ctx)
	if err != nil {
		c.note("connection", ResultFailed, err.Error())
		return c.outcome(ctx)
	}
	c.note("connection", ResultOK, fmt.Sprintf("%s; the first command took %s with the handshake, then %s (median of %d)",
		c.client.transport, took[0].Round(time.Millisecond), median(took[1:]).Round(100*time.Microsecond), len(took)-1))
	c.note("host key", ResultOK, c.client.transport.Trust()+" is the pinned one")
	version, err := c.client.Probe(ctx)
	if err != nil {
		c.note("version", ResultFailed, err.Error())
		return c.outcome(ctx)
	}
	c.note("version", ResultOK, "RouterOS "+version.Text+" with rose-storage")
	if err := c.pool(ctx); err != nil {
		c.note("pool", ResultFailed, err.Error())
		return c.outcome(ctx)
	}
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
	return c.inventory(ctx)
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
		if !strings.HasPrefix(file, directory+"/") {
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

// cleanUp removes what the checks made, also after a failure, and reports what it couldn't remove.
func (c *Checker) cleanUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	if err := c.removeDisk(ctx, c.shared, sharedComment); err != nil {
		c.note("clean-up", ResultFailed, fmt.Sprintf("remove disk %s by hand: %v", c.shared, err))
	}
	for _, id := range []VolumeID{c.id, c.kept} {
		if err := c.remove(ctx, id); err != nil {
			c.note("clean-up", ResultFailed, fmt.Sprintf("remove disk %s and file %s by hand: %v", id.Slot(), id.file(), err))
			return
		}
	}
	c.note("clean-up", ResultOK, "the probe disks and their backing files are gone")
}

// remove removes one of the check's disks and its file as the driver would. The driver never removes a disk whose record is
// damaged. One of the check's has a slot that was drawn at random, so it can't be anybody else's.
func (c *Checker) remove(ctx context.Context, id VolumeID) error {
	err := c.client.Delete(ctx, id, 0)
	if !errors.Is(err, ErrUnreadable) {
		return err
	}
	if err := c.removeDisk(ctx, id.Slot(), ""); err != nil {
		return err
	}
	return c.client.Delete(ctx, id, 0)
}
