package rds

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// The oldest RouterOS that the driver can use. Volumes need type=file (7.17). Reading them safely needs the serialize option
// json.no-string-conversion (7.17). Fencing needs a subsystem NQN that can be chosen (7.21): before that the NQN is the
// slot's name for ever, and a holder that was cut off could connect again.
const (
	minimumMajor = 7
	minimumMinor = 21
)

// Version is what the appliance says about itself.
type Version struct {
	// Text is the version as RouterOS writes it, such as "7.24.4 (stable)".
	Text string
	// Package is true if rose-storage is installed and enabled.
	Package bool
}

// Probe reads version and package. It returns both also with ErrUnsupported, which says what is missing and why it's
// needed.
func (c *Client) Probe(ctx context.Context) (Version, error) {
	cmd := newCommand(KindProbe)
	cmd.showVersion()
	cmd.put(markerPackage, `[:len [/system package find where name="rose-storage" disabled=no]]`)
	answer, err := c.run(ctx, cmd)
	if err != nil {
		return Version{}, fmt.Errorf("read the appliance's version: %w", asUnreachable(err))
	}
	version := Version{Text: answer.version, Package: answer.packages > 0}
	major, minor, err := parseVersion(version.Text)
	switch {
	case err != nil:
		return version, fmt.Errorf("%w: %w", ErrUnsupported, err)
	case major < minimumMajor || major == minimumMajor && minor < minimumMinor:
		return version, fmt.Errorf("%w: RouterOS %s, want %d.%d or later: before it a disk's subsystem NQN can't be chosen, so a dead node couldn't be fenced",
			ErrUnsupported, version.Text, minimumMajor, minimumMinor)
	case !version.Package:
		return version, fmt.Errorf("%w: the package rose-storage is not installed or disabled, so disks can't be exported; install it with /system/package/enable and apply-changes", ErrUnsupported)
	}
	return version, nil
}

// parseVersion reads the first two numbers of "7.24.4 (stable)" or "7.25beta3 (testing)".
func parseVersion(text string) (major, minor int, err error) {
	number := func(text string) (int, string, error) {
		end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
		if end < 0 {
			end = len(text)
		}
		value, err := strconv.Atoi(text[:end])
		return value, strings.TrimPrefix(text[end:], "."), err
	}
	major, rest, err := number(text)
	if err == nil {
		minor, _, err = number(rest)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%q is no RouterOS version", text)
	}
	return major, minor, nil
}
