package nvme

import "github.com/google/uuid"

// hostNamespace is the namespace of this driver's version 5 UUIDs. It must not change: every node would get a new host
// NQN, and volumes are exported to the old one.
const hostNamespace = "6f1d63d0-3b5c-5a3e-9d0f-52c1a7d0c4be"

// HostIdentity identifies a node to the target. One NQN always goes with the same ID: kernels refuse to use a host NQN
// with two IDs.
type HostIdentity struct {
	// NQN is the host NQN, "nqn.2014-08.org.nvmexpress:uuid:<ID>".
	NQN string
	// ID is the host identifier, a UUID.
	ID string
}

// HostOf returns the host identity of the machine with this identity. The controller computes it too, to export a
// volume to the node.
func HostOf(machineIdentity string) HostIdentity {
	id := uuid.NewSHA1(uuid.MustParse(hostNamespace), []byte(machineIdentity)).String()
	return HostIdentity{NQN: "nqn.2014-08.org.nvmexpress:uuid:" + id, ID: id}
}
