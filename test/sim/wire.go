package sim

import (
	"fmt"

	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/sshd"
)

// connectionTrouble is what goes wrong with a new connection.
func (s *Sim) connectionTrouble() sshd.ConnectionTrouble {
	if s.Phase() == appliance.Down {
		return sshd.ResetConnection
	}
	i := s.faults.strike(OnConnection, "")
	if i == nil {
		return sshd.NoConnectionTrouble
	}
	switch i.fault.Kind {
	case ConnectionMute:
		return sshd.MuteConnection
	case SessionLimitEarly:
		return sshd.CloseEarly
	case SessionLimitLate:
		return sshd.CloseLate
	case AuthRefused:
		return sshd.RefuseKeys
	case HostKeyChanged:
		return sshd.OtherHostKey
	default:
		return sshd.ResetConnection
	}
}

// channelTrouble is what goes wrong with a new channel.
func (s *Sim) channelTrouble() sshd.ChannelTrouble {
	i := s.faults.strike(OnChannel, "")
	switch {
	case i == nil:
		return sshd.NoChannelTrouble
	case i.fault.Kind == ChannelRejected:
		return sshd.RejectChannel
	default:
		return sshd.IgnoreChannel
	}
}

// ChangedHostKey is the key that connections struck by HostKeyChanged see.
func (s *Sim) ChangedHostKey() (ssh.PublicKey, error) {
	key, err := s.server.OtherHostKey()
	if err != nil {
		return nil, fmt.Errorf("changed host key: %w", err)
	}
	return key, nil
}
