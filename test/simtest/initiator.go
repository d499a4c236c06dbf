package simtest

import (
	"context"
	"errors"
	"fmt"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/tcp"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// Initiator returns what an appliance's check connects with to the target at an address, a host and a port.
func Initiator(address string) func(ctx context.Context, subsystemNQN, hostNQN string) (rds.Connection, error) {
	return func(ctx context.Context, subsystemNQN, hostNQN string) (rds.Connection, error) {
		connection, err := tcp.Connect(ctx, address, subsystemNQN, hostNQN)
		if _, refused := errors.AsType[*tcp.RefusedError](err); refused {
			err = fmt.Errorf("%w: %w", rds.ErrRefused, err)
		}
		return connection, err
	}
}
