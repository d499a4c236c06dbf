package host

import (
	"context"
	"io"

	"k8s.io/klog/v2"
)

// Device is a block device that is kept open. Meanwhile the kernel gives neither its path nor its number to another device,
// even if the connection is lost: then the path leads nowhere, and the volume gets another device when it is connected
// again. So mkfs, mount and other tools that are given a path can't hit another volume by it.
type Device struct {
	Path   string
	Number DeviceNumber
	file   io.Closer
}

// OpenDevice opens the block device at path. The caller closes it.
func (h *Host) OpenDevice(path string) (Device, error) {
	file, number, err := h.Open(path)
	if err != nil {
		return Device{}, err
	}
	return Device{Path: path, Number: number, file: file}, nil
}

// Close lets the kernel give path and number to another device.
func (d Device) Close(ctx context.Context) {
	if err := d.file.Close(); err != nil {
		klog.FromContext(ctx).Error(err, "Could not close a device", "device", d.Path)
	}
}
