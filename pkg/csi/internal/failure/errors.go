package failure

import (
	"errors"
	"fmt"
)

// What both services fail with by themselves. The errors of packages attach, nvme and rds pass through unchanged.
var (
	ErrBusy       = errors.New("another operation on this volume is under way")
	ErrOutOfRange = errors.New("size out of range")
	// ErrPanic is a bug of the driver.
	ErrPanic = errors.New("the driver failed in a way that nobody foresaw; please report it with the log")
)

// What the controller service fails with.
var (
	// ErrInService is returned for a change that needs a volume which no node has.
	ErrInService = errors.New("the volume is published, and may not change while it is")
	// ErrNameTaken is returned by CreateVolume: a second volume of one name can't be made.
	ErrNameTaken = errors.New("a volume of this name exists already")
	ErrBadToken  = errors.New("starting_token is not one that was given")
)

// What the node service fails with.
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
	ErrNotStaged       = errors.New("staging_target_path is empty: stage the volume first")
)

// InvalidError says which field of a request can't be accepted, and what was expected. It shows the first 200 bytes of the
// field, which may carry the value.
type InvalidError struct{ Field, Want string }

// Error names the field and the expectation.
func (e *InvalidError) Error() string { return fmt.Sprintf("%.200s: want %s", e.Field, e.Want) }
