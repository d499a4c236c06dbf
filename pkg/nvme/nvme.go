package nvme

// Target is the address of one volume. The controller issues it, and the node connects to it.
type Target struct {
	// SubsystemNQN names the subsystem. It contains the epoch under which the volume was published.
	SubsystemNQN string
	// Address is the appliance's IP address or DNS name on the storage network.
	Address string
	// Port is the TCP port, 1 to 65535.
	Port uint16
	// Options tune the connection.
	Options Options
}

// Connection is a subsystem that this node is connected to.
type Connection struct {
	SubsystemNQN string
	// Device is the path of the block device; empty while there is none.
	Device string
	// State is the kernel's name for the state of the best controller: "live", "connecting", "resetting", "deleting",
	// "dead"… It is empty if the subsystem has no controller.
	State string
}
