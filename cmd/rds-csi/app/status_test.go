package app

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/status"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

func TestStatusIsReadableAndSaysWhatToDo(t *testing.T) {
	exported := false
	report := status.Report{
		Volumes: []status.VolumeRow{
			{PV: "pv-1", Claim: "default/data", Size: "1Gi", Phase: "Bound", Nodes: []string{"a", "b"}, Holders: []string{"a", "b"}, Epoch: "8899aabbccddeeff", Exported: &exported},
			{PV: "pv-2", Size: "2Gi", Phase: "Available"},
		},
		Attachments: []status.AttachmentRow{{Name: "csi-1", PV: "pv-1", Node: "a", State: status.Stale, Since: startedAt()}},
		Nodes:       []status.NodeRow{{Name: "b", Ready: "True", Registered: true, Volumes: 1, Most: 128, Machine: "m"}},
		Problems:    []status.Problem{{About: "VolumeAttachment csi-1", Why: "Node a doesn't exist any more", Do: "wait a minute"}},
	}
	want := `
PERSISTENTVOLUME  CLAIM         SIZE  PHASE      ATTACHED TO  HELD BY             EPOCH
pv-1              default/data  1Gi   Bound      a,b          a,b (not exported)  8899aabbccddeeff
pv-2              -             2Gi   Available  -            ?                   -

ATTACHMENT OF  NODE  NODE EXISTS  STATE  FOR
pv-1           a     no           stale  3m

NODE  READY  DRIVER  VOLUMES   MACHINE
b     True   yes     1 of 128  m

VolumeAttachment csi-1
  why: Node a doesn't exist any more
  do:  wait a minute
`
	var out bytes.Buffer
	if err := writeStatus(&out, report, startedAt().Add(200e9)); err != nil || "\n"+out.String() != want {
		t.Errorf("%v, got:\n%swant:%s", err, out.String(), want)
	}
	out.Reset()
	report.Problems = nil
	if err := writeStatus(&out, report, startedAt()); err != nil || !strings.HasSuffix(out.String(), "\n\nNothing is stuck.\n") {
		t.Errorf("%v, got:\n%s", err, out.String())
	}
}

// The appliance's side is read where it can be reached; where it can't, the report says so, and the rest is there.
func TestStatusShowsTheAppliancesSide(t *testing.T) {
	simulator, config := simtest.Start(t)
	client := simtest.Client(t, config)
	id, err := rds.NewVolumeID(simtest.Pool, "rds-csi", simtest.ClusterID, "pvc-1")
	if err != nil {
		t.Fatal(err)
	}
	disk, err := client.Create(t.Context(), id, rds.Size{Bytes: 16 << 20}, rds.NewRecord(id, "pvc-1", "", ""))
	if err != nil {
		t.Fatal(err)
	}
	if disk, err = client.Publish(t.Context(), disk, disk.Record.Publish("node-a/machine-of-node-a", "mount", "single-node-writer", false)); err != nil {
		t.Fatal(err)
	}
	options := &applianceOptions{config: config.Config, ssh: config.SSH, directory: "rds-csi"}
	kube := fake.NewClientset(kubeVolume(id.String()))
	got, err := readAppliance(t.Context(), options, kube)
	if err != nil || got.Err != nil {
		t.Fatalf("got %+v, %v", got, err)
	}
	if record := got.Records[id.String()]; record.Epoch != disk.Record.Holding.Epoch || !record.Reachable || len(record.Holders) != 1 {
		t.Errorf("record: %+v", record)
	}
	if len(got.Orphans) != 1 || got.Orphans[0].Kind != attach.OrphanHolder {
		t.Errorf("orphans: %+v, want a holder without an attachment", got.Orphans)
	}
	if err := simulator.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err = readAppliance(t.Context(), options, kube); err != nil || got.Err == nil || len(got.Records) > 0 {
		t.Errorf("away: got %+v, %v, want its error", got, err)
	}
}

// listServer is an API server that has one volume of v0.x, and nothing else. It gives the kubeconfig with two contexts, of
// which the current one leads nowhere.
func listServer(t *testing.T) (kubeconfig string) {
	t.Helper()
	volume := *kubeVolume("pvc-ccdecfad-a8bf-572e-9120-464c4d99f12f")
	lists := map[string]runtime.Object{"/api/v1/persistentvolumes": &corev1.PersistentVolumeList{Items: []corev1.PersistentVolume{volume}}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var list any = map[string]any{"items": []string{}}
		if known, found := lists[r.URL.Path]; found {
			list = known
		}
		_ = json.NewEncoder(w).Encode(list)
	}))
	t.Cleanup(server.Close)
	return written(t, `{"apiVersion": "v1", "kind": "Config", "current-context": "nowhere", "contexts": [{"name": "nowhere", "context": {"cluster": "none"}}, {"name": "here", "context": {"cluster": "x"}}],
		"clusters": [{"name": "x", "cluster": {"server": "`+server.URL+`"}}]}`)
}

func TestStatusForPrograms(t *testing.T) {
	kubeconfig := listServer(t)
	run := func(flags ...string) (status.Report, error) {
		options, err := parsedInto(t, &statusOptions{}, append(flags, "--kubeconfig="+kubeconfig))
		if err != nil {
			return status.Report{}, err
		}
		var out bytes.Buffer
		if err := showStatus(t.Context(), options, &out); err != nil {
			return status.Report{}, err
		}
		var report status.Report
		err = json.Unmarshal(out.Bytes(), &report)
		return report, err
	}
	report, err := run("-o=json", "--context=here")
	if err != nil || len(report.Volumes) != 1 || len(report.Problems) != 1 || !strings.Contains(report.Problems[0].Do, "docs/migrating.md") {
		t.Errorf("got %+v, %v", report, err)
	}
	for says, flags := range map[string][]string{
		"want table or json": {"-o=yaml"}, "--context": {"--context=elsewhere"}, "--kubeconfig": {}, "--rds-private-key": {"--rds-address=192.0.2.1:22"},
	} {
		if _, err := run(flags...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: got %v, want it to say %q", flags, err, says)
		}
	}
}

// As a plugin of kubectl the program has what people need at their desks, and no server.
func TestThePluginOfKubectl(t *testing.T) {
	kubeconfig := listServer(t)
	for want, lines := range map[int][][]string{
		exitOK:     {{"help"}, {"version"}, {"status", "--help"}, {"status", "--context=here", "--kubeconfig=" + kubeconfig}},
		exitUsage:  {{}, {"controller"}, {"status", "-o=yaml"}, {"status", "extra"}},
		exitFailed: {{"status", "--kubeconfig=/does/not/exist"}},
	} {
		for _, line := range lines {
			if got := Main("/usr/local/bin/kubectl-rds", line); got != want {
				t.Errorf("kubectl rds %s: got exit code %d, want %d", strings.Join(line, " "), got, want)
			}
		}
	}
}

func startedAt() time.Time { return time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC) }
