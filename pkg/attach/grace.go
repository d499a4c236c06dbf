package attach

import "time"

// inGrace reports whether a holder has been detaching for less than the grace period, so that its volume may be handed off.
// The API server's clock said since when. If it is ahead of this process's clock by more than the grace period, it says
// nothing of how long.
func inGrace(detachingSince, now time.Time, grace time.Duration) bool {
	elapsed := now.Sub(detachingSince)
	return -grace <= elapsed && elapsed < grace
}
