package nvme

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// subsystem is what the kernel has of one subsystem at the moment. Names such as nvme0 are given again as soon as they are
// free, so nothing here may be kept: it is read anew each time, by the subsystem's NQN.
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
	// deviceName leaves the hidden paths of a multipath device (nvme0c1n1) and partitions out.
	deviceName = regexp.MustCompile(`^nvme[0-9]+n[0-9]+$`)
)

// states are the kernel's words for a controller's state, best first.
func states() []string {
	return []string{"live", "resetting", "connecting", "new", "deleting", "deleting (no IO)", "dead"}
}

// rank is a state's place among the states; an unknown one is the worst.
func rank(state string) int {
	if i := slices.Index(states(), state); i >= 0 {
		return i
	}
	return len(states())
}

// hopeful tells whether a controller in that state is or may become live.
func hopeful(state string) bool { return rank(state) < rank("deleting") }

// state is the best state of the subsystem's controllers, "" if it has none.
func (s subsystem) state() string {
	if len(s.controllers) == 0 {
		return ""
	}
	return slices.MinFunc(s.controllers, func(a, b controller) int { return rank(a.state) - rank(b.state) }).state
}

// device is the one block device. ErrNoDevice says that there is none yet, or more than one.
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

// sysfs reads what the kernel says of its NVMe controllers below a root, which is "/" but in tests.
type sysfs struct{ root string }

func (s sysfs) controllers() string { return filepath.Join(s.root, "sys/class/nvme") }

// subsystems lists all whose NQN fits. What vanishes meanwhile is left out.
func (s sysfs) subsystems(fits func(nqn string) bool) ([]subsystem, error) {
	folder := filepath.Join(s.root, "sys/class/nvme-subsystem")
	entries, err := list(folder, nil)
	if err != nil {
		return nil, err
	}
	var found []subsystem
	for _, entry := range entries {
		dir := filepath.Join(folder, entry)
		nqn, err := attribute(dir, "subsysnqn")
		if err == nil && fits(nqn) {
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

// subsystem reads one. Its block device belongs to itself where the kernel was built and started with multipath, and
// otherwise to a controller.
func (s sysfs) subsystem(dir, nqn string) (subsystem, error) {
	result := subsystem{nqn: nqn}
	names, err := list(dir, controllerName)
	if err != nil {
		return subsystem{}, err
	}
	folders := []string{dir}
	for _, name := range names {
		state, err := attribute(filepath.Join(s.controllers(), name), "state")
		if isGone(err) {
			continue
		}
		if err != nil {
			return subsystem{}, err
		}
		result.controllers = append(result.controllers, controller{name: name, state: state})
		folders = append(folders, filepath.Join(s.controllers(), name))
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
		first, second, _ := strings.Cut(numbers, ":")
		major, err1 := strconv.ParseUint(first, 10, 32)
		minor, err2 := strconv.ParseUint(second, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("%s/%s/dev: %w", folder, name, err)
		}
		devices = append(devices, blockDevice{name: name, major: uint32(major), minor: uint32(minor)})
	}
	return devices, nil
}

// list gives the names in a folder that match the pattern, all if it is nil. A folder that isn't there is empty.
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

// control writes 1 to an attribute of exactly the controller that has this NQN: another one may have got its name since. It
// returns when the kernel has done it, which for a deletion takes a minute if the network swallows everything. A
// controller that is gone is success.
func (s sysfs) control(name, nqn, attribute string) (err error) {
	// The folder that is open stays that of the controller, whatever has its name by now.
	folder, err := os.OpenRoot(filepath.Join(s.controllers(), name))
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	found, err := folder.ReadFile("subsysnqn")
	if isGone(err) || err == nil && strings.TrimSpace(string(found)) != nqn {
		return nil
	}
	if err != nil {
		return err
	}
	file, err := folder.OpenFile(attribute, os.O_WRONLY, 0)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.WriteString("1"); !isGone(err) {
		return err
	}
	return nil
}

// isDevice finds out whether a path is the block device with these numbers: what a name in /dev stands for is not to be
// trusted.
func isDevice(path string, device blockDevice) error {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return fmt.Errorf("%s: %w: %w", path, ErrNoDevice, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFBLK || unix.Major(stat.Rdev) != device.major || unix.Minor(stat.Rdev) != device.minor {
		return fmt.Errorf("%s: %w: it isn't the block device %d:%d that the kernel says it is", path, ErrNoDevice, device.major, device.minor)
	}
	return nil
}

// canBeOpened opens a device and closes it again. The kernel shows one a moment before it can be opened, and says ENXIO until then.
func canBeOpened(path string) error {
	file, err := os.Open(path) //nolint:gosec // sysfs names the device
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoDevice, err)
	}
	return file.Close()
}
