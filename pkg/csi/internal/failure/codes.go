package failure

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// Code returns the gRPC code of an error, OK for none. A refusal by the appliance gets a final code. Where it isn't known whether
// something was done, the code makes the sidecars ask again (UNAVAILABLE, ABORTED, DEADLINE_EXCEEDED).
func Code(err error) codes.Code {
	if err == nil {
		return codes.OK
	}
	for _, row := range codeTable() {
		if errors.Is(err, row.is) {
			return row.code
		}
	}
	var (
		invalid *InvalidError
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

// codeTable is searched from the top: the outer meaning of a wrapped error stands above the inner one.
func codeTable() []codeRow {
	return []codeRow{
		{ErrBusy, codes.Aborted},
		{ErrOutOfRange, codes.OutOfRange},
		{ErrInService, codes.FailedPrecondition},
		{ErrNameTaken, codes.AlreadyExists},
		{ErrBadToken, codes.Aborted},
		{ErrConnection, codes.Unavailable},
		{ErrNotBlank, codes.FailedPrecondition},
		{ErrOtherFilesystem, codes.FailedPrecondition},
		{ErrIncompatible, codes.AlreadyExists},
		{ErrInUse, codes.FailedPrecondition},
		{ErrDamaged, codes.FailedPrecondition},
		{ErrNotHere, codes.NotFound},
		{ErrNotGrown, codes.Unavailable},
		{ErrNotStaged, codes.FailedPrecondition},
		{ErrOtherMachine, codes.FailedPrecondition},
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
		{rds.ErrUnreadable, codes.Unavailable},
		{rds.ErrWentBack, codes.Unavailable},
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

// Status returns the error that leaves the process: code and text, no details, as CSI demands.
func Status(err error) error {
	if _, done := status.FromError(err); done {
		return err
	}
	return status.Error(Code(err), err.Error())
}
