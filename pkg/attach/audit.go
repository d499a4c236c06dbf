package attach

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// OrphanKind is the kind of an orphan. Its value is a label of a metric.
type OrphanKind string

// The kinds.
const (
	// OrphanDisk: a disk of this cluster that no PersistentVolume refers to.
	OrphanDisk OrphanKind = "disk_without_pv"
	// OrphanVolume: a PersistentVolume whose disk doesn't exist.
	OrphanVolume OrphanKind = "pv_without_disk"
	// OrphanFile: a backing file that no disk refers to.
	OrphanFile OrphanKind = "file_without_disk"
	// OrphanHolder: a node that the appliance admits to a volume, although no attachment is for both.
	OrphanHolder OrphanKind = "holder_without_attachment"
	// OrphanVersion0: a PersistentVolume that v0.x made. This version does nothing with it.
	OrphanVersion0 OrphanKind = "pv_of_version_0"
)

// OrphanKinds lists every kind, so that each can be counted from zero.
func OrphanKinds() []OrphanKind {
	return []OrphanKind{OrphanDisk, OrphanVolume, OrphanFile, OrphanHolder, OrphanVersion0}
}

// Orphan is something on the appliance without its counterpart in Kubernetes, or the other way round. Orphans of two
// audits are the same one if they are equal.
type Orphan struct {
	Kind OrphanKind
	// Volume is the handle; for OrphanFile it is the path of the file.
	Volume string
	// PV is the name of a PersistentVolume. For OrphanVolume it is the one that lacks its disk, and for OrphanVersion0 the
	// one that v0.x made. For a disk and its holders it is the one in the disk's record, or empty.
	PV string
	// Node is the holder. It is set for OrphanHolder only.
	Node NodeID
	// Held reports whether the disk has holders.
	Held bool
	// Token is the one in the disk's record. Every write changes it, so a disk that was written to is a new orphan.
	Token string
}

// Inventory is what the appliance has at one moment. The appliance was ready then.
type Inventory struct {
	// Pools are the mounted pools. Nothing is known of volumes on other pools.
	Pools []string
	// Disks are the disks of this driver and cluster.
	Disks []InventoryDisk
	// Others are the handles of disks that aren't provably of this driver and cluster.
	Others []string
	// Files are the paths of backing files of this driver that no disk refers to.
	Files []string
}

// InventoryDisk is one disk of this driver and cluster.
type InventoryDisk struct {
	// Volume is the handle. Its last element is the slot, which is unique on the appliance.
	Volume string
	// PV is the name of the PersistentVolume that the disk was made for, or empty if the record has none.
	PV string
	// Holders and Token are those of the disk's record.
	Holders []NodeID
	Token   string
}

// PersistentVolume is one PersistentVolume with a CSI source, reduced to the fields that decisions need.
type PersistentVolume struct {
	Name, UID      string
	Driver, Handle string
	// Deleting is set if the PersistentVolume is being deleted or will be: its disk may be deleted before it.
	Deleting bool
}

// volumeIdentity distinguishes a PersistentVolume from a later one of the same name.
type volumeIdentity struct{ uid, handle string }

func (v PersistentVolume) identity() volumeIdentity { return volumeIdentity{v.UID, v.Handle} }

// Claims are what Kubernetes has at one moment: PersistentVolumes, of all drivers if they were listed live, and this
// driver's attachments.
type Claims struct {
	Volumes     []PersistentVolume
	Attachments []Attachment
}

// Findings are the result of one audit.
type Findings struct {
	// Orphans are sorted.
	Orphans []Orphan
	// Skipped are the PersistentVolumes that were not judged.
	Skipped []SkippedVolume
}

// SkippedVolume is a PersistentVolume that was not judged, and why.
type SkippedVolume struct{ PV, Reason string }

// AuditScope says whose volumes are audited.
type AuditScope struct {
	// Driver is the CSI driver's name.
	Driver string
	// PoolOf returns the pool of a volume, or an error that says why the handle can't be one of this driver's.
	PoolOf func(handle string) (pool string, err error)
}

// Audit compares the appliance's inventory with what Kubernetes had before and after it was read. Volumes come and go
// meanwhile, and the three are not of one moment. So a disk or a holder is an orphan only if neither before nor after
// refers to it. A PersistentVolume lacks its disk only if both before and after have it. Audit has no side effects.
func (s AuditScope) Audit(before Claims, inventory Inventory, after Claims) Findings {
	findings := Findings{Orphans: s.unclaimed(inventory.Disks, before, after)}
	for _, file := range inventory.Files {
		findings.Orphans = append(findings.Orphans, Orphan{Kind: OrphanFile, Volume: file})
	}
	known := map[volumeIdentity]bool{}
	for _, volume := range before.Volumes {
		known[volume.identity()] = true
	}
	disks := map[string]bool{}
	for _, disk := range inventory.Disks {
		disks[disk.Volume] = true
	}
	for _, volume := range after.Volumes {
		if volume.Driver == s.Driver && CheckVersion(volume.Handle) != nil {
			findings.Orphans = append(findings.Orphans, Orphan{Kind: OrphanVersion0, Volume: volume.Handle, PV: volume.Name})
			continue
		}
		switch reason := s.skipReason(volume, known, inventory); {
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

// unclaimed returns the disks without a PersistentVolume and the holders without an attachment.
func (s AuditScope) unclaimed(disks []InventoryDisk, claims ...Claims) []Orphan {
	var orphans []Orphan
	tokens, attached := handleTokens(claims), s.attachedIn(claims)
	for _, disk := range disks {
		orphan := Orphan{Kind: OrphanDisk, Volume: disk.Volume, PV: disk.PV, Held: len(disk.Holders) > 0, Token: disk.Token}
		if !tokens[path.Base(disk.Volume)] {
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

// skipReason returns why it can't be judged whether a PersistentVolume has its disk. It is empty if that can be judged.
// known are the PersistentVolumes that existed before the inventory was read.
func (s AuditScope) skipReason(volume PersistentVolume, known map[volumeIdentity]bool, inventory Inventory) string {
	if volume.Driver != s.Driver {
		return "it is of another driver"
	}
	pool, err := s.PoolOf(volume.Handle)
	switch {
	case err != nil:
		return "its handle is not one of this driver's: " + err.Error()
	case volume.Deleting:
		return "it is being deleted"
	case !known[volume.identity()]:
		return "it is newer than the inventory"
	case !slices.Contains(inventory.Pools, pool):
		return "no pool is mounted at " + pool
	case slices.Contains(inventory.Others, volume.Handle):
		return "its disk isn't provably of this driver and cluster"
	default:
		return ""
	}
}

// handleTokens returns every token in the handles of all PersistentVolumes, of any driver, with and without its file
// extension. A handle in an unusual spelling may still mean a disk, so a disk whose slot is a token is no orphan.
func handleTokens(claims []Claims) map[string]bool {
	tokens := map[string]bool{}
	for _, claim := range claims {
		for _, volume := range claim.Volumes {
			for _, token := range strings.FieldsFunc(volume.Handle, isSeparator) {
				tokens[token] = true
				tokens[strings.TrimSuffix(token, path.Ext(token))] = true
			}
		}
	}
	return tokens
}

// isSeparator reports whether r separates the tokens of a handle.
func isSeparator(r rune) bool { return !isAlphanumeric(r) && r != '-' && r != '.' }

// attachedIn returns a function that reports whether any attachment in claims is for the volume and the node. An
// attachment is recognized by its name, which Kubernetes computes from both, or else by its PersistentVolume and node.
func (s AuditScope) attachedIn(claims []Claims) func(handle, node string) bool {
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
