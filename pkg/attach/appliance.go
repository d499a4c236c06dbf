package attach

import "context"

// Appliance is what the reconciler needs of the appliance. All methods are safe for concurrent use.
type Appliance interface {
	// Refresh reads every record at once, so that SeenRecord is up to date for a moment. After an error it is so only for
	// some.
	Refresh(ctx context.Context) error
	// SeenRecord returns the record of a volume as it was last seen, at no cost; it proves nothing.
	SeenRecord(volumeHandle string) (Record, bool)
	// Record reads the record of a volume. Not found means that the volume is proven not to exist.
	Record(ctx context.Context, volumeHandle string) Answer[Record]
	// Restore gives a volume back to the holder that it was granted to last, if the appliance went back in time or lost its
	// export.
	Restore(ctx context.Context, volumeHandle string) error
}

// AuditAppliance is what the auditor needs of the appliance.
type AuditAppliance interface {
	// Inventory reads what the whole appliance has. It returns an error while what isn't there may only not be there yet.
	Inventory(ctx context.Context) (Inventory, error)
	// RemoveVolume deletes a volume as DeleteVolume does. One that is held is kept, with an error.
	RemoveVolume(ctx context.Context, volumeHandle string) error
	// RevokeAccess takes a node's access to a volume away, as ControllerUnpublishVolume does.
	RevokeAccess(ctx context.Context, volumeHandle string, node NodeID) error
}

// RestoreReason is what the appliance had lost of a volume, as metrics name it.
type RestoreReason string

// The reasons.
const (
	// RestoredWentBack: its record was older than what had been granted.
	RestoredWentBack RestoreReason = "went_back"
	// RestoredExport: its record was right, but its export was off or under another subsystem NQN.
	RestoredExport RestoreReason = "export_lost"
)

// RestoreReasons lists every reason, so that each can be counted from zero.
func RestoreReasons() []RestoreReason { return []RestoreReason{RestoredWentBack, RestoredExport} }
