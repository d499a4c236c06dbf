package rds

import "context"

// Transport carries commands to the appliance and their answers back: SSH here, and whatever else may speak for an
// appliance one day. It is safe for concurrent use. Errors of every method: ErrUnreachable (nothing was sent),
// ErrIncomplete (it was sent and may have been done), a *FieldError (a text isn't fit), or the appliance's refusal.
type Transport interface {
	// Exec runs one console line and returns what it printed.
	Exec(ctx context.Context, line string) (output string, err error)
	// ListFiles gives the names of what is in a directory of the file tree, in order, and MakeDirectory makes one in a
	// directory that exists. Their error is ErrNoFiles if this transport has no way to files, so that the console has to do.
	ListFiles(ctx context.Context, directory string) (names []string, err error)
	MakeDirectory(ctx context.Context, directory string) error
	// Trust says by what the appliance was recognised, empty before it was.
	Trust() string
	// Close ends everything that the transport started. Operations in flight fail.
	Close()
}

// sshTransport is a kept SSH connection: commands are execs on it, and files are reached over SFTP.
type sshTransport struct{ session *session }

// Exec runs the line in a channel of its own.
func (t sshTransport) Exec(ctx context.Context, line string) (string, error) {
	return t.session.exec(ctx, line)
}

// ListFiles lists over SFTP.
func (t sshTransport) ListFiles(ctx context.Context, directory string) ([]string, error) {
	return fileTree(t).list(ctx, directory)
}

// MakeDirectory makes it over SFTP; it is fine if it exists.
func (t sshTransport) MakeDirectory(ctx context.Context, directory string) error {
	return fileTree(t).makeDirectory(ctx, directory)
}

// Trust gives type and fingerprint of the host key.
func (t sshTransport) Trust() string { return t.session.trustedHostKey() }

// Close closes the connection.
func (t sshTransport) Close() { t.session.close() }
