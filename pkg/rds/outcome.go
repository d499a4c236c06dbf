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
	// OutcomeInvalid: the driver refused to send it, since a text in it can't be sent.
	OutcomeInvalid Outcome = "invalid"
)

// Outcomes are all of them, for metrics to declare.
func Outcomes() []Outcome {
	return []Outcome{OutcomeDone, OutcomeRefused, OutcomeUnreachable, OutcomeLost, OutcomeInvalid}
}

// outcomeOf returns how a command or an operation on files ended, by its error.
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
