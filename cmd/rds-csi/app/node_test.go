package app

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMachineIdentity(t *testing.T) {
	folder := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	absent := filepath.Join(folder, "absent")
	empty := file("empty", " \n")
	firmware := file("product_uuid", "4C4C4544-0042-3510-8052-B4C04F4A3132\n")
	tree := file("system-id", "tree-id\x00")
	for name, c := range map[string]struct {
		files []string
		want  string
	}{
		"firmware first":         {[]string{firmware, tree}, "4c4c4544-0042-3510-8052-b4c04f4a3132"},
		"first one absent":       {[]string{absent, tree}, "tree-id"},
		"first one empty":        {[]string{empty, firmware}, "4c4c4544-0042-3510-8052-b4c04f4a3132"},
		"none":                   {[]string{absent, empty}, ""},
		"unreadable (directory)": {[]string{folder}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := machineIdentity(c.files)
			if got != c.want || errors.Is(err, errNoMachineIdentity) != (c.want == "") {
				t.Errorf("machineIdentity = %q, %v, want %q", got, err, c.want)
			}
		})
	}
	given := NodeOptions{MachineID: " ABC\n"}
	if got, err := given.MachineIdentity(); got != "abc" || err != nil {
		t.Errorf("--machine-id ABC = %q, %v, want abc", got, err)
	}
}

func TestNodeOptionsNameTheWrongFlag(t *testing.T) {
	for name, c := range map[string]struct {
		arguments []string
		want      []string // flags the error names; none: valid
	}{
		"least":       {[]string{"--node-name=a"}, nil},
		"all":         {[]string{"--node-name=a", "--endpoint=unix:///x/csi.sock", "--http-address=127.0.0.1:0", "--machine-id=m"}, nil},
		"no name":     {nil, []string{"--node-name"}},
		"relative":    {[]string{"--node-name=a", "--endpoint=unix://csi.sock"}, []string{"--endpoint"}},
		"tcp":         {[]string{"--node-name=a", "--endpoint=tcp://127.0.0.1:1"}, []string{"--endpoint"}},
		"no port":     {[]string{"--node-name=a", "--http-address=localhost"}, []string{"--http-address"}},
		"all at once": {[]string{"--endpoint=x", "--http-address=x"}, []string{"--endpoint", "--node-name", "--http-address"}},
	} {
		t.Run(name, func(t *testing.T) {
			var options NodeOptions
			flags := flag.NewFlagSet("node", flag.ContinueOnError)
			options.AddFlags(flags)
			if err := flags.Parse(c.arguments); err != nil {
				t.Fatal(err)
			}
			err := options.Validate()
			if (err == nil) != (len(c.want) == 0) {
				t.Fatalf("Validate = %v, want it to name %v", err, c.want)
			}
			for _, name := range c.want {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("Validate = %v, want it to name %s", err, name)
				}
			}
		})
	}
}
