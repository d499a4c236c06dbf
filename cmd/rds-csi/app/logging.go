package app

import (
	"flag"
	"fmt"

	logs "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // has the format json
)

// logOptions are the flags of the log, which every process has.
type logOptions struct {
	config *logs.LoggingConfiguration
}

// addFlags registers the flags with their defaults. component-base has more of them: they are for features that are off.
func (o *logOptions) addFlags(flags *flag.FlagSet) {
	o.config = logs.NewLoggingConfiguration()
	all := flag.NewFlagSet("", flag.ContinueOnError)
	logs.AddGoFlags(o.config, all)
	for name, usage := range map[string]string{
		"logging-format": "how lines are logged: text, or json with one object a line",
		"v":              "how much is logged: 0 is every decision and every failure, 2 adds what was staged, mounted, or left as it was, 4 every call, 5 every command and its answer",
		"vmodule":        "how much single source files log, as `file=level,…`; with the format text only",
	} {
		flags.Var(all.Lookup(name).Value, name, usage)
	}
}

// json reports whether lines are objects.
func (o *logOptions) json() bool { return o.config.Format == logs.JSONLogFormat }

// apply has the process log as the flags say. component-base and klog have one log for the whole process.
func (o *logOptions) apply() error {
	if err := logs.Validate(o.config, nil, nil).ToAggregate(); err != nil {
		return fmt.Errorf("--logging-format, --v, --vmodule: %w", err)
	}
	return logs.ValidateAndApply(o.config, nil)
}
