package nvme

import "testing"

// The derivation is stored on appliances (as allowed host) and in kernels: it must never change.
func TestHostOfIsStable(t *testing.T) {
	got := HostOf("4c4c4544-0042-3510-8052-b4c04f4d3732")
	want := HostIdentity{NQN: "nqn.2014-08.org.nvmexpress:uuid:2858e678-30cd-59fc-b99c-aad029ba4476", ID: "2858e678-30cd-59fc-b99c-aad029ba4476"}
	if got != want {
		t.Errorf("HostOf: got %+v, want %+v", got, want)
	}
}
