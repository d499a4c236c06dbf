package status

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

const (
	handle   = "raid10/rds-csi/cluster-1/csi-0123456789abcdef0123456789ab"
	version0 = "pvc-ccdecfad-a8bf-572e-9120-464c4d99f12f"
	nqn      = "nqn.2026-11.io.srvlab.csi.rds:csi-0123456789abcdef0123456789ab:"
)

func now() time.Time { return time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC) }

func nodeA() attach.NodeID { return attach.NodeID{Name: "a", Machine: "machine-a"} }

// healthy is a cluster in which nothing is stuck: node a has the volume.
func healthy() Seen {
	grant := attach.Grant{Node: nodeA(), SubsystemNQN: nqn + "7", Generation: 7, Access: "mount", Mode: "single-node-writer"}
	return Seen{
		Now:     now(),
		Volumes: []Volume{{Name: "pv", Handle: handle, Claim: "default/data", Size: "1Gi", Phase: "Bound"}},
		Attachments: []Attachment{{Attachment: attach.Attachment{
			Name: "csi-va", NodeName: "a", NodeID: nodeA().String(), PV: "pv", Volume: handle, Attached: true, Grant: grant, Since: now().Add(-time.Hour),
		}}},
		Nodes: []Node{
			{Node: attach.Node{Name: "b", Machine: "machine-b"}, Ready: "True", ID: "b/machine-b", Most: 128},
			{Node: attach.Node{Name: "a", Machine: "machine-a", VolumesInUse: []string{handle}, Since: now().Add(-24 * time.Hour)}, Ready: "True", ID: "a/machine-a", Most: 128},
		},
	}
}

// onAppliance adds the record of the volume.
func onAppliance(s *Seen) *Record {
	record := Record{Epoch: "7", Record: attach.Record{Holders: []attach.NodeID{nodeA()}, SubsystemNQN: nqn + "7", Generation: 7, Reachable: true}}
	s.Appliance = &Appliance{Records: map[string]Record{handle: record}}
	return &record
}

func TestTheRowsOfAClusterInWhichNothingIsStuck(t *testing.T) {
	seen := healthy()
	onAppliance(&seen)
	exported := true
	want := Report{
		Volumes: []VolumeRow{{PV: "pv", Claim: "default/data", Size: "1Gi", Phase: "Bound", Handle: handle, Nodes: []string{"a"}, Holders: []string{"a"}, Epoch: "7", Exported: &exported}},
		Attachments: []AttachmentRow{
			{Name: "csi-va", PV: "pv", Node: "a", State: Attached, Since: now().Add(-time.Hour), NodeExists: true},
		},
		Nodes: []NodeRow{
			{Name: "a", Ready: "True", Registered: true, Volumes: 1, Most: 128, Machine: "machine-a"},
			{Name: "b", Ready: "True", Registered: true, Most: 128, Machine: "machine-b"},
		},
		Problems: []Problem{},
	}
	if diff := cmp.Diff(want, Of(seen)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Report{Volumes: []VolumeRow{}, Attachments: []AttachmentRow{}, Nodes: []NodeRow{}, Problems: []Problem{}}, Of(Seen{})); diff != "" {
		t.Errorf("of an empty cluster (-want +got):\n%s", diff)
	}
}

// sight is a change of the healthy cluster, and what the report must say of it.
type sight struct {
	change func(*Seen)
	state  State
	// about is what the one problem is about; empty if nothing is stuck. why and do are parts of its text.
	about, why, do string
}

func attachments() map[string]sight {
	first := func(change func(*Attachment)) func(*Seen) { return func(s *Seen) { change(&s.Attachments[0]) } }
	gone := func(change func(*Attachment)) func(*Seen) {
		return func(s *Seen) { s.Nodes = s.Nodes[:1]; change(&s.Attachments[0]) }
	}
	const va, pv, node = "VolumeAttachment csi-va", "PersistentVolume pv", "Node a"
	return map[string]sight{
		"attached":                                     {first(func(*Attachment) {}), Attached, "", "", ""},
		"the node is gone":                             {gone(func(*Attachment) {}), Stale, va, "Node a doesn't exist any more", "the leading controller clears it"},
		"the node is gone, and a pod isn't":            {gone(func(a *Attachment) { a.Pods = []string{"default/p"} }), Stale, va, "default/p", "Kubernetes removes pods of a deleted Node"},
		"the node is gone, and the node ID is foreign": {gone(func(a *Attachment) { a.NodeID = "i-0abc" }), Stale, va, "i-0abc", "by hand"},
		"the node is gone, and it was never attached":  {gone(func(a *Attachment) { a.NodeID, a.Attached = "", false }), Stale, va, "doesn't exist", "clears it"},
		"another machine has the name": {func(s *Seen) {
			s.Nodes[1].Machine, s.Nodes[1].ID, s.Nodes[1].VolumesInUse = "machine-x", "a/machine-x", nil
		}, Stale, va, "another machine than machine-a", "fences the machine"},
		"the machine changed its identity": {func(s *Seen) { s.Nodes[1].Machine, s.Nodes[1].ID = "machine-x", "a/machine-x" }, IdentityChanged, va, "machine-a", "keep pods that use the volume away"},
		"detaching":                        {first(func(a *Attachment) { a.DetachingSince = now().Add(-time.Minute) }), Detaching, "", "", ""},
		"detaching for too long":           {first(func(a *Attachment) { a.DetachingSince = now().Add(-slow) }), Detaching, va, "for 5m", "nothing is forced"},
		"the detach failed":                {first(func(a *Attachment) { a.DetachingSince, a.DetachError = now(), "rpc error: no" }), Detaching, va, "rpc error: no", "put right what the error says"},
		"detaching, the node is gone":      {gone(func(a *Attachment) { a.DetachingSince = now() }), Detaching, "", "", ""},
		"attaching":                        {first(func(a *Attachment) { a.Attached, a.Grant, a.Since = false, attach.Grant{}, now() }), Attaching, "", "", ""},
		"attaching for too long":           {first(func(a *Attachment) { a.Attached, a.Grant = false, attach.Grant{} }), Attaching, va, "for 60m", "it is tried again"},
		"the attach failed":                {first(func(a *Attachment) { a.Attached, a.Since, a.AttachError = false, now(), "rpc error: held" }), Attaching, va, "rpc error: held", "put right"},
		"the grant is another machine's":   {first(func(a *Attachment) { a.Grant.Node.Machine = "machine-x" }), Dead, va, "has ended", "delete the pod on node a"},
		"the appliance admits another epoch": {func(s *Seen) {
			record := onAppliance(s)
			record.SubsystemNQN, record.Generation = nqn+"8", 8
			s.Appliance.Records[handle] = *record
		}, Dead, va, "has ended", "delete the pod on node a"},
		// The driver restores that one.
		"the appliance went back in time": {func(s *Seen) {
			record := onAppliance(s)
			record.SubsystemNQN, record.Generation = nqn+"6", 6
			s.Appliance.Records[handle] = *record
		}, Attached, "", "", ""},
		"the node isn't Ready":          {func(s *Seen) { s.Nodes[1].Ready = "Unknown" }, Attached, node, "isn't Ready, and has 1 volumes", "delete the Node"},
		"another node isn't Ready":      {func(s *Seen) { s.Nodes[0].Ready = "False" }, Attached, "", "", ""},
		"the plugin isn't there":        {func(s *Seen) { s.Nodes[1].ID = "" }, Attached, node, "isn't registered", "node plugin's pod"},
		"no plugin, and no volumes":     {func(s *Seen) { s.Nodes[0].ID = "" }, Attached, "", "", ""},
		"a placeholder":                 {func(s *Seen) { s.Nodes[0].Machine = "Default string" }, Attached, "Node b", "Default string", "UUID in its firmware"},
		"two Nodes of one machine":      {func(s *Seen) { s.Nodes[0].Machine, s.Nodes[0].ID = "machine-a", "b/machine-a" }, Attached, node, "Nodes a, b all report", "delete the Nodes of old names"},
		"the plugin of another machine": {func(s *Seen) { s.Nodes[0].ID = "b/machine-x" }, Attached, "Node b", "registered as machine machine-x", "--machine-id"},
		"a volume can't be deleted":     {func(s *Seen) { s.Volumes[0].Phase, s.Volumes[0].Message = "Failed", "rpc error: busy" }, Attached, pv, "rpc error: busy", "external-provisioner"},
		"a volume of v0.x":              {func(s *Seen) { s.Volumes[0].Handle = version0 }, Attached, pv, "v0.x made it", "docs/migrating.md"},
		"the appliance is away":         {func(s *Seen) { s.Appliance = &Appliance{Err: errors.New("no route to host")} }, Attached, "appliance", "no route to host", "controller reaches it"},
		"an orphan": {func(s *Seen) {
			onAppliance(s)
			s.Appliance.Orphans = []attach.Orphan{{Kind: attach.OrphanDisk, Volume: "raid10/x"}, {Kind: attach.OrphanVersion0, PV: "pv", Volume: version0}}
		}, Attached, "disk_without_pv raid10/x", "no PersistentVolume refers to it", "docs/orphans.md"},
	}
}

func TestWhatIsStuckAndWhatToDo(t *testing.T) {
	for name, test := range attachments() {
		t.Run(name, func(t *testing.T) {
			seen := healthy()
			test.change(&seen)
			report := Of(seen)
			if got := report.Attachments[0].State; got != test.state {
				t.Errorf("the attachment is %s, want %s", got, test.state)
			}
			if test.about == "" {
				if len(report.Problems) > 0 {
					t.Errorf("got %+v, want nothing", report.Problems)
				}
				return
			}
			if len(report.Problems) != 1 || report.Problems[0].About != test.about || !strings.Contains(report.Problems[0].Why, test.why) || !strings.Contains(report.Problems[0].Do, test.do) {
				t.Errorf("got %+v, want one about %s, because %q: %q", report.Problems, test.about, test.why, test.do)
			}
		})
	}
}

// Nobody is fenced then, so nobody may be told that the driver clears it.
func TestAStaleAttachmentOfAVolumeOfVersion0IsNotCleared(t *testing.T) {
	seen := healthy()
	seen.Nodes = seen.Nodes[:1]
	seen.Volumes[0].Handle, seen.Attachments[0].Volume = version0, version0
	problems := Of(seen).Problems
	if len(problems) != 2 || !strings.Contains(problems[1].Why, "nobody can be fenced") || !strings.Contains(problems[1].Do, "make sure that the machine is off") {
		t.Errorf("got %+v", problems)
	}
}

func TestAgesAreShort(t *testing.T) {
	for age, want := range map[time.Duration]string{
		-time.Second: "0s", 119 * time.Second: "119s", 2 * time.Minute: "2m", 2*time.Hour + 5*time.Minute: "2h5m", 72*time.Hour + time.Minute: "3d",
	} {
		if got := Age(age); got != want {
			t.Errorf("%s: got %s, want %s", age, got, want)
		}
	}
}
