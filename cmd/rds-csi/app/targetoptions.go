package app

import (
	"flag"
	"fmt"
	"math"
)

// defaultNVMePort is the port registered for NVMe/TCP.
const defaultNVMePort = 4420

// targetOptions are the flags for where the appliance's NVMe/TCP target is.
type targetOptions struct {
	address string
	port    uint
}

// addFlags registers the flags with their defaults; otherwise is what the help says of an address that isn't given.
func (o *targetOptions) addFlags(flags *flag.FlagSet, otherwise string) {
	flags.StringVar(&o.address, "nvme-address", "", "IP address or name under which nodes reach the appliance's NVMe/TCP target"+otherwise)
	flags.UintVar(&o.port, "nvme-port", defaultNVMePort, "TCP port of the appliance's NVMe/TCP target")
}

// number returns the port, as far as it is one.
func (o *targetOptions) number() uint16 { return uint16(min(o.port, math.MaxUint16)) }

func (o *targetOptions) checks() []check {
	return []check{
		{isHost(o.address), fmt.Errorf("--nvme-address %q: want the IP address or the name under which nodes reach the appliance's NVMe/TCP target, without scheme and port", o.address)},
		{o.port > 0 && o.port <= math.MaxUint16, fmt.Errorf("--nvme-port %d: want 1 to 65535", o.port)},
	}
}
