package attach

import (
	"fmt"
	"slices"
	"strings"
)

// uuidDigits is the number of digits of a UUID.
const uuidDigits = 32

// IsPlaceholder reports whether a machine identity is one that firmware or an installation has until it's given a real
// one, or empty. Every machine of the same make may report it, so it proves nothing about a machine. Upper and lower
// case, white space, dashes and other punctuation make no difference.
func IsPlaceholder(identity string) bool {
	key := strings.Map(func(r rune) rune {
		if isAlphanumeric(r) {
			return r
		}
		return -1
	}, strings.ToLower(identity))
	if strings.Trim(key, "0") == "" || len(key) == uuidDigits && strings.Trim(key, key[:1]) == "" {
		return true
	}
	return slices.Contains([]string{
		"notsettable", "notspecified", "notavailable", "notapplicable", "notpresent", "na", "none", "null", "nil",
		"tobefilledbyoem", "oem", "defaultstring", "default", "unknown", "unspecified", "undefined", "invalid", "empty",
		"systemserialnumber", "systemuuid",
		"uninitialized",                    // /etc/machine-id before the first boot of an image
		"03000200040005000006000700080009", // AMI's sample, and the same in the other byte order
		"00020003000400050006000700080009",
		"123456781234567890abcddeefaabbcc",
		"fefefefefefefefefefefefefefefefe",
		"4c4c454400002010802080c04f202020", // Dell without a service tag
	}, key)
}

// refusePlaceholder returns ErrUnknown if a volume is asked for under a placeholder.
func refusePlaceholder(node NodeID) error {
	if !IsPlaceholder(node.Machine) {
		return nil
	}
	return fmt.Errorf("%w: the request is for machine %q of node %s, and that is a placeholder which many machines report; set --machine-id of the node plugin there",
		ErrUnknown, node.Machine, node.Name)
}

// DuplicateMachineError says that several Nodes report one machine identity, so that none of them gets a volume. It is
// an ErrUnknown: the request is tried again, and succeeds once one Node is left.
type DuplicateMachineError struct {
	Machine string
	// Nodes are the names of the Nodes, sorted.
	Nodes []string
}

// Error names the Nodes and what to do.
func (e *DuplicateMachineError) Error() string {
	return fmt.Sprintf("%v: Nodes %s all report machine %q, so none of them gets a volume; if it is one machine that was renamed, delete the Nodes of its old names; if machines were copied, give each one an identity of its own (the UUID in its firmware, or /etc/machine-id)",
		ErrUnknown, strings.Join(e.Nodes, ", "), e.Machine)
}

// Unwrap returns ErrUnknown.
func (e *DuplicateMachineError) Unwrap() error { return ErrUnknown }
