package app

import (
	"bytes"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

func TestApplianceCheckPrintsATable(t *testing.T) {
	_, config := simtest.Start(t)
	options := &applianceCheckOptions{pool: simtest.Pool}
	options.appliance = applianceOptions{config: config.Config, ssh: config.SSH, directory: "rds-csi"}
	if err := options.Validate(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := checkAppliance(t.Context(), options, &out); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"connection", "version", "export", "clean-up"} {
		if !strings.Contains(out.String(), name) {
			t.Errorf("the table has no line %q:\n%s", name, out.String())
		}
	}
}

func TestApplianceCheckNamesMissingFlags(t *testing.T) {
	err := (&applianceCheckOptions{}).Validate()
	for _, name := range []string{"--pool", "--rds-address", "--rds-private-key"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want it to name %s", err, name)
		}
	}
}
