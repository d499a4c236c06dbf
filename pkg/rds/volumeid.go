package rds

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"
)

// MaxVolumeIDLength is the longest volume ID, in bytes: CSI bounds every identifier at 128.
const MaxVolumeIDLength = 128

// maxSlotLength is the longest slot that RouterOS 7.24 was seen to accept.
const maxSlotLength = 32

const (
	slotPrefix      = "csi-"
	backingFileType = ".img"
)

// VolumeID names a volume: the directory of its backing file, whose first element is the pool's mount point, and its slot.
// As text it is the backing file's path without its ending, "raid10/rds-csi/csi-0a1b…", so that a PersistentVolume shows
// where the data is. Everything else that identifies the volume on the appliance follows from it.
type VolumeID struct {
	directory string
	slot      string
}

// NewVolumeID returns the ID of the volume called name, with its backing file in directory on pool. The same name always
// has the same slot, which makes creation idempotent. It returns a *FieldError if pool or directory can't be used.
func NewVolumeID(pool, directory, name string) (VolumeID, error) {
	sum := sha256.Sum256([]byte(name))
	id := VolumeID{directory: pool + "/" + directory, slot: slotPrefix + hex.EncodeToString(sum[:])[:maxSlotLength-len(slotPrefix)]}
	if strings.Contains(pool, "/") {
		return VolumeID{}, &FieldError{Field: "pool", Value: pool, Want: "a mount point of one element, such as raid10"}
	}
	if !validElement(pool) {
		return VolumeID{}, &FieldError{Field: "pool", Value: pool, Want: wantElement}
	}
	if _, err := ParseVolumeID(id.String()); err != nil {
		return VolumeID{}, &FieldError{Field: "volume directory", Value: directory, Want: "a relative path that keeps the volume ID within 128 bytes, each element " + wantElement}
	}
	return id, nil
}

// ParseVolumeID reads what VolumeID.String wrote. It returns a *FieldError for anything else.
func ParseVolumeID(text string) (VolumeID, error) {
	bad := func(want string) (VolumeID, error) {
		return VolumeID{}, &FieldError{Field: "volume ID", Value: text, Want: want}
	}
	if len(text) > MaxVolumeIDLength {
		return bad("at most 128 bytes")
	}
	directory, slot := path.Split(text)
	directory = strings.TrimSuffix(directory, "/")
	elements := strings.Split(directory, "/")
	if len(elements) < 2 {
		return bad("<pool>/<directory>/<slot>")
	}
	for _, element := range elements {
		if !validElement(element) {
			return bad("path elements of " + wantElement)
		}
	}
	if !validSlot(slot) {
		return bad("a last element csi- and 28 hexadecimal digits")
	}
	return VolumeID{directory: directory, slot: slot}, nil
}

// String returns the volume ID as CSI and PersistentVolumes have it.
func (id VolumeID) String() string { return id.directory + "/" + id.slot }

// Slot is the disk's name in /disk.
func (id VolumeID) Slot() string { return id.slot }

// Pool is the mount point of the RouterOS filesystem that the backing file is on.
func (id VolumeID) Pool() string { return filePath(id.directory).pool() }

func (id VolumeID) file() filePath { return filePath(id.directory + "/" + id.slot + backingFileType) }

func validSlot(text string) bool {
	digits, found := strings.CutPrefix(text, slotPrefix)
	return found && len(text) == maxSlotLength && isLowerHex(digits)
}
