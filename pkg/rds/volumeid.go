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
	// nqnPrefix begins every subsystem NQN of this driver; slot and epoch follow.
	nqnPrefix = "nqn.2026-11.io.srvlab.csi.rds:"
)

// VolumeID names a volume: the directory of its backing file (whose first element is the pool's mount point) and its
// slot. As text it is the backing file's path without its ending, "raid10/rds-csi/csi-0a1b…", so that whoever reads a
// PersistentVolume sees where the data is. Everything else that identifies the volume on the appliance derives from it.
type VolumeID struct {
	directory string
	slot      string
}

// NewVolumeID derives the ID of the volume called name, to be kept in directory on pool. The same name always gives
// the same slot, which makes creation idempotent. It returns a *FieldError if pool or directory can't be used.
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

// String gives the volume ID as CSI and PersistentVolumes carry it.
func (v VolumeID) String() string { return v.directory + "/" + v.slot }

// Slot is the disk's name in /disk.
func (v VolumeID) Slot() string { return v.slot }

// Pool is the mount point of the RouterOS filesystem that holds the backing file.
func (v VolumeID) Pool() string { return filePath(v.directory).pool() }

// SubsystemPrefix begins every subsystem NQN that was or will be issued for this volume, whatever its epoch.
func (v VolumeID) SubsystemPrefix() string { return nqnPrefix + v.slot + ":" }

// Epoch gives the epoch in a subsystem NQN that was issued for this volume, or false if it isn't such a one.
func (v VolumeID) Epoch(subsystemNQN string) (string, bool) {
	epoch, found := strings.CutPrefix(subsystemNQN, v.SubsystemPrefix())
	return epoch, found && validToken(epoch)
}

func (v VolumeID) file() filePath { return filePath(v.directory + "/" + v.slot + backingFileType) }

// filePath is a path in RouterOS's file tree without a leading slash. /disk and /file spell the same path differently,
// and comparing the two spellings raw once deleted a peer's live images: so only this type ever turns into either.
type filePath string

func newFilePath(text string) filePath { return filePath(strings.TrimPrefix(text, "/")) }

// pool is the mount point of the filesystem that the file is on.
func (p filePath) pool() string {
	pool, _, _ := strings.Cut(string(p), "/")
	return pool
}

// inDisk is the path as /disk file-path has it.
func (p filePath) inDisk() string { return "/" + string(p) }

// inFile is the path as /file name has it.
func (p filePath) inFile() string { return string(p) }

const wantElement = "letters, digits, dots, underscores and dashes, not beginning with a dot or a dash"

func validElement(text string) bool {
	if text == "" || text[0] == '.' || text[0] == '-' {
		return false
	}
	for i := range len(text) {
		if !isAlphanumeric(text[i]) && !strings.ContainsRune("._-", rune(text[i])) {
			return false
		}
	}
	return true
}

func validSlot(text string) bool {
	digits, found := strings.CutPrefix(text, slotPrefix)
	return found && len(text) == maxSlotLength && isLowerHex(digits)
}

func isLowerHex(text string) bool {
	for i := range len(text) {
		if (text[i] < '0' || text[i] > '9') && (text[i] < 'a' || text[i] > 'f') {
			return false
		}
	}
	return text != ""
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
