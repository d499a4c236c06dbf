package nvme

import "github.com/google/uuid"

// hostNamespace makes our version 5 UUIDs different from everybody else's. It is part of the stored format: changing it
// would give every node a new host NQN.
const hostNamespace = "6f1d63d0-3b5c-5a3e-9d0f-52c1a7d0c4be"

// HostIdentity is what a node tells the target about itself. NQN and ID always come as a pair: kernels refuse one host
// NQN with two IDs.
type HostIdentity struct {
	// NQN is the host NQN, "nqn.2014-08.org.nvmexpress:uuid:<ID>".
	NQN string
	// ID is the host identifier, a UUID.
	ID string
}

// HostOf derives the identity from the machine's, so that the controller can compute what the node presents.
func HostOf(machineIdentity string) HostIdentity {
	id := uuid.NewSHA1(uuid.MustParse(hostNamespace), []byte(machineIdentity)).String()
	return HostIdentity{NQN: "nqn.2014-08.org.nvmexpress:uuid:" + id, ID: id}
}
