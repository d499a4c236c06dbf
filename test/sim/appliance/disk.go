package appliance

import (
	"fmt"
	"path/filepath"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// disk is one file-backed item of /disk. The JSON form is what config.json
// keeps.
type disk struct {
	ID              int    `json:"id"`
	Slot            string `json:"slot"`
	Comment         string `json:"comment"`
	Disabled        bool   `json:"disabled"`
	File            string `json:"file"` // as /file names it: no leading slash
	FileSize        int64  `json:"fileSize"`
	AutoSize        bool   `json:"autoSize,omitempty"` // made without a file-size
	FileOffset      int64  `json:"fileOffset"`
	MountFilesystem bool   `json:"mountFilesystem"`
	MountReadOnly   bool   `json:"mountReadOnly"`
	Compress        bool   `json:"compress"`
	Swap            bool   `json:"swap,omitempty"`
	MountTemplate   string `json:"mountPointTemplate,omitempty"`
	Export          bool   `json:"export"`
	Port            int64  `json:"port"`
	NQN             string `json:"nqn"`
	AllowHost       string `json:"allowHost"`
	Password        string `json:"password,omitempty"`
}

func newDisk(id int) *disk {
	return &disk{ID: id, MountFilesystem: true, Port: 4420}
}

func itemID(n int) string { return fmt.Sprintf("*%X", n) }

// diskItems lists the pools and then the disks.
func (a *Appliance) diskItems() []item {
	if a.silent() {
		return nil
	}
	items := a.poolItems()
	for _, d := range a.disks {
		items = append(items, item{
			script.Record{".id": itemID(d.ID), "slot": d.Slot, "type": "file", "comment": d.Comment, "file-path": a.filePath(d), "mounted": nil, "mount-point": nil},
			func() (script.Record, error) { return a.diskRow(d), nil },
		})
	}
	return items
}

// diskRows lists the pools and then the disks in full.
func (a *Appliance) diskRows() ([]script.Record, error) { return rows(a.diskItems(), script.Call{}) }

// filePath is a disk's file as /disk shows it.
func (a *Appliance) filePath(d *disk) string {
	if a.options.Unknowns.PathSpelling == Bare {
		return d.File
	}
	return "/" + d.File
}

func (a *Appliance) diskRow(d *disk) script.Record {
	row := script.Record{
		".id": itemID(d.ID), "slot": d.Slot, "slot-default": "", "parent": "", "type": "file",
		"comment": d.Comment, "disabled": d.Disabled,
		"block-device": true, "empty": a.checkFile(d.File) != nil,
		"model": "/" + d.File, "size": d.FileSize, "sector-size": int64(512),
		"mount-filesystem": d.MountFilesystem, "mount-read-only": d.MountReadOnly, "compress": d.Compress,
		"file-path": a.filePath(d), "file-size": d.FileSize, "file-offset": d.FileOffset,
	}
	if a.options.Unknowns.RoundSizes {
		row["size"], row["file-size"] = d.FileSize>>20<<20, d.FileSize>>20<<20
	}
	if a.options.Unknowns.AutoFileSize && d.AutoSize {
		row["file-size"] = "auto"
	}
	if a.options.Unknowns.TellsOfLostFiles && a.mounted() && a.checkFile(d.File) != nil {
		row["about"] = a.options.Unknowns.Texts.NoFile
	}
	row["swap"], row["mount-point-template"] = d.Swap, nil
	if d.MountTemplate != "" {
		row["mount-point-template"] = d.MountTemplate
	}
	if a.options.WithoutRose {
		return row
	}
	row["nvme-tcp-export"] = d.Export
	row["nvme-tcp-server-port"] = d.Port
	row["nvme-tcp-server-allow-host-name"] = d.AllowHost
	row["nvme-tcp-server-password"] = nil
	if d.Password != "" {
		row["nvme-tcp-server-password"] = d.Password
	}
	if a.version.since(21) {
		row["nvme-tcp-server-nqn"] = a.nqn(d)
	}
	return row
}

// nqn is the name the disk answers to: before 7.21 always its slot.
func (a *Appliance) nqn(d *disk) string {
	if a.version.since(21) && d.NQN != "" {
		return d.NQN
	}
	return d.Slot
}

// publish exports d if it wants to be and its pool is there. The size is
// latched here.
func (a *Appliance) publish(d *disk) {
	if !a.exported(d) || !a.mounted() {
		return
	}
	a.exports.Publish(export.Subsystem{
		Slot: d.Slot, NQN: a.nqn(d), AllowHost: d.AllowHost,
		File: filepath.Join(a.filesDir, filepath.FromSlash(d.File)), Size: d.FileSize,
	})
}

// exported reports whether the disk is to be exported.
func (a *Appliance) exported(d *disk) bool {
	return d.Export && (!d.Disabled || a.options.Unknowns.DisabledKeepsExport)
}

// fileName turns a file-path into the name /file uses.
func fileName(path string) string { return strings.TrimPrefix(path, "/") }

// DiskInfo describes a file-backed disk to the outside.
type DiskInfo struct {
	Slot         string `json:"slot"`
	SubsystemNQN string `json:"subsystemNQN"`
	Exported     bool   `json:"exported"`
	Comment      string `json:"comment"`
	// File is the absolute path of the backing file on this machine.
	File string `json:"file"`
}

// Disks lists the file-backed disks in the order they were added.
func (a *Appliance) Disks() []DiskInfo {
	a.mu.Lock()
	defer a.mu.Unlock()
	infos := make([]DiskInfo, 0, len(a.disks))
	for _, d := range a.disks {
		infos = append(infos, DiskInfo{
			Slot: d.Slot, SubsystemNQN: a.nqn(d), Exported: a.exported(d), Comment: d.Comment,
			File: filepath.Join(a.filesDir, filepath.FromSlash(d.File)),
		})
	}
	return infos
}
