// Command mutants has gremlins change the product in small ways, one at a time, and lists the changes that no test of the
// same package notices. It fails if any of them isn't in survivors.tsv, which has the reason why a change makes no
// difference: file, kind of change, the source line, the reason, separated by tabs. An entry that excuses nothing any more
// is told, too, unless only a part of the product was tried.
//
//	mutants [-since COMMIT] GREMLINS PACKAGE...
//
// GREMLINS is the command to run gremlins with. With -since, only what changed after the commit is tried.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// list is where the survivors that were read stand.
const list = "test/mutants/survivors.tsv"

var errSurvivors = errors.New("tests don't notice every change")

// survivor is a change that no test notices, by what stays when lines are added above it.
type survivor struct{ file, kind, source string }

// result is what gremlins writes of one run.
type result struct {
	Files []struct {
		Name      string `json:"file_name"`
		Mutations []struct {
			Line   int    `json:"line"`
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"mutations"`
	} `json:"files"`
}

func main() {
	since := flag.String("since", "", "try only what changed after this `commit`")
	flag.Parse()
	if flag.NArg() < 2 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, strings.Fields(flag.Arg(0)), flag.Args()[1:], *since)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "mutants: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, gremlins, packages []string, since string) error {
	excused, err := readList()
	if err != nil {
		return err
	}
	found := map[survivor]int{}
	for _, folder := range packages {
		if err := try(ctx, gremlins, folder, since, found); err != nil {
			return fmt.Errorf("%s: %w", folder, err)
		}
	}
	unexcused := 0
	for _, s := range slices.SortedFunc(maps.Keys(found), func(a, b survivor) int { return strings.Compare(a.file+a.source, b.file+b.source) }) {
		if excused[s] == "" {
			fmt.Printf("%s:%d\t%s\t%s\n", s.file, found[s], s.kind, s.source)
			unexcused++
		}
	}
	for s := range excused {
		if _, survives := found[s]; !survives && since == "" && slices.ContainsFunc(packages, func(folder string) bool { return strings.HasPrefix(s.file, filepath.Clean(folder)+"/") }) {
			fmt.Printf("%s\t%s\t%s: a test notices it by now; take it off %s\n", s.file, s.kind, s.source, list)
		}
	}
	if unexcused > 0 {
		return fmt.Errorf("%w: %d survive; write a test, or add them to %s with the reason", errSurvivors, unexcused, list)
	}
	return nil
}

// try runs gremlins on one folder and adds what survives, with its line.
func try(ctx context.Context, gremlins []string, folder, since string, found map[survivor]int) error {
	report, err := os.CreateTemp("", "mutants-*.json")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(report.Name()) }()
	if err := report.Close(); err != nil {
		return err
	}
	arguments := append(slices.Clone(gremlins[1:]), "unleash", "--output", report.Name())
	if since != "" {
		arguments = append(arguments, "--diff", since)
	}
	command := exec.CommandContext(ctx, gremlins[0], append(arguments, folder)...) //nolint:gosec // the Makefile's
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	command.Env = append(os.Environ(), "GOFLAGS=-short "+os.Getenv("GOFLAGS")) // every change runs the whole package's tests
	if err := command.Run(); err != nil {
		return fmt.Errorf("run gremlins: %w", err)
	}
	text, err := os.ReadFile(report.Name())
	if err != nil || len(text) == 0 {
		return err // nothing changed there
	}
	var got result
	if err := json.Unmarshal(text, &got); err != nil {
		return fmt.Errorf("read what gremlins found: %w", err)
	}
	for _, file := range got.Files {
		name := filepath.Join(folder, file.Name) // gremlins names files within the folder
		source, err := os.ReadFile(name)         //nolint:gosec // a file of this repository
		if err != nil {
			return err
		}
		lines := strings.Split(string(source), "\n")
		for _, mutation := range file.Mutations {
			if mutation.Status == "LIVED" {
				found[survivor{name, mutation.Type, strings.TrimSpace(lines[mutation.Line-1])}] = mutation.Line
			}
		}
	}
	return nil
}

// readList reads the survivors with their reasons.
func readList() (map[survivor]string, error) {
	file, err := os.Open(list)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	excused := map[survivor]string{}
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		fields := strings.Split(scanner.Text(), "\t")
		if len(fields) != 4 || fields[3] == "" {
			return nil, fmt.Errorf("%s: %q: want file, kind of change, source line and reason, separated by tabs", list, scanner.Text())
		}
		excused[survivor{fields[0], fields[1], fields[2]}] = fields[3]
	}
	return excused, nil
}
