package app

import (
	"flag"
	"regexp"
	"slices"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/test/generated"
)

// section is what the page of the configuration says about one subcommand.
type section struct {
	Name, About string
	Flags       []flagRow
}

type flagRow struct{ Name, Default, Meaning string }

// required says what is to be given in place of a default, for every flag that the options can't do without.
func required(options Options) map[string]string {
	words := map[string]string{}
	err := options.Validate()
	if err == nil {
		return words
	}
	for line := range strings.Lines(err.Error()) {
		head, _, _ := strings.Cut(line, ":")
		flags := regexp.MustCompile(`--[a-z-]+`).FindAllString(head, -1)
		for _, name := range flags {
			words[strings.TrimPrefix(name, "--")] = map[bool]string{true: "*required*", false: "*one of these*"}[len(flags) == 1]
		}
	}
	return words
}

// logFlags are the flags that every subcommand has.
type logFlags struct{ logOptions }

func (o logFlags) AddFlags(flags *flag.FlagSet) { o.addFlags(flags) }

func (logFlags) Validate() error { return nil }

// rows returns the flags in the order of their names.
func rows(options Options) []flagRow {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	options.AddFlags(flags)
	required := required(options)
	var rows []flagRow
	flags.VisitAll(func(f *flag.Flag) {
		_, usage := flag.UnquoteUsage(f)
		row := flagRow{Name: f.Name, Meaning: generated.Cell(usage)}
		switch {
		case f.DefValue != "":
			row.Default = "`" + f.DefValue + "`"
		case !strings.Contains(usage, "default:"):
			row.Default = required[f.Name]
		}
		rows = append(rows, row)
	})
	return rows
}

func TestThePageOfTheConfigurationHasEveryFlag(t *testing.T) {
	var sections []section
	for _, subcommand := range subcommands() {
		options, _ := subcommand.process()
		sections = append(sections, section{Name: subcommand.name, About: subcommand.about, Flags: rows(options)})
	}
	page := struct {
		Subcommands []section
		Log         []flagRow
	}{sections, rows(logFlags{})}
	generated.Page(t, "configuration.md", "../../../docs/configuration.md", page)
}

// What must be given stands on the page instead of a default.
func TestRequiredFlagsAreFound(t *testing.T) {
	got := map[string][]string{}
	for name, word := range required(&ControllerOptions{kubernetes: true}) {
		got[word] = append(got[word], name)
	}
	for _, names := range got {
		slices.Sort(names)
	}
	if names := got["*one of these*"]; !slices.Equal(names, []string{"rds-host-key-fingerprint", "rds-known-hosts"}) {
		t.Errorf("one of these: got %v", names)
	}
	for _, name := range []string{"nvme-address", "rds-address", "rds-private-key"} {
		if !slices.Contains(got["*required*"], name) {
			t.Errorf("required: got %v, want %s among them", got["*required*"], name)
		}
	}
}
