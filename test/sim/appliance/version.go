package appliance

import (
	"fmt"
	"strconv"
	"strings"
)

// version is a RouterOS version reduced to what gates features.
type version struct{ major, minor int }

func parseVersion(text string) (version, error) {
	parts := strings.Split(text, ".")
	if len(parts) < 2 {
		return version{}, fmt.Errorf("version %q: want something like 7.24.4", text)
	}
	major, err := strconv.Atoi(parts[0])
	if err != nil {
		return version{}, fmt.Errorf("version %q: %w", text, err)
	}
	minor, err := strconv.Atoi(parts[1])
	if err != nil {
		return version{}, fmt.Errorf("version %q: %w", text, err)
	}
	return version{major: major, minor: minor}, nil
}

// since reports whether the version has what came with 7.minor.
func (v version) since(minor int) bool {
	return v.major > 7 || v.major == 7 && v.minor >= minor
}
