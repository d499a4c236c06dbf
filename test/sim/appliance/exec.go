package appliance

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// Exec runs one console line with the rights of policies and returns what the
// console prints. hooks may be nil. The error is not nil only if the line was
// aborted: by a hook, by the end of ctx, or with ErrPowerOff. The output up to
// that point is returned all the same.
func (a *Appliance) Exec(ctx context.Context, policies Policies, line string, hooks *Hooks) (string, error) {
	if hooks == nil {
		hooks = &Hooks{}
	}
	boot, err := a.booting()
	if err != nil {
		return "", err
	}
	if a.options.Unknowns.FirstLineOnly {
		line, _, _ = strings.Cut(line, "\n")
	}
	line = cut(line, a.options.Unknowns.LineMax)
	program, err := script.Parse(line, a.language)
	if rejected, ok := errors.AsType[*script.ParseError](err); ok {
		return rejected.Error() + "\r\n", nil
	}
	var out bytes.Buffer
	err = program.Run(ctx, &script.Env{
		Device: device{
			console: console{appliance: a, policies: policies}, boot: boot, mishap: hooks.Mishap,
		},
		Lock:            &a.mu,
		Out:             &out,
		BeforeStatement: hooks.BeforeStatement,
		Locations:       a.version.since(20),
		EmptyAsString:   a.options.Unknowns.EmptyListAsString,
		RawControls:     a.options.Unknowns.RawControls,
	})
	a.settle(ctx)
	return out.String(), err
}

// booting is the number of the present boot, for a line that is to run in it.
func (a *Appliance) booting() (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.phase == Down {
		return 0, ErrPowerOff
	}
	return a.boot, nil
}
