package app

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

func TestApplianceMendSaysWhatBecameOfTheVolume(t *testing.T) {
	simulator, config := simtest.Start(t)
	id, err := rds.NewVolumeID(simtest.Pool, "rds-csi", simtest.ClusterID, "pvc-1")
	if err != nil {
		t.Fatal(err)
	}
	client := simtest.Client(t, config)
	if _, err := client.Create(t.Context(), id, rds.Size{Bytes: 16 << 20}, rds.NewRecord(id, "pvc-1", "", "")); err != nil {
		t.Fatal(err)
	}
	if _, err := simulator.Exec(t.Context(), `/disk set [find slot="`+id.Slot()+`"] comment="an operator was here"`); err != nil {
		t.Fatal(err)
	}
	options := &applianceMendOptions{volumeID: id.String(), appliance: applianceOptions{config: config.Config, ssh: config.SSH, directory: "rds-csi"}}
	if err := options.Validate(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := mendRecord(t.Context(), options, &out); err == nil || !strings.Contains(err.Error(), "the name that the volume was created under") {
		t.Errorf("without a name: got %v, want that it is asked for", err)
	}
	options.volume = "pvc-1"
	if err := mendRecord(t.Context(), options, &out); err != nil || !strings.Contains(out.String(), "created as pvc-1") {
		t.Errorf("got %q, %v", out.String(), err)
	}
	if disk, err := client.Get(t.Context(), id); err != nil || disk.Record.Volume != "pvc-1" {
		t.Errorf("afterwards: %+v, %v", disk, err)
	}
}

func TestApplianceMendNamesMissingFlags(t *testing.T) {
	err := (&applianceMendOptions{}).Validate()
	for _, name := range []string{"--volume-id", "--rds-address", "--rds-private-key"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want it to name %s", err, name)
		}
	}
}

// A mistyped flag is told in one line, not above a usage that is longer than a screen.
func TestAMistypedFlagIsToldInOneLine(t *testing.T) {
	for _, arguments := range [][]string{{"--volume-idd=x"}, {"--rds-channels=many"}} {
		told := stderrOf(t, exitUsage, func() int { return Main("rds-csi", append([]string{"appliance", "mend"}, arguments...)) })
		if strings.Count(told, "\n") != 1 || !strings.Contains(told, strings.TrimLeft(strings.Split(arguments[0], "=")[0], "-")) || !strings.Contains(told, "--help") {
			t.Errorf("%v: got %q, want one line that names the flag", arguments, told)
		}
	}
}

// stderrOf is what is printed to stderr by a command that ends with this exit code.
func stderrOf(t *testing.T, want int, run func() int) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	stderr := os.Stderr
	os.Stderr = file
	defer func() { os.Stderr = stderr }()
	if code := run(); code != want {
		t.Errorf("exit code %d, want %d", code, want)
	}
	told, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(told)
}
