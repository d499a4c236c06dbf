package appliance

import (
	"bytes"
	"context"
	"errors"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// Exec runs one console line with the rights of policies and returns what the
// console prints. before, when not nil, is called before each simple statement
// and aborts the line with its error; only then, and when ctx ends, the error
// is not nil. The output up to that point is returned all the same.
func (a *Appliance) Exec(ctx context.Context, policies Policies, line string, before func() error) (string, error) {
	program, err := script.Parse(line, a.language)
	if rejected, ok := errors.AsType[*script.ParseError](err); ok {
		return rejected.Error() + "\r\n", nil
	}
	var out bytes.Buffer
	err = program.Run(ctx, &script.Env{
		Device:          console{appliance: a, policies: policies},
		Lock:            &a.mu,
		Out:             &out,
		BeforeStatement: before,
		Locations:       a.version.since(20),
		EmptyAsString:   a.options.Unknowns.EmptyListAsString,
	})
	return out.String(), err
}
