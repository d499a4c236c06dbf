package appliance

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// assign applies the arguments of add or set to d. Nothing else changes.
func (d *disk) assign(call script.Call) error {
	// In a fixed order, so that of several bad values the same one is named.
	for _, name := range slices.Sorted(maps.Keys(call.Args)) {
		if slices.Contains([]string{"numbers", "type", "copy-from"}, name) {
			continue
		}
		value := call.Args[name]
		if value == (script.Cleared{}) {
			if !clearable(name) {
				return script.Failf("invalid value for argument %s", name)
			}
			value = ""
		}
		if err := d.assignOne(name, script.Format(value)); err != nil {
			return err
		}
	}
	return nil
}

// assign sets what a call says about a disk, as far as the appliance keeps it.
func (a *Appliance) assign(d *disk, call script.Call) error {
	if err := d.assign(call); err != nil {
		return err
	}
	d.Comment = cut(d.Comment, a.options.Unknowns.CommentMax)
	d.NQN = cut(d.NQN, a.options.Unknowns.NQNMax)
	return nil
}

// cut is the beginning of a text; most is its length, or 0 for all.
func cut(text string, most int) string {
	if most == 0 {
		return text
	}
	return text[:min(len(text), most)]
}

func (d *disk) assignOne(name, value string) error {
	var ok bool
	switch name {
	case "slot":
		d.Slot, ok = value, value != ""
	case "comment":
		d.Comment, ok = value, true
	case "nvme-tcp-server-nqn":
		d.NQN, ok = value, true
	case "nvme-tcp-server-allow-host-name":
		d.AllowHost, ok = value, true
	case "mount-point-template":
		d.MountTemplate, ok = value, true
	case "nvme-tcp-server-password":
		d.Password, ok = value, true
	case "file-path":
		d.File, ok = fileName(value), fileName(value) != ""
	case "file-size":
		d.FileSize, ok = parseSize(value)
		d.AutoSize = false
	case "file-offset":
		d.FileOffset, ok = parseSize(value)
	case "nvme-tcp-server-port":
		d.Port, ok = parseSize(value)
		ok = ok && d.Port > 0 && d.Port < 1<<16
	default:
		if flag := d.flag(name); flag != nil {
			*flag, ok = parseBool(value)
		}
	}
	if !ok {
		return script.Failf("invalid value for argument %s", name)
	}
	return nil
}

// flag finds the yes/no property of a name.
func (d *disk) flag(name string) *bool {
	switch name {
	case "disabled":
		return &d.Disabled
	case "mount-filesystem":
		return &d.MountFilesystem
	case "mount-read-only":
		return &d.MountReadOnly
	case "swap":
		return &d.Swap
	case "compress":
		return &d.Compress
	case "nvme-tcp-export":
		return &d.Export
	default:
		return nil
	}
}

func parseBool(value string) (yes, ok bool) {
	switch value {
	case "yes", "true":
		return true, true
	case "no", "false":
		return false, true
	default:
		return false, false
	}
}

// parseSize reads a byte count with an optional binary suffix.
func parseSize(value string) (int64, bool) {
	digits := strings.TrimRight(value, "KMGT")
	factor := int64(1)
	switch strings.TrimPrefix(value, digits) {
	case "":
	case "K":
		factor = 1 << 10
	case "M":
		factor = 1 << 20
	case "G":
		factor = 1 << 30
	case "T":
		factor = 1 << 40
	default:
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return 0, false
	}
	return n * factor, true
}
