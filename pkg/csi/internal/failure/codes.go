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

// Code returns the gRPC code of an error, OK for nil. A refusal by the appliance has a final code. If the outcome isn't
// known, the code makes the sidecars call again (UNAVAILABLE, ABORTED, DEADLINE_EXCEEDED).
func Code(err error) codes.Code {
	if err == nil {
		return codes.OK
	}
	for _, row := range codeTable() {
		if errors.Is(err, row.is) {
			return row.code
		}
	}
	switch {
	case is[*InvalidError](err), is[*rds.FieldError](err), is[*nvme.OptionError](err):
		return codes.InvalidArgument
	case is[*rds.ChangedError](err):
		return codes.Aborted
	default:
		return codes.Internal
	}
}

func is[E error](err error) bool {
	_, found := errors.AsType[E](err)
	return found
}

type codeRow struct {
	is   error
	code codes.Code
}

// codeTable is searched from the top. An error that wraps another one stands above it.
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
		{ErrNotShared, codes.FailedPrecondition},
		{ErrNotStaged, codes.FailedPrecondition},
		{ErrOtherMachine, codes.FailedPrecondition},
		{attach.ErrVersion0, codes.FailedPrecondition},
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
		{rds.ErrTooLarge, codes.Unavailable},
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

// Status returns the error as a gRPC status: code and text, without details, as CSI demands. A status stays as it is.
func Status(err error) error {
	if _, done := status.FromError(err); done {
		return err
	}
	return status.Error(Code(err), err.Error())
}
