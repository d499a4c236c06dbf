package attach

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const auditDriver = "rds.csi.srvlab.io"

func auditScope() AuditScope {
	return AuditScope{Driver: auditDriver, PoolOf: func(handle string) (string, error) {
		pool, rest, found := strings.Cut(handle, "/")
		if !found || !strings.Contains(rest, "/") {
			// What comes with an error must not be used.
			return "raid10", errors.New("want <pool>/<directory>/<slot>")
		}
		return pool, nil
	}}
}

// pairing is one way in which one disk and one PersistentVolume can stand to each other.
type pairing struct {
	disk string // "", "ours" or "other": what stands in the volume's place
	// before and after tell where the PersistentVolume was seen, and sameUID whether that was the same object.
	before, after, sameUID    bool
	driver, handle            string
	deleting, mounted, filler bool
}

const (
	pairedSlot   = "csi-0a1b"
	pairedHandle = "raid10/rds-csi/" + pairedSlot
)

func pairings() []pairing {
	var all []pairing
	yesNo := []bool{false, true}
	for _, disk := range []string{"", "ours", "other"} {
		for _, driver := range []string{auditDriver, "other.example"} {
			for _, handle := range []string{pairedHandle, handleOfVersion0, "/" + pairedHandle + ".img", "raid10:" + pairedSlot, "vol-7", "raid10/rds-csi/" + pairedSlot + "f", ""} {
				for bits := range 1 << 6 {
					bit := func(i int) bool { return yesNo[bits>>i&1] }
					all = append(all, pairing{disk, bit(0), bit(1), bit(2), driver, handle, bit(3), bit(4), bit(5)})
				}
			}
		}
	}
	return all
}

func (p pairing) inputs() (before Claims, inventory Inventory, after Claims) {
	volume := PersistentVolume{Name: "pv-1", UID: "1", Driver: p.driver, Handle: p.handle, Deleting: p.deleting}
	if p.after {
		after.Volumes = append(after.Volumes, volume)
	}
	if p.before {
		if !p.sameUID {
			volume.UID = "0"
		}
		// Whether it is deleting by now couldn't be seen then.
		volume.Deleting = false
		before.Volumes = append(before.Volumes, volume)
	}
	inventory.Pools = []string{"spare"}
	if p.mounted {
		inventory.Pools = append(inventory.Pools, "raid10")
	}
	switch p.disk {
	case "ours":
		inventory.Disks = append(inventory.Disks, InventoryDisk{Volume: pairedHandle, PV: "made-for", Token: "t"})
	case "other":
		inventory.Others = append(inventory.Others, pairedHandle)
	}
	if p.filler {
		filler := PersistentVolume{Name: "pv-2", UID: "2", Driver: auditDriver, Handle: "spare/rds-csi/csi-ffff"}
		before.Volumes, after.Volumes = append(before.Volumes, filler), append(after.Volumes, filler)
		inventory.Disks = append(inventory.Disks, InventoryDisk{Volume: filler.Handle})
	}
	return before, inventory, after
}

// want says it in the words of the rules, not in those of the code.
func (p pairing) want() (orphans []Orphan) {
	if p.handle == handleOfVersion0 && p.driver == auditDriver && p.after {
		defer func() { orphans = append(orphans, Orphan{Kind: OrphanVersion0, Volume: handleOfVersion0, PV: "pv-1"}) }()
	}
	namesSlot := slices.Contains([]string{pairedHandle, "/" + pairedHandle + ".img", "raid10:" + pairedSlot}, p.handle)
	seenSomewhere := p.before || p.after
	if p.disk == "ours" && (!seenSomewhere || !namesSlot) {
		orphans = []Orphan{{Kind: OrphanDisk, Volume: pairedHandle, PV: "made-for", Token: "t"}}
		if p.lacksItsDisk() {
			orphans = append(orphans, Orphan{Kind: OrphanVolume, Volume: p.handle, PV: "pv-1"})
		}
		return orphans
	}
	if p.lacksItsDisk() {
		return []Orphan{{Kind: OrphanVolume, Volume: p.handle, PV: "pv-1"}}
	}
	return nil
}

func (p pairing) lacksItsDisk() bool {
	thereAllTheTime := p.before && p.after && p.sameUID && !p.deleting
	judgeable := p.driver == auditDriver && p.mounted
	switch p.handle {
	case pairedHandle:
		return thereAllTheTime && judgeable && p.disk == ""
	case "raid10/rds-csi/" + pairedSlot + "f":
		return thereAllTheTime && judgeable
	default:
		return false
	}
}

func TestAuditOfEveryPairing(t *testing.T) {
	found := map[OrphanKind]int{}
	for _, p := range pairings() {
		before, inventory, after := p.inputs()
		got := auditScope().Audit(before, inventory, after)
		if diff := cmp.Diff(p.want(), got.Orphans); diff != "" {
			t.Fatalf("%+v (-want +got):\n%s", p, diff)
		}
		judged := p.after && len(got.Skipped) == 0
		if p.lacksItsDisk() && !judged {
			t.Fatalf("%+v: skipped %+v", p, got.Skipped)
		}
		for _, skipped := range got.Skipped {
			if skipped.PV != "pv-1" || skipped.Reason == "" {
				t.Fatalf("%+v: skipped %+v", p, skipped)
			}
		}
		for _, orphan := range got.Orphans {
			found[orphan.Kind]++
		}
	}
	if found[OrphanDisk] == 0 || found[OrphanVolume] == 0 {
		t.Errorf("found %v: the matrix shows nothing", found)
	}
}

func TestHoldersAreFoundByNameOrByVolume(t *testing.T) {
	holder := NodeID{Name: "node-a", Machine: "m"}
	disk := InventoryDisk{Volume: pairedHandle, PV: "pv-1", Holders: []NodeID{holder}, Token: "t"}
	volume := PersistentVolume{Name: "pv-1", UID: "1", Driver: auditDriver, Handle: pairedHandle}
	none, byName, byVolume := Attachment{}, Attachment{Name: AttachmentName(pairedHandle, auditDriver, "node-a")}, Attachment{Name: "by-hand", NodeName: "node-a", PV: "pv-1"}
	elsewhere, otherVolume := Attachment{Name: "by-hand", NodeName: "node-b", PV: "pv-1"}, Attachment{Name: "by-hand", NodeName: "node-a", PV: "pv-2"}
	says := map[Attachment]bool{byName: true, byVolume: true}
	for _, earlier := range []Attachment{none, byName, byVolume, elsewhere, otherVolume} {
		for _, later := range []Attachment{none, byName, byVolume, elsewhere, otherVolume} {
			before := Claims{Volumes: []PersistentVolume{volume}, Attachments: []Attachment{earlier}}
			after := Claims{Volumes: []PersistentVolume{volume}, Attachments: []Attachment{later}}
			got := auditScope().Audit(before, Inventory{Pools: []string{"raid10"}, Disks: []InventoryDisk{disk}}, after).Orphans
			var want []Orphan
			if !says[earlier] && !says[later] {
				want = []Orphan{{Kind: OrphanHolder, Volume: pairedHandle, PV: "pv-1", Node: holder, Held: true, Token: "t"}}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("earlier %+v, later %+v (-want +got):\n%s", earlier, later, diff)
			}
		}
	}
}

func TestOrphansComeInOneOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	inventory := Inventory{Pools: []string{"raid10"}}
	var volumes []PersistentVolume
	for i := range 20 {
		handle := fmt.Sprintf("raid10/rds-csi/csi-%d", i)
		inventory.Disks = append(inventory.Disks, InventoryDisk{Volume: handle, Holders: []NodeID{{Name: "b", Machine: "1"}, {Name: "a", Machine: "1"}}})
		inventory.Files = append(inventory.Files, handle+"x.img")
		volumes = append(volumes, PersistentVolume{Name: fmt.Sprint("pv-", i), UID: strconv.Itoa(i), Driver: auditDriver, Handle: handle + "y"})
	}
	first := auditScope().Audit(Claims{Volumes: volumes}, inventory, Claims{Volumes: volumes})
	if len(first.Orphans) != 20*5 {
		t.Fatalf("found %d orphans, want 100", len(first.Orphans))
	}
	for range 20 {
		random.Shuffle(20, func(i, j int) {
			inventory.Disks[i], inventory.Disks[j] = inventory.Disks[j], inventory.Disks[i]
			inventory.Files[j], inventory.Files[i] = inventory.Files[i], inventory.Files[j]
			volumes[i], volumes[j] = volumes[j], volumes[i]
			slices.Reverse(inventory.Disks[i].Holders)
		})
		if diff := cmp.Diff(first.Orphans, auditScope().Audit(Claims{Volumes: volumes}, inventory, Claims{Volumes: volumes}).Orphans); diff != "" {
			t.Fatalf("in another order (-first +now):\n%s", diff)
		}
	}
}
