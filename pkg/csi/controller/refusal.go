package controller

import (
	"errors"
	"fmt"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// refusal returns the error of a publish request that is refused: the reason, and what would change it.
func refusal(id rds.VolumeID, node attach.NodeID, decision attach.Decision) error {
	over := decision.Over.ID
	switch decision.Verdict {
	case attach.Conflict:
		err := fmt.Errorf("volume %s can't be published to node %s: %w: node %s (machine %s) is %s; delete the pod there, or its Node if the machine is dead",
			id, node.Name, attach.ErrConflict, over.Name, over.Machine, decision.Over.State)
		if decision.Detaching != (attach.NodeID{}) {
			return fmt.Errorf("%w: %w", errMayEndSoon, err)
		}
		return err
	case attach.Incompatible:
		return fmt.Errorf("volume %s on node %s: %w; unpublish it first", id, node.Name, attach.ErrIncompatible)
	case attach.Unfenced:
		return fmt.Errorf("volume %s can't be shared with node %s: %w: node %s (machine %s) left, and it isn't proven that it stopped using the volume; detach the volume everywhere first, or allow it with --rwx-allow-unfenced",
			id, node.Name, attach.ErrUnfenced, over.Name, over.Machine)
	case attach.WentBack:
		return fmt.Errorf("volume %s can't be published to node %s yet: %w: the appliance's record is older than what was granted", id, node.Name, attach.ErrUnknown)
	default:
		return fmt.Errorf("volume %s can't be published to node %s yet: %w: node %s is %s", id, node.Name, attach.ErrUnknown, over.Name, decision.Over.State)
	}
}

// noteDuplicate reports that a node isn't admitted because another Node is the same machine: an operator must delete one
// of them. Any other error reports nothing.
func (c *Service) noteDuplicate(id rds.VolumeID, node attach.NodeID, refused error) {
	if duplicate, found := errors.AsType[*attach.DuplicateMachineError](refused); found {
		c.observer.Note(attach.Note{Reason: attach.DuplicateMachineIdentity, Warning: true, Volume: id.String(), Node: node.Name, Message: duplicate.Error()})
	}
}

// noteRefusal reports a refusal that doesn't end before an operator acts.
func (c *Service) noteRefusal(id rds.VolumeID, node attach.NodeID, decision attach.Decision) {
	note := attach.Note{Warning: true, Volume: id.String(), Node: decision.Over.ID.Name, Message: refusal(id, node, decision).Error()}
	switch {
	case decision.Verdict == attach.Unfenced:
		note.Reason = attach.JoinRefused
	case decision.Over.State == attach.HolderInUse:
		note.Reason = attach.MachineIdentityChanged
	case decision.Verdict == attach.Conflict && decision.Detaching == (attach.NodeID{}), decision.Verdict == attach.Incompatible:
		note.Reason = attach.PublishRefused
	default:
		return
	}
	c.observer.Note(note)
}
