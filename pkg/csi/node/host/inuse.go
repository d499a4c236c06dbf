package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

const (
	// usePatience is how long a user may take to go. Programs such as udev look at a device whenever it was written, and a
	// container's mounts go a moment after its processes.
	usePatience = 3 * time.Second
	usePause    = 100 * time.Millisecond
	// usersLimit bounds one search for users.
	usersLimit = 30 * time.Second
	// usersNamed is how many users an error names.
	usersNamed = 4
)

// Reserve claims a device that nobody uses, in whatever mount namespace, until the result is closed. Nobody can mount
// it meanwhile. Reserve returns failure.ErrInUse, with what is known of the users, if somebody goes on using the
// device.
//
// The mount table can't tell: it shows one mount namespace, and a container may keep what is unmounted elsewhere.
func (h *Host) Reserve(ctx context.Context, device Device) (io.Closer, error) {
	for deadline := time.Now().Add(usePatience); ; {
		reserved, err := h.tryReserve(ctx, device)
		if !errors.Is(err, failure.ErrInUse) || time.Now().After(deadline) {
			return reserved, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(usePause):
		}
	}
}

func (h *Host) tryReserve(ctx context.Context, device Device) (io.Closer, error) {
	claim, taken, err := h.claim(device)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, usersLimit)
	defer cancel()
	users, err := h.Users(ctx, device.Number)
	switch {
	case taken:
		return nil, inUse(device, users, err)
	case err != nil:
		return nil, errors.Join(err, claim.Close())
	case len(users) > 0:
		return nil, errors.Join(inUse(device, users, nil), claim.Close())
	}
	return claim, nil
}

// inUse returns failure.ErrInUse with what is known of the users.
func inUse(device Device, users []User, unknown error) error {
	names := make([]string, 0, usersNamed+1)
	for i, user := range users {
		if i == usersNamed {
			names = append(names, fmt.Sprintf("and %d more", len(users)-i))
			break
		}
		if name := user.String(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	switch {
	case unknown != nil:
		names = append(names, unknown.Error())
	case len(users) == 0:
		names = append(names, "no process that the driver sees has it mounted or open")
	}
	return fmt.Errorf("%w: %s: %s; end what uses it first", failure.ErrInUse, device.Path, strings.Join(names, ", "))
}

// CheckUnclaimed returns failure.ErrInUse, with what is known of the users, if something has claimed the device.
func (h *Host) CheckUnclaimed(ctx context.Context, device Device) error {
	claimed, err := h.claimed(device)
	if err != nil || !claimed {
		return err
	}
	users, err := h.Users(ctx, device.Number)
	return inUse(device, users, err)
}

// claimed reports whether something has claimed the device.
func (h *Host) claimed(device Device) (bool, error) {
	claim, taken, err := h.claim(device)
	if err != nil || taken {
		return taken, err
	}
	return false, claim.Close()
}

// claim claims the device until the result is closed. taken is set instead if something has claimed it already, such as
// a filesystem that is mounted in whatever mount namespace.
func (h *Host) claim(device Device) (claim io.Closer, taken bool, err error) {
	claim, err = h.Claim(device.Path)
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil, true, nil
	case err != nil:
		return nil, false, fmt.Errorf("claim %s: %w", device.Path, err)
	}
	return claim, false, nil
}
