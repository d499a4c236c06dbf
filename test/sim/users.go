package sim

import (
	"context"
	"io"

	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/sftpd"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/sshd"
)

// credentials are those of the users with the policy ssh.
func (s *Sim) credentials() (keys map[string][]ssh.PublicKey, passwords map[string]string) {
	keys, passwords = map[string][]ssh.PublicKey{}, map[string]string{}
	for _, user := range s.options.Users {
		if !s.policies(user.Name).SSH {
			continue
		}
		keys[user.Name] = user.Keys
		if user.Password != "" {
			passwords[user.Name] = user.Password
		}
	}
	return keys, passwords
}

// logins are the connections as the appliance's menus show them.
func (s *Sim) logins() []appliance.Login {
	var logins []appliance.Login
	for _, login := range s.server.Logins() {
		logins = append(logins, appliance.Login(login))
	}
	return logins
}

// subsystem gives SFTP to users with the policy ftp, and nothing else.
func (s *Sim) subsystem(user, name string) sshd.Subsystem {
	if name != "sftp" || !s.policies(user).FTP {
		return nil
	}
	return func(ctx context.Context, channel io.ReadWriteCloser) {
		sftpd.Serve(ctx, s.appliance.Tree(), channel)
	}
}
