package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// errUsage is wrapped by every error about the command line.
var errUsage = errors.New("bad command line")

// maxTiming bounds how much slower than the real appliance it can be.
const maxTiming = 100

// config is what the command line says.
type config struct {
	sim.Options
	// nvmet is where the kernel's own target listens; invalid if it isn't wanted.
	nvmet netip.AddrPort
}

// parse reads the command line. Its errors name the flag and what it wants.
func parse(args []string) (config, error) {
	var options config
	user := sim.User{}
	flags := flag.NewFlagSet("rds-sim", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Func("listen", "loopback `address` of the SSH server", loopback(&options.SSHAddr))
	flags.Func("http", "loopback `address` for initiators", loopback(&options.HTTPAddr))
	flags.StringVar(&options.StateDir, "state", "", "`directory` that keeps configuration and files")
	flags.Func("pool", "`name=size` of a pool, such as raid10=100GiB; may be repeated", func(value string) error {
		pool, err := parsePool(value)
		options.Pools = append(options.Pools, pool)
		return err
	})
	flags.StringVar(&user.Name, "user", "", "`name` of the SSH user")
	flags.Func("authorized-key", "`file` with public keys of the user", func(file string) error {
		keys, err := readKeys(file)
		user.Keys = append(user.Keys, keys...)
		return err
	})
	flags.DurationVar(&options.Uptime, "uptime", 0, "how long the appliance claims to be up already")
	flags.StringVar(&options.Version, "version", "7.24.4", "RouterOS `version`")
	flags.DurationVar(&options.Exports.RevokeWait, "revoke-wait", 0, "how long taking an export away waits for initiators (default 2s)")
	flags.Func("nvmet", "`address` at which the kernel's own NVMe/TCP target exports the disks, such as 127.0.0.1:4420; needs root and the module nvmet-tcp", func(value string) (err error) {
		if options.nvmet, err = netip.ParseAddrPort(value); err != nil || options.nvmet.Port() == 0 {
			return errors.New("want an IP address and port such as 127.0.0.1:4420")
		}
		return nil
	})
	troubleFlags(flags, &options.Options)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			flags.SetOutput(os.Stderr)
			flags.PrintDefaults()
		}
		return options, fmt.Errorf("%w: %w", errUsage, err)
	}
	options.Users = []sim.User{user}
	return options, complete(options.Options, flags.Args())
}

// troubleFlags are about reboots, power cuts and slowness.
func troubleFlags(flags *flag.FlagSet, options *sim.Options) {
	flags.DurationVar(&options.FlashDelay, "flash-delay", 0, "how long the configuration takes to reach flash; a power cut loses it until then")
	flags.DurationVar(&options.BootTimes.Down, "boot-down", 5*time.Second, "how long a reboot resets connections")
	flags.DurationVar(&options.BootTimes.Starting, "boot-starting", 10*time.Second, "how long SSH answers after a reboot before the pools are mounted")
	flags.Func("timing", "`factor` on the durations of the real appliance: 1 is as slow, 0 (the default) takes no time", func(value string) error {
		scale, err := strconv.ParseFloat(value, 64)
		if err != nil || !(scale >= 0 && scale <= maxTiming) { // NaN is neither
			return fmt.Errorf("want a number from 0 to %d", maxTiming)
		}
		options.Timing.Scale = scale
		return nil
	})
}

// complete checks what has to be given.
func complete(options sim.Options, rest []string) error {
	required := []struct {
		name, want string
		given      bool
	}{
		{"listen", "a loopback address such as 127.0.0.1:2200", options.SSHAddr != ""},
		{"http", "a loopback address such as 127.0.0.1:2280", options.HTTPAddr != ""},
		{"state", "a directory", options.StateDir != ""},
		{"pool", "name=size such as raid10=100GiB", len(options.Pools) > 0},
		{"user", "a user name", options.Users[0].Name != ""},
		{"authorized-key", "a file with at least one public key", len(options.Users[0].Keys) > 0},
	}
	for _, r := range required {
		if !r.given {
			return fmt.Errorf("%w: flag --%s is missing: want %s", errUsage, r.name, r.want)
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: unexpected argument %q: everything is given by flags", errUsage, rest[0])
	}
	return nil
}

func loopback(addr *string) func(string) error {
	return func(value string) error {
		host, port, err := net.SplitHostPort(value)
		if err != nil || !net.ParseIP(host).IsLoopback() || port == "" {
			return errors.New("want a loopback address such as 127.0.0.1:2200")
		}
		*addr = value
		return nil
	}
}

func parsePool(value string) (appliance.Pool, error) {
	name, size, found := strings.Cut(value, "=")
	bytes, err := parseSize(size)
	if !found || name == "" || strings.ContainsAny(name, "/.") || err != nil {
		return appliance.Pool{}, errors.New("want name=size such as raid10=100GiB")
	}
	return appliance.Pool{Name: name, Size: bytes}, nil
}

// parseSize reads a positive number of MiB, GiB or TiB.
func parseSize(value string) (int64, error) {
	for suffix, factor := range map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40} {
		digits, found := strings.CutSuffix(value, suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n <= 0 || n > math.MaxInt64/factor {
			return 0, fmt.Errorf("bad size %q", value)
		}
		return n * factor, nil
	}
	return 0, fmt.Errorf("size %q has no unit", value)
}

// readKeys reads a file in the form of authorized_keys.
func readKeys(file string) ([]ssh.PublicKey, error) {
	data, err := os.ReadFile(file) //nolint:gosec // the file the command line names
	if err != nil {
		return nil, err
	}
	var keys []ssh.PublicKey
	for len(strings.TrimSpace(string(data))) > 0 {
		key, _, _, rest, err := ssh.ParseAuthorizedKey(data)
		if err != nil {
			return nil, fmt.Errorf("%s: want public keys as in authorized_keys: %w", file, err)
		}
		keys = append(keys, key)
		data = rest
	}
	return keys, nil
}
