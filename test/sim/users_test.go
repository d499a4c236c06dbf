package sim_test

import (
	"testing"

	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

func TestAUserWithoutAKeyLogsInWithAPassword(t *testing.T) {
	b := start(t, func(o *sim.Options) {
		o.Users = append(o.Users,
			sim.User{Name: "keyless", Password: "right"},
			sim.User{Name: "nossh", Password: "right", Policies: &appliance.Policies{Read: true}})
	})
	for user, want := range map[string]bool{"keyless": true, "nossh": false} {
		client, err := ssh.Dial("tcp", b.SSHAddr(), &ssh.ClientConfig{
			User: user, Auth: []ssh.AuthMethod{ssh.Password("right")}, HostKeyCallback: ssh.FixedHostKey(b.HostKey()),
		})
		if (err == nil) != want {
			t.Errorf("%s: got %v, want success %t", user, err, want)
		}
		if err == nil {
			_ = client.Close()
		}
	}
}
