package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// Report is the answer: rows for people, and the same for programs. Programs read the names of the fields, so they don't
// change.
type Report struct {
	Volumes     []VolumeRow     `json:"volumes"`
	Attachments []AttachmentRow `json:"attachments"`
	Nodes       []NodeRow       `json:"nodes"`
	Problems    []Problem       `json:"problems"`
}

// VolumeRow is one PersistentVolume.
type VolumeRow struct {
	PV     string `json:"pv"`
	Claim  string `json:"claim,omitempty"`
	Size   string `json:"size"`
	Phase  string `json:"phase"`
	Handle string `json:"handle"`
	// Nodes are those that the volume is attached to, as far as Kubernetes knows.
	Nodes []string `json:"nodes,omitempty"`
	// Holders, Epoch and Exported are the appliance's, and left out if it wasn't asked.
	Holders  []string `json:"holders,omitempty"`
	Epoch    string   `json:"epoch,omitempty"`
	Exported *bool    `json:"exported,omitempty"`
}

// AttachmentRow is one VolumeAttachment.
type AttachmentRow struct {
	Name  string `json:"name"`
	PV    string `json:"pv"`
	Node  string `json:"node"`
	State State  `json:"state"`
	// Since is when the attachment was created, or for a detaching one when that was requested.
	Since time.Time `json:"since"`
	// NodeExists says whether the Node exists, and may be the machine that the attachment is for.
	NodeExists bool `json:"nodeExists"`
}

// State is how an attachment is.
type State string

// The states.
const (
	Attaching State = "attaching"
	Attached  State = "attached"
	Detaching State = "detaching"
	// Stale: its machine is gone.
	Stale State = "stale"
	// Dead: its node lives, but the appliance doesn't admit it any more, or the grant is for another machine.
	Dead State = "dead"
	// IdentityChanged: its Node reports another machine, and the volume as in use.
	IdentityChanged State = "identity-changed"
)

// NodeRow is one Node.
type NodeRow struct {
	Name  string `json:"name"`
	Ready string `json:"ready"`
	// Registered says whether the node plugin is registered there.
	Registered bool `json:"registered"`
	// Volumes is the number of attachments, and Most the greatest number that the scheduler allows; 0 if it isn't known.
	Volumes int    `json:"volumes"`
	Most    int32  `json:"most,omitempty"`
	Machine string `json:"machine"`
}

// Problem is something that is stuck or will be.
type Problem struct {
	// About is the kind and the name of the object.
	About string `json:"about"`
	Why   string `json:"why"`
	Do    string `json:"do"`
}

// Of returns the report on what was seen. Rows are sorted by name.
func Of(seen Seen) Report {
	seen = seen.sorted()
	report := Report{Volumes: []VolumeRow{}, Attachments: []AttachmentRow{}, Nodes: []NodeRow{}, Problems: []Problem{}}
	on := map[string]int{}
	nodesOf := map[string][]string{}
	for _, attachment := range seen.Attachments {
		report.Attachments = append(report.Attachments, seen.attachmentRow(attachment))
		on[attachment.NodeName]++
		nodesOf[attachment.PV] = append(nodesOf[attachment.PV], attachment.NodeName)
	}
	for _, volume := range seen.Volumes {
		report.Volumes = append(report.Volumes, seen.volumeRow(volume, nodesOf[volume.Name]))
	}
	for _, node := range seen.Nodes {
		report.Nodes = append(report.Nodes, NodeRow{
			Name: node.Name, Ready: node.Ready, Registered: node.ID != "", Volumes: on[node.Name], Most: node.Most, Machine: node.Machine,
		})
	}
	report.Problems = append(report.Problems, seen.problems(on)...)
	return report
}

// sorted returns a copy with sorted lists.
func (s Seen) sorted() Seen {
	s.Volumes, s.Attachments, s.Nodes = slices.Clone(s.Volumes), slices.Clone(s.Attachments), slices.Clone(s.Nodes)
	slices.SortFunc(s.Volumes, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Attachments, func(a, b Attachment) int {
		return cmp.Or(strings.Compare(a.PV, b.PV), strings.Compare(a.NodeName, b.NodeName))
	})
	slices.SortFunc(s.Nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return s
}

func (s Seen) volumeRow(volume Volume, nodes []string) VolumeRow {
	row := VolumeRow{PV: volume.Name, Claim: volume.Claim, Size: volume.Size, Phase: volume.Phase, Handle: volume.Handle, Nodes: nodes}
	record, found := s.record(volume.Handle)
	if !found {
		return row
	}
	for _, holder := range record.Holders {
		row.Holders = append(row.Holders, holder.Name)
	}
	row.Epoch, row.Exported = record.Epoch, &record.Reachable
	return row
}

func (s Seen) attachmentRow(attachment Attachment) AttachmentRow {
	row := AttachmentRow{Name: attachment.Name, PV: attachment.PV, Node: attachment.NodeName, State: s.state(attachment), Since: attachment.Since}
	if attachment.Detaching() {
		row.Since = attachment.DetachingSince
	}
	node := s.node(attachment.NodeName)
	row.NodeExists = node.Found && node.Value.IsMachine(attachment.Machine())
	return row
}

// state judges an attachment as the driver does.
func (s Seen) state(attachment Attachment) State {
	id := attach.NodeID{Name: attachment.NodeName, Machine: attachment.Machine()}
	holder := attach.Judge(id, attachment.Volume, s.node(attachment.NodeName), attach.Answer[attach.Attachment]{Value: attachment.Attachment, Found: true})
	switch {
	case attachment.Detaching():
		return Detaching
	case holder.State == attach.HolderGone:
		return Stale
	case holder.State == attach.HolderInUse:
		return IdentityChanged
	case !attachment.Attached:
		return Attaching
	case attachment.ForAnother(), s.superseded(attachment):
		return Dead
	default:
		return Attached
	}
}

// superseded reports whether the appliance has a record of the volume that doesn't admit the attachment's grant.
func (s Seen) superseded(attachment Attachment) bool {
	record, found := s.record(attachment.Volume)
	return found && attachment.Grant != (attach.Grant{}) && !record.WentBack(attachment.Grant.Generation) && !record.Admits(attachment.Grant)
}

func (s Seen) record(handle string) (Record, bool) {
	if s.Appliance == nil {
		return Record{}, false
	}
	record, found := s.Appliance.Records[handle]
	return record, found
}

func (s Seen) node(name string) attach.Answer[attach.Node] {
	i := slices.IndexFunc(s.Nodes, func(node Node) bool { return node.Name == name })
	if i < 0 {
		return attach.Answer[attach.Node]{}
	}
	return attach.Answer[attach.Node]{Value: s.Nodes[i].Node, Found: true}
}

// ago returns how long ago something was, in a form for people.
func (s Seen) ago(then time.Time) string { return Age(s.Now.Sub(then)) }

// Age returns a duration as kubectl shows ages: in one unit or two, without fractions.
func Age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}
