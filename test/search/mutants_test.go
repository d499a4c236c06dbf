package search

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/controller"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// without is a driver that lacks a protection, or none. The product isn't touched: what it says and hears is altered.
type without struct {
	// line alters what is sent to the appliance.
	line func(string) string
	// kubernetes, appliance, nodes and records stand before what the product asks.
	kubernetes func(*cache) attacherView
	appliance  func(*world, *rds.Client) controller.Appliance
	nodes      func(*world, controller.Nodes) controller.Nodes
	records    func(*controller.Service) attach.Appliance
	// identity is what a machine reports of itself.
	identity func(machine string) string
	// anyGrant has node plugins use what was granted to another machine of their name.
	anyGrant bool
	// neighbourID is the ID of the other cluster on the appliance.
	neighbourID string
}

// nothing is the driver as it is.
func nothing() without {
	return without{
		line:       func(line string) string { return line },
		kubernetes: func(c *cache) attacherView { return c },
		appliance:  func(_ *world, client *rds.Client) controller.Appliance { return client },
		nodes:      func(_ *world, nodes controller.Nodes) controller.Nodes { return nodes },
		records:    func(controller *controller.Service) attach.Appliance { return controller },
		identity:   func(machine string) string { return machine },

		neighbourID: neighbourID,
	}
}

// protections are what the driver does to keep its promises, each with a driver that doesn't.
func protections() map[string]func(*without) {
	condition := regexp.MustCompile(`(find where slot="[^"]*") comment="[^"]*"`)
	return map[string]func(*without){
		"condition on each set": func(w *without) {
			w.line = func(line string) string { return condition.ReplaceAllString(line, "$1") }
		},
		"fresh token": func(w *without) {
			w.appliance = func(_ *world, client *rds.Client) controller.Appliance { return frozenRecords{timelessDisks{client}} }
			w.nodes = func(_ *world, nodes controller.Nodes) controller.Nodes { return forgetfulNodes{nodes} }
			w.records = func(controller *controller.Service) attach.Appliance { return timelessRecords{controller} }
		},
		"unpublish always writing": func(w *without) {
			w.appliance = func(_ *world, client *rds.Client) controller.Appliance { return lazyUnpublish{client} }
		},
		"new NQN": func(w *without) {
			w.appliance = func(_ *world, client *rds.Client) controller.Appliance { return oneEpoch{client} }
		},
		"live confirmation of node": func(w *without) {
			w.kubernetes = func(c *cache) attacherView { return cachedNodes{c} }
		},
		"live confirmation of attachment": func(w *without) {
			w.kubernetes = func(c *cache) attacherView { return cachedAttachments{c} }
		},
		"machine identity":     func(w *without) { w.identity = func(string) string { return "same" } },
		"machine in the grant": func(w *without) { w.anyGrant = true },
		"generation": func(w *without) {
			w.appliance = func(_ *world, client *rds.Client) controller.Appliance { return timelessDisks{client} }
			w.nodes = func(_ *world, nodes controller.Nodes) controller.Nodes { return forgetfulNodes{nodes} }
			w.records = func(controller *controller.Service) attach.Appliance { return timelessRecords{controller} }
		},
		"comparison during the boot": func(w *without) {
			w.appliance = func(_ *world, client *rds.Client) controller.Appliance { return wholeLists{client} }
		},
		"export before the question": func(w *without) {
			w.appliance = func(world *world, client *rds.Client) controller.Appliance { return lateWithdraw{client, world} }
		},
		"proof of deletion": func(w *without) {
			w.appliance = func(_ *world, client *rds.Client) controller.Appliance { return hopefulDelete{client} }
		},
		"look at the export": func(w *without) {
			w.records = func(controller *controller.Service) attach.Appliance { return blindRecords{controller} }
		},
		"access mode in the record": func(w *without) {
			w.appliance = func(_ *world, client *rds.Client) controller.Appliance { return anyMode{client} }
		},
		"UID precondition": func(w *without) {
			w.kubernetes = func(c *cache) attacherView { return anyVersion{c} }
		},
		"cache-sync gate": func(w *without) {
			w.kubernetes = func(c *cache) attacherView { return neverWaits{c} }
		},
		"cluster in path and record": func(w *without) { w.neighbourID = clusterID },
		"attachments that come back": func(w *without) {
			w.nodes = func(_ *world, nodes controller.Nodes) controller.Nodes { return holdersAlone{nodes} }
		},
		"grace consumption": func(w *without) {
			w.nodes = func(world *world, nodes controller.Nodes) controller.Nodes { return sharedGrace{nodes, world} }
		},
	}
}

// enough bounds how many schedules it may take to notice that a protection is missing: as many as are searched for one that
// breaks a promise although nothing is missing.
const enough = 20000

// Whatever is taken away, the search must notice: a checker that can't fail proves nothing.
func TestProtections(t *testing.T) {
	for name, remove := range protections() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			without := nothing()
			remove(&without)
			for seed := range uint64(enough) {
				if result := search(t, seed, without); result.violation != nil {
					fmt.Printf("without %-42s %4d schedules: %.150s\n", name+":", seed+1, strings.ReplaceAll(result.violation.Error(), "\n", "; "))
					return
				}
			}
			t.Errorf("%d schedules without it, and nobody noticed", enough)
		})
	}
}

// frozenRecords writes records that repeat themselves: without token and generation, every record that names nobody is
// like every other. A token that is frozen alone isn't found out in as many schedules as are allowed, since the generation is
// part of every write's condition as well, and grows with every write: two records without a holder are the same then only if
// the appliance went back in time and was written to as often again, while a write that saw the first was still on its way.
type frozenRecords struct{ timelessDisks }

func (a frozenRecords) freeze(record rds.Record) rds.Record {
	record.Token, record.Generation = "0000000000000000", 1
	return record
}

func (a frozenRecords) Publish(ctx context.Context, seen rds.Disk, next rds.Record) (rds.Disk, error) {
	return a.timelessDisks.Publish(ctx, seen, a.freeze(next))
}

func (a frozenRecords) Unpublish(ctx context.Context, seen rds.Disk, next rds.Record) (rds.Disk, error) {
	return a.timelessDisks.Unpublish(ctx, seen, a.freeze(next))
}

// forgetfulNodes don't know what was granted.
type forgetfulNodes struct{ controller.Nodes }

func (forgetfulNodes) Granted(string) attach.Grant { return attach.Grant{} }

// timelessDisks aren't known to have been newer than they are.
type timelessDisks struct{ *rds.Client }

func (a timelessDisks) Get(ctx context.Context, id rds.VolumeID) (rds.Disk, error) {
	disk, err := a.Client.Get(ctx, id)
	disk.Highest, disk.HighestNQN = 0, ""
	return disk, err
}

func (a timelessDisks) List(ctx context.Context) ([]rds.Disk, error) {
	disks, err := a.Client.List(ctx)
	for i := range disks {
		disks[i].Highest = 0
	}
	return disks, err
}

func (a timelessDisks) LastSeen(id rds.VolumeID) (rds.Disk, bool) {
	disk, found := a.Client.LastSeen(id)
	disk.Highest, disk.HighestNQN = 0, ""
	return disk, found
}

// timelessRecords are never older than anything.
type timelessRecords struct{ *controller.Service }

func (r timelessRecords) SeenRecord(volume string) (attach.Record, bool) {
	record, found := r.Service.SeenRecord(volume)
	record.Generation = math.MaxUint64
	return record, found
}

func (r timelessRecords) Record(ctx context.Context, volume string) attach.Answer[attach.Record] {
	answer := r.Service.Record(ctx, volume)
	answer.Value.Generation = math.MaxUint64
	return answer
}

// wholeLists show nothing as long as there may be more.
type wholeLists struct{ *rds.Client }

func (a wholeLists) List(ctx context.Context) ([]rds.Disk, error) {
	disks, err := a.Client.List(ctx)
	if err != nil {
		return nil, err
	}
	return disks, nil
}

// hopefulDelete takes a deletion whose outcome isn't known for done.
type hopefulDelete struct{ *rds.Client }

func (a hopefulDelete) Delete(ctx context.Context, id rds.VolumeID, granted uint64) error {
	refused := (*rds.CommandError)(nil)
	err := a.Client.Delete(ctx, id, granted)
	if errors.Is(err, rds.ErrUnknownOutcome) || errors.As(err, &refused) {
		return nil
	}
	return err
}

// blindRecords don't tell whether a volume can be reached.
type blindRecords struct{ *controller.Service }

func (r blindRecords) SeenRecord(volume string) (attach.Record, bool) {
	record, found := r.Service.SeenRecord(volume)
	record.Reachable = true
	return record, found
}

func (r blindRecords) Record(ctx context.Context, volume string) attach.Answer[attach.Record] {
	answer := r.Service.Record(ctx, volume)
	answer.Value.Reachable = true
	return answer
}

// lazyUnpublish writes nothing where there is nobody to remove.
type lazyUnpublish struct{ *rds.Client }

func (a lazyUnpublish) Unpublish(ctx context.Context, seen rds.Disk, next rds.Record) (rds.Disk, error) {
	if slices.Equal(seen.Record.Holding.Holders, next.Holding.Holders) {
		return a.Get(ctx, seen.ID)
	}
	return a.Client.Unpublish(ctx, seen, next)
}

// oneEpoch gives every holder the same subsystem NQN, and bounces the export.
type oneEpoch struct{ *rds.Client }

func (a oneEpoch) Publish(ctx context.Context, seen rds.Disk, next rds.Record) (rds.Disk, error) {
	if next.Holding.Epoch != seen.Record.Holding.Epoch {
		next.Holding.Epoch = "0000000000000000"
	}
	return a.Client.Publish(ctx, seen, next)
}

// cachedNodes believe the cache where they should ask.
type cachedNodes struct{ *cache }

func (c cachedNodes) LiveNode(_ context.Context, name string) attach.Answer[attach.Node] {
	c.api.e.pause()
	node, found := c.nodes[name]
	return attach.Answer[attach.Node]{Value: node, Found: found}
}

// cachedAttachments do, too, and don't wait for their cache either: that wait alone has it come as far as the request, so that
// it is hardly ever behind where it matters.
type cachedAttachments struct{ *cache }

func (c cachedAttachments) LiveAttachment(_ context.Context, name string) attach.Answer[attach.Attachment] {
	c.api.e.pause()
	attachment, found := c.attachments[name]
	return attach.Answer[attach.Attachment]{Value: attachment, Found: found}
}

// AwaitAttachment doesn't wait until the cache has come as far: that one is in it shows that older ones are as well.
func (c cachedAttachments) AwaitAttachment(ctx context.Context, name string) (attach.Attachment, bool) {
	answer := c.cache.LiveAttachment(ctx, name)
	return answer.Value, answer.Found
}

// anyMode forgets how a volume is held.
type anyMode struct{ *rds.Client }

func (a anyMode) forget(disk rds.Disk) rds.Disk {
	disk.Record.Holding.Access, disk.Record.Holding.Mode = attach.AccessBlock, attach.ModeMultiWriter
	return disk
}

func (a anyMode) Get(ctx context.Context, id rds.VolumeID) (rds.Disk, error) {
	disk, err := a.Client.Get(ctx, id)
	return a.forget(disk), err
}

func (a anyMode) LastSeen(id rds.VolumeID) (rds.Disk, bool) {
	disk, found := a.Client.LastSeen(id)
	return a.forget(disk), found
}

// anyVersion deletes an attachment whatever became of it.
type anyVersion struct{ *cache }

func (c anyVersion) DeleteAttachment(ctx context.Context, attachment attach.Attachment) error {
	return c.deleteExactly(ctx, attachment.Name, "", "")
}

// neverWaits acts on caches that aren't filled.
type neverWaits struct{ *cache }

func (neverWaits) Synced() bool { return true }

func (neverWaits) WaitForSync(context.Context) error { return nil }

// sharedGrace counts the grace from the last detach of the volume, whoever's it was.
type sharedGrace struct {
	controller.Nodes
	w *world
}

func (n sharedGrace) HolderStates(ctx context.Context, volumeID string, holders []attach.NodeID) []attach.Holder {
	standings := n.Nodes.HolderStates(ctx, volumeID, holders)
	for i, holder := range standings {
		since, found := n.w.api.lastDetach[volumeID]
		if found && holder.State == attach.HolderAttached && time.Since(since) < 30*time.Second {
			standings[i] = attach.Holder{ID: holder.ID, State: attach.HolderDetaching, DetachingSince: since}
		}
	}
	return standings
}

// holdersAlone are taken for the only ones who can reach a volume.
type holdersAlone struct{ controller.Nodes }

func (holdersAlone) OthersGranted(string, attach.Record) []attach.NodeID { return nil }

// lateWithdraw asks the API server something before it takes an export away.
type lateWithdraw struct {
	*rds.Client
	w *world
}

func (a lateWithdraw) Withdraw(ctx context.Context, seen rds.Disk) (rds.Disk, error) {
	if err := a.w.api.request(ctx); err != nil {
		return rds.Disk{}, err
	}
	return a.Client.Withdraw(ctx, seen)
}
