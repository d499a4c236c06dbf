package transport

import (
	"errors"
	"fmt"
	"strings"
)

// What Exec, ListFiles and MakeDirectory may fail with. Callers use errors.Is; the errors they get say what and why.
var (
	// ErrUnreachable: no connection to the appliance, or it refused us; nothing was sent.
	ErrUnreachable = errors.New("the appliance can't be reached")
	// ErrHostKey: the appliance showed a host key that isn't pinned; it always comes together with ErrUnreachable.
	ErrHostKey = errors.New("the host key is not the pinned one")
	// ErrPermission: the appliance refused the user or the user's key, which comes together with ErrUnreachable, or
	// refused the user something once logged in.
	ErrPermission = errors.New("the appliance refuses permission")
	// ErrIncomplete: a command was sent and may have run, but its reply is missing or can't be understood.
	ErrIncomplete = errors.New("the reply is incomplete")
	// ErrNoFiles: there is no SFTP, which needs policy ftp in the user's group, so that the menu /file is the way to files.
	ErrNoFiles = fmt.Errorf("%w: no SFTP, which needs policy ftp in the user's group", ErrPermission)
)

// notSentError is ErrUnreachable for an appliance that was reached, and doesn't say that it wasn't.
type notSentError struct{ error }

// Unwrap returns what went wrong as well.
func (e notSentError) Unwrap() []error { return []error{ErrUnreachable, e.error} }

// CommandError is the appliance's refusal of a command. Nothing of the refused statement was applied.
type CommandError struct {
	// Text is what RouterOS said, for people to read.
	Text string
}

// Error returns the appliance's words, and what to do about a missing policy, which they don't name.
func (e *CommandError) Error() string {
	text := "the appliance refused: " + e.Text
	if e.Is(ErrPermission) {
		text += "; the group of the RouterOS user lacks a policy: it needs ssh, read, write and test"
	}
	return text
}

// Is reports whether target is ErrPermission and a policy is missing in the user's group. RouterOS says so in two ways.
func (e *CommandError) Is(target error) bool {
	text := strings.ToLower(e.Text)
	return target == ErrPermission && (strings.Contains(text, "not enough permissions") || strings.Contains(text, "not allowed (9)"))
}

// FieldError says which input can't be used and what was expected of it.
type FieldError struct{ Field, Value, Want string }

// Error names field, value (its first 200 bytes) and expectation.
func (e *FieldError) Error() string {
	return fmt.Sprintf("%s %.200q: want %s", e.Field, e.Value, e.Want)
}
