package app

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// noConnector is a kernel without any connection.
type noConnector struct{}

func (noConnector) Connect(context.Context, nvme.Target) error { return errors.New("no connector") }

func (noConnector) Device(context.Context, string) (string, error) {
	return "", errors.New("no connector")
}

func (noConnector) Connections(context.Context, string) ([]nvme.Connection, error) { return nil, nil }
func (noConnector) Disconnect(context.Context, string) error                       { return nil }
func (noConnector) Rescan(context.Context, string) error                           { return nil }

func TestRunNodeServesAndStops(t *testing.T) {
	endpoint := "unix://" + filepath.Join(t.TempDir(), "csi.sock")
	options := NodeOptions{Endpoint: endpoint, NodeName: "worker-1", MachineID: "MACHINE-1", HTTPAddress: "127.0.0.1:0", MaxVolumes: 5}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- RunNode(ctx, options, noConnector{}) }()
	connection, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	info, err := csi.NewNodeClient(connection).NodeGetInfo(ctx, &csi.NodeGetInfoRequest{}, grpc.WaitForReady(true))
	if err != nil || info.GetNodeId() != "worker-1/machine-1" || info.GetMaxVolumesPerNode() != 5 {
		t.Errorf("NodeGetInfo = %q, %v, want worker-1/machine-1", info.GetNodeId(), err)
	}
	stop()
	if err := <-stopped; err != nil {
		t.Errorf("RunNode after the context ended = %v, want nil", err)
	}
}

// leavingConnector is a kernel that can't tell, for the first looks, which volumes are connected.
type leavingConnector struct {
	noConnector

	looks chan struct{}
}

func (c leavingConnector) Connections(context.Context, string) ([]nvme.Connection, error) {
	if _, more := <-c.looks; more {
		return nil, errors.New("not known yet")
	}
	return nil, nil
}

// kubelet needs the node plugin until the last volume is unstaged, and probes its health meanwhile.
func TestRunNodeServesUntilItIsDrained(t *testing.T) {
	endpoint := "unix://" + filepath.Join(t.TempDir(), "csi.sock")
	options := NodeOptions{Endpoint: endpoint, NodeName: "worker-1", MachineID: "machine-1", MaxVolumes: 5, DrainTimeout: time.Hour}
	connector := leavingConnector{looks: make(chan struct{})}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- RunNode(ctx, options, connector) }()
	connection, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	probe := func() {
		t.Helper()
		if _, err := csi.NewIdentityClient(connection).Probe(t.Context(), &csi.ProbeRequest{}, grpc.WaitForReady(true)); err != nil {
			t.Errorf("probe: %v", err)
		}
	}
	probe()
	stop()
	for range 2 {
		select {
		case connector.looks <- struct{}{}:
			probe()
		case err := <-stopped:
			t.Fatalf("RunNode ended with %v before it was drained", err)
		}
	}
	close(connector.looks)
	if err := <-stopped; err != nil {
		t.Errorf("RunNode = %v, want nil", err)
	}
}

func TestRunNodeRefusesWhatItCannotServe(t *testing.T) {
	good := NodeOptions{Endpoint: "unix://" + filepath.Join(t.TempDir(), "csi.sock"), NodeName: "n", MachineID: "m", MaxVolumes: 1}
	for name, spoil := range map[string]func(*NodeOptions){
		"no node name":                      func(o *NodeOptions) { o.NodeName = "" },
		"identity with a slash":             func(o *NodeOptions) { o.MachineID = "a/b" },
		"a kubelet folder that isn't there": func(o *NodeOptions) { o.KubeletDir = "/nowhere/at/all" },
		"no folder for a socket":            func(o *NodeOptions) { o.Endpoint = "unix:///nowhere/at/all/csi.sock" },
	} {
		options := good
		spoil(&options)
		err := RunNode(t.Context(), options, noConnector{})
		if err == nil {
			t.Errorf("RunNode with %s = nil, want an error", name)
		} else if options.KubeletDir != "" && !strings.Contains(err.Error(), "--kubelet-dir /nowhere/at/all") {
			t.Errorf("RunNode with %s = %v, want it to name the flag", name, err)
		}
	}
}

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
	zeros := file("zeros", "00000000-0000-0000-0000-000000000000\n")
	for name, c := range map[string]struct {
		files []string
		want  string
	}{
		"firmware first":         {[]string{firmware, tree}, "4c4c4544-0042-3510-8052-b4c04f4a3132"},
		"first one absent":       {[]string{absent, tree}, "tree-id"},
		"first one empty":        {[]string{empty, firmware}, "4c4c4544-0042-3510-8052-b4c04f4a3132"},
		"none":                   {[]string{absent, empty}, ""},
		"unreadable (directory)": {[]string{folder}, ""},
		// kubelet reports the same placeholder: another file's identity would be one that the Node doesn't report.
		"placeholder first": {[]string{zeros, tree}, ""},
		"placeholder last":  {[]string{absent, file("machine-id", "uninitialized\n")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := machineIdentity(c.files)
			if got != c.want || errors.Is(err, errNoMachineIdentity) != (c.want == "") {
				t.Errorf("machineIdentity = %q, %v, want %q", got, err, c.want)
			}
		})
	}
	if _, err := machineIdentity([]string{zeros, tree}); err == nil || !strings.Contains(err.Error(), zeros) || !strings.Contains(err.Error(), "--machine-id") {
		t.Errorf("got %v, want it to name the file and what to set", err)
	}
	for _, placeholder := range []string{"03000200-0400-0500-0006-000700080009", "Default string", "None"} {
		given := NodeOptions{MachineID: placeholder}
		if got, err := given.MachineIdentity(); err == nil || !strings.Contains(err.Error(), "--machine-id") {
			t.Errorf("--machine-id %q = %q, %v, want an error that names the flag", placeholder, got, err)
		}
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
		"no volumes":  {[]string{"--node-name=a", "--max-volumes=0"}, []string{"--max-volumes"}},
		"no time":     {[]string{"--node-name=a", "--drain-timeout=0"}, nil},
		"less time":   {[]string{"--node-name=a", "--drain-timeout=-1s"}, []string{"--drain-timeout"}},
		"kubelet dir": {[]string{"--node-name=a", "--kubelet-dir=kubelet"}, []string{"--kubelet-dir"}},
		"unchecked":   {[]string{"--node-name=a", "--kubelet-dir="}, nil},
		"identity":    {[]string{"--node-name=a", "--machine-id=a b"}, []string{"--machine-id"}},
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
