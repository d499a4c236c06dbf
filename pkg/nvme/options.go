package nvme

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options tune a connection. What they are called is what the kernel calls them, in /dev/nvme-fabrics and in a
// StorageClass.
type Options struct {
	// CtrlLossTimeout is how long a connection that broke is restored before its device is given up; negative: for ever.
	CtrlLossTimeout time.Duration
	// ReconnectDelay is how long to wait between two attempts to restore it.
	ReconnectDelay time.Duration
	// FastIOFailTimeout is how long I/O waits for a connection that broke, before it fails; negative: as long as the
	// connection is being restored.
	FastIOFailTimeout time.Duration
	// KeepAliveTimeout is how long the target may be silent before the connection counts as broken.
	KeepAliveTimeout time.Duration
	// IOQueues is how many queues carry I/O, each over a TCP connection of its own; 0: one for each CPU.
	IOQueues int
	// QueueSize is how many commands a queue holds.
	QueueSize int
	// HeaderDigest and DataDigest have every header, or all data, carry a CRC-32C.
	HeaderDigest, DataDigest bool
}

// DefaultOptions are what a StorageClass gets that says nothing. A connection that broke is restored for ever, and I/O
// waits for it: an appliance that reboots must not turn filesystems read-only. Where a volume was given to another node, the
// target's refusal ends the wait; kernels that take a refusal for an outage, such as 6.1, need a bound (docs/nvme.md). The
// rest are the kernel's own defaults.
func DefaultOptions() Options {
	return Options{
		CtrlLossTimeout: -1, ReconnectDelay: 2 * time.Second, FastIOFailTimeout: -1, KeepAliveTimeout: 5 * time.Second, QueueSize: 128,
	}
}

// OptionError says which option can't be accepted, and what was expected.
type OptionError struct{ Name, Value, Want string }

func (e *OptionError) Error() string {
	return fmt.Sprintf("NVMe option %s %q: want %s", e.Name, e.Value, e.Want)
}

// OptionNames are the names of all options, in order.
func OptionNames() []string { return slices.Sorted(maps.Keys(optionParsers())) }

// ParseOptions reads options by their names; names that are no options are passed over. Its errors are *OptionError.
func ParseOptions(values map[string]string) (Options, error) {
	options := DefaultOptions()
	parsers := optionParsers()
	for _, name := range OptionNames() {
		value, given := values[name]
		if !given {
			continue
		}
		if want := parsers[name](value, &options); want != "" {
			return Options{}, &OptionError{Name: name, Value: value, Want: want}
		}
	}
	if timeout := options.CtrlLossTimeout; timeout >= 0 && options.FastIOFailTimeout > timeout {
		return Options{}, &OptionError{Name: "fast_io_fail_tmo", Value: values["fast_io_fail_tmo"], Want: fmt.Sprintf("at most ctrl_loss_tmo, %d", int(timeout.Seconds()))}
	}
	return options, nil
}

// optionParser sets one option, or says what it wanted to read.
type optionParser func(value string, options *Options) (want string)

func optionParsers() map[string]optionParser {
	return map[string]optionParser{
		"ctrl_loss_tmo":    seconds(-1, 86400, func(o *Options) *time.Duration { return &o.CtrlLossTimeout }),
		"reconnect_delay":  seconds(1, 3600, func(o *Options) *time.Duration { return &o.ReconnectDelay }),
		"fast_io_fail_tmo": seconds(-1, 86400, func(o *Options) *time.Duration { return &o.FastIOFailTimeout }),
		"keep_alive_tmo":   seconds(1, 3600, func(o *Options) *time.Duration { return &o.KeepAliveTimeout }),
		"nr_io_queues":     number(0, 1024, func(o *Options) *int { return &o.IOQueues }),
		"queue_size":       number(16, 1024, func(o *Options) *int { return &o.QueueSize }), // the kernel's own bounds
		"hdr_digest":       truth(func(o *Options) *bool { return &o.HeaderDigest }),
		"data_digest":      truth(func(o *Options) *bool { return &o.DataDigest }),
	}
}

func number(lowest, highest int, of func(*Options) *int) optionParser {
	return func(value string, options *Options) string {
		parsed, err := strconv.Atoi(value)
		// A number must be spelled in one way only: no sign, no leading zero.
		if err != nil || parsed < lowest || parsed > highest || strconv.Itoa(parsed) != value {
			return fmt.Sprintf("a whole number from %d to %d", lowest, highest)
		}
		*of(options) = parsed
		return ""
	}
}

// seconds reads a whole number of seconds; -1, where it is allowed, stands for ever.
func seconds(lowest, highest int, of func(*Options) *time.Duration) optionParser {
	return func(value string, options *Options) string {
		parsed := 0
		want := number(lowest, highest, func(*Options) *int { return &parsed })(value, options)
		if want != "" {
			return strings.Replace(want, "number", "number of seconds", 1)
		}
		*of(options) = max(time.Duration(parsed)*time.Second, -1)
		return ""
	}
}

func truth(of func(*Options) *bool) optionParser {
	return func(value string, options *Options) string {
		if value != "true" && value != "false" {
			return "true or false"
		}
		*of(options) = value == "true"
		return ""
	}
}
