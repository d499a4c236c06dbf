package host

import (
	"context"
	"slices"
)

// Used looks in /proc. Whoever gets the host's mounts sees a volume where kubelet has it mounted, and isn't a user for that:
// a container has it mounted in a place of its own. Of a mount namespace, one process is asked.
func (l Linux) Used(ctx context.Context, devices []DeviceNumber) (map[DeviceNumber]bool, error) {
	table, err := l.Mounts()
	if err != nil {
		return nil, err
	}
	var known []place
	for _, m := range table {
		if slices.Contains(devices, filesystemDevice(m)) {
			known = append(known, placeOf(table, m))
		}
	}
	used := map[DeviceNumber]bool{}
	namespaces := map[string]bool{}
	err = eachProcess(ctx, func(process string) error {
		mounted, err := mountTableOf(process, namespaces)
		if err != nil {
			return err
		}
		for _, m := range mounted {
			if device := filesystemDevice(m); slices.Contains(devices, device) && !used[device] {
				used[device] = !slices.ContainsFunc(known, placeOf(mounted, m).is)
			}
		}
		return eachOpenDevice(process, func(device DeviceNumber) {
			if slices.Contains(devices, device) {
				used[device] = true
			}
		})
	})
	return used, err
}
