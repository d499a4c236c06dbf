package informers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	storageinformers "k8s.io/client-go/informers/storage/v1"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// recordedNodes records its calls.
type recordedNodes struct {
	mu    sync.Mutex
	lines []string
}

func (f *recordedNodes) Appeared(node string) { f.add("+" + node) }
func (f *recordedNodes) Vanished(node string) { f.add("-" + node) }

func (f *recordedNodes) add(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, line)
}

func (f *recordedNodes) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.lines = nil }()
	return f.lines
}

func TestNodesAreToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(node("node-a", "machine-a"), node("node-b", "machine-b"),
			attachment("ours", driver, "node-a"), attachment("absent", driver, "node-x"), attachment("foreign", "other.example", "node-y"))
		cluster, err := New(client, driver)
		if err != nil {
			t.Fatal(err)
		}
		var listener recordedNodes
		cluster.OnNodes(&listener)
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if err := cluster.WaitForNodes(stopped); !errors.Is(err, context.Canceled) {
			t.Errorf("before Run: got %v, want that it was not filled in time", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = cluster.Run(ctx) })
		defer running.Wait()
		defer cancel()
		if err := cluster.WaitForNodes(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"+node-a", "+node-b"}, slices.Sorted(slices.Values(listener.take()))); diff != "" {
			t.Errorf("called at the start (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"node-a", "node-x"}, slices.Sorted(slices.Values(cluster.NodesAttached()))); diff != "" {
			t.Errorf("nodes that attachments name (-want +got):\n%s", diff)
		}
		settle()
		nodes := client.CoreV1().Nodes()
		if err := nodes.Delete(t.Context(), "node-a", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		settle()
		if _, err := nodes.Update(t.Context(), node("node-b", "machine-c"), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := nodes.Create(t.Context(), node("node-a", "machine-a"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		settle()
		if diff := cmp.Diff([]string{"-node-a", "+node-a"}, listener.take()); diff != "" {
			t.Errorf("called for a deletion, a change and a return (-want +got):\n%s", diff)
		}
	})
}

// What an empty cache lacks may exist. So nothing may be decided before every cache is filled, and the valve may not begin
// before it knows every node.
func TestNothingIsSyncedBeforeEverythingIs(t *testing.T) {
	withoutErrorBackoff(t)
	for _, late := range []string{"nodes", "volumeattachments", "persistentvolumes", "the listener"} {
		t.Run(late, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, cluster := notRunning(t, node("node-a", "machine-a"), volume(), attachment("va", driver, "node-a"))
				var answers atomic.Bool
				client.PrependReactor("list", late, func(clienttesting.Action) (bool, runtime.Object, error) {
					return !answers.Load(), nil, errors.New("etcd is away")
				})
				listener := lateListener{free: make(chan struct{})}
				if late != "the listener" {
					close(listener.free)
				}
				cluster.OnNodes(listener)
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() { _ = cluster.Run(ctx) })
				defer running.Wait()
				defer cancel()
				patient, giveUp := context.WithTimeout(t.Context(), time.Minute)
				defer giveUp()
				if err := cluster.WaitForNodes(patient); !errors.Is(err, errNotSynced) {
					t.Errorf("nodes: got %v, want errNotSynced", err)
				}
				if synced, want := cluster.Synced(), late == "the listener"; synced != want || (cluster.WaitForSync(patient) == nil) != want {
					t.Errorf("synced: got %t, want %t", synced, want)
				}
				answers.Store(true)
				if late == "the listener" {
					close(listener.free)
				}
				if err := errors.Join(cluster.WaitForSync(t.Context()), cluster.WaitForNodes(t.Context())); err != nil || !cluster.Synced() {
					t.Errorf("once everything is there: %v", err)
				}
			})
		})
	}
}

// A watch that missed a deletion may not know any more what was deleted, and another driver's is nobody's business here.
func TestADeletionThatIsNotOursWakesNobody(t *testing.T) {
	_, cluster := notRunning(t)
	woken := cluster.waiters.signal(t.Context(), "foreign")
	cluster.attachmentDeleted(storageinformers.DeletedVolumeAttachment{})
	cluster.attachmentDeleted(storageinformers.DeletedVolumeAttachment{OptionalObj: attachment("foreign", "other.example", "node-a")})
	select {
	case <-woken:
		t.Error("somebody was woken")
	default:
	}
}

// lateListener hears of the first node when it is free to.
type lateListener struct{ free chan struct{} }

func (l lateListener) Appeared(string) { <-l.free }
func (l lateListener) Vanished(string) {}

// external-attacher writes the node ID later, and only that shows that the attachment is another machine's.
func TestAnAttachmentThatChangesIsJudgedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bare := attachment("stale", driver, "node-a")
		bare.Annotations = nil
		c := startController(t, node("node-a", "machine-new"), volume(), bare)
		settle()
		if got := c.attachments(t); len(got) != 1 {
			t.Fatalf("left: %v, want the one that can't be judged yet", got)
		}
		if _, err := c.client.StorageV1().VolumeAttachments().Update(t.Context(), attachment("stale", driver, "node-a"), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		settle()
		if got := c.attachments(t); len(got) != 0 {
			t.Errorf("left: %v", got)
		}
	})
}
