package attach

import (
	"fmt"
	"strings"
)

// MaxNodeIDLength is the longest CSI node ID, in bytes (CSI 1.13, NodeGetInfo).
const MaxNodeIDLength = 256

// NodeID says which machine a node is: its Node object's name and the identity that this object reports
// (status.nodeInfo.systemUUID, else machineID). A name alone could be another machine tomorrow.
type NodeID struct{ Name, Machine string }

// ParseNodeID reads "<node name>/<machine identity>". Both halves are needed, of letters, digits, dots, dashes and
// underscores; anything else is an error.
func ParseNodeID(text string) (NodeID, error) {
	name, machine, found := strings.Cut(text, "/")
	if !found || !validPart(name) || !validPart(machine) || len(text) > MaxNodeIDLength {
		return NodeID{}, fmt.Errorf("node ID %.300q: want <node name>/<machine identity> of at most %d letters, digits, dots, dashes and underscores", text, MaxNodeIDLength)
	}
	return NodeID{Name: name, Machine: machine}, nil
}

// String gives the ID as CSI and the record carry it.
func (n NodeID) String() string { return n.Name + "/" + n.Machine }

// validPart reports whether text may be a half of a node ID.
func validPart(text string) bool {
	invalid := func(r rune) bool { return !isAlphanumeric(r) && !strings.ContainsRune("._-", r) }
	return text != "" && !strings.ContainsFunc(text, invalid)
}

// isAlphanumeric reports whether r is an ASCII letter or digit.
func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
