package informers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

const driver = "rds.csi.srvlab.io"

func node(name, machine string) *corev1.Node {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "n-1"}}
	node.Status.NodeInfo.SystemUUID = machine
	return node
}

func attachment(name, attacher, nodeName string) *storagev1.VolumeAttachment {
	pv := "pv-1"
	return &storagev1.VolumeAttachment{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: "a-1", ResourceVersion: "7", Annotations: map[string]string{nodeIDAnnotation: nodeName + "/machine-a", "other": "x"}},
		Spec:       storagev1.VolumeAttachmentSpec{Attacher: attacher, NodeName: nodeName, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &pv}},
		Status:     storagev1.VolumeAttachmentStatus{Attached: true},
	}
}

func volume() *corev1.PersistentVolume {
	return &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-1"}, Spec: corev1.PersistentVolumeSpec{
		ClaimRef:               &corev1.ObjectReference{Namespace: "default", Name: "claim"},
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: "raid10/rds-csi/x"}},
	}}
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.PodSpec{NodeName: "node-a", Volumes: []corev1.Volume{
		{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "claim"}}},
	}}}
}

// noAppliance remembers nothing, so that attachments of living nodes are never looked at closer.
type noAppliance struct{ attach.Appliance }

func (noAppliance) Refresh(context.Context) error { return nil }

func (noAppliance) SeenRecord(string) (attach.Record, bool) { return attach.Record{}, false }

// controller is the whole of what clears attachments, over a fake API server, inside a bubble.
type controller struct {
	client  *fake.Clientset
	cluster *Cluster
}

func startController(t *testing.T, objects ...runtime.Object) *controller {
	t.Helper()
	client := fake.NewClientset(objects...)
	cluster, err := New(client, driver)
	if err != nil {
		t.Fatal(err)
	}
	reconciler, err := attach.NewReconciler(attach.ReconcilerConfig{Resync: time.Hour, Workers: 2, StuckAfter: time.Hour}, cluster, noAppliance{}, attach.Observer{
		Done: func(attach.Action, error, time.Duration) {}, Note: func(attach.Note) {}, PausedFor: func() time.Duration { return 0 },
		Unfinished: func(attach.Unfinished) {}, Phase: func(attach.Phase, time.Duration) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	cluster.OnAttachments(reconciler.Enqueue)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = cluster.Run(ctx) })
	running.Go(func() { _ = reconciler.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	synctest.Wait()
	return &controller{client: client, cluster: cluster}
}

func (c *controller) attachments(t *testing.T) []string {
	t.Helper()
	list, err := c.client.StorageV1().VolumeAttachments().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, attachment := range list.Items {
		names = append(names, attachment.Name)
	}
	return names
}

func (c *controller) deleteNodeA(t *testing.T) {
	t.Helper()
	if err := c.client.CoreV1().Nodes().Delete(t.Context(), "node-a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	settle()
}

// settle lets everything that is due within a few seconds happen: watches start their streams with small delays.
func settle() {
	<-time.After(5 * time.Second)
	synctest.Wait()
}

func TestADeletedNodesAttachmentIsCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startController(t, node("node-a", "machine-a"), node("node-b", "machine-a"), volume(),
			attachment("stale", driver, "node-a"), attachment("foreign", "other.example", "node-a"), attachment("live", driver, "node-b"))
		c.deleteNodeA(t)
		if diff := cmp.Diff([]string{"foreign", "live"}, c.attachments(t)); diff != "" {
			t.Errorf("attachments left (-want +got):\n%s", diff)
		}
		deletes := slices.DeleteFunc(c.client.Actions(), func(a clienttesting.Action) bool { return !a.Matches("delete", "volumeattachments") })
		for _, action := range deletes {
			options := action.(clienttesting.DeleteActionImpl).DeleteOptions
			if p := options.Preconditions; p == nil || p.UID == nil || *p.UID != "a-1" || p.ResourceVersion == nil || *p.ResourceVersion != "7" {
				t.Errorf("deleted with preconditions %+v, want UID a-1 and resourceVersion 7", p)
			}
		}
	})
}

// The attach-detach controller would make the attachment again while a pod on the node still uses the volume.
func TestPodsAreWaitedForByAWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other, ended := pod("other"), pod("ended")
		other.Spec.Volumes[0].PersistentVolumeClaim.ClaimName = "another"
		ended.Status.Phase = corev1.PodSucceeded
		c := startController(t, node("node-a", "machine-a"), volume(), attachment("stale", driver, "node-a"), pod("user"), other, ended)
		c.deleteNodeA(t)
		lists := c.count("list", "pods")
		<-time.After(10 * time.Minute)
		synctest.Wait()
		if got := c.attachments(t); len(got) != 1 {
			t.Fatalf("cleared while a pod still uses the volume: %v", got)
		}
		if got := c.count("list", "pods"); got != lists {
			t.Errorf("the pods were listed %d times while waiting, want none: that's polling", got-lists)
		}
		if err := c.client.CoreV1().Pods("default").Delete(t.Context(), "user", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		settle()
		if got := c.attachments(t); len(got) != 0 {
			t.Errorf("not cleared once the pod was gone: %v", got)
		}
		if n := len(c.cluster.pods.byNode); n != 0 {
			t.Errorf("%d pod watches are left after the last attachment went, want none", n)
		}
	})
}

func (c *controller) count(verb, resource string) int {
	n := 0
	for _, action := range c.client.Actions() {
		if action.Matches(verb, resource) {
			n++
		}
	}
	return n
}

// The node plugin is told to take the machine ID where the firmware reports a placeholder.
func TestNodesByMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		placeholder, installed, neither := node("placeholder", "Default string"), node("installed", "None"), node("neither", "")
		placeholder.Status.NodeInfo.MachineID = "00000000000000000000000000000000"
		installed.Status.NodeInfo.MachineID = "ID-OF-THE-INSTALLATION"
		c := startController(t, node("node-a", "MACHINE-A"), node("node-b", "machine-a"), node("node-c", "machine-c"), placeholder, installed, neither)
		for machine, want := range map[string][]string{
			"machine-a": {"node-a", "node-b"}, "machine-c": {"node-c"}, "machine-x": nil,
			"id-of-the-installation": {"installed"}, "default string": {"placeholder"}, "": {"neither"},
		} {
			got := slices.Sorted(slices.Values(c.cluster.CachedNodesOfMachine(machine)))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("nodes of machine %q (-want +got):\n%s", machine, diff)
			}
		}
		if err := c.client.CoreV1().Nodes().Delete(t.Context(), "node-a", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		settle()
		if got := c.cluster.CachedNodesOfMachine("machine-a"); !slices.Equal(got, []string{"node-b"}) {
			t.Errorf("nodes of machine-a after node-a was deleted: %v", got)
		}
	})
}

func TestARecreatedNodeIsAnotherMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startController(t, node("node-a", "machine-new"), volume(), attachment("stale", driver, "node-a"))
		settle()
		if got := c.attachments(t); len(got) != 0 {
			t.Errorf("the attachment of the old machine is still there: %v", got)
		}
	})
}

// A machine that changed its identity while it ran still reports what it uses: its attachment is cleared when it no
// longer does, without waiting for the resync.
func TestAMachineOfAnotherIdentityKeepsWhatItUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		changed := node("node-a", "machine-new")
		changed.Status.VolumesInUse = []corev1.UniqueVolumeName{corev1.UniqueVolumeName(inUsePrefix(driver) + "raid10/rds-csi/x")}
		c := startController(t, changed, volume(), attachment("kept", driver, "node-a"))
		settle()
		if got := c.attachments(t); len(got) != 1 {
			t.Fatal("cleared the attachment of a machine that uses the volume")
		}
		if _, err := c.client.CoreV1().Nodes().Update(t.Context(), node("node-a", "machine-new"), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		settle()
		if got := c.attachments(t); len(got) != 0 {
			t.Errorf("not cleared once the volume was no longer in use: %v", got)
		}
	})
}

func TestAReregisteredMachineKeepsItsAttachment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startController(t, volume(), pod("user"), attachment("kept", driver, "node-a"))
		settle()
		if n := len(c.cluster.pods.byNode); n != 1 {
			t.Fatalf("%d pod watches while the node is gone, want 1", n)
		}
		if _, err := c.client.CoreV1().Nodes().Create(t.Context(), node("node-a", "MACHINE-A"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		settle()
		if err := c.client.CoreV1().Pods("default").Delete(t.Context(), "user", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		settle()
		if got := c.attachments(t); len(got) != 1 {
			t.Errorf("cleared the attachment of a machine that came back")
		}
		if n := len(c.cluster.pods.byNode); n != 0 {
			t.Errorf("%d pod watches are left, though nothing waits for pods of a node that is back", n)
		}
	})
}

// An attachment may be seen before the PersistentVolume it is of, which comes by another watch.
func TestALatePersistentVolumeIsNoReasonToWaitForTheResync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startController(t, attachment("stale", driver, "node-a"))
		if got := c.attachments(t); len(got) != 1 {
			t.Fatalf("left: %v, want the one that can't be judged yet", got)
		}
		if _, err := c.client.CoreV1().PersistentVolumes().Create(t.Context(), volume(), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		settle()
		if got := c.attachments(t); len(got) != 0 {
			t.Errorf("left: %v", got)
		}
	})
}

// A watch of a node's pods is there for the attachments that wait for it, and goes with the last of them.
func TestPodWatchesEndWithWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startController(t, volume(), pod("user"), attachment("one", driver, "node-a"), attachment("two", driver, "node-a"))
		settle()
		if n := len(c.cluster.pods.byNode); n != 1 {
			t.Fatalf("%d pod watches for one node, want 1", n)
		}
		c.cluster.pods.stopWaiting("node-a", "one")
		if n := len(c.cluster.pods.byNode); n != 1 {
			t.Error("the watch ended though one attachment waits for it")
		}
		c.cluster.pods.stopWaiting("node-a", "two")
		if n := len(c.cluster.pods.byNode); n != 0 {
			t.Error("the watch goes on though nobody waits for it")
		}
	})
}

// An attachment may be gone before its worker asks for the pods. Then no event ends the watch any more.
func TestAnAttachmentThatIsGoneLeavesNoPodWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startController(t, volume(), pod("user"))
		settle()
		gone := attach.Attachment{Name: "gone", NodeName: "node-a", PV: "pv-1"}
		if pods, err := c.cluster.PodsUsing(t.Context(), gone); err != nil || len(pods) != 1 {
			t.Errorf("got %v, %v, want the pod", pods, err)
		}
		if n := len(c.cluster.pods.byNode); n != 0 {
			t.Errorf("%d pod watches for an attachment that doesn't exist", n)
		}
	})
}

// A request to the API server that fails proves nothing.
func TestAFailingAPIServerClearsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startController(t, node("node-a", "machine-a"), volume(), attachment("stale", driver, "node-a"))
		c.client.PrependReactor("get", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewInternalError(errors.New("etcd is away"))
		})
		c.deleteNodeA(t)
		<-time.After(time.Hour)
		synctest.Wait()
		if got := c.attachments(t); len(got) != 1 {
			t.Error("cleared although the API server didn't answer")
		}
	})
}

// In whatever order the node, its attachment and its pod go and come, the end is the same.
func TestEveryOrderOfEventsEndsTheSame(t *testing.T) {
	events := map[string]func(*testing.T, *controller){
		"node deleted": func(t *testing.T, c *controller) { t.Helper(); c.deleteNodeA(t) },
		"pod deleted": func(t *testing.T, c *controller) {
			t.Helper()
			if err := c.client.CoreV1().Pods("default").Delete(t.Context(), "user", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		},
		"attachment made": func(t *testing.T, c *controller) {
			t.Helper()
			if _, err := c.client.StorageV1().VolumeAttachments().Create(t.Context(), attachment("late", driver, "node-a"), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		},
	}
	for _, order := range permutations([]string{"node deleted", "pod deleted", "attachment made"}) {
		for _, pause := range []bool{false, true} {
			t.Run(fmt.Sprint(order, pause), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := startController(t, node("node-a", "machine-a"), volume(), pod("user"), attachment("early", driver, "node-a"))
					for _, event := range order {
						events[event](t, c)
						if pause {
							settle()
						}
					}
					settle()
					if got := c.attachments(t); len(got) != 0 {
						t.Errorf("left: %v", got)
					}
				})
			})
		}
	}
}

func permutations(items []string) [][]string {
	if len(items) <= 1 {
		return [][]string{items}
	}
	var all [][]string
	for i, first := range items {
		for _, rest := range permutations(slices.Concat(items[:i], items[i+1:])) {
			all = append(all, append([]string{first}, rest...))
		}
	}
	return all
}

// An attachment that changed between the look and the deletion is judged anew, quietly, and then cleared.
func TestAConflictIsJudgedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startController(t, node("node-a", "machine-a"), volume(), attachment("stale", driver, "node-a"))
		refused := false
		c.client.PrependReactor("delete", "volumeattachments", func(clienttesting.Action) (bool, runtime.Object, error) {
			if refused {
				return false, nil, nil
			}
			refused = true
			return true, nil, apierrors.NewConflict(storagev1.Resource("volumeattachments"), "stale", errors.New("precondition failed"))
		})
		c.deleteNodeA(t)
		if got := c.attachments(t); !refused || len(got) != 0 {
			t.Errorf("left: %v, want none after one conflict", got)
		}
	})
}

func TestTrimKeepsWhatIsRead(t *testing.T) {
	since, later := metav1.NewTime(time.Unix(1000, 0)), metav1.NewTime(time.Unix(2000, 0))
	grant := attach.Grant{Node: attach.NodeID{Name: "node-a", Machine: "machine-a"}, SubsystemNQN: "nqn", Generation: 7, Access: "mount", Mode: "single-node-writer"}
	full := node("node-a", "MACHINE-A")
	full.CreationTimestamp, full.Status.NodeInfo.MachineID = since, "of-the-installation"
	full.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubelet"}}
	full.Status.Images = []corev1.ContainerImage{{Names: []string{"x"}}}
	full.Spec.Taints = []corev1.Taint{{Key: "a"}, {Key: corev1.TaintNodeOutOfService}}
	full.Status.VolumesInUse = []corev1.UniqueVolumeName{"kubernetes.io/csi/other^x", "kubernetes.io/csi/" + driver + "^raid10/rds-csi/x"}
	trimmed, err := trim{driver: driver}.object(full)
	if err != nil {
		t.Fatal(err)
	}
	small := trimmed.(*corev1.Node)
	if len(small.ManagedFields)+len(small.Status.Images) != 0 || len(small.Spec.Taints) != 1 || len(small.Status.VolumesInUse) != 1 {
		t.Errorf("got %+v, want only what is read", small)
	}
	want := attach.Node{Name: "node-a", Since: since.Time, Machine: "machine-a", Leaving: true, VolumesInUse: []string{"raid10/rds-csi/x"}}
	if diff := cmp.Diff(want, (&Cluster{driver: driver}).nodeOf(small)); diff != "" {
		t.Errorf("node (-want +got):\n%s", diff)
	}
	detaching := attachment("va", driver, "node-a")
	detaching.CreationTimestamp, detaching.DeletionTimestamp = since, &later
	detaching.Status.AttachmentMetadata = map[string]string{}
	grant.Encode(detaching.Status.AttachmentMetadata)
	trimmed, err = trim{driver: driver}.object(detaching)
	if err != nil {
		t.Fatal(err)
	}
	wantAttachment := attach.Attachment{Name: "va", UID: "a-1", ResourceVersion: "7", NodeName: "node-a", NodeID: "node-a/machine-a", PV: "pv-1", Attached: true, Grant: grant, Since: since.Time, DetachingSince: later.Time}
	if diff := cmp.Diff(wantAttachment, attachmentOf(trimmed.(*storagev1.VolumeAttachment))); diff != "" {
		t.Errorf("attachment (-want +got):\n%s", diff)
	}
}
