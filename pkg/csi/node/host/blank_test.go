package host

import (
	"path/filepath"
	"testing"
)

func TestProveBlankReadsBothEdges(t *testing.T) {
	const size = 4 * edgeLength
	for name, c := range map[string]struct {
		size, dataAt int64 // dataAt is -1 for none
		blank        bool
	}{
		"nothing":                      {0, -1, false},
		"one byte":                     {1, -1, true},
		"one byte of data":             {1, 0, false},
		"less than two edges":          {edgeLength + 5, -1, true},
		"data where both edges are":    {edgeLength + 5, edgeLength - 1, false},
		"zeros":                        {size, -1, true},
		"data in the first byte":       {size, 0, false},
		"data in the second KiB":       {size, 1 << 10, false},
		"data at the first MiB's end":  {size, 1<<20 - 1, false},
		"data behind the first MiB":    {size, 1 << 20, true},
		"data in front of the last":    {size, size - 1<<20 - 1, true},
		"data at the last MiB's start": {size, size - 1<<20, false},
		"data in the last byte":        {size, size - 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			image := newImage(t, c.size)
			if c.dataAt >= 0 {
				writeAt(t, image, c.dataAt, "x")
			}
			if err := proveBlank(image); (err == nil) != c.blank {
				t.Errorf("got %v, want blank=%t", err, c.blank)
			}
		})
	}
	if err := proveBlank(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("absent: got nil, want an error")
	}
}
