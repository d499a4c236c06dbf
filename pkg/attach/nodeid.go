package attach

import (
	"fmt"
	"strings"
)

// MaxNodeIDLength is the maximum length of a CSI node ID, in bytes (CSI 1.13, NodeGetInfo).
const MaxNodeIDLength = 256

// NodeID identifies the machine of a node: by the name of the Node object and the machine identity that this object
// reports (status.nodeInfo.systemUUID, else machineID). The name alone may belong to another machine later.
type NodeID struct{ Name, Machine string }

// ParseNodeID parses "<node name>/<machine identity>". Neither part may be empty or have other characters than ASCII
// letters, digits, dots, dashes and underscores.
func ParseNodeID(text string) (NodeID, error) {
	name, machine, found := strings.Cut(text, "/")
	if !found || !validPart(name) || !validPart(machine) || len(text) > MaxNodeIDLength {
		return NodeID{}, fmt.Errorf("node ID %.300q: want <node name>/<machine identity> of at most %d letters, digits, dots, dashes and underscores", text, MaxNodeIDLength)
	}
	return NodeID{Name: name, Machine: machine}, nil
}

// String returns the ID as ParseNodeID reads it. CSI and the appliance's records have this form.
func (n NodeID) String() string { return n.Name + "/" + n.Machine }

// validPart reports whether text may be the name or the machine identity of a node ID.
func validPart(text string) bool {
	invalid := func(r rune) bool { return !isAlphanumeric(r) && !strings.ContainsRune("._-", r) }
	return text != "" && !strings.ContainsFunc(text, invalid)
}

// isAlphanumeric reports whether r is an ASCII letter or digit.
func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
