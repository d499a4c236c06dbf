package nvme

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// subsystem is the kernel's state of one subsystem at the time when it was read. It must not be kept: the kernel gives
// a name such as nvme0 to another controller as soon as it is free.
type subsystem struct {
	nqn         string
	controllers []controller
	devices     []blockDevice
}

// controller is one association with the target.
type controller struct{ name, state string }

// blockDevice is one namespace.
type blockDevice struct {
	name         string
	major, minor uint32
}

var (
	controllerName = regexp.MustCompile(`^nvme[0-9]+$`)
	// deviceName matches neither the hidden paths of a multipath device (nvme0c1n1) nor partitions.
	deviceName = regexp.MustCompile(`^nvme[0-9]+n[0-9]+$`)
)

// stateLive is the kernel's name for the state of a controller that works.
const stateLive = "live"

// states returns the kernel's names for the states of a controller, best first.
func states() []string {
	return []string{stateLive, "resetting", "connecting", "new", "deleting", "deleting (no IO)", "dead"}
}

// rank returns the index of a state in states. An unknown state ranks after all of them.
func rank(state string) int {
	if i := slices.Index(states(), state); i >= 0 {
		return i
	}
	return len(states())
}

// mayBecomeLive reports whether a controller in this state is live or may become so.
func mayBecomeLive(state string) bool { return rank(state) < rank("deleting") }

// state returns the best state of the subsystem's controllers, or "" if it has none.
func (s subsystem) state() string {
	if len(s.controllers) == 0 {
		return ""
	}
	return slices.MinFunc(s.controllers, func(a, b controller) int { return rank(a.state) - rank(b.state) }).state
}

// device returns the only block device. It returns ErrNoDevice if there is none yet, or more than one.
func (s subsystem) device() (blockDevice, error) {
	switch len(s.devices) {
	case 1:
		return s.devices[0], nil
	case 0:
		return blockDevice{}, fmt.Errorf("%s: %w", s.nqn, ErrNoDevice)
	default:
		return blockDevice{}, fmt.Errorf("%s: %w: there are several: %v; disconnect those that were connected by hand", s.nqn, ErrNoDevice, s.devices)
	}
}

func (d blockDevice) String() string { return d.name }

// sysfs reads and writes the NVMe part of sysfs below a root directory, which is "/" except in tests.
type sysfs struct{ root string }

func (s sysfs) controllers() string { return filepath.Join(s.root, "sys/class/nvme") }

func (s sysfs) subsystemFolder() string { return filepath.Join(s.root, "sys/class/nvme-subsystem") }

// subsystems returns the subsystems whose NQN matches. It leaves out what disappears while it reads.
func (s sysfs) subsystems(matches func(nqn string) bool) ([]subsystem, error) {
	folder := s.subsystemFolder()
	entries, err := list(folder, nil)
	if err != nil {
		return nil, err
	}
	var found []subsystem
	for _, entry := range entries {
		dir := filepath.Join(folder, entry)
		nqn, err := attribute(dir, "subsysnqn")
		if err == nil && matches(nqn) {
			var one subsystem
			if one, err = s.subsystem(dir, nqn); err == nil {
				found = append(found, one)
			}
		}
		if err != nil && !isGone(err) {
			return nil, err
		}
	}
	return found, nil
}

// subsystem reads the subsystem in dir. sysfs has its block device below the subsystem if the kernel uses native
// multipath, and otherwise below a controller.
func (s sysfs) subsystem(dir, nqn string) (subsystem, error) {
	result := subsystem{nqn: nqn}
	names, err := list(dir, controllerName)
	if err != nil {
		return subsystem{}, err
	}
	folders := []string{dir}
	for _, name := range names {
		folder := filepath.Join(s.controllers(), name)
		state, err := attribute(folder, "state")
		if isGone(err) {
			continue
		}
		if err != nil {
			return subsystem{}, err
		}
		result.controllers = append(result.controllers, controller{name: name, state: state})
		folders = append(folders, folder)
	}
	for _, folder := range folders {
		devices, err := devicesIn(folder)
		if err != nil {
			return subsystem{}, err
		}
		result.devices = append(result.devices, devices...)
	}
	return result, nil
}

func devicesIn(folder string) ([]blockDevice, error) {
	names, err := list(folder, deviceName)
	if err != nil {
		return nil, err
	}
	var devices []blockDevice
	for _, name := range names {
		numbers, err := attribute(filepath.Join(folder, name), "dev")
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		device := blockDevice{name: name}
		if _, err := fmt.Sscanf(numbers, "%d:%d", &device.major, &device.minor); err != nil {
			return nil, fmt.Errorf("%s/%s/dev: %w", folder, name, err)
		}
		devices = append(devices, device)
	}
	return devices, nil
}

// list returns the names in a folder that match the pattern, or all names if the pattern is nil. A folder that doesn't
// exist has none.
func list(folder string, pattern *regexp.Regexp) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !isGone(err) {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if pattern == nil || pattern.MatchString(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

func attribute(folder, name string) (string, error) {
	value, err := os.ReadFile(filepath.Join(folder, name)) //nolint:gosec // a file of sysfs
	return strings.TrimSpace(string(value)), err
}

// control writes 1 to an attribute of a controller. A controller that is gone is success, and so is one of another NQN:
// the kernel has given it the name since. The call blocks until the kernel is done. A deletion takes a minute if the
// network drops every packet.
func (s sysfs) control(name, nqn, attribute string) error {
	if err := s.writeOne(name, nqn, attribute); !isGone(err) {
		return err
	}
	return nil
}

func (s sysfs) writeOne(name, nqn, attribute string) (err error) {
	// An open directory remains that of the same controller, even if the kernel gives the name to another one.
	folder, err := os.OpenRoot(filepath.Join(s.controllers(), name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	found, err := folder.ReadFile("subsysnqn")
	if err != nil || strings.TrimSpace(string(found)) != nqn {
		return err
	}
	file, err := folder.OpenFile(attribute, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = file.WriteString("1")
	return err
}

// checkDevice returns ErrNoDevice unless path is the block device with these numbers. A name in /dev alone proves
// nothing.
func checkDevice(path string, device blockDevice) error {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return fmt.Errorf("%s: %w: %w", path, ErrNoDevice, err)
	}
	if !device.isAt(stat) {
		return fmt.Errorf("%s: %w: it isn't the block device %d:%d that sysfs shows", path, ErrNoDevice, device.major, device.minor)
	}
	return nil
}

// isAt reports whether a file is the device's node.
func (d blockDevice) isAt(stat unix.Stat_t) bool {
	return stat.Mode&unix.S_IFMT == unix.S_IFBLK && unix.Major(stat.Rdev) == d.major && unix.Minor(stat.Rdev) == d.minor
}

// openAndClose returns ErrNoDevice if the device can't be opened. A new device appears a moment before it can be
// opened, and open fails with ENXIO until then.
func openAndClose(path string) error {
	file, err := os.Open(path) //nolint:gosec // sysfs names the device
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoDevice, err)
	}
	return file.Close()
}
