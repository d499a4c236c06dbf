package app

import (
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/metrics"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// What a Secret has wrong ends the process, and its last line is what kubectl describe pod shows then.
func TestABadSecretEndsTheControllerWithOneLine(t *testing.T) {
	good, _ := flagsFor(t)
	key, err := os.ReadFile(good["rds-private-key"])
	if err != nil {
		t.Fatal(err)
	}
	known, err := os.ReadFile(good["rds-known-hosts"])
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ flag, file, says string }{
		"no key":                         {"rds-private-key", "/does/not/exist", "no such file"},
		"an empty key":                   {"rds-private-key", written(t, ""), "want a readable unencrypted ed25519 or RSA key"},
		"not a key":                      {"rds-private-key", written(t, "hello"), "want a readable unencrypted ed25519 or RSA key"},
		"half a key":                     {"rds-private-key", written(t, string(key[:len(key)/2])), "want a readable unencrypted ed25519 or RSA key"},
		"no known hosts":                 {"rds-known-hosts", "/does/not/exist", "no such file"},
		"empty known hosts":              {"rds-known-hosts", written(t, ""), "ssh-keyscan"},
		"not known hosts":                {"rds-known-hosts", written(t, "hello"), "known_hosts format"},
		"known hosts of another address": {"rds-known-hosts", written(t, "192.0.2.7 "+strings.SplitN(string(known), " ", 2)[1]), good["rds-address"][strings.LastIndex(good["rds-address"], ":"):]},
	} {
		t.Run(name, func(t *testing.T) {
			flags := maps.Clone(good)
			flags[test.flag] = test.file
			line := []string{"controller"}
			for flag, value := range flags {
				line = append(line, "--"+flag+"="+value)
			}
			told := stderrOf(t, exitFailed, func() int { return Main("rds-csi", line) })
			if strings.Count(told, "\n") != 1 || !strings.Contains(told, test.file) || !strings.Contains(told, test.says) || !strings.Contains(told, "--"+test.flag) || !strings.Contains(told, "Secret") {
				t.Errorf("got %q, want one line that names %s and says %q", told, test.file, test.says)
			}
		})
	}
}

// unusable are appliances that a controller can't use: how the simulator is, what is changed in the flags, and what is said.
func unusable(t *testing.T) map[string]struct {
	sim   func(*sim.Options)
	flags func(flags map[string]string)
	says  []string
} {
	t.Helper()
	_, other := simtest.Start(t)
	return map[string]struct {
		sim   func(*sim.Options)
		flags func(map[string]string)
		says  []string
	}{
		"an address where nobody listens": {
			func(*sim.Options) {},
			func(flags map[string]string) {
				known, err := os.ReadFile(flags["rds-known-hosts"])
				if err != nil {
					t.Fatal(err)
				}
				away := freeAddress(t)
				flags["rds-known-hosts"] = written(t, hostLine(away)+" "+strings.SplitN(string(known), " ", 2)[1])
				flags["rds-address"] = away
			},
			[]string{"the appliance can't be reached", "connection refused"},
		},
		"a host key that changed": {
			func(*sim.Options) {},
			func(flags map[string]string) {
				known, err := os.ReadFile(other.SSH.KnownHostsFile)
				if err != nil {
					t.Fatal(err)
				}
				flags["rds-known-hosts"] = written(t, hostLine(flags["rds-address"])+" "+strings.SplitN(string(known), " ", 2)[1])
			},
			[]string{"the host key is not the pinned one", "SHA256:", "pin the new one beside the old one"},
		},
		"a key that isn't the user's": {
			func(*sim.Options) {},
			func(flags map[string]string) { flags["rds-private-key"] = other.SSH.PrivateKeyFile },
			[]string{"the appliance refuses permission", "/user ssh-keys add"},
		},
		"a user without policy ssh": {
			func(o *sim.Options) { o.Users[0].Policies = &appliance.Policies{Read: true, Write: true, Test: true} },
			func(map[string]string) {},
			[]string{"the appliance refuses permission", "policy ssh"},
		},
		"a user without policy read": {
			func(o *sim.Options) { o.Users[0].Policies = &appliance.Policies{SSH: true, Write: true, Test: true} },
			func(map[string]string) {},
			[]string{"policy"},
		},
	}
}

// hostLine is an address as known_hosts has it.
func hostLine(address string) string { return "[" + strings.Replace(address, ":", "]:", 1) }

// The process goes on, since the appliance may be away for hours, and says why in an event on its pod and at /readyz, where the
// rollout of a wrong configuration stops.
func TestAnApplianceThatCannotBeUsedIsSaidWherePeopleLook(t *testing.T) {
	for name, test := range unusable(t) {
		t.Run(name, func(t *testing.T) {
			flags, _ := flagsFor(t, test.sim)
			flags["http-address"], flags["pod"], flags["leader-election"] = freeAddress(t), "rds-csi/controller-0/uid-0", "false"
			test.flags(flags)
			options, err := parsed(t, flags)
			if err != nil {
				t.Fatal(err)
			}
			options.appliance.config.ClusterID = options.clusterID
			client, err := options.appliance.connect()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.Close)
			kube := fake.NewClientset()
			(&wired{client: client, observed: metrics.NewController(), lost: make(chan struct{})}).run(t, kube, options)
			for _, says := range test.says {
				await(t, "/readyz says "+says, func() bool {
					code, body := readyz(t, flags["http-address"])
					return code == http.StatusServiceUnavailable && strings.Contains(body, says) && strings.Contains(body, flags["rds-address"])
				})
			}
			for _, about := range []corev1.ObjectReference{{Kind: "Pod", Namespace: "rds-csi", Name: "controller-0", UID: "uid-0"}, {Kind: "CSIDriver", Name: "rds.csi.srvlab.io"}} {
				await(t, "an event on the "+about.Kind, func() bool { return said(t, kube, about, test.says) })
			}
		})
	}
}

func readyz(t *testing.T, address string) (code int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/readyz", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "" // it doesn't listen yet
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// said reports whether there is an event on the object that says all of that.
func said(t *testing.T, kube *fake.Clientset, about corev1.ObjectReference, says []string) bool {
	t.Helper()
	events, err := kube.CoreV1().Events(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(events.Items, func(event corev1.Event) bool {
		object := event.InvolvedObject
		missing := func(text string) bool { return !strings.Contains(event.Message, text) }
		return object.Kind == about.Kind && object.Name == about.Name && object.Namespace == about.Namespace && object.UID == about.UID &&
			event.Reason == string(attach.ApplianceUnusable) && !slices.ContainsFunc(says, missing)
	})
}

// It is ready once it was in contact, and stays so when the appliance goes away.
func TestTheFirstContactMakesTheControllerReady(t *testing.T) {
	kube, address := fake.NewClientset(), freeAddress(t)
	w := startWired(t, kube, map[string]string{"http-address": address})
	await(t, "it is ready", func() bool { code, _ := readyz(t, address); return code == http.StatusOK })
	if err := w.sim.Close(); err != nil {
		t.Fatal(err)
	}
	if code, body := readyz(t, address); code != http.StatusOK {
		t.Errorf("with the appliance away: %d, %s", code, body)
	}
	if said(t, kube, corev1.ObjectReference{Kind: "CSIDriver", Name: "rds.csi.srvlab.io"}, nil) {
		t.Error("an event says that the appliance can't be used")
	}
}

// kubectl describe pvc shows that error.
func TestAPoolThatDoesNotExistIsNamed(t *testing.T) {
	arguments, socket := flagsFor(t)
	conn := startProcess(t, arguments, socket)
	_, err := csi.NewControllerClient(conn).CreateVolume(t.Context(), &csi.CreateVolumeRequest{
		Name: "pvc-1", Parameters: map[string]string{"pool": "raid5"},
		VolumeCapabilities: []*csi.VolumeCapability{{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		}},
	}, grpc.WaitForReady(true))
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), `"raid5"`) || !strings.Contains(err.Error(), "parameter pool of the StorageClass") {
		t.Errorf("got %v, want INVALID_ARGUMENT that names the pool and the parameter", err)
	}
}

func TestThePodOfAProcess(t *testing.T) {
	for text, valid := range map[string]bool{
		"": true, "ns/pod/uid": true, "ns/pod": false, "ns/pod/uid/x": false, "ns//uid": false, "/pod/uid": false, "ns/pod/": false,
	} {
		if err := (podOptions{text: text}).validate(); (err == nil) != valid {
			t.Errorf("%q: %v", text, err)
		}
	}
}
