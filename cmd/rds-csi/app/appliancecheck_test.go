package app

import (
	"bytes"
	"encoding/json"
	"net"
	"net/netip"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

func checkOptions(t *testing.T, json bool) *applianceCheckOptions {
	t.Helper()
	simulator, config := simtest.Start(t)
	target := netip.MustParseAddrPort(simulator.NVMeAddr())
	options := &applianceCheckOptions{pool: simtest.Pool, json: json, target: targetOptions{port: uint(target.Port())}}
	options.appliance = applianceOptions{config: config.Config, ssh: config.SSH, directory: "rds-csi"}
	if err := options.Validate(); err != nil {
		t.Fatal(err)
	}
	return options
}

func TestApplianceCheckPrintsATable(t *testing.T) {
	var out bytes.Buffer
	if err := checkAppliance(t.Context(), checkOptions(t, false), &out); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"connection", "version", "export", "fence, alone", "clean-up"} {
		if !strings.Contains(out.String(), name) {
			t.Errorf("the table has no line %q:\n%s", name, out.String())
		}
	}
}

func TestApplianceCheckPrintsJSON(t *testing.T) {
	var out bytes.Buffer
	if err := checkAppliance(t.Context(), checkOptions(t, true), &out); err != nil {
		t.Error(err)
	}
	var got report
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || !got.Fit || len(got.Findings) < 20 || got.Version == "" {
		t.Errorf("got %v, %+v", err, got)
	}
}

// What holds a connection back from the target that answers at another address than SSH must not pass for a fence.
func TestApplianceCheckFailsWhereTheTargetCannotBeReached(t *testing.T) {
	options := checkOptions(t, false)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	options.target.port = uint(netip.MustParseAddrPort(l.Addr().String()).Port())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := checkAppliance(t.Context(), options, &out); err == nil || !strings.Contains(out.String(), "--nvme-address") {
		t.Errorf("got %v, want a failure that names the flag:\n%s", err, out.String())
	}
}

func TestApplianceCheckNamesMissingFlags(t *testing.T) {
	err := (&applianceCheckOptions{}).Validate()
	for _, name := range []string{"--pool", "--nvme-address", "--rds-address", "--rds-private-key"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want it to name %s", err, name)
		}
	}
}
