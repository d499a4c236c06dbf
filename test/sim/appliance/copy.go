package appliance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// copyDisk is /disk copy: the bytes of a disk or file go to another. It prints
// the status line it ends with.
func (a *Appliance) copyDisk(call script.Call) (script.Result, error) {
	source := a.contents(script.Format(call.Args["src"]))
	target := a.contents(script.Format(call.Args["dst"]))
	size, err := a.copyContents(source, target)
	if err != nil {
		return script.Result{}, err
	}
	takes := a.options.Timing.writing(size)
	return script.Result{
		Text: fmt.Sprintf("%d / %d (100%%)", size, size),
		Wait: func(ctx context.Context) { pause(ctx, takes) },
	}, nil
}

// contents is the file behind a slot, or the file of that name.
func (a *Appliance) contents(name string) string {
	i := slices.IndexFunc(a.disks, func(d *disk) bool { return d.Slot == name || itemID(d.ID) == name })
	if i >= 0 {
		return a.disks[i].File
	}
	return fileName(name)
}

// copyFile is /file copy.
func (a *Appliance) copyFile(call script.Call) error {
	target := fileName(script.Format(call.Args["name"]))
	if _, err := a.files.Stat(target); err == nil {
		return a.unknown(a.options.Unknowns.Texts.FileExists)
	}
	_, err := a.copyContents(fileName(script.Format(call.Args["numbers"])), target)
	return err
}

// copyContents makes target hold what source holds; a target that is larger
// keeps its size and what lies behind. Properties are not copied.
func (a *Appliance) copyContents(source, target string) (int64, error) {
	if a.checkFile(source) != nil {
		return 0, noSuchItem()
	}
	info, err := a.files.Stat(source)
	if err != nil || info.IsDir() {
		return 0, noSuchItem()
	}
	size := info.Size()
	if existing, err := a.files.Stat(target); err != nil || existing.Size() < size {
		if err == nil && a.backs(target) {
			return 0, a.unknown(a.options.Unknowns.Texts.PoolFull)
		}
		if err := a.resizeFile(target, size); err != nil {
			return 0, err
		}
	}
	from, err := a.files.Open(source)
	if err != nil {
		return 0, fmt.Errorf("copy %s: %w", source, err)
	}
	to, err := a.files.OpenFile(target, os.O_WRONLY, 0)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("copy to %s: %w", target, err), from.Close())
	}
	err = errors.Join(copySparse(to, from, size), from.Close(), to.Close())
	if err != nil {
		return 0, fmt.Errorf("copy %s to %s: %w", source, target, err)
	}
	return size, nil
}

// copySparse copies size bytes and leaves holes where the source has them.
func copySparse(to, from *os.File, size int64) error {
	const hole = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	if err := unix.Fallocate(int(to.Fd()), hole, 0, max(size, 1)); err != nil {
		return err
	}
	for at := int64(0); ; {
		data, err := from.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return err
		}
		end, err := from.Seek(data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		at = min(end, size)
		if _, err := io.Copy(io.NewOffsetWriter(to, data), io.NewSectionReader(from, data, at-data)); err != nil {
			return err
		}
	}
}
