package sftpd

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/pkg/sftp"
	"k8s.io/klog/v2"
)

// Tree is what a client sees. Names have a leading slash; "/" is the root.
// Errors that are fs.ErrNotExist or fs.ErrPermission reach the client as such.
type Tree interface {
	Stat(name string) (fs.FileInfo, error)
	List(name string) ([]fs.FileInfo, error)
	Open(name string) (io.ReaderAt, error)
	// Create opens a file for writing with flags of package os.
	Create(name string, flags int) (io.WriterAt, error)
	Truncate(name string, size int64) error
	Mkdir(name string) error
	Remove(name string) error
	Rename(from, to string) error
}

// Serve speaks SFTP on a channel until the client is done or gone.
func Serve(ctx context.Context, tree Tree, channel io.ReadWriteCloser) {
	h := handlers{tree}
	server := sftp.NewRequestServer(channel, sftp.Handlers{FileGet: h, FilePut: h, FileCmd: h, FileList: h})
	if err := server.Serve(); err != nil && !errors.Is(err, io.EOF) {
		klog.FromContext(ctx).V(4).Info("SFTP ended", "reason", err.Error())
	}
	_ = server.Close() // the client left already
}

// handlers is a Tree in the words of package sftp.
type handlers struct{ tree Tree }

// status gives an error the code that the protocol has for it.
func status(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return sftp.ErrSSHFxNoSuchFile
	case errors.Is(err, fs.ErrPermission):
		return sftp.ErrSSHFxPermissionDenied
	default:
		return err
	}
}

// Fileread implements [sftp.FileReader].
func (h handlers) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	file, err := h.tree.Open(r.Filepath)
	return file, status(err)
}

// Filewrite implements [sftp.FileWriter].
func (h handlers) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	flags := os.O_WRONLY
	wanted := r.Pflags()
	for flag, set := range map[int]bool{os.O_CREATE: wanted.Creat, os.O_TRUNC: wanted.Trunc, os.O_EXCL: wanted.Excl} {
		if set {
			flags |= flag
		}
	}
	file, err := h.tree.Create(r.Filepath, flags)
	return file, status(err)
}

// Filecmd implements [sftp.FileCmder].
func (h handlers) Filecmd(r *sftp.Request) error { return status(h.command(r)) }

func (h handlers) command(r *sftp.Request) error {
	switch r.Method {
	case "Mkdir":
		return h.tree.Mkdir(r.Filepath)
	case "Remove", "Rmdir":
		return h.tree.Remove(r.Filepath)
	case "Rename":
		return h.tree.Rename(r.Filepath, r.Target)
	case "Setstat":
		if r.AttrFlags().Size {
			return h.tree.Truncate(r.Filepath, int64(r.Attributes().Size)) //nolint:gosec // the tree refuses a negative size
		}
		return nil // modes and times don't exist there
	default:
		return sftp.ErrSSHFxOpUnsupported
	}
}

// Filelist implements [sftp.FileLister].
func (h handlers) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	switch r.Method {
	case "List":
		infos, err := h.tree.List(r.Filepath)
		return listing(infos), status(err)
	case "Stat":
		info, err := h.tree.Stat(r.Filepath)
		return listing{info}, status(err)
	default:
		return nil, sftp.ErrSSHFxOpUnsupported
	}
}

// listing is a list that is read in pieces.
type listing []fs.FileInfo

// ListAt implements [sftp.ListerAt].
func (l listing) ListAt(into []fs.FileInfo, offset int64) (int, error) {
	if offset >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(into, l[offset:])
	if n < len(into) {
		return n, io.EOF
	}
	return n, nil
}
