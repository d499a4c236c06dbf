package sim_test

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
)

// everything is a line in which every fault of an exec shows.
const everything = `/disk set [find where slot="x"] comment=([/disk get x comment] . "a"); ` +
	`/disk add type=file slot="y" file-path="/raid10/y.img" file-size=1M; /disk remove [find where slot="y"]; ` +
	`/file remove [find where name="raid10/y.img"]; :put [/system resource get version]; ` +
	`:put [:serialize to=json options=json.no-string-conversion value=[/disk print as-value proplist=slot,state,free,empty]]`

// seen is what a line left behind.
type seen struct {
	output, err, disks, files, phase, starting string
}

func (r *rig) look(t *testing.T, output string, err error) seen {
	t.Helper()
	phase := r.Phase().String()
	starting := ""
	if phase == "down" {
		r.NextPhase()
		starting = r.operate(t, `:put [:len [/disk find]]`)
	}
	r.comeUp()
	return seen{
		output: output, err: fmt.Sprint(err), phase: phase, starting: starting,
		disks: r.operate(t, `:put [/disk print as-value proplist=slot,comment,nvme-tcp-export where type=file]`),
		files: r.operate(t, `:put [/file print as-value proplist=name]`),
	}
}

func TestEveryListedFaultShows(t *testing.T) {
	calm := withDisk(t)
	output, err := calm.try(t.Context(), everything)
	want := calm.look(t, output, err)
	if strings.Count(output, "\r\n") != 2 || err != nil {
		t.Fatalf("without a fault: got %q, %v, want two lines", output, err)
	}
	for _, f := range sim.Faults() {
		t.Run(f.Name, func(t *testing.T) {
			r := withDisk(t)
			i := r.Inject(f.Fault, sim.Once())
			if f.Silent {
				r.hangs(t, i)
				return
			}
			output, err := r.try(t.Context(), everything)
			if i.Strikes() != 1 {
				t.Errorf("it struck %d times, want once", i.Strikes())
			}
			if got := r.look(t, output, err); got == want {
				t.Errorf("got %+v, as without the fault", got)
			} else if f.Reboots != (got.phase == "down") {
				t.Errorf("the appliance is %s, want a reboot: %t", got.phase, f.Reboots)
			}
			// What is applied later is so after the next line.
			if _, err := r.try(t.Context(), ":put 1"); err != nil {
				t.Errorf("the next line: %v", err)
			}
			if output, err := r.try(t.Context(), ":put 1"); output != "1\r\n" || err != nil {
				t.Errorf("afterwards: got %q, %v, want the fault to be over", output, err)
			}
		})
	}
}

// hangs checks that a line doesn't end by itself.
func (r *rig) hangs(t *testing.T, i *sim.Injection) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := r.try(ctx, everything)
		ended <- err
	}()
	for i.Strikes() == 0 {
		runtime.Gosched()
	}
	select {
	case err := <-ended:
		t.Errorf("it ended with %v, want it to hang", err)
	default:
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("it succeeded, want it to hang until cut")
	}
}

func TestEveryKindIsListedUnderNamesOfItsOwn(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "fault.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	kinds, names := map[sim.FaultKind]bool{}, map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && cmp.Equal(fmt.Sprint(spec.Type), "FaultKind") {
			kinds[sim.FaultKind(strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`))] = true
		}
		return true
	})
	delete(kinds, sim.NoFault)
	if len(kinds) < 25 {
		t.Fatalf("only %d kinds found in fault.go", len(kinds))
	}
	for _, f := range sim.Faults() {
		delete(kinds, f.Fault.Kind)
		if names[f.Name] {
			t.Errorf("the name %q is given twice", f.Name)
		}
		names[f.Name] = true
	}
	if len(kinds) > 0 {
		t.Errorf("not listed: %v", kinds)
	}
}
