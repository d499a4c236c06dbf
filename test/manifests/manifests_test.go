package manifests

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const rendering = `apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {ADDRESS: "192.0.2.1:22"}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
data: {key: c2VjcmV0}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: controller, namespace: somewhere}
spec:
  replicas: 2
  selector: {}
  template:
    spec:
      initContainers:
        - {name: sidecar, args: [--where=/registry/x]}
      containers:
        - name: main
          args: [run, "--address=$(ADDRESS)", "--endpoint=unix:///csi/csi.sock", --key=/etc/rds/key, --deep=/etc/rds/deep/x, "--http=:80", "--name=$(NAMESPACE)/$(POD)/$(FIXED)"]
          ports: [{containerPort: 80}]
          envFrom: [{configMapRef: {name: settings}}]
          env:
            - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
            - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
            - {name: FIXED, value: "1"}
          volumeMounts: [{name: socket, mountPath: /csi}, {name: keys, mountPath: /etc/rds}, {name: deep, mountPath: /etc/rds/deep}]
      volumes: [{name: keys, secret: {secretName: keys}}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: node, namespace: somewhere}
spec:
  selector: {}
  template:
    spec: {containers: [{name: main}]}
`

func place() Place {
	return Place{
		Name: "pod-1", Node: "node-a", Addresses: map[int32]string{80: "127.0.0.1:1234"},
		Folders: map[string]string{"socket": "/run/1/csi", "keys": "/run/1/keys", "deep": "/run/1/deep"},
	}
}

func TestArgumentsAreThoseOfTheContainer(t *testing.T) {
	rendered, err := Parse([]byte(rendering))
	if err != nil {
		t.Fatal(err)
	}
	pod, err := rendered.Pod("controller")
	if err != nil || pod.Replicas != 2 || pod.Namespace != "somewhere" {
		t.Fatalf("got %+v, %v", pod, err)
	}
	got, err := rendered.Arguments(pod, "main", place())
	want := []string{
		"run", "--address=192.0.2.1:22", "--endpoint=unix:///run/1/csi/csi.sock", "--key=/run/1/keys/key", "--deep=/run/1/deep/x",
		"--http=127.0.0.1:1234", "--name=somewhere/pod-1/1",
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if files, err := rendered.Files(pod.Spec.Volumes[0]); err != nil || string(files["key"]) != "secret" {
		t.Errorf("files: got %v, %v", files, err)
	}
	for kind, in := range map[string][]byte{"ConfigMap": rendered.Others, "Secret": rendered.Others, "Deployment": rendered.Workloads, "DaemonSet": rendered.Workloads} {
		if strings.Count(string(rendered.Others)+string(rendered.Workloads), "kind: "+kind+"\n") != 1 || !strings.Contains(string(in), "kind: "+kind+"\n") {
			t.Errorf("%s isn't where it should be, or not once", kind)
		}
	}
}

// What a container refers to and doesn't have would fail in a cluster, too.
func TestWhatIsMissingIsTold(t *testing.T) {
	for name, change := range map[string][2]string{
		"no such variable":  {"$(ADDRESS)", "$(PLACE)"},
		"no such ConfigMap": {"metadata: {name: settings}", "metadata: {name: setings}"},
		"no such Secret":    {"metadata: {name: keys}", "metadata: {name: kes}"},
		"no such port":      {"containerPort: 80", "containerPort: 81"},
		"no such mount":     {"mountPath: /csi", "mountPath: /cs"},
		"no such volume":    {"{name: socket,", "{name: sockets,"},
		"no such field":     {"fieldPath: metadata.name}", "fieldPath: status.podIP}"},
		"no such workload":  {"metadata: {name: controller,", "metadata: {name: other,"},
		"no such container": {"name: main\n", "name: another\n"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(rendering, change[0], change[1], 1)
			if changed == rendering {
				t.Fatal("the change changes nothing")
			}
			rendered, err := Parse([]byte(changed))
			if err != nil {
				t.Fatal(err)
			}
			pod, err := rendered.Pod("controller")
			if err == nil {
				if _, err = rendered.Files(pod.Spec.Volumes[0]); err == nil {
					_, err = rendered.Arguments(pod, "main", place())
				}
			}
			if !errors.Is(err, ErrMissing) {
				t.Errorf("got %v, want ErrMissing", err)
			}
		})
	}
	if _, err := Parse([]byte(strings.Replace(rendering, "replicas:", "replica:", 1))); err == nil {
		t.Error("a field that no Deployment has was accepted")
	}
}
