package nvme

// Target is where one volume can be reached: the controller issues it, the node connects to it.
type Target struct {
	// SubsystemNQN names the subsystem; it carries the epoch of the holding it was issued for.
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
	// Device is the path of the block device, empty while the namespace has none.
	Device string
	// State is the kernel's word for the best of its controllers: "live", "connecting", "resetting", "deleting", "dead"…
	State string
}
