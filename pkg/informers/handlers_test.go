package informers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
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
