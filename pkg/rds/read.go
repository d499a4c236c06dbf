package rds

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/klog/v2"
)

// Get reads one disk. Errors: ErrNotFound (proven), ErrNotReady, ErrNotOurs, ErrUnreadable, ErrExists,
// ErrUnreachable, or a *CommandError.
func (c *Client) Get(ctx context.Context, id VolumeID) (Disk, error) {
	now, err := c.look(ctx, id)
	if err != nil {
		return Disk{}, err
	}
	disk, err := now.disk()
	if err != nil {
		return Disk{}, err
	}
	disk = c.cache(disk)
	return disk, nil
}

// look reads the state of one volume of this cluster.
func (c *Client) look(ctx context.Context, id VolumeID) (state, error) {
	if err := c.ours(id); err != nil {
		return state{}, err
	}
	return c.lookAnyway(ctx, id)
}

// ForeignRecord reads the record of the disk in a volume's slot, whatever cluster and path it has. It only tells whom the disk
// admits. Errors: ErrOtherAppliance if the volume isn't on this one: what is in its slot here tells nothing of it. ErrNotFound
// (proven), ErrNotReady, ErrNotOurs if the disk has no record, ErrUnreachable, or a *CommandError.
func (c *Client) ForeignRecord(ctx context.Context, id VolumeID) (Record, error) {
	if err := c.ours(id); errors.Is(err, ErrOtherAppliance) {
		return Record{}, err
	}
	now, err := c.lookAnyway(ctx, id)
	if err != nil {
		return Record{}, err
	}
	if len(now.reply.disks) != 1 {
		_, err := now.disk()
		return Record{}, err
	}
	record, err := ParseRecord(now.reply.disks[0].Comment)
	if err != nil {
		return Record{}, fmt.Errorf("volume %s: %w: %w", id, ErrNotOurs, err)
	}
	return record, nil
}

// lookAnyway reads the state of one volume, whosever it is.
func (c *Client) lookAnyway(ctx context.Context, id VolumeID) (state, error) {
	cmd := newCommand(KindGet)
	cmd.showState(id)
	answer, err := c.run(ctx, cmd)
	if err != nil {
		return state{}, fmt.Errorf("read volume %s: %w", id, asUnreachable(err))
	}
	return c.state(id, answer), nil
}

// List reads all disks of this driver and cluster, and caches them and no others. A disk with a record of this driver that can't
// be understood is logged and left out. While the appliance boots, List returns ErrNotReady together with the disks
// that are listed already. Their records are true; nothing is known about disks that aren't listed.
func (c *Client) List(ctx context.Context) ([]Disk, error) {
	asked := c.now()
	answer, err := c.list(ctx, listDisks(KindList, diskProperties, c.config.ClusterID))
	if err != nil {
		return nil, fmt.Errorf("list disks: %w", asUnreachable(err))
	}
	var disks []Disk
	for _, item := range answer.disks {
		disk, err := item.disk(c.config.ClusterID)
		if err != nil {
			klog.FromContext(ctx).Error(err, "Left a disk out of the list", "slot", item.Slot)
			continue
		}
		disk = c.cache(disk)
		disks = append(disks, disk)
	}
	if answer.uptime < c.config.BootWindow {
		return disks, fmt.Errorf("list disks: %w: it has been up for %s only, so the %d disks that it lists may not be all", ErrNotReady, answer.uptime, len(disks))
	}
	c.purgeUnlisted(answer.disks, asked)
	return disks, nil
}

// asUnreachable turns a lost reply to a read into ErrUnreachable: nothing was changed, and the caller may try again.
func asUnreachable(err error) error {
	if errors.Is(err, ErrIncomplete) && !errors.Is(err, ErrTooLarge) {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return err
}
