package failure

import (
	"errors"
	"fmt"
)

// The errors of both services. Those of packages attach, nvme and rds are returned as well.
var (
	ErrBusy       = errors.New("another operation on this volume is under way")
	ErrOutOfRange = errors.New("size out of range")
	// ErrPanic is a bug of the driver.
	ErrPanic = errors.New("the driver failed in a way that nobody foresaw; please report it with the log")
)

// The errors of the controller service.
var (
	// ErrInService is returned for a change that isn't possible while a node has the volume.
	ErrInService = errors.New("the volume is published, and may not change while it is")
	// ErrNameTaken is returned by CreateVolume if a volume of this name exists in another place.
	ErrNameTaken = errors.New("a volume of this name exists already")
	ErrBadToken  = errors.New("starting_token is not one that was given")
)

// The errors of the node service.
var (
	ErrConnection      = errors.New("the subsystem can't be reached from this node now")
	ErrNotBlank        = errors.New("the device is not proven blank, so it is not formatted")
	ErrOtherFilesystem = errors.New("the device holds something else than was asked for")
	ErrIncompatible    = errors.New("already there in another way")
	ErrInUse           = errors.New("still in use")
	ErrOtherMachine    = errors.New("the attachment was made for another machine of this name")
	ErrDamaged         = errors.New("the filesystem is damaged, so it is not mounted")
	ErrNotHere         = errors.New("the volume is not there on this node")
	ErrNotGrown        = errors.New("the device is smaller than asked for")
	ErrNotShared       = errors.New("mounts there aren't the host's: what is mounted doesn't show up on it, and what is unmounted stays")
	ErrNotStaged       = errors.New("staging_target_path is empty: stage the volume first")
)

// InvalidError is about a field of a request that isn't accepted. Want is what was expected. Field may contain the
// value; only its first 200 bytes are shown.
type InvalidError struct{ Field, Want string }

// Error names the field and the expectation.
func (e *InvalidError) Error() string { return fmt.Sprintf("%.200s: want %s", e.Field, e.Want) }
