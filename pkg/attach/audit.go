package attach

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// OrphanKind is a way in which what the appliance has and what Kubernetes has don't pair, as metrics name it.
type OrphanKind string

// The kinds.
const (
	// OrphanDisk: a disk of this cluster that no PersistentVolume refers to.
	OrphanDisk OrphanKind = "disk_without_pv"
	// OrphanVolume: a PersistentVolume whose disk doesn't exist.
	OrphanVolume OrphanKind = "pv_without_disk"
	// OrphanFile: a backing file that no disk refers to.
	OrphanFile OrphanKind = "file_without_disk"
	// OrphanHolder: a node that the appliance admits to a volume without an attachment that says so.
	OrphanHolder OrphanKind = "holder_without_attachment"
)

// OrphanKinds lists every kind, so that each can be counted from zero.
func OrphanKinds() []OrphanKind {
	return []OrphanKind{OrphanDisk, OrphanVolume, OrphanFile, OrphanHolder}
}

// Orphan is one thing that doesn't pair. Two audits found the same one if they are equal.
type Orphan struct {
	Kind OrphanKind
	// Volume is the handle; for OrphanFile it is the path of the file.
	Volume string
	// PV is the name of the PersistentVolume: of the one that lacks its disk, or of the one that the disk was made for, as
	// far as its record says.
	PV string
	// Node is the holder, for OrphanHolder.
	Node NodeID
	// Held says that the disk has holders.
	Held bool
	// Token is of the disk's record. A write to it, which somebody had a reason for, makes another orphan of the disk.
	Token string
}

// Inventory is what the appliance has, as of one moment at which it was ready.
type Inventory struct {
	// Pools are those that are mounted; of what is on others nothing is known.
	Pools []string
	// Disks are those of this driver and cluster.
	Disks []InventoryDisk
	// Others are handles that something else stands in the place of: a disk of another cluster or of somebody else.
	Others []string
	// Files are the paths of backing files of this driver that no disk refers to.
	Files []string
}

// InventoryDisk is one disk of this driver and cluster.
type InventoryDisk struct {
	// Volume is its handle, whose last element is the slot, which no other disk of the appliance has.
	Volume string
	// PV is the name of the PersistentVolume that it was made for, or empty where that isn't recorded.
	PV      string
	Holders []NodeID
	Token   string
}

// PersistentVolume is one PersistentVolume with a CSI source, reduced to what decides.
type PersistentVolume struct {
	Name, UID      string
	Driver, Handle string
	// Deleting is set if it is being deleted, or about to be: its disk may be gone first.
	Deleting bool
}

// Claims are what Kubernetes has, of all drivers, as of one moment.
type Claims struct {
	Volumes     []PersistentVolume
	Attachments []Attachment
}

// Findings are what one audit found, in a stable order.
type Findings struct {
	Orphans []Orphan
	// Skipped are the PersistentVolumes that were not judged.
	Skipped []SkippedVolume
}

// SkippedVolume is a PersistentVolume that was not judged, and why.
type SkippedVolume struct{ PV, Reason string }

// AuditScope is whose volumes are audited.
type AuditScope struct {
	// Driver is the CSI driver's name.
	Driver string
	// PoolOf gives the pool that a volume is on, or says why the handle can't be one of this driver's.
	PoolOf func(handle string) (pool string, err error)
}

// Audit compares what the appliance has with what Kubernetes had before that was looked at and has after it. Volumes come
// and go all the time, and none of these looks is of the same moment; so what Kubernetes has either before or after
// isn't missing there, and what it has only before or only after isn't missing on the appliance. It has no side effects.
func (s AuditScope) Audit(before Claims, inventory Inventory, after Claims) Findings {
	findings := Findings{Orphans: s.orphansOf(inventory.Disks, before, after)}
	for _, file := range inventory.Files {
		findings.Orphans = append(findings.Orphans, Orphan{Kind: OrphanFile, Volume: file})
	}
	judge := s.judgeOf(before, inventory)
	disks := map[string]bool{}
	for _, disk := range inventory.Disks {
		disks[disk.Volume] = true
	}
	for _, volume := range after.Volumes {
		switch reason := judge(volume); {
		case reason != "":
			findings.Skipped = append(findings.Skipped, SkippedVolume{PV: volume.Name, Reason: reason})
		case !disks[volume.Handle]:
			findings.Orphans = append(findings.Orphans, Orphan{Kind: OrphanVolume, Volume: volume.Handle, PV: volume.Name})
		}
	}
	slices.SortFunc(findings.Orphans, func(a, b Orphan) int {
		return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Volume, b.Volume),
			strings.Compare(a.PV, b.PV), strings.Compare(a.Node.String(), b.Node.String()))
	})
	return findings
}

// orphansOf are the disks that no PersistentVolume refers to, and the holders without an attachment.
func (s AuditScope) orphansOf(disks []InventoryDisk, claims ...Claims) []Orphan {
	var orphans []Orphan
	words, attached := wordsOf(claims), s.attached(claims)
	for _, disk := range disks {
		orphan := Orphan{Kind: OrphanDisk, Volume: disk.Volume, PV: disk.PV, Held: len(disk.Holders) > 0, Token: disk.Token}
		if !words[path.Base(disk.Volume)] {
			orphans = append(orphans, orphan)
		}
		for _, holder := range disk.Holders {
			if !attached(disk.Volume, holder.Name) {
				orphan.Kind, orphan.Node = OrphanHolder, holder
				orphans = append(orphans, orphan)
			}
		}
	}
	return orphans
}

// judgeOf gives a function that says why it can't be judged whether a PersistentVolume has its disk, or nothing if it can.
func (s AuditScope) judgeOf(before Claims, inventory Inventory) func(PersistentVolume) string {
	type identity struct{ uid, handle string }
	old := map[identity]bool{}
	for _, volume := range before.Volumes {
		old[identity{volume.UID, volume.Handle}] = true
	}
	return func(volume PersistentVolume) string {
		if volume.Driver != s.Driver {
			return "it is of another driver"
		}
		pool, err := s.PoolOf(volume.Handle)
		switch {
		case err != nil:
			return "its handle is not one of this driver's: " + err.Error()
		case volume.Deleting:
			return "it is being deleted"
		case !old[identity{volume.UID, volume.Handle}]:
			return "it is newer than the inventory"
		case !slices.Contains(inventory.Pools, pool):
			return "no pool is mounted at " + pool
		case slices.Contains(inventory.Others, volume.Handle):
			return "its disk isn't provably of this driver and cluster"
		default:
			return ""
		}
	}
}

// wordsOf are the words in the handles of all PersistentVolumes, of any driver: a handle in an unusual spelling may be
// meant for a disk all the same, so a disk whose slot is among them isn't anybody's orphan.
func wordsOf(claims []Claims) map[string]bool {
	words := map[string]bool{}
	for _, claim := range claims {
		for _, volume := range claim.Volumes {
			for _, word := range strings.FieldsFunc(volume.Handle, betweenWords) {
				words[word] = true
				words[strings.TrimSuffix(word, path.Ext(word))] = true
			}
		}
	}
	return words
}

func betweenWords(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.'
}

// attached gives a function that tells whether some attachment is for the volume and the node: by its name, which follows
// from both, or by its PersistentVolume, whoever made it under whatever name.
func (s AuditScope) attached(claims []Claims) func(handle, node string) bool {
	type pair struct{ volume, node string }
	names, pairs := map[string]bool{}, map[pair]bool{}
	for _, claim := range claims {
		handles := map[string]string{}
		for _, volume := range claim.Volumes {
			handles[volume.Name] = volume.Handle
		}
		for _, attachment := range claim.Attachments {
			names[attachment.Name] = true
			pairs[pair{handles[attachment.PV], attachment.NodeName}] = true
		}
	}
	return func(handle, node string) bool {
		return names[AttachmentName(handle, s.Driver, node)] || pairs[pair{handle, node}]
	}
}
