package search

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// provisioner is external-provisioner: it makes a volume and deletes it again, each by calls that are repeated until one
// succeeds. No pod uses these volumes.
type provisioner struct {
	w *world
	// controllers are those that it may call.
	controllers func() []*process
	// handle is that of the volume that was made last.
	handle string
	// kept is the slot of a volume whose making was acknowledged and whose deletion wasn't asked for; what it is kept in is file.
	kept, file string
	// accidents is how many there had been when that volume was asked for: what is kept after another one isn't known.
	accidents int
	// gone are the slots of volumes whose deletion was acknowledged.
	gone map[string]bool
}

func (p *provisioner) run() {
	for i := 0; !p.w.calm; i++ {
		var id string
		p.accidents = p.w.storage.accidents
		p.repeat("create", func(ctx context.Context, process *process) error {
			response, err := process.controller.CreateVolume(ctx, &csi.CreateVolumeRequest{
				Name: fmt.Sprintf("extra-%d", i), Parameters: map[string]string{"pool": pool}, VolumeCapabilities: []*csi.VolumeCapability{p.w.volumes[0].capability()},
				CapacityRange: &csi.CapacityRange{RequiredBytes: 1 << 20},
			})
			id = response.GetVolume().GetVolumeId()
			return err
		})
		slot := id[strings.LastIndex(id, "/")+1:]
		info, found := p.w.storage.slot(slot)
		if p.w.storage.accidents == p.accidents {
			if !found {
				p.w.truth.breaks("%s was made, and isn't there", slot)
				return
			}
			p.kept, p.file, p.handle = slot, info.File, id
		}
		p.w.e.sleep(p.w.e.upTo(30 * time.Second))
		p.kept = ""
		p.accidents = p.w.storage.accidents
		p.repeat("delete", func(ctx context.Context, process *process) error {
			_, err := process.controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: id})
			return err
		})
		p.deleted(slot, info.File)
	}
}

// repeat calls one controller or the other until it succeeds.
func (p *provisioner) repeat(what string, run func(context.Context, *process) error) {
	for {
		controllers := p.controllers()
		process := controllers[p.w.e.random.IntN(len(controllers))]
		err := process.call(what, func(ctx context.Context) error { return run(ctx, process) })
		p.w.e.log("%s of an extra volume: %v", what, err)
		if err == nil {
			return
		}
		p.w.e.sleep(p.w.e.upTo(10 * time.Second))
	}
}

// deleted notes that a deletion was acknowledged: then nothing is left. A line that adds the disk may have been given up on
// long ago and come through only now.
func (p *provisioner) deleted(slot, file string) {
	p.gone[slot] = true
	if p.w.storage.adding > 0 || p.w.storage.accidents != p.accidents {
		return
	}
	if _, found := p.w.storage.slot(slot); found {
		p.w.truth.breaks("%s was deleted, and is there", slot)
	}
	if _, err := os.Stat(file); err == nil {
		p.w.truth.breaks("%s was deleted, and its file is there", slot)
	}
}

// check says what has become of volumes that were made and deleted.
func (p *provisioner) check() {
	if p.kept != "" && p.w.storage.accidents == p.accidents {
		if _, found := p.w.storage.slot(p.kept); !found {
			p.w.truth.breaks("%s was made, and isn't there any more", p.kept)
		} else if _, err := os.Stat(p.file); err != nil {
			p.w.truth.breaks("%s was made, and its file isn't there any more", p.kept)
		}
	}
	for slot := range p.gone {
		if info, found := p.w.storage.slot(slot); found && info.Exported {
			p.w.truth.breaks("%s was deleted, and is exported", slot)
		}
	}
}

// slot is the driver's disk in a slot.
func (s *storage) slot(slot string) (appliance.DiskInfo, bool) {
	if s.looked == nil {
		s.looked = s.appliance.Disks()
	}
	for _, info := range s.looked {
		if info.Slot == slot && info.Comment != appliance.OperatorComment {
			return info, true
		}
	}
	return appliance.DiskInfo{}, false
}

// duplicated tells whether an operator's disk shares the slot of another; then the driver touches neither.
func (s *storage) duplicated() bool {
	for _, info := range s.appliance.Disks() {
		if info.Comment == appliance.OperatorComment {
			return true
		}
	}
	return false
}

// tidy has an operator remove such disks now and then, also those that a power cut brings back.
func (s *storage) tidy() {
	for {
		s.e.sleep(s.e.upTo(time.Minute))
		if s.appliance.Phase() == appliance.Up && s.duplicated() {
			s.e.log("an operator removes what shares a slot")
			_, err := s.appliance.Exec(context.Background(), appliance.AllPolicies(), `/disk remove [find where comment="`+appliance.OperatorComment+`"]`, nil)
			if err != nil {
				s.e.violation = err
			}
			s.touch()
		}
	}
}
