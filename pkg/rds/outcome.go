package rds

import (
	"errors"
	"io/fs"
)

// Outcome is how a command ended, as metrics name it.
type Outcome string

// The outcomes of a command.
const (
	// OutcomeDone: it ran; whether the state after it is the wanted one is another question.
	OutcomeDone Outcome = "done"
	// OutcomeRefused: the appliance refused it, or a part of it.
	OutcomeRefused Outcome = "refused"
	// OutcomeUnreachable: it was not sent.
	OutcomeUnreachable Outcome = "unreachable"
	// OutcomeLost: it was sent, and its reply was lost; it may have run.
	OutcomeLost Outcome = "lost"
	// OutcomeInvalid: the driver refused to send it, since a text in it isn't fit for a command.
	OutcomeInvalid Outcome = "invalid"
)

// Outcomes are all of them, for metrics to declare.
func Outcomes() []Outcome {
	return []Outcome{OutcomeDone, OutcomeRefused, OutcomeUnreachable, OutcomeLost, OutcomeInvalid}
}

// outcomeOf gives the outcome of a command or of an operation on files by its error.
func outcomeOf(err error) Outcome {
	var field *FieldError
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return OutcomeDone
	case errors.Is(err, ErrUnreachable):
		return OutcomeUnreachable
	case errors.Is(err, ErrIncomplete):
		return OutcomeLost
	case errors.As(err, &field):
		return OutcomeInvalid
	default:
		return OutcomeRefused
	}
}

// ConnectResult is how an attempt to connect ended, as metrics name it.
type ConnectResult string

// The results of an attempt to connect.
const (
	ConnectDone        ConnectResult = "done"
	ConnectUnreachable ConnectResult = "unreachable"
	ConnectHostKey     ConnectResult = "host_key"
	ConnectPermission  ConnectResult = "permission"
	ConnectCredentials ConnectResult = "credentials"
)

// ConnectResults are all of them, for metrics to declare.
func ConnectResults() []ConnectResult {
	return []ConnectResult{ConnectDone, ConnectUnreachable, ConnectHostKey, ConnectPermission, ConnectCredentials}
}

func connectResultOf(err error) ConnectResult {
	var field *FieldError
	switch {
	case err == nil:
		return ConnectDone
	case errors.Is(err, ErrHostKey):
		return ConnectHostKey
	case errors.Is(err, ErrPermission):
		return ConnectPermission
	case errors.As(err, &field):
		return ConnectCredentials
	default:
		return ConnectUnreachable
	}
}
