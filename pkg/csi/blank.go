package csi

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// blankEdge is how much at either end of a device must read as zero, in bytes. Every filesystem, partition table and
// volume manager leaves something there.
const blankEdge = 1 << 20

// proveBlank returns nil only if the whole first and last MiB of the device could be read and are zero.
func proveBlank(device string) error {
	file, err := os.Open(device)
	if err != nil {
		return fmt.Errorf("look for data: %w", err)
	}
	defer func() { _ = file.Close() }()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("look for data: %w", err)
	}
	if size == 0 {
		return fmt.Errorf("look for data: %s has no size", device)
	}
	edge := min(size, blankEdge)
	return errors.Join(proveZero(file, 0, edge), proveZero(file, size-edge, edge))
}

func proveZero(file *os.File, from, length int64) error {
	content := make([]byte, length)
	if _, err := io.ReadFull(io.NewSectionReader(file, from, length), content); err != nil {
		return fmt.Errorf("look for data in %s from byte %d: %w", file.Name(), from, err)
	}
	for i, b := range content {
		if b != 0 {
			return fmt.Errorf("%s has data at byte %d", file.Name(), from+int64(i))
		}
	}
	return nil
}
