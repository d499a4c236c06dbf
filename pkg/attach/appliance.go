package attach

import "context"

// Appliance is what the reconciler needs of the appliance. All methods are safe for concurrent use.
type Appliance interface {
	// Refresh reads every record with one command, for SeenRecord. After an error, only some records are up to date.
	Refresh(ctx context.Context) error
	// SeenRecord returns the record of a volume as it was last read, without asking the appliance. It proves nothing.
	SeenRecord(volumeHandle string) (Record, bool)
	// Record reads the record of a volume. Not found means that the volume provably doesn't exist.
	Record(ctx context.Context, volumeHandle string) Answer[Record]
	// Restore gives a volume back to its last holder, if the appliance went back in time or lost the volume's export.
	Restore(ctx context.Context, volumeHandle string) error
}

// AuditAppliance is what the auditor needs of the appliance. All methods are safe for concurrent use.
type AuditAppliance interface {
	// Inventory reads everything that the appliance has. It returns an error while the appliance boots: what is missing
	// then may still appear.
	Inventory(ctx context.Context) (Inventory, error)
	// RemoveVolume deletes a volume as DeleteVolume does. It returns an error, and deletes nothing, if the volume is held.
	RemoveVolume(ctx context.Context, volumeHandle string) error
	// RevokeAccess revokes a node's access to a volume, as ControllerUnpublishVolume does.
	RevokeAccess(ctx context.Context, volumeHandle string, node NodeID) error
}

// RestoreReason says what the appliance had lost of a volume. Its value is a label of a metric.
type RestoreReason string

// The reasons.
const (
	// RestoredWentBack: the appliance went back in time, so the volume's record was older than what was granted.
	RestoredWentBack RestoreReason = "went_back"
	// RestoredExport: the record was right, but the export was off or had another subsystem NQN.
	RestoredExport RestoreReason = "export_lost"
)

// RestoreReasons returns every reason, so that each can be counted from zero.
func RestoreReasons() []RestoreReason { return []RestoreReason{RestoredWentBack, RestoredExport} }
