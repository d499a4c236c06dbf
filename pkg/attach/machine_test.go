package attach

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPlaceholders(t *testing.T) {
	for _, identity := range []string{
		"", " \n", "\x00", "-", "0", "00000000-0000-0000-0000-000000000000", "00000000000000000000000000000000",
		"ffffffff-ffff-ffff-ffff-ffffffffffff", "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", "11111111-1111-1111-1111-111111111111",
		"03000200-0400-0500-0006-000700080009", "03000200040005000006000700080009", "00020003-0004-0005-0006-000700080009",
		"12345678-1234-5678-90AB-CDDEEFAABBCC", "FEFEFEFE-FEFE-FEFE-FEFE-FEFEFEFEFEFE", "4C4C4544-0000-2010-8020-80C04F202020",
		"Not Settable", "not settable", "NOT-SETTABLE", "Not Specified", "Not Available", "Not Applicable", "Not Present", "N/A",
		"To be filled by O.E.M.", "To Be Filled By O.E.M", "tobefilledbyoem", "Default string", "None", "null", "Unknown",
		"Undefined", "Invalid", "OEM", "System Serial Number", "uninitialized",
	} {
		if !IsPlaceholder(identity) {
			t.Errorf("%q was taken for an identity", identity)
		}
	}
	for _, identity := range []string{
		"machine-a", "m", "4c4c4544-0042-3510-8052-b4c04f4a3132", "00000000-0000-0000-0000-0cc47a1b2c3d", "ffffffff-ffff-ffff-ffff-fffffffffff0",
		"03000200-0400-0500-0006-00070008000a", "none-1", "0123456789abcdef0123456789abcdef", "tree-id", "ec2e1916-9099-7caf-fd21-012345abcdef",
	} {
		if IsPlaceholder(identity) {
			t.Errorf("%q was taken for a placeholder", identity)
		}
	}
}

const zeros = "00000000-0000-0000-0000-000000000000"

// Every machine of the same make reports the same placeholder: it neither proves that a machine is the one that held a
// volume, nor that it is another one.
func TestAPlaceholderProvesNothing(t *testing.T) {
	for name, c := range map[string]struct{ reported, held string }{
		"reported": {zeros, "machine-a"},
		"held":     {"machine-a", zeros},
		"both":     {"default-string", zeros},
	} {
		node := Node{Name: "node-a", Machine: c.reported, Since: time.Unix(1000, 0)}
		if !node.IsMachine(c.held) {
			t.Errorf("%s: it proved that node-a is another machine", name)
		}
	}
	node := Answer[Node]{Value: Node{Name: "node-a", Machine: zeros, Since: time.Unix(1000, 0)}, Found: true}
	attachment := Answer[Attachment]{Value: Attachment{Since: time.Unix(2000, 0)}, Found: true}
	if stoppedUsing(NodeID{Name: "node-a", Machine: zeros}, handle1, node, attachment) {
		t.Error("it proved that this very machine stopped using the volume")
	}
}

func TestANodeWithAPlaceholderGetsNoVolume(t *testing.T) {
	node := NodeID{Name: "node-a", Machine: zeros}
	cluster := orderly()
	cluster.change(Node{Name: "node-a", Machine: zeros})
	if _, err := NewNodes(testDriver, cluster, never).Admit(t.Context(), handle1, node); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), zeros) || !strings.Contains(err.Error(), "node-a") {
		t.Errorf("got %v, want ErrUnknown that names the node and what it reports", err)
	}
	cluster.change(Node{Name: "node-a", Machine: "machine-a"})
	if _, err := NewNodes(testDriver, cluster, never).Admit(t.Context(), handle1, node); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), zeros) {
		t.Errorf("asked for under a placeholder: got %v, want ErrUnknown", err)
	}
	if _, err := (RecordNodes{}).Admit(t.Context(), handle1, node); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), zeros) {
		t.Errorf("without Kubernetes: got %v, want ErrUnknown", err)
	}
}

// Two Nodes of one machine, or two machines with one identity: neither gets a volume until one of the Nodes is gone.
func TestNodesThatShareAnIdentityGetNoVolume(t *testing.T) {
	twin := Node{Name: "node-b", Machine: "machine-a"}
	for name, c := range map[string]struct {
		change func(*fakeKubernetes)
		want   []string // the Nodes that the error names; none: admitted
		fails  bool
	}{
		"alone":                      {func(*fakeKubernetes) {}, nil, false},
		"two":                        {func(f *fakeKubernetes) { f.change(twin) }, []string{"node-a", "node-b"}, true},
		"the other one just deleted": {func(f *fakeKubernetes) { f.cached["node-b"] = twin }, nil, false},
		"the other one just changed": {func(f *fakeKubernetes) {
			f.cached["node-b"] = twin
			f.live["node-b"] = Node{Name: "node-b", Machine: "machine-b"}
		}, nil, false},
		"the other one can't be asked for": {func(f *fakeKubernetes) { f.cached["node-b"] = twin; f.failed = errors.New("refused") }, nil, true},
		"the other one is leaving": {func(f *fakeKubernetes) {
			f.change(Node{Name: "node-b", Machine: "machine-a", Leaving: true})
		}, []string{"node-a", "node-b"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := orderly()
				c.change(cluster)
				_, err := NewNodes(testDriver, cluster, never).Admit(t.Context(), handle1, nodeIDA())
				if (err != nil) != c.fails || c.fails && !errors.Is(err, ErrUnknown) {
					t.Fatalf("got %v, want an error that is tried again: %t", err, c.fails)
				}
				duplicate, found := errors.AsType[*DuplicateMachineError](err)
				if found != (c.want != nil) || found && !slices.Equal(duplicate.Nodes, c.want) {
					t.Errorf("got %+v, want it to name %v", err, c.want)
				}
				for _, node := range c.want {
					if !strings.Contains(err.Error(), node) {
						t.Errorf("%v doesn't name %s", err, node)
					}
				}
			})
		})
	}
}
