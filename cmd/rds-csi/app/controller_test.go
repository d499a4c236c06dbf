package app

import (
	"context"
	"flag"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// flagsFor gives the flags of a controller that works against a simulator, and its socket.
func flagsFor(t *testing.T, changes ...func(*sim.Options)) (arguments map[string]string, socket string) {
	t.Helper()
	_, appliance := simtest.Start(t, changes...)
	socket = filepath.Join(t.TempDir(), "csi.sock")
	return map[string]string{
		"endpoint": "unix://" + socket, "kubernetes": "false", "cluster-id": simtest.ClusterID,
		"rds-address": appliance.SSH.Address, "rds-user": appliance.SSH.User, "rds-private-key": appliance.SSH.PrivateKeyFile,
		"rds-known-hosts": appliance.SSH.KnownHostsFile, "nvme-address": "192.0.2.1",
	}, socket
}

func parsed(t *testing.T, arguments map[string]string) (*ControllerOptions, error) {
	t.Helper()
	var line []string
	for name, value := range arguments {
		line = append(line, "--"+name+"="+value)
	}
	slices.Sort(line)
	return parsedInto(t, &ControllerOptions{}, line)
}

// parsedInto gives the options as the arguments have them.
func parsedInto[O Options](t *testing.T, options O, arguments []string) (O, error) {
	t.Helper()
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	options.AddFlags(flags)
	if err := flags.Parse(arguments); err != nil {
		return options, err
	}
	return options, options.Validate()
}

// startProcess runs a controller until the test ends and returns a connection to it.
func startProcess(t *testing.T, arguments map[string]string, socket string) *grpc.ClientConn {
	t.Helper()
	options, err := parsed(t, arguments)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- RunController(ctx, options) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("RunController: %v", err)
		}
	})
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func createVolume(t *testing.T, conn *grpc.ClientConn) error {
	t.Helper()
	_, err := csi.NewControllerClient(conn).CreateVolume(t.Context(), &csi.CreateVolumeRequest{
		Name: "pvc-1", Parameters: map[string]string{"pool": simtest.Pool},
		VolumeCapabilities: []*csi.VolumeCapability{{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		}},
	}, grpc.WaitForReady(true))
	return err
}

func TestControllerServesWithoutKubernetes(t *testing.T) {
	arguments, socket := flagsFor(t)
	if err := createVolume(t, startProcess(t, arguments, socket)); err != nil {
		t.Errorf("create: %v", err)
	}
}

// A controller whose appliance is away stays up and says so in every answer.
func TestControllerOutlivesAnAbsentAppliance(t *testing.T) {
	arguments, socket := flagsFor(t)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	known, err := os.ReadFile(arguments["rds-known-hosts"])
	if err != nil {
		t.Fatal(err)
	}
	away := listener.Addr().String()
	_ = listener.Close()
	arguments["rds-address"] = away
	_, key, _ := strings.Cut(string(known), " ")
	arguments["rds-known-hosts"] = written(t, "["+strings.Replace(away, ":", "]:", 1)+" "+key)
	err = createVolume(t, startProcess(t, arguments, socket))
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), away) {
		t.Errorf("got %v, want UNAVAILABLE that names %s", err, away)
	}
}

// While a key is exchanged the old and the new one are pinned; the file isn't needed then.
func TestControllerTakesFingerprintsInsteadOfKnownHosts(t *testing.T) {
	arguments, socket := flagsFor(t)
	known, err := os.ReadFile(arguments["rds-known-hosts"])
	if err != nil {
		t.Fatal(err)
	}
	_, _, key, _, _, err := ssh.ParseKnownHosts(known)
	if err != nil {
		t.Fatal(err)
	}
	arguments["rds-known-hosts"] = ""
	arguments["rds-host-key-fingerprint"] = "SHA256:" + strings.Repeat("A", 43) + "," + ssh.FingerprintSHA256(key)
	if err := createVolume(t, startProcess(t, arguments, socket)); err != nil {
		t.Errorf("create: %v", err)
	}
}

// A key that isn't the pinned one may be somebody else's machine: nothing is sent to it.
func TestControllerRefusesAnotherHostKey(t *testing.T) {
	arguments, socket := flagsFor(t)
	_, other := simtest.Start(t)
	known, err := os.ReadFile(other.SSH.KnownHostsFile)
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(string(known), " ")
	arguments["rds-known-hosts"] = written(t, "["+strings.Replace(arguments["rds-address"], ":", "]:", 1)+" "+key)
	err = createVolume(t, startProcess(t, arguments, socket))
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "host key") || !strings.Contains(err.Error(), "SHA256:") {
		t.Errorf("got %v, want UNAVAILABLE that names the offered fingerprint", err)
	}
}

func written(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// What can't work must be said at the start, by the name of the flag or field, and not at the first volume.
func TestControllerStartErrors(t *testing.T) {
	tests := map[string]struct {
		change map[string]string
		says   string
	}{
		"no address":             {map[string]string{"rds-address": ""}, "--rds-address"},
		"address without port":   {map[string]string{"rds-address": "192.0.2.1"}, "appliance address"},
		"no key":                 {map[string]string{"rds-private-key": ""}, "--rds-private-key"},
		"unreadable key":         {map[string]string{"rds-private-key": "/does/not/exist"}, "private key file"},
		"not a key":              {map[string]string{"rds-private-key": written(t, "hello")}, "private key file"},
		"a bad fingerprint":      {map[string]string{"rds-host-key-fingerprint": "SHA256:short"}, "host key fingerprint"},
		"no known hosts":         {map[string]string{"rds-known-hosts": ""}, "--rds-known-hosts"},
		"unreadable known hosts": {map[string]string{"rds-known-hosts": "/does/not/exist"}, "known hosts file"},
		"host isn't known":       {map[string]string{"rds-known-hosts": written(t, "")}, "ssh-keyscan"},
		"no user":                {map[string]string{"rds-user": ""}, "appliance user"},
		"no NVMe address":        {map[string]string{"nvme-address": ""}, "--nvme-address"},
		"NVMe address is a URL":  {map[string]string{"nvme-address": "http://192.0.2.1"}, "--nvme-address"},
		"NVMe address and port":  {map[string]string{"nvme-address": "192.0.2.1:4420"}, "--nvme-address"},
		"no HTTP port":           {map[string]string{"http-address": "localhost"}, "--http-address"},
		"HTTP port is a name":    {map[string]string{"http-address": "localhost:no-such"}, "--http-address"},
		"too many channels":      {map[string]string{"rds-channels": "9"}, "--rds-channels"},
		"no Kubernetes":          {map[string]string{"kubernetes": "true", "kubeconfig": ""}, "or --kubernetes=false"},
		"NVMe port too high":     {map[string]string{"nvme-port": "65536"}, "--nvme-port"},
		"NVMe port zero":         {map[string]string{"nvme-port": "0"}, "--nvme-port"},
		"no cluster ID":          {map[string]string{"cluster-id": ""}, "--cluster-id"},
		"cluster ID with spaces": {map[string]string{"cluster-id": "a b"}, "cluster ID"},
		"no resync":              {map[string]string{"attachment-reconcile-interval": "0s"}, "--attachment-reconcile-interval"},
		"negative grace":         {map[string]string{"attachment-grace-period": "-1s"}, "--attachment-grace-period"},
		"lease of 0":             {map[string]string{"leader-election-lease-duration": "0s"}, "--leader-election-lease-duration"},
		"lease of 15.5 s":        {map[string]string{"leader-election-lease-duration": "15500ms"}, "--leader-election-lease-duration"},
		"renewing for a lease":   {map[string]string{"leader-election-renew-deadline": "15s"}, "--leader-election-renew-deadline"},
		"one try to renew":       {map[string]string{"leader-election-retry-period": "9s"}, "--leader-election-renew-deadline"},
		"no retry":               {map[string]string{"leader-election-retry-period": "0s"}, "--leader-election-retry-period"},
		"negative nodes":         {map[string]string{"mass-deletion-nodes": "-1"}, "--mass-deletion-nodes"},
		"share of nothing":       {map[string]string{"mass-deletion-share": "0"}, "--mass-deletion-share"},
		"share above all":        {map[string]string{"mass-deletion-share": "30"}, "--mass-deletion-share"},
		"no window":              {map[string]string{"mass-deletion-window": "0s"}, "--mass-deletion-window"},
		"no orphan grace":        {map[string]string{"orphan-grace-period": "0s"}, "--orphan-grace-period"},
		"orphans of nobody":      {map[string]string{"remove-orphans": "true"}, "--remove-orphans"},
		"no workers":             {map[string]string{"attachment-reconcile-workers": "0"}, "--attachment-reconcile-workers"},
		"no QPS":                 {map[string]string{"kube-api-qps": "0"}, "--kube-api-qps"},
		"endpoint over TCP":      {map[string]string{"endpoint": "tcp://127.0.0.1:1"}, "endpoint"},
		"absolute directory":     {map[string]string{"volume-directory": "/x"}, "volume directory"},
		"unreadable kubeconfig":  {map[string]string{"kubernetes": "true", "kubeconfig": "/does/not/exist"}, "--kubeconfig"},
		"malformed duration":     {map[string]string{"attachment-grace-period": "soon"}, "attachment-grace-period"},
	}
	arguments, _ := flagsFor(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			changed := maps.Clone(arguments)
			maps.Copy(changed, test.change)
			options, err := parsed(t, changed)
			if err == nil {
				err = RunController(t.Context(), options)
			}
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want an error that says %q", err, test.says)
			}
		})
	}
}

// In a pod, the kubeconfig that is given wins, and what is wrong with the pod's own account doesn't matter.
func TestTheKubeconfigThatIsGivenIsUsed(t *testing.T) {
	file := written(t, `{"apiVersion": "v1", "kind": "Config", "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "x"}}],
		"clusters": [{"name": "x", "cluster": {"server": "https://192.0.2.7:6443"}}]}`)
	for host, port := range map[string]string{"": "", "192.0.2.9": "443"} {
		t.Setenv("KUBERNETES_SERVICE_HOST", host)
		t.Setenv("KUBERNETES_SERVICE_PORT", port)
		config, err := (&kubeOptions{kubeconfig: file, qps: 7, burst: 9}).config(controllerAgent)
		if err != nil {
			t.Fatal(err)
		}
		if config.Host != "https://192.0.2.7:6443" || config.QPS != 7 || config.Burst != 9 || !strings.HasPrefix(config.UserAgent, "rds-csi-controller/") {
			t.Errorf("service host %q: got %+v", host, config)
		}
	}
}

func TestMainTellsUsageErrorsFromFailures(t *testing.T) {
	for want, lines := range map[int][][]string{
		exitOK:     {{"help"}, {"version"}, {"controller", "--help"}, {"pod-restarter", "--help"}, {"appliance", "check", "--help"}},
		exitUsage:  {{}, {"controllr"}, {"appliance"}, {"appliance", "chek"}, {"controller"}, {"controller", "--no-such-flag"}, {"controller", "extra"}, {"node"}, {"pod-restarter", "--max-restart-share=2"}},
		exitFailed: {{"node", "--node-name=n", "--machine-id=m", "--endpoint=unix:///no/such/folder/csi.sock"}},
	} {
		for _, line := range lines {
			if got := Main("rds-csi", line); got != want {
				t.Errorf("rds-csi %s: got exit code %d, want %d", strings.Join(line, " "), got, want)
			}
		}
	}
}
