package app

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds/transport"
)

// applianceOptions are the flags of every process that talks to the appliance.
type applianceOptions struct {
	config    rds.Config
	ssh       transport.Config
	directory string
}

// addFlags registers the flags with their defaults, and sets what no flag sets.
func (o *applianceOptions) addFlags(flags *flag.FlagSet) {
	o.config.BootWindow, o.config.ListingDelay = rds.DefaultBootWindow, rds.DefaultListingDelay
	flags.StringVar(&o.ssh.Address, "rds-address", "", "the appliance's SSH address, host:port")
	flags.StringVar(&o.ssh.User, "rds-user", "csi", "the RouterOS user; its group needs ssh, read, write and test")
	flags.StringVar(&o.ssh.PrivateKeyFile, "rds-private-key", "", "file with the user's private key; read again for every connection")
	flags.StringVar(&o.ssh.KnownHostsFile, "rds-known-hosts", "", "file that pins the appliance's host key, in OpenSSH's known_hosts format; read again for every connection")
	flags.Func("rds-host-key-fingerprint", "pin the appliance's host key by its `fingerprint`, SHA256:…; several, by commas or by repeating the flag, while the key is exchanged", func(value string) error {
		o.ssh.HostKeyFingerprints = append(o.ssh.HostKeyFingerprints, strings.Split(value, ",")...)
		return nil
	})
	flags.IntVar(&o.ssh.MaxChannels, "rds-channels", transport.DefaultMaxChannels, fmt.Sprintf(
		"commands that may be in flight at the appliance at a time, 1 to %d; an RDS was seen to hang at 19, and one that allows fewer than this is found out, and the driver goes on with what there is", transport.HighestMaxChannels))
	flags.StringVar(&o.directory, "volume-directory", "rds-csi", "directory below each pool for the backing files; each cluster has a folder in it")
}

// connect returns a client of the appliance. The client connects when it is first used.
func (o *applianceOptions) connect() (*rds.Client, error) {
	ssh, err := transport.NewSSH(o.ssh)
	if err != nil {
		return nil, fmt.Errorf("%w (see --rds-address, --rds-user, --rds-private-key, --rds-known-hosts and --rds-host-key-fingerprint; a pod has the files from its Secret)", err)
	}
	return rds.New(o.config, ssh)
}

// validate checks the flags without any I/O.
func (o *applianceOptions) validate() error {
	return failures([]check{
		{o.ssh.MaxChannels >= 0 && o.ssh.MaxChannels <= transport.HighestMaxChannels, fmt.Errorf("--rds-channels %d: want 1 to %d", o.ssh.MaxChannels, transport.HighestMaxChannels)},
		{o.ssh.Address != "", errors.New("--rds-address: want the appliance's SSH address, host:port")},
		{o.ssh.PrivateKeyFile != "", fmt.Errorf("--rds-private-key: want a file with the private key of RouterOS user %q", o.ssh.User)},
		{
			o.ssh.KnownHostsFile != "" || len(o.ssh.HostKeyFingerprints) > 0,
			errors.New("--rds-known-hosts or --rds-host-key-fingerprint: want a file with the appliance's host key, as ssh-keyscan prints it, or its fingerprint"),
		},
	})
}

// isListenAddress reports whether a server can listen on it; "" stands for none.
func isListenAddress(address string) bool {
	_, port, err := net.SplitHostPort(address)
	_, wrong := strconv.ParseUint(port, 10, 16)
	return address == "" || err == nil && wrong == nil
}

// isHost reports whether the text is an IP address or a DNS name.
func isHost(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil || len(validation.IsDNS1123Subdomain(strings.ToLower(text))) == 0
}

// check is one condition on the flags, and the error if it doesn't hold.
type check struct {
	ok      bool
	failure error
}

// failures returns the errors of all checks that don't hold, joined; nil if all hold.
func failures(checks []check) error {
	var failed []error
	for _, check := range checks {
		if !check.ok {
			failed = append(failed, check.failure)
		}
	}
	return errors.Join(failed...)
}
