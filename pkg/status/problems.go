package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// slow is how long a detach or an attach may take before it counts as stuck. The attach-detach controller and
// external-attacher try again within it.
const slow = 5 * time.Minute

// problems returns what is stuck: first what concerns the appliance, then volumes, attachments and nodes. on is the number of
// attachments by node.
func (s Seen) problems(on map[string]int) []Problem {
	problems := s.ofAppliance()
	for _, volume := range s.Volumes {
		problems = append(problems, ofVolume(volume)...)
	}
	for _, attachment := range s.Attachments {
		problems = append(problems, s.ofAttachment(attachment)...)
	}
	for _, node := range s.Nodes {
		problems = append(problems, s.ofNode(node, on[node.Name])...)
	}
	return problems
}

func (s Seen) ofAppliance() []Problem {
	if s.Appliance == nil {
		return nil
	}
	if s.Appliance.Err != nil {
		return []Problem{{
			About: "appliance", Why: s.Appliance.Err.Error(),
			Do: "volumes that are attached work on; nothing is created, attached, detached or fenced before the controller reaches it: see its log",
		}}
	}
	var problems []Problem
	for _, orphan := range s.Appliance.Orphans {
		if orphan.Kind != attach.OrphanVersion0 { // known without the appliance
			problems = append(problems, Problem{About: fmt.Sprintf("%s %s", orphan.Kind, orphan.Volume), Why: orphan.Note().Message, Do: "read docs/orphans.md"})
		}
	}
	return problems
}

func ofVolume(volume Volume) []Problem {
	var problems []Problem
	if attach.CheckVersion(volume.Handle) != nil {
		problems = append(problems, Problem{
			About: "PersistentVolume " + volume.Name, Why: "rds-csi v0.x made it, and this version neither attaches nor deletes it",
			Do: "move it as docs/migrating.md says",
		})
	}
	if volume.Phase == "Failed" {
		problems = append(problems, Problem{About: "PersistentVolume " + volume.Name, Why: "it could not be deleted: " + volume.Message, Do: "see the log of external-provisioner; it is tried again"})
	}
	return problems
}

func (s Seen) ofAttachment(attachment Attachment) []Problem {
	about := "VolumeAttachment " + attachment.Name
	one := func(why, do string) []Problem { return []Problem{{About: about, Why: why, Do: do}} }
	switch s.state(attachment) {
	case Stale:
		why, do := s.stale(attachment)
		return one(why, do)
	case IdentityChanged:
		return one(fmt.Sprintf("it was made for machine %s; Node %s reports another one now, and volume %s as in use", attachment.Machine(), attachment.NodeName, attachment.PV),
			fmt.Sprintf("keep pods that use the volume away from node %s until it no longer reports the volume as in use; nothing is cleared before", attachment.NodeName))
	case Dead:
		return one(fmt.Sprintf("the access that node %s was granted to volume %s has ended, or was another machine's", attachment.NodeName, attachment.PV),
			fmt.Sprintf("delete the pod on node %s that uses the volume: then it is attached anew", attachment.NodeName))
	case Detaching:
		if attachment.DetachError == "" && s.Now.Sub(attachment.DetachingSince) < slow {
			return nil
		}
		return one(fmt.Sprintf("volume %s has been detaching from node %s for %s%s", attachment.PV, attachment.NodeName, s.ago(attachment.DetachingSince), quoted(attachment.DetachError)),
			"nothing is forced, since only a successful detach proves that access was revoked: put right what the error says, or see the logs of external-attacher and of the controller")
	case Attaching:
		if attachment.AttachError == "" && s.Now.Sub(attachment.Since) < slow {
			return nil
		}
		return one(fmt.Sprintf("volume %s could not be attached to node %s for %s%s", attachment.PV, attachment.NodeName, s.ago(attachment.Since), quoted(attachment.AttachError)),
			"put right what the error says, or see the logs of external-attacher and of the controller; it is tried again")
	default:
		return nil
	}
}

// stale returns why an attachment whose machine is gone is still there, and what to do.
func (s Seen) stale(attachment Attachment) (why, do string) {
	why = fmt.Sprintf("Node %s doesn't exist any more", attachment.NodeName)
	if s.node(attachment.NodeName).Found {
		why = fmt.Sprintf("another machine than %s has taken the name of node %s", attachment.Machine(), attachment.NodeName)
	}
	switch {
	case attach.CheckVersion(attachment.Volume) != nil:
		return why + ", and rds-csi v0.x made the volume, so nobody can be fenced", "make sure that the machine is off, and move the volume as docs/migrating.md says"
	case attachment.NodeID != "" && attachment.Machine() == "":
		return why + fmt.Sprintf(", and its node ID %q is none of this driver", attachment.NodeID), "make sure that the machine is off, and delete the VolumeAttachment by hand"
	case len(attachment.Pods) > 0:
		return why + ", and pods there still use the volume: " + strings.Join(attachment.Pods, ", "),
			"wait a minute: Kubernetes removes pods of a deleted Node, and then the driver clears the attachment; a pod with a finalizer of its own stays, see kubectl get pod -o yaml"
	default:
		return why, "wait a minute: the leading controller clears it, and fences the machine; if it stays, look for the events ClearingHeld and ClearingNotBegun, and whether a controller leads: kubectl get lease -A"
	}
}

func (s Seen) ofNode(node Node, volumes int) []Problem {
	var problems []Problem
	add := func(why, do string) {
		problems = append(problems, Problem{About: "Node " + node.Name, Why: why, Do: do})
	}
	if node.Ready != "True" && volumes > 0 {
		add(fmt.Sprintf("it isn't Ready, and has %d volumes", volumes),
			"if its machine is dead, delete the Node, or taint it node.kubernetes.io/out-of-service: then its volumes are fenced and move; if it lives, they stay usable there")
	}
	if node.ID == "" && volumes > 0 {
		add(fmt.Sprintf("the node plugin isn't registered there, and it has %d volumes", volumes), "see the node plugin's pod on it: volumes are neither mounted nor unmounted meanwhile")
	}
	if node.ID != "" && attach.IsPlaceholder(node.Machine) {
		add(fmt.Sprintf("it reports machine %q, which many machines report, so it gets no volume", node.Machine),
			"give the machine a UUID in its firmware or an /etc/machine-id of its own, and restart kubelet")
	} else if twins := s.twins(node); len(twins) > 1 && twins[0] == node.Name {
		add(fmt.Sprintf("Nodes %s all report machine %q, so none of them gets a volume", strings.Join(twins, ", "), node.Machine), "delete the Nodes of old names, or give each machine an identity of its own")
	}
	if id, err := attach.ParseNodeID(node.ID); err == nil && !node.IsMachine(id.Machine) {
		add(fmt.Sprintf("the node plugin is registered as machine %s there, but the Node reports %s, so it gets no volume", id.Machine, node.Machine), "compare --machine-id of the node plugin, and restart its pod")
	}
	return problems
}

// twins returns the names of the Nodes that report this Node's machine, itself included, sorted.
func (s Seen) twins(node Node) []string {
	var names []string
	for _, other := range s.Nodes {
		if other.Machine == node.Machine && !attach.IsPlaceholder(other.Machine) {
			names = append(names, other.Name)
		}
	}
	slices.Sort(names)
	return names
}

// quoted returns an error's text behind a colon, or nothing.
func quoted(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}
