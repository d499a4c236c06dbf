package failure

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// wantCodes are what the sidecars' retries depend on. They are written down a second time, so that a code changes in two
// places or in none.
func wantCodes() map[error]codes.Code {
	return map[error]codes.Code{
		ErrBusy:             codes.Aborted,
		ErrOutOfRange:       codes.OutOfRange,
		ErrPanic:            codes.Internal,
		ErrInService:        codes.FailedPrecondition,
		ErrNameTaken:        codes.AlreadyExists,
		ErrBadToken:         codes.Aborted,
		ErrConnection:       codes.Unavailable,
		ErrNotBlank:         codes.FailedPrecondition,
		ErrOtherFilesystem:  codes.FailedPrecondition,
		ErrIncompatible:     codes.AlreadyExists,
		ErrInUse:            codes.FailedPrecondition,
		ErrOtherMachine:     codes.FailedPrecondition,
		ErrDamaged:          codes.FailedPrecondition,
		ErrNotHere:          codes.NotFound,
		ErrNotGrown:         codes.Unavailable,
		ErrNotShared:        codes.FailedPrecondition,
		ErrNotStaged:        codes.FailedPrecondition,
		&InvalidError{}:     codes.InvalidArgument,
		&nvme.OptionError{}: codes.InvalidArgument,

		attach.ErrVersion0:     codes.FailedPrecondition,
		attach.ErrConflict:     codes.FailedPrecondition,
		attach.ErrIncompatible: codes.AlreadyExists,
		attach.ErrUnfenced:     codes.FailedPrecondition,
		attach.ErrLeaving:      codes.FailedPrecondition,
		attach.ErrNoNode:       codes.NotFound,
		attach.ErrSuperseded:   codes.Aborted,
		attach.ErrUnknown:      codes.Unavailable,

		rds.ErrNotFound:       codes.NotFound,
		rds.ErrExists:         codes.AlreadyExists,
		rds.ErrElsewhere:      codes.FailedPrecondition,
		rds.ErrNotOurs:        codes.FailedPrecondition,
		rds.ErrOtherAppliance: codes.FailedPrecondition,
		rds.ErrUnreadable:     codes.Unavailable,
		rds.ErrNoSpace:        codes.ResourceExhausted,
		rds.ErrNoPool:         codes.InvalidArgument,
		rds.ErrNotReady:       codes.Unavailable,
		rds.ErrHeld:           codes.FailedPrecondition,
		rds.ErrWentBack:       codes.Unavailable,
		rds.ErrUnreachable:    codes.Unavailable,
		rds.ErrPermission:     codes.PermissionDenied,
		rds.ErrTooLarge:       codes.Unavailable,
		rds.ErrUnknownOutcome: codes.Unavailable,
		&rds.ChangedError{}:   codes.Aborted,
		&rds.CommandError{}:   codes.Internal,
		&rds.FieldError{}:     codes.InvalidArgument,

		context.DeadlineExceeded: codes.DeadlineExceeded,
		context.Canceled:         codes.Canceled,
		errors.New("unforeseen"): codes.Internal,
	}
}

func TestEveryErrorHasItsCode(t *testing.T) {
	want := wantCodes()
	for err, code := range want {
		if got := Code(fmt.Errorf("while doing something: %w", err)); got != code {
			t.Errorf("%v (%T): got %s, want %s", err, err, got, code)
		}
	}
	for _, row := range codeTable() {
		if _, written := want[row.is]; !written {
			t.Errorf("%v: its code is written down in one place only", row.is)
		}
	}
	if got := Code(nil); got != codes.OK {
		t.Errorf("no error: got %s", got)
	}
}

// An error may wrap its cause, which has a code of its own.
func TestTheOuterMeaningOfAnErrorDecides(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want codes.Code
	}{
		"the appliance refused the key":           {fmt.Errorf("%w: %w", rds.ErrUnreachable, rds.ErrPermission), codes.Unavailable},
		"a reply was lost, and then the deadline": {fmt.Errorf("%w: %w", rds.ErrUnknownOutcome, context.DeadlineExceeded), codes.Unavailable},
		"the connection, for want of time":        {fmt.Errorf("%w: %w", ErrConnection, context.DeadlineExceeded), codes.Unavailable},
		"the connection, given up":                {fmt.Errorf("%w: %w", ErrConnection, context.Canceled), codes.Unavailable},
		"the device couldn't be read":             {fmt.Errorf("%w: %w", ErrNotBlank, context.DeadlineExceeded), codes.FailedPrecondition},
		"a pool that is full":                     {fmt.Errorf("%w: %w", rds.ErrNoSpace, &rds.CommandError{}), codes.ResourceExhausted},
		"a file that can't be read":               {fmt.Errorf("%w: %w", rds.ErrUnreachable, &rds.FieldError{}), codes.Unavailable},
		"a volume that can't be":                  {fmt.Errorf("%w: %w", rds.ErrNotFound, &rds.FieldError{}), codes.NotFound},
		"an ID that is none, on the node":         {fmt.Errorf("%w: %w", ErrNotHere, &rds.FieldError{}), codes.NotFound},
		"a status":                                {status.Error(codes.DataLoss, "done"), codes.DataLoss},
	} {
		t.Run(name, func(t *testing.T) {
			if got := status.Code(Status(test.err)); got != test.want {
				t.Errorf("%v: got %s, want %s", test.err, got, test.want)
			}
		})
	}
}
