package csi

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// What handlers fail with by themselves; the errors of packages rds and attach pass through unchanged.
var (
	errBusy       = errors.New("another operation on this volume is under way")
	errOutOfRange = errors.New("size out of range")
	// errInService: a change needs a volume that nobody uses.
	errInService = errors.New("the volume is published, and may not change while it is")
	// errNameTaken: CreateVolume can't make a second volume of one name.
	errNameTaken = errors.New("a volume of this name exists already")
	errBadToken  = errors.New("starting_token is not one that was given")
	// errPanic: a bug of ours.
	errPanic = errors.New("the driver failed in a way that nobody foresaw; please report it with the log")
	// errResolving comes with an error that may be gone in a moment.
	errResolving = errors.New("about to change")
)

// What the node service fails with.
var (
	errConnection      = errors.New("the subsystem can't be reached from this node now")
	errNotBlank        = errors.New("the device is not proven blank, so it is not formatted")
	errOtherFilesystem = errors.New("the device holds something else than was asked for")
	errIncompatible    = errors.New("already there in another way")
	errInUse           = errors.New("still in use")
	errOtherMachine    = errors.New("the attachment was made for another machine of this name")
	errDamaged         = errors.New("the filesystem is damaged, so it is not mounted")
	errNotHere         = errors.New("the volume is not there on this node")
	errNotGrown        = errors.New("the device is smaller than asked for")
	errNotStaged       = errors.New("staging_target_path is empty: stage the volume first")
)

// invalidError says which field of a request can't be accepted, and what was expected. Of a value that is named with the
// field, 200 bytes are enough.
type invalidError struct{ field, want string }

func (e *invalidError) Error() string { return fmt.Sprintf("%.200s: want %s", e.field, e.want) }

// codeOf is the one place where errors become gRPC codes. If the appliance said no, the code is final; if it isn't known
// whether something was done, the code makes the sidecars ask again (UNAVAILABLE, ABORTED, DEADLINE_EXCEEDED).
func codeOf(err error) codes.Code {
	for _, row := range codeTable() {
		if errors.Is(err, row.is) {
			return row.code
		}
	}
	var (
		invalid *invalidError
		field   *rds.FieldError
		option  *nvme.OptionError
		changed *rds.ChangedError
	)
	switch {
	case errors.As(err, &invalid), errors.As(err, &field), errors.As(err, &option):
		return codes.InvalidArgument
	case errors.As(err, &changed):
		return codes.Aborted
	default:
		return codes.Internal
	}
}

type codeRow struct {
	is   error
	code codes.Code
}

// codeTable is searched from the top, so the outer meaning of a wrapped error stands above the inner one.
func codeTable() []codeRow {
	return []codeRow{
		{errBusy, codes.Aborted},
		{errOutOfRange, codes.OutOfRange},
		{errInService, codes.FailedPrecondition},
		{errNameTaken, codes.AlreadyExists},
		{errBadToken, codes.Aborted},
		{errConnection, codes.Unavailable},
		{errNotBlank, codes.FailedPrecondition},
		{errOtherFilesystem, codes.FailedPrecondition},
		{errIncompatible, codes.AlreadyExists},
		{errInUse, codes.FailedPrecondition},
		{errDamaged, codes.FailedPrecondition},
		{errNotHere, codes.NotFound},
		{errNotGrown, codes.Unavailable},
		{errNotStaged, codes.FailedPrecondition},
		{errOtherMachine, codes.FailedPrecondition},
		{attach.ErrConflict, codes.FailedPrecondition},
		{attach.ErrIncompatible, codes.AlreadyExists},
		{attach.ErrUnfenced, codes.FailedPrecondition},
		{attach.ErrLeaving, codes.FailedPrecondition},
		{attach.ErrNoNode, codes.NotFound},
		{attach.ErrSuperseded, codes.Aborted},
		{attach.ErrUnknown, codes.Unavailable},
		{rds.ErrUnknownOutcome, codes.Unavailable},
		{rds.ErrUnreachable, codes.Unavailable},
		{rds.ErrNotReady, codes.Unavailable},
		{rds.ErrRewound, codes.Unavailable},
		{rds.ErrPermission, codes.PermissionDenied},
		{rds.ErrNoPool, codes.InvalidArgument},
		{rds.ErrNoSpace, codes.ResourceExhausted},
		{rds.ErrNotOurs, codes.FailedPrecondition},
		{rds.ErrElsewhere, codes.FailedPrecondition},
		{rds.ErrExists, codes.AlreadyExists},
		{rds.ErrNotFound, codes.NotFound},
		{rds.ErrHeld, codes.FailedPrecondition},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{context.Canceled, codes.Canceled},
	}
}

// asStatus gives the error that leaves the process: code and text, no details, as CSI demands.
func asStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, done := status.FromError(err); done {
		return err
	}
	return status.Error(codeOf(err), err.Error())
}
