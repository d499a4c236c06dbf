package sim

import (
	"context"
	"errors"
	"time"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/sshd"
)

// handler answers exec lines with the appliance, as the faults want it.
type handler struct{ sim *Sim }

// Exec implements [sshd.Handler].
func (h handler) Exec(ctx context.Context, user, command string) sshd.Reply {
	started := time.Now()
	line := h.sim.strike(user, command)
	reply := line.answer(ctx)
	if h.sim.options.Observe != nil {
		h.sim.options.Observe(Execution{
			User: user, Command: command, Output: reply.Output, Fault: line.fault.Kind, Duration: time.Since(started),
		})
	}
	return reply
}

// policies are those of the user's group.
func (s *Sim) policies(name string) appliance.Policies {
	for _, user := range s.options.Users {
		if user.Name == name && user.Policies != nil {
			return *user.Policies
		}
	}
	return appliance.AllPolicies()
}

// run carries out a line; an error is the end of it.
func (s *Sim) run(ctx context.Context, policies appliance.Policies, command string, hooks *appliance.Hooks) (string, error) {
	output, err := s.appliance.Exec(ctx, policies, command, hooks)
	if err == nil || errors.Is(err, errDropped) || errors.Is(err, appliance.ErrPowerOff) || ctx.Err() != nil {
		return output, err
	}
	klog.FromContext(ctx).Error(err, "The simulator itself failed")
	return output + "failure: simulator: " + err.Error() + "\r\n", nil
}
