package rds

import (
	"context"
	"fmt"
)

// Transport carries commands to the appliance and their answers back. transport.SSH is one. It is safe for concurrent use.
// Errors of every method: ErrUnreachable (nothing was sent), ErrIncomplete (it was sent and may have been done), a
// *FieldError (a text can't be sent), or a *CommandError (the appliance refused).
type Transport interface {
	// String names the appliance and the user, for people.
	fmt.Stringer
	// Exec runs one console line and returns what it printed.
	Exec(ctx context.Context, line string) (output string, err error)
	// ListFiles returns the names of what is in a directory of the file tree, in order. MakeDirectory makes a directory in
	// one that exists. Their error is ErrNoFiles if this transport can't reach files. The console can.
	ListFiles(ctx context.Context, directory string) (names []string, err error)
	MakeDirectory(ctx context.Context, directory string) error
	// WriteFile makes a file with this content, and ReadFile reads the first bytes of one, at most so many. Their error is
	// ErrNoFiles as well.
	WriteFile(ctx context.Context, name string, content []byte) error
	ReadFile(ctx context.Context, name string, most int64) (content []byte, err error)
	// Trust says by what the appliance was recognised. It is empty before the first connection.
	Trust() string
	// Close ends everything that the transport started. Operations in flight fail.
	Close()
}
