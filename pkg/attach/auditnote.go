package attach

import "fmt"

// Note returns the event that reports the orphan and says what to do about it.
func (o Orphan) Note() Note {
	note := Note{Warning: true, Volume: o.Volume, PV: o.PV}
	switch o.Kind {
	case OrphanDisk:
		note.Reason = OrphanedDisk
		note.Message = fmt.Sprintf("Disk %s on the appliance belongs to this cluster, but no PersistentVolume refers to it. If nobody needs its data, delete it; if somebody does, make a PersistentVolume with this volumeHandle.", o.Volume)
	case OrphanVolume:
		note.Reason = MissingDisk
		note.Message = fmt.Sprintf("The appliance has no disk %s, which this PersistentVolume refers to. If its backing file is still there, add the disk to it; else restore the volume from a backup, or delete it.", o.Volume)
	case OrphanFile:
		note.Reason = OrphanedFile
		note.Message = fmt.Sprintf("No disk of the appliance refers to backing file %s. It may hold the data of a volume that lost its disk; if nobody needs it, remove it by hand.", o.Volume)
	case OrphanHolder:
		note.Reason, note.Node = HolderWithoutAttachment, o.Node.Name
		note.Message = fmt.Sprintf("The appliance admits node %s to volume %s, but there is no VolumeAttachment for them. Another node that requests the volume gets it.", o.Node.Name, o.Volume)
	case OrphanVersion0:
		note.Reason = VolumeOfVersion0
		note.Message = fmt.Sprintf("This PersistentVolume of handle %s was made by rds-csi v0.x. It is neither attached nor detached nor deleted before it is moved as docs/migrating.md says.", o.Volume)
	}
	note.Message += " See docs/orphans.md."
	return note
}
