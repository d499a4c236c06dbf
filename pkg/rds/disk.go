package rds

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
)

// Disk is a disk of this driver as the appliance showed it at one moment.
type Disk struct {
	ID VolumeID
	// Size is the size of the backing file in bytes.
	Size int64
	// SubsystemNQN is the only subsystem NQN under which the disk is, or would be, exported.
	SubsystemNQN string
	// Exported is true if initiators may connect. AllowedHost is the only host that may; empty means any.
	Exported    bool
	AllowedHost string
	// Record names the holders.
	Record Record
	// Highest is the highest generation that this client ever saw in the disk's record. If it is above the record's, the
	// appliance went back in time. HighestNQN is the subsystem NQN of that generation.
	Highest    uint64
	HighestNQN string

	// comment is the record exactly as the appliance has it: the condition of the next write.
	comment string
	// expectedHost is what AllowedHost should be with this record.
	expectedHost string
}

// Consistent reports whether the export agrees with the record: the subsystem NQN follows from the record, the right host is
// allowed, and the disk is exported if and only if it has a holder.
func (d Disk) Consistent() bool {
	return d.exportMatches() && d.AllowedHost == d.expectedHost
}

// Admits reports whether every holder can connect. It is true as well if more hosts are allowed than the record says.
func (d Disk) Admits() bool {
	return d.Record.Held() && d.exportMatches() && (d.AllowedHost == "" || d.AllowedHost == d.expectedHost)
}

// WentBack reports whether the record is older than a generation that was granted, or that this client has seen.
func (d Disk) WentBack(granted uint64) bool { return d.Record.Generation < max(granted, d.Highest) }

// exportMatches reports whether subsystem NQN and export agree with the record, whatever host is allowed.
func (d Disk) exportMatches() bool {
	return d.SubsystemNQN == d.Record.SubsystemNQN(d.ID) && d.Exported == d.Record.Held()
}

// The properties that are read, and no more, which keeps replies small.
const (
	diskProperties = "slot,type,size,file-path,file-size,comment,nvme-tcp-export,nvme-tcp-server-nqn,nvme-tcp-server-allow-host-name"
	poolProperties = "slot,mount-point,mounted,fs,size,free,state"
	fileProperties = "name,type"
)

type diskItem struct {
	oddity

	Slot     string `json:"slot"`
	Type     string `json:"type"`
	FilePath string `json:"file-path"`
	// FileSize may be "auto": it is read only where it's needed.
	FileSize json.RawMessage `json:"file-size"`
	Size     number          `json:"size"`
	Comment  string          `json:"comment"`
	Exported bool            `json:"nvme-tcp-export"`
	NQN      string          `json:"nvme-tcp-server-nqn"`
	Host     string          `json:"nvme-tcp-server-allow-host-name"`
	About    string          `json:"about"`
	State    string          `json:"state"`
	Empty    bool            `json:"empty"`
}

type poolItem struct {
	oddity

	MountPoint string `json:"mount-point"`
	Mounted    bool   `json:"mounted"`
	Size       number `json:"size"`
	Free       number `json:"free"`
	State      string `json:"state"`
}

type fileItem struct {
	oddity

	Name string `json:"name"`
	Type string `json:"type"`
}

// disk returns the item as a Disk of the given cluster. Errors: ErrNotOurs, or ErrUnreadable if it has a record of the
// cluster and a property that can't be understood.
func (i diskItem) disk(cluster string) (Disk, error) {
	notOurs := func(cause error) (Disk, error) {
		return Disk{}, fmt.Errorf("disk in slot %q: %w: %w", i.Slot, ErrNotOurs, cause)
	}
	record, err := ParseRecord(i.Comment)
	if err != nil && strings.HasPrefix(i.Comment, recordPrefix(cluster)) {
		return Disk{}, fmt.Errorf("disk in slot %q: %w: its record is damaged: %w; write it anew with rds-csi appliance mend", i.Slot, ErrUnreadable, err)
	}
	if err != nil {
		if i.odd != nil {
			err = fmt.Errorf("%w, and %w", err, i.odd)
		}
		return notOurs(err)
	}
	if record.Cluster != cluster {
		return notOurs(fmt.Errorf("its record says that it belongs to cluster %q, not to %q", record.Cluster, cluster))
	}
	size, err := sizeOf(i.Size, i.FileSize)
	if err = cmp.Or(i.odd, err); err != nil {
		return Disk{}, fmt.Errorf("disk in slot %q: %w: %w; put that right on the appliance", i.Slot, ErrUnreadable, err)
	}
	file := string(newFilePath(i.FilePath))
	id, err := ParseVolumeID(strings.TrimSuffix(file, backingFileType))
	if err != nil {
		return notOurs(err)
	}
	if i.Type != "file" || id.slot != i.Slot || file != id.file().inFile() || id.Cluster() != cluster {
		return notOurs(fmt.Errorf("it is of type %q on %q", i.Type, i.FilePath))
	}
	return Disk{ID: id, Size: size, SubsystemNQN: i.NQN, Exported: i.Exported, AllowedHost: i.Host, Record: record, comment: i.Comment}, nil
}

// sizeOf returns the size of a disk in bytes. One whose pool isn't mounted has no size of its own, but still that of its file.
func sizeOf(size number, fileSize json.RawMessage) (int64, error) {
	if size == 0 {
		if err := size.UnmarshalJSON(fileSize); err != nil {
			return 0, fmt.Errorf("its file-size is %.100s", fileSize)
		}
	}
	return int64(size), nil
}
