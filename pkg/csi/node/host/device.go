package host

import (
	"context"
	"io"

	"k8s.io/klog/v2"
)

// Device is an open block device. While it is open, the kernel gives neither its path nor its number to another device,
// even if the connection is lost. So mkfs, mount and other commands that take the path can't hit another volume. After
// a loss the path leads nowhere, and the volume gets another device when it is connected again.
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

// Close closes the device. From then on the kernel may give its path and number to another one.
func (d Device) Close(ctx context.Context) {
	if err := d.file.Close(); err != nil {
		klog.FromContext(ctx).Error(err, "Could not close a device", "device", d.Path)
	}
}
