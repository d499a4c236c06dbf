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

// VolumeID names a volume: the directory of its backing file, whose first element is the pool's mount point and whose last
// one is the cluster's ID, and its slot. As text it is the backing file's path without its ending,
// "raid10/rds-csi/<cluster ID>/csi-0a1b…", so that a PersistentVolume shows where the data is. Everything else that
// identifies the volume on the appliance follows from it.
//
// The path carries the cluster because a backing file without a disk has no other mark of its owner. A name of the
// appliance and a colon may stand in front. Without one the volume is on the only appliance that there is.
type VolumeID struct {
	appliance string
	directory string
	slot      string
}

// volumeIDForm is what a volume ID looks like.
const volumeIDForm = "<pool>/<directory>/<cluster ID>/<slot>, with <appliance>: in front if there are several appliances"

// minElements is the least number of path elements in front of the slot: pool, directory and cluster.
const minElements = 3

// NewVolumeID returns the ID of the cluster's volume called name, with its backing file on pool, in the cluster's own folder
// below directory. The same name always has the same slot, which makes creation idempotent. In another cluster it has
// another one. It returns a *FieldError if pool, directory or cluster can't be used.
func NewVolumeID(pool, directory, cluster, name string) (VolumeID, error) {
	sum := sha256.Sum256([]byte(cluster + "/" + name))
	id := VolumeID{directory: pool + "/" + directory + "/" + cluster, slot: slotPrefix + hex.EncodeToString(sum[:])[:maxSlotLength-len(slotPrefix)]}
	if strings.Contains(pool, "/") {
		return VolumeID{}, &FieldError{Field: "pool", Value: pool, Want: "a mount point of one element, such as raid10"}
	}
	if !validElement(pool) {
		return VolumeID{}, &FieldError{Field: "pool", Value: pool, Want: wantElement}
	}
	if !validElement(cluster) {
		return VolumeID{}, &FieldError{Field: "cluster ID", Value: cluster, Want: wantElement}
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
	appliance, file, named := strings.Cut(text, ":")
	if !named {
		appliance, file = "", text
	}
	directory, slot := path.Split(file)
	directory = strings.TrimSuffix(directory, "/")
	elements := strings.Split(directory, "/")
	if len(elements) < minElements {
		return bad(volumeIDForm)
	}
	if named {
		elements = append(elements, appliance)
	}
	for _, element := range elements {
		if !validElement(element) {
			return bad("path elements of " + wantElement)
		}
	}
	if !validSlot(slot) {
		return bad("a last element csi- and 28 hexadecimal digits")
	}
	return VolumeID{appliance: appliance, directory: directory, slot: slot}, nil
}

// String returns the volume ID as CSI and PersistentVolumes have it.
func (id VolumeID) String() string {
	if id.appliance != "" {
		return id.appliance + ":" + id.directory + "/" + id.slot
	}
	return id.directory + "/" + id.slot
}

// Slot is the disk's name in /disk.
func (id VolumeID) Slot() string { return id.slot }

// Appliance is the name of the appliance that the volume is on. It is empty for the only one that there is.
func (id VolumeID) Appliance() string { return id.appliance }

// Cluster is the ID of the cluster that the volume belongs to.
func (id VolumeID) Cluster() string { return path.Base(id.directory) }

// Pool is the mount point of the RouterOS filesystem that the backing file is on.
func (id VolumeID) Pool() string { return filePath(id.directory).pool() }

func (id VolumeID) file() filePath { return filePath(id.directory + "/" + id.slot + backingFileType) }

func validSlot(text string) bool {
	digits, found := strings.CutPrefix(text, slotPrefix)
	return found && len(text) == maxSlotLength && isLowerHex(digits)
}
