package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// edgeLength is the number of bytes at either end of a blank device that must be zero. Every filesystem, partition
// table and volume manager writes something there.
const edgeLength = 1 << 20

// edge is one end of a device.
type edge struct {
	offset  int64
	content []byte
}

// readEdges reads the first and the last MiB of a device. It returns an error for a device of size 0.
func readEdges(device string) (_ []edge, err error) {
	file, err := os.Open(device) //nolint:gosec // the caller names the device
	if err != nil {
		return nil, fmt.Errorf("read device: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("read the size of %s: %w", device, err)
	}
	if size == 0 {
		return nil, fmt.Errorf("device %s has no size", device)
	}
	length := min(size, edgeLength)
	edges := []edge{{offset: 0}, {offset: size - length}}
	for i := range edges {
		edges[i].content = make([]byte, length)
		if _, err := io.ReadFull(io.NewSectionReader(file, edges[i].offset, length), edges[i].content); err != nil {
			return nil, fmt.Errorf("read %s from byte %d: %w", device, edges[i].offset, err)
		}
	}
	return edges, nil
}

// proveBlank returns nil only if the first and the last MiB of the device could be read, and all their bytes are zero.
func proveBlank(device string) error {
	edges, err := readEdges(device)
	if err != nil {
		return err
	}
	for _, e := range edges {
		if i := slices.IndexFunc(e.content, func(b byte) bool { return b != 0 }); i >= 0 {
			return fmt.Errorf("%s has data at byte %d", device, e.offset+int64(i))
		}
	}
	return nil
}
