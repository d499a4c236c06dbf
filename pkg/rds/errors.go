package rds

import (
	"errors"
	"fmt"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds/transport"
)

// What an operation may fail with. Callers use errors.Is; the errors they get say which disk, which appliance and why.
var (
	// ErrNotFound: the appliance, past its boot window and with the pool mounted, has no such disk.
	ErrNotFound = errors.New("no such disk")
	// ErrExists: the slot or the backing file is taken by something with other properties.
	ErrExists = errors.New("exists with different properties")
	// ErrElsewhere: the disk is there, under another pool or directory than the volume ID says; it always comes together with
	// ErrExists.
	ErrElsewhere = fmt.Errorf("%w: its disk is in another place", ErrExists)
	// ErrNotOurs: a disk has the slot but isn't provably this driver's and this cluster's; it is never touched.
	ErrNotOurs = errors.New("not a disk of this driver and cluster")
	// ErrOtherAppliance: the volume is on an appliance that this driver doesn't serve; it always comes together with
	// ErrNotOurs.
	ErrOtherAppliance = fmt.Errorf("%w: it is on another appliance", ErrNotOurs)
	// ErrUnreadable: a disk of this driver and cluster is shown with a property that can't be understood. It is never touched.
	ErrUnreadable = errors.New("a disk that can't be understood")
	// ErrNoSpace: the pool has less free space than the volume needs.
	ErrNoSpace = errors.New("not enough space in the pool")
	// ErrNoPool: the appliance has no mounted pool of this name.
	ErrNoPool = errors.New("no such pool")
	// ErrNotReady: the appliance is booting or its pool isn't mounted, so what it doesn't list may exist all the same.
	ErrNotReady = errors.New("the appliance is not ready")
	// ErrUnsupported: the appliance's RouterOS is too old or lacks a package.
	ErrUnsupported = errors.New("the appliance can't do what the driver needs")
	// ErrHeld: the volume has a holder, so it can't be deleted.
	ErrHeld = errors.New("the volume is held")
	// ErrWentBack: the record is older than what was written to it before; the appliance lost something.
	ErrWentBack = errors.New("the appliance went back in time")
	// ErrUnreachable: no connection to the appliance, or it refused us; nothing was sent.
	ErrUnreachable = transport.ErrUnreachable
	// ErrPermission: the appliance refused the user or the user's key, which comes together with ErrUnreachable, or
	// refused the user something once logged in.
	ErrPermission = transport.ErrPermission
	// ErrIncomplete: a command was sent and may have run, but its reply is missing or can't be understood.
	ErrIncomplete = transport.ErrIncomplete
	// ErrTooLarge: the reply to a read was longer than what RouterOS sends, so its end is missing. It comes together with
	// ErrIncomplete.
	ErrTooLarge = fmt.Errorf("%w: the appliance has more to say than it sends in one reply", ErrIncomplete)
	// ErrNoFiles: the transport can't reach files, so that the menu /file is the way to them.
	ErrNoFiles = transport.ErrNoFiles
	// ErrUnknownOutcome: a command was sent, its reply was lost, and the state could not be read back.
	ErrUnknownOutcome = errors.New("the outcome is unknown")
)

// CommandError is the appliance's refusal of a command. Nothing of the refused statement was applied.
type CommandError = transport.CommandError

// FieldError says which input can't be used and what was expected of it.
type FieldError = transport.FieldError

// ChangedError says that somebody else wrote to the disk first, so the operation's condition didn't match and nothing
// was changed.
type ChangedError struct {
	// Now is the disk as the appliance shows it instead.
	Now Disk
}

// Error says which disk changed.
func (e *ChangedError) Error() string {
	return fmt.Sprintf("disk %s was changed by somebody else (it is at generation %d now)", e.Now.ID, e.Now.Record.Generation)
}
