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
	if !found || !validHalf(name) || !validHalf(machine) || len(text) > MaxNodeIDLength {
		return NodeID{}, fmt.Errorf("node ID %.300q: want <node name>/<machine identity> of at most %d letters, digits, dots, dashes and underscores", text, MaxNodeIDLength)
	}
	return NodeID{Name: name, Machine: machine}, nil
}

// String gives the ID as CSI and the record carry it.
func (n NodeID) String() string { return n.Name + "/" + n.Machine }

func validHalf(text string) bool {
	for i := range len(text) {
		c := text[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-", rune(c)) {
			return false
		}
	}
	return text != ""
}
