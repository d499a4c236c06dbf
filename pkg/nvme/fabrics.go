package nvme

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// nqnPattern matches the NQNs that may be written as an option. It allows less than NVMe does: a comma, for one, would
// end the option. NVMe bounds an NQN to 223 bytes.
var nqnPattern = regexp.MustCompile(`^nqn\.[0-9A-Za-z.:_-]{1,219}$`)

// connectOptions returns the text that is written to /dev/nvme-fabrics to connect. Options that are left to the kernel
// aren't in it. It returns ErrInvalid if a value isn't valid, or could be read as more than one option.
func connectOptions(target Target, address netip.Addr, host HostIdentity) (string, error) {
	for _, nqn := range []string{target.SubsystemNQN, host.NQN} {
		if !nqnPattern.MatchString(nqn) {
			return "", fmt.Errorf("%w: NQN %q: want nqn. and at most 219 letters, digits, dots, colons, dashes or underscores", ErrInvalid, nqn)
		}
	}
	if id, err := uuid.Parse(host.ID); err != nil || id.String() != host.ID {
		return "", fmt.Errorf("%w: host ID %q: want a UUID", ErrInvalid, host.ID)
	}
	if target.Port == 0 || !address.IsValid() || address.Zone() != "" {
		return "", fmt.Errorf("%w: address %s port %d", ErrInvalid, address, target.Port)
	}
	options := []string{
		"nqn=" + target.SubsystemNQN, "transport=tcp", "traddr=" + address.Unmap().String(), "trsvcid=" + strconv.Itoa(int(target.Port)),
		"hostnqn=" + host.NQN, "hostid=" + host.ID,
	}
	return strings.Join(append(options, target.Options.connectOptions()...), ","), nil
}

// connectOptions returns the options as the kernel spells them.
func (o Options) connectOptions() []string {
	options := []string{"ctrl_loss_tmo=" + strconv.Itoa(wholeSeconds(o.CtrlLossTimeout))}
	add := func(name string, value int) {
		if value > 0 {
			options = append(options, name+"="+strconv.Itoa(value))
		}
	}
	add("reconnect_delay", wholeSeconds(o.ReconnectDelay))
	if o.FastIOFailTimeout >= 0 {
		options = append(options, "fast_io_fail_tmo="+strconv.Itoa(wholeSeconds(o.FastIOFailTimeout)))
	}
	add("keep_alive_tmo", wholeSeconds(o.KeepAliveTimeout))
	add("nr_io_queues", o.IOQueues)
	add("queue_size", o.QueueSize)
	if o.HeaderDigest {
		options = append(options, "hdr_digest")
	}
	if o.DataDigest {
		options = append(options, "data_digest")
	}
	return options
}

// wholeSeconds returns the seconds of a duration, rounded down. It returns -1, which stands for no limit, for any
// negative duration.
func wholeSeconds(d time.Duration) int {
	if d < 0 {
		return -1
	}
	return int(d / time.Second)
}

// resolve returns the IP address of a host, which is an IP address or a DNS name.
func resolve(ctx context.Context, host string) (netip.Addr, error) {
	if address, err := netip.ParseAddr(host); err == nil {
		return address, nil
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%w: resolve %q: %w", ErrUnreachable, host, err)
	}
	return addresses[0], nil
}

// addController writes the options of a connect to the device, which is /dev/nvme-fabrics, and returns the kernel's
// reply. It blocks until the kernel has connected or given up, which can take minutes.
func addController(device, options string) (reply string, err error) {
	fabrics, err := os.OpenFile(device, os.O_RDWR, 0) //nolint:gosec // a device of this machine
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, fabrics.Close()) }()
	if _, err := fabrics.WriteString(options); err != nil {
		return "", err
	}
	buffer := make([]byte, 256)
	n, err := fabrics.Read(buffer)
	return string(buffer[:n]), err
}

var replyPattern = regexp.MustCompile(`^instance=([0-9]{1,9}),cntlid=[0-9]{1,9}\n?$`)

// parseReply returns the name of the new controller.
func parseReply(reply string) (controller string, err error) {
	match := replyPattern.FindStringSubmatch(reply)
	if match == nil {
		return "", fmt.Errorf("/dev/nvme-fabrics answered %q: want instance=N,cntlid=N", reply)
	}
	return "nvme" + match[1], nil
}
