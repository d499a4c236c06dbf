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

// nqnPattern is what may stand in a name that goes into the kernel's option string, where a comma ends an option: of the
// NQNs that NVMe allows, those of up to 223 bytes that need no more than these characters.
var nqnPattern = regexp.MustCompile(`^nqn\.[0-9A-Za-z.:_-]{1,219}$`)

// wish puts a connection into the words of /dev/nvme-fabrics. Options that are the kernel's to choose are left out. It
// returns ErrInvalid if anything can't be said without saying more.
func wish(target Target, address netip.Addr, host HostIdentity) (string, error) {
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
	words := []string{
		"nqn=" + target.SubsystemNQN, "transport=tcp", "traddr=" + address.Unmap().String(), "trsvcid=" + strconv.Itoa(int(target.Port)),
		"hostnqn=" + host.NQN, "hostid=" + host.ID,
	}
	return strings.Join(append(words, target.Options.words()...), ","), nil
}

// words are the options as the kernel spells them.
func (o Options) words() []string {
	words := []string{"ctrl_loss_tmo=" + strconv.Itoa(wholeSeconds(o.CtrlLossTimeout))}
	add := func(name string, value int) {
		if value > 0 {
			words = append(words, name+"="+strconv.Itoa(value))
		}
	}
	add("reconnect_delay", wholeSeconds(o.ReconnectDelay))
	if o.FastIOFailTimeout >= 0 {
		words = append(words, "fast_io_fail_tmo="+strconv.Itoa(wholeSeconds(o.FastIOFailTimeout)))
	}
	add("keep_alive_tmo", wholeSeconds(o.KeepAliveTimeout))
	add("nr_io_queues", o.IOQueues)
	add("queue_size", o.QueueSize)
	if o.HeaderDigest {
		words = append(words, "hdr_digest")
	}
	if o.DataDigest {
		words = append(words, "data_digest")
	}
	return words
}

// wholeSeconds gives -1 for any negative time, which stands for ever.
func wholeSeconds(d time.Duration) int {
	if d < 0 {
		return -1
	}
	return int(d / time.Second)
}

// resolve gives the IP address behind a target's address.
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

// ask writes a wish to the kernel and returns what it answers. It returns when the kernel has connected or given up, which
// can take minutes.
func ask(device, wish string) (answer string, err error) {
	fabrics, err := os.OpenFile(device, os.O_RDWR, 0) //nolint:gosec // a device of this machine
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, fabrics.Close()) }()
	if _, err := fabrics.WriteString(wish); err != nil {
		return "", err
	}
	buffer := make([]byte, 256)
	n, err := fabrics.Read(buffer)
	return string(buffer[:n]), err
}

var answerPattern = regexp.MustCompile(`^instance=([0-9]{1,9}),cntlid=[0-9]{1,9}\n?$`)

// controllerOf reads the name of the controller out of the kernel's answer.
func controllerOf(answer string) (string, error) {
	match := answerPattern.FindStringSubmatch(answer)
	if match == nil {
		return "", fmt.Errorf("/dev/nvme-fabrics answered %q: want instance=N,cntlid=N", answer)
	}
	return "nvme" + match[1], nil
}
