package app

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	driver "git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/informers"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/metrics"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// wired is the whole controller, but for the API server.
type wired struct {
	sim      *sim.Sim
	client   *rds.Client
	observed *metrics.Controller
	lost     chan struct{}
	conn     *grpc.ClientConn
}

// startWired runs a controller over a fake API server until the test ends.
func startWired(t *testing.T, kube kubernetes.Interface, flags map[string]string) *wired {
	t.Helper()
	simulator, config := simtest.Start(t)
	socket := filepath.Join(t.TempDir(), "csi.sock")
	arguments := map[string]string{
		"endpoint": "unix://" + socket, "cluster-id": simtest.ClusterID, "nvme-address": "192.0.2.1",
		"rds-address": config.SSH.Address, "rds-user": config.SSH.User, "rds-private-key": config.SSH.PrivateKeyFile, "rds-known-hosts": config.SSH.KnownHostsFile,
		"leader-election": "false",
	}
	maps.Copy(arguments, flags)
	options, err := parsed(t, arguments)
	if err != nil {
		t.Fatal(err)
	}
	w := &wired{sim: simulator, client: simtest.Client(t, config), observed: metrics.NewController(), lost: make(chan struct{})}
	w.run(t, kube, options)
	if w.conn, err = grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.conn.Close() })
	return w
}

// run runs the controller's parts until the test ends.
func (w *wired) run(t *testing.T, kube kubernetes.Interface, options *ControllerOptions) {
	t.Helper()
	options.appliance.config.ClusterID = options.clusterID
	parts, err := controllerParts(options, kube, w.client, w.observed, w.lost)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, run := range parts {
		running.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); running.Wait() })
}

// counted returns a function that reports whether the metric counts so many orphaned disks, and no other orphans.
func (w *wired) counted(disks string) func() bool {
	want := "# HELP rds_csi_orphans Orphans on the appliance or in Kubernetes, by kind, as of the last audit; 0 where no audit runs.\n" +
		"# TYPE rds_csi_orphans gauge\n" +
		`rds_csi_orphans{kind="disk_without_pv"} ` + disks + "\n" +
		`rds_csi_orphans{kind="file_without_disk"} 0` + "\n" +
		`rds_csi_orphans{kind="holder_without_attachment"} 0` + "\n" +
		`rds_csi_orphans{kind="pv_of_version_0"} 0` + "\n" +
		`rds_csi_orphans{kind="pv_without_disk"} 0` + "\n"
	return func() bool {
		return testutil.GatherAndCompare(w.observed.Registry(), strings.NewReader(want), "rds_csi_orphans") == nil
	}
}

// create makes a volume for which there is no PersistentVolume.
func (w *wired) create(t *testing.T, name string) rds.VolumeID {
	t.Helper()
	id, err := rds.NewVolumeID(simtest.Pool, "rds-csi", simtest.ClusterID, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.Create(t.Context(), id, rds.Size{Bytes: 16 << 20}, rds.NewRecord(id, name, "", "")); err != nil {
		t.Fatal(err)
	}
	return id
}

// kubeNode is a Node of the machine "machine-of-" and its name.
func kubeNode(name string) *corev1.Node {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	node.Status.NodeInfo.SystemUUID = "machine-of-" + name
	return node
}

// kubeAttachment is the attachment of PersistentVolume pv, which has this handle, to a node.
func kubeAttachment(handle, node string) *storagev1.VolumeAttachment {
	pv := "pv"
	return &storagev1.VolumeAttachment{
		ObjectMeta: metav1.ObjectMeta{Name: attach.AttachmentName(handle, driver.DriverName, node), UID: "a"},
		Spec:       storagev1.VolumeAttachmentSpec{Attacher: driver.DriverName, NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &pv}},
	}
}

func kubeVolume(handle string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}, Spec: corev1.PersistentVolumeSpec{
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: driver.DriverName, VolumeHandle: handle}},
	}}
}

// When too many nodes vanish at once, no volume is taken over, no attachment is cleared, and no orphan is removed.
func TestAMassDeletionPausesEverything(t *testing.T) {
	id, err := rds.NewVolumeID(simtest.Pool, "rds-csi", simtest.ClusterID, "pvc-1")
	if err != nil {
		t.Fatal(err)
	}
	kube := fake.NewClientset(kubeNode("node-a"), kubeNode("node-b"), kubeVolume(id.String()), kubeAttachment(id.String(), "node-a"), kubeAttachment(id.String(), "node-b"))
	w := startWired(t, kube, map[string]string{
		"mass-deletion-nodes": "1", "attachment-reconcile-interval": "20ms", "orphan-grace-period": "1ms", "remove-orphans": "true", "max-held-publishes": "0",
	})
	w.create(t, "pvc-1")
	publish := func(node string) error {
		_, err := csi.NewControllerClient(w.conn).ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{
			VolumeId: id.String(), NodeId: node + "/machine-of-" + node, VolumeCapability: &csi.VolumeCapability{
				AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
				AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
			},
		}, grpc.WaitForReady(true))
		return err
	}
	await(t, "the valve begins", func() bool { return gauge(t, w.observed, "rds_csi_clearing_not_begun") == 0 })
	await(t, "node-a gets the volume", func() bool { return publish("node-a") == nil })
	if err := kube.CoreV1().Nodes().Delete(t.Context(), "node-a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the valve trips", func() bool { return massDeletion(t, w.observed) == 1 })
	if err := publish("node-b"); status.Code(err) != codes.Unavailable {
		t.Errorf("take-over: got %v, want UNAVAILABLE", err)
	}
	w.create(t, "pvc-2")
	await(t, "the orphan is counted", w.counted("1"))
	<-time.After(100 * time.Millisecond) // a few audits and resyncs
	if n := len(w.sim.Disks()); n != 2 {
		t.Errorf("%d disks are left, want both", n)
	}
	if stale := gauge(t, w.observed, "rds_csi_stale_attachments"); stale != 1 {
		t.Errorf("%g attachments are counted as stale, want the one that is held", stale)
	}
	if _, err := kube.StorageV1().VolumeAttachments().Get(t.Context(), attach.AttachmentName(id.String(), driver.DriverName, "node-a"), metav1.GetOptions{}); err != nil {
		t.Errorf("the attachment of node-a: %v", err)
	}
}

// Before the caches are filled, nothing is known of nodes. kubelet must not send requests here then.
func TestTheControllerIsNotReadyBeforeItsCachesAre(t *testing.T) {
	kube := fake.NewClientset()
	var answers atomic.Bool
	kube.PrependReactor("list", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return !answers.Load(), nil, errors.New("etcd is away")
	})
	w := startWired(t, kube, nil)
	ready := func() bool {
		response, err := csi.NewIdentityClient(w.conn).Probe(t.Context(), &csi.ProbeRequest{}, grpc.WaitForReady(true))
		return err == nil && response.GetReady().GetValue()
	}
	if ready() {
		t.Error("ready at once")
	}
	answers.Store(true)
	await(t, "it is ready", ready)
	// Somebody listens for a lost connection to the appliance.
	select {
	case w.lost <- struct{}{}:
	case <-time.After(10 * time.Second):
		t.Error("nobody hears that the connection to the appliance was lost")
	}
}

// An event about a node has its attachments checked: the resync is hours away.
func TestEventsOfTheClusterReachTheReconciler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const handle = "raid10/rds-csi/x"
		kube := fake.NewClientset(kubeNode("node-a"), kubeVolume(handle), kubeAttachment(handle, "node-a"))
		cluster, err := informers.New(kube, driver.DriverName)
		if err != nil {
			t.Fatal(err)
		}
		phases := make(chan attach.Phase, len(attach.Phases()))
		reconciler, err := newReconciler(&ControllerOptions{reconcileEvery: time.Hour, reconcileWorkers: 1, stuckAfter: time.Hour}, cluster, &stubbornAppliance{}, attach.Observer{
			Done: func(attach.Action, error, time.Duration) {}, Note: func(attach.Note) {}, PausedFor: func() time.Duration { return 0 },
			Unfinished: func(attach.Unfinished) {}, Phase: func(phase attach.Phase, _ time.Duration) { phases <- phase },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = cluster.Run(ctx) })
		running.Go(func() { _ = reconciler.Run(ctx) })
		defer running.Wait()
		defer cancel()
		pass(time.Minute)
		if err := kube.CoreV1().Nodes().Delete(t.Context(), "node-a", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if left, err := kube.StorageV1().VolumeAttachments().List(t.Context(), metav1.ListOptions{}); err != nil || len(left.Items) != 0 {
			t.Errorf("left: %+v, %v, want it cleared", left, err)
		}
		// It also knew when the node was deleted, and that the attachment was gone in the end.
		close(phases)
		var got []attach.Phase
		for phase := range phases {
			got = append(got, phase)
		}
		if want := []attach.Phase{attach.PhasePodsGone, attach.PhaseCleared, attach.PhaseFenced}; !slices.Equal(got, want) {
			t.Errorf("phases: got %v, want %v", got, want)
		}
	})
}

// silent is a transport to an API server that never answers.
type silent struct{}

func (silent) RoundTrip(request *http.Request) (*http.Response, error) {
	<-request.Context().Done()
	return nil, request.Context().Err()
}

// A process that waits for ever for its first answer is never restarted.
func TestTheStartEndsIfTheAPIServerDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kube, err := kubernetes.NewForConfig(&rest.Config{Host: "http://192.0.2.1", Transport: silent{}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		if err := defaultClusterID(ctx, kube, new(string)); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != startTimeout {
			t.Errorf("got %v after %s, want that it is given up after %s", err, time.Since(start), startTimeout)
		}
	})
}
