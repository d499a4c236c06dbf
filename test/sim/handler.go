package sim

import (
	"context"
	"errors"
	"time"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/sshd"
)

// handler answers exec lines with the appliance, as the fault hook wants it.
type handler struct{ sim *Sim }

// Exec implements [sshd.Handler].
func (h handler) Exec(ctx context.Context, user, command string) sshd.Reply {
	started := time.Now()
	fault := h.sim.fault(command)
	var output string
	if !fault.prevents() {
		output = h.run(ctx, user, command, fault)
	}
	reply := fault.reply(output)
	if h.sim.options.Observe != nil {
		h.sim.options.Observe(Execution{
			User: user, Command: command, Output: reply.Output, Duration: time.Since(started),
		})
	}
	return reply
}

func (h handler) run(ctx context.Context, user, command string, fault Fault) string {
	output, err := h.sim.appliance.Exec(ctx, h.sim.policies(user), command, fault.limit())
	if err != nil && !errors.Is(err, errDropped) && ctx.Err() == nil {
		klog.FromContext(ctx).Error(err, "The simulator itself failed")
		output += "failure: simulator: " + err.Error() + "\r\n"
	}
	return output
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
