package nvme

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options tune a connection. A StorageClass uses the kernel's names for them, as /dev/nvme-fabrics does. All durations
// are whole seconds.
type Options struct {
	// CtrlLossTimeout is how long the kernel tries to restore a broken connection before it removes the device; negative:
	// without limit.
	CtrlLossTimeout time.Duration
	// ReconnectDelay is the time between two attempts to restore it.
	ReconnectDelay time.Duration
	// FastIOFailTimeout is how long I/O waits for a broken connection before it fails; negative: as long as the kernel
	// tries to restore the connection.
	FastIOFailTimeout time.Duration
	// KeepAliveTimeout is how long the target may be silent before the connection counts as broken.
	KeepAliveTimeout time.Duration
	// IOQueues is the number of I/O queues, each with its own TCP connection; 0: one for each CPU.
	IOQueues int
	// QueueSize is the number of commands that fit into a queue.
	QueueSize int
	// HeaderDigest and DataDigest protect headers and data with a CRC-32C.
	HeaderDigest, DataDigest bool
}

// DefaultOptions returns the options of a StorageClass that names none. The kernel restores a broken connection without
// limit, and I/O waits for it: a reboot of the appliance must not turn filesystems read-only. Once the volume is
// published to another node, the target refuses this one, and that ends the wait. Kernels that treat a refusal as an
// outage, such as 6.1, need a limit (docs/nvme.md). The other options have the kernel's defaults.
func DefaultOptions() Options {
	return Options{
		CtrlLossTimeout: -1, ReconnectDelay: 2 * time.Second, FastIOFailTimeout: -1, KeepAliveTimeout: 5 * time.Second, QueueSize: 128,
	}
}

// OptionError is about an option that isn't accepted. Want is what was expected.
type OptionError struct{ Name, Value, Want string }

// Error names the option, its value and what was expected.
func (e *OptionError) Error() string {
	return fmt.Sprintf("NVMe option %s %q: want %s", e.Name, e.Value, e.Want)
}

// OptionNames returns the names of all options, sorted.
func OptionNames() []string { return slices.Sorted(maps.Keys(optionParsers())) }

// ParseOptions reads the options among the values, which are keyed by name. Other keys are ignored, and options that
// aren't given have their defaults. Errors are *OptionError.
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

// optionParser sets one option. If the value isn't valid, it returns what was expected.
type optionParser func(value string, options *Options) (want string)

func optionParsers() map[string]optionParser {
	return map[string]optionParser{
		"ctrl_loss_tmo":    seconds(-1, 86400, func(o *Options) *time.Duration { return &o.CtrlLossTimeout }),
		"reconnect_delay":  seconds(1, 3600, func(o *Options) *time.Duration { return &o.ReconnectDelay }),
		"fast_io_fail_tmo": seconds(-1, 86400, func(o *Options) *time.Duration { return &o.FastIOFailTimeout }),
		"keep_alive_tmo":   seconds(1, 3600, func(o *Options) *time.Duration { return &o.KeepAliveTimeout }),
		"nr_io_queues":     number(0, 1024, func(o *Options) *int { return &o.IOQueues }),
		"queue_size":       number(16, 1024, func(o *Options) *int { return &o.QueueSize }), // the kernel's own bounds
		"hdr_digest":       boolean(func(o *Options) *bool { return &o.HeaderDigest }),
		"data_digest":      boolean(func(o *Options) *bool { return &o.DataDigest }),
	}
}

func number(lowest, highest int, of func(*Options) *int) optionParser {
	return func(value string, options *Options) string {
		parsed, err := strconv.Atoi(value)
		// Each number has one spelling: no plus sign, no leading zero.
		if err != nil || parsed < lowest || parsed > highest || strconv.Itoa(parsed) != value {
			return fmt.Sprintf("a whole number from %d to %d", lowest, highest)
		}
		*of(options) = parsed
		return ""
	}
}

// seconds reads a whole number of seconds. -1, where it is allowed, stands for no limit.
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

func boolean(of func(*Options) *bool) optionParser {
	return func(value string, options *Options) string {
		if value != "true" && value != "false" {
			return "true or false"
		}
		*of(options) = value == "true"
		return ""
	}
}
