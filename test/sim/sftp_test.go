package sim_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pkg/sftp"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// sftp opens the subsystem on the bench's connection.
func (b *bench) sftp(t *testing.T) *sftp.Client {
	t.Helper()
	client, err := sftp.NewClient(b.client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func put(t *testing.T, client *sftp.Client, name, text string) {
	t.Helper()
	file, err := client.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(file, text)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
}

func list(t *testing.T, client *sftp.Client, directory string) []string {
	t.Helper()
	infos, err := client.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, info := range infos {
		names = append(names, info.Name())
	}
	return slices.Sorted(slices.Values(names))
}

func TestSFTPShowsTheFileTree(t *testing.T) {
	for _, root := range []string{"", "/"} {
		b := start(t, nil)
		client := b.sftp(t)
		if err := client.Mkdir(root + "raid10/d"); err != nil {
			t.Fatal(err)
		}
		put(t, client, root+"raid10/d/a.txt", "some text")
		if got, err := b.exec(t, `:put [/file get raid10/d/a.txt size]; :put [/file get raid10/d type]`); err != nil || got != "9\r\ndirectory\r\n" {
			t.Errorf("/file shows %q, %v, want the file and the directory", got, err)
		}
		for directory, want := range map[string][]string{"": {"raid10"}, "raid10": {"d"}, "raid10/d": {"a.txt"}} {
			if got := list(t, client, root+directory); !cmp.Equal(got, want) {
				t.Errorf("%q lists %v, want %v", root+directory, got, want)
			}
		}
		file, err := client.Open(root + "raid10/d/a.txt")
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(file)
		if err := errors.Join(err, file.Close()); err != nil || string(data) != "some text" {
			t.Errorf("got %q, %v, want what was put", data, err)
		}
		if err := client.RemoveDirectory(root + "raid10/d"); err == nil {
			t.Error("a directory with a file in it could be removed")
		}
		if err := errors.Join(client.Remove(root+"raid10/d/a.txt"), client.RemoveDirectory(root+"raid10/d")); err != nil {
			t.Errorf("remove: %v", err)
		}
		if got := list(t, client, root+"raid10"); len(got) != 0 {
			t.Errorf("after removing everything: got %v", got)
		}
	}
}

func TestSFTPSizesAreNotToBeReliedOn(t *testing.T) {
	for _, exact := range []bool{false, true} {
		b := start(t, func(o *sim.Options) { o.Unknowns.ExactSFTPSizes = exact })
		client := b.sftp(t)
		put(t, client, "raid10/a.txt", "some text")
		info, err := client.Stat("raid10/a.txt")
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Size() == 9; got != exact {
			t.Errorf("exact=%t: stat says %d bytes of 9", exact, info.Size())
		}
	}
}

func TestSFTPRenameMayBeRefused(t *testing.T) {
	b := start(t, nil)
	client := b.sftp(t)
	put(t, client, "raid10/a.txt", "text")
	if err := client.Rename("raid10/a.txt", "raid10/b.txt"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("rename: got %v, want it refused", err)
	}
	b = start(t, func(o *sim.Options) { o.Unknowns.SFTPRename = true })
	client = b.sftp(t)
	put(t, client, "raid10/a.txt", "text")
	put(t, client, "raid10/c.txt", "text")
	if err := client.Rename("raid10/a.txt", "raid10/c.txt"); err == nil {
		t.Error("rename onto another file succeeded")
	}
	if err := client.Rename("raid10/a.txt", "raid10/b.txt"); err != nil {
		t.Errorf("rename: %v", err)
	}
	if got, want := list(t, client, "raid10"), []string{"b.txt", "c.txt"}; !cmp.Equal(got, want) {
		t.Errorf("after the rename: got %v, want %v", got, want)
	}
}

func TestSFTPNeedsThePolicyFTP(t *testing.T) {
	b := start(t, func(o *sim.Options) {
		o.Users[0].Policies = &appliance.Policies{SSH: true, Read: true, Write: true, Test: true}
	})
	if client, err := sftp.NewClient(b.client); err == nil {
		_ = client.Close()
		t.Error("the subsystem was opened without the policy ftp")
	}
	if got, err := b.exec(t, `:put [/system resource get version]`); err != nil || got != "7.24.4 (stable)\r\n" {
		t.Errorf("an exec on the same connection: got %q, %v", got, err)
	}
}

func TestThereIsNoOtherSubsystem(t *testing.T) {
	session, err := start(t, nil).client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close() }()
	if err := session.RequestSubsystem("netconf"); err == nil {
		t.Error("an unknown subsystem was opened")
	}
}

func TestSFTPStaysWithinThePool(t *testing.T) {
	b := start(t, func(o *sim.Options) { o.Pools[0].Size = 1 << 16 })
	client := b.sftp(t)
	// A path that points out of the tree is one inside of it.
	put(t, client, "../raid10/../../raid10/small", "x")
	if got := list(t, client, "raid10"); !slices.Contains(got, "small") {
		t.Errorf("got %v, want the file inside of the pool", got)
	}
	file, err := client.Create("raid10/big")
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.Write(make([]byte, 1<<17))
	if err := errors.Join(err, file.Close()); err == nil {
		t.Error("more was written than the pool holds")
	}
	for _, name := range []string{"outside.txt", "nopool/a.txt", "raid10/nodir/a.txt"} {
		if file, err := client.Create(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("create %s: got %v, %v, want that it does not exist", name, file, err)
		}
	}
	if err := client.Remove("raid10"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("remove a pool: got %v, want it refused", err)
	}
}

func TestSFTPRemovesWhatADiskUsesUnlessRefused(t *testing.T) {
	const add = `/disk add type=file slot=x file-path=raid10/x.img file-size=1M`
	for _, refused := range []bool{false, true} {
		b := start(t, func(o *sim.Options) { o.Unknowns.RefuseLiveFileRemove = refused })
		if out, err := b.exec(t, add); err != nil || out != "" {
			t.Fatal(out, err)
		}
		if err := b.sftp(t).Remove("raid10/x.img"); errors.Is(err, fs.ErrPermission) != refused {
			t.Errorf("refused=%t: got %v", refused, err)
		}
	}
}

func TestSFTPSetsTheSizeOfAFile(t *testing.T) {
	b := start(t, nil)
	client := b.sftp(t)
	put(t, client, "raid10/a.txt", "some text")
	if err := errors.Join(client.Truncate("raid10/a.txt", 4), client.Chmod("raid10/a.txt", 0o600)); err != nil {
		t.Fatal(err)
	}
	if got, err := b.exec(t, `:put [/file get raid10/a.txt size]`); err != nil || got != "4\r\n" {
		t.Errorf("got %q, %v, want 4", got, err)
	}
	if _, err := client.ReadLink("raid10/a.txt"); err == nil {
		t.Error("a link was read, want none to exist")
	}
	if err := client.Symlink("raid10/a.txt", "raid10/l"); err == nil {
		t.Error("a link was made")
	}
	if err := client.Truncate("raid10/nosuch", 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("truncate what isn't there: got %v", err)
	}
}

func TestConnectedUsersAreListed(t *testing.T) {
	b := start(t, nil)
	got, err := b.exec(t, `/user active print terse proplist=name,address,via; :put [:len [/ip service find where dynamic]]; :put [/ip service get *1 max-sessions]`)
	if err != nil || got != " 0   name=csi address=127.0.0.1 via=ssh\r\n1\r\n20\r\n" {
		t.Errorf("got %q, %v, want this connection", got, err)
	}
	_ = b.client.Close()
	// The server notices in its own time.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for ; ctx.Err() == nil; runtime.Gosched() {
		out, err := b.Exec(t.Context(), `/user active print count-only`)
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(out) == "0" {
			return
		}
	}
	t.Error("a closed connection stays listed")
}
