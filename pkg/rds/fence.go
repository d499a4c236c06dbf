package rds

import (
	"errors"
	"time"
)

// FenceOutcome is how an attempt to revoke access to a disk ended, as metrics name it.
type FenceOutcome string

// The outcomes of a fence.
const (
	// FenceConfirmed: access is revoked. The appliance showed the disk without the export that it had.
	FenceConfirmed FenceOutcome = "confirmed"
	// FenceUnconfirmed: the change was sent, and it isn't known whether it holds.
	FenceUnconfirmed FenceOutcome = "unconfirmed"
	// FenceFailed: the change wasn't sent, or the appliance refused it or didn't keep it.
	FenceFailed FenceOutcome = "failed"
)

// FenceOutcomes are all of them, for metrics to declare.
func FenceOutcomes() []FenceOutcome {
	return []FenceOutcome{FenceConfirmed, FenceUnconfirmed, FenceFailed}
}

// fence observes the one change that revokes access to an exported disk: whoever asked for it, the export is taken away.
type fence struct {
	seen    Disk
	started time.Time
	observe func(FenceOutcome, time.Duration)
	// shown and revoked are about the last answer: whether it showed the disk, and without the export that was seen.
	shown, revoked bool
}

// newFence returns what observes the end of the export that was seen.
func (c *Client) newFence(seen Disk) *fence {
	return &fence{seen: seen, started: time.Now(), observe: c.config.ObserveFence}
}

// answered is called with each answer of the appliance, or with the error in place of one.
func (f *fence) answered(now Disk, err error) {
	f.shown = err == nil
	f.revoked = f.shown && (!now.Exported || now.SubsystemNQN != f.seen.SubsystemNQN)
}

// ended is called when the attempt is over. It counts nothing if there was no export to take away, or if somebody else wrote
// to the disk first: then everything is decided anew.
func (f *fence) ended(err error) {
	if _, changed := errors.AsType[*ChangedError](err); changed || !f.seen.Exported || f.observe == nil {
		return
	}
	f.observe(f.outcome(err), time.Since(f.started))
}

func (f *fence) outcome(err error) FenceOutcome {
	_, refused := errors.AsType[*CommandError](err)
	_, invalid := errors.AsType[*FieldError](err)
	switch {
	case f.revoked:
		return FenceConfirmed
	case f.shown:
		return FenceFailed
	case refused, invalid, errors.Is(err, ErrUnreachable), errors.Is(err, ErrNotOurs):
		return FenceFailed
	default:
		return FenceUnconfirmed
	}
}
