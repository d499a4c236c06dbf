package appliance

import (
	"errors"
	"fmt"
	"io/fs"
)

// OperatorComment marks the disks that DuplicateSlot adds.
const OperatorComment = "made by an operator"

// operatorDiskSize is the size of such a disk in bytes.
const operatorDiskSize = 1 << 20

// DuplicateSlot adds a disk with a file of its own under a slot that may be
// taken: whether RouterOS makes slots unique in every case isn't known.
func (a *Appliance) DuplicateSlot(slot string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.phase == Down {
		return ErrPowerOff
	}
	d := newDisk(a.nextID)
	d.Slot, d.Comment, d.FileSize = slot, OperatorComment, operatorDiskSize
	d.File = fmt.Sprintf("%s/operator-%d.img", a.options.Pools[0].Name, d.ID)
	d.NQN = fmt.Sprintf("nqn.2000-02.com.mikrotik:operator-%d", d.ID)
	if err := a.truncate(d.File, d.FileSize); err != nil {
		return err
	}
	a.nextID++
	a.disks = append(a.disks, d)
	return a.save()
}

// LoseFile removes the backing files of the disks with that slot, as somebody
// would who knows nothing of them.
func (a *Appliance) LoseFile(slot string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.disks {
		if d.Slot != slot {
			continue
		}
		if err := a.files.Remove(d.File); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("lose the file of disk %s: %w", slot, err)
		}
	}
	return nil
}
