package informers

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// notFound, conflict and refusals are what the API server may answer instead of an object.
func notFound() error { return apierrors.NewNotFound(corev1.Resource("any"), "x") }

func conflict() error {
	return apierrors.NewConflict(corev1.Resource("any"), "x", errors.New("precondition failed"))
}

func refusals() map[string]error {
	resource := corev1.Resource("any")
	return map[string]error{
		"forbidden":         apierrors.NewForbidden(resource, "x", errors.New("no such right")),
		"unauthorized":      apierrors.NewUnauthorized("token expired"),
		"internal error":    apierrors.NewInternalError(errors.New("etcd is away")),
		"server timeout":    apierrors.NewServerTimeout(resource, "get", 1),
		"too many requests": apierrors.NewTooManyRequests("later", 1),
		"expired":           apierrors.NewResourceExpired("too old"),
		"method":            apierrors.NewMethodNotSupported(resource, "get"),
		"no answer":         context.DeadlineExceeded,
	}
}

// liveQuestions are the questions about one object, by its resource.
func liveQuestions() map[string]func(context.Context, *Cluster) (found bool, err error) {
	return map[string]func(context.Context, *Cluster) (bool, error){
		"nodes": func(ctx context.Context, c *Cluster) (bool, error) {
			answer := c.LiveNode(ctx, "node-a")
			return answer.Found, answer.Err
		},
		"volumeattachments": func(ctx context.Context, c *Cluster) (bool, error) {
			answer := c.LiveAttachment(ctx, "va")
			return answer.Found, answer.Err
		},
		"persistentvolumes": func(ctx context.Context, c *Cluster) (bool, error) {
			volume, err := c.volume(ctx, "pv-1")
			return volume != nil, err
		},
	}
}

// notRunning is a cluster with empty caches.
func notRunning(t *testing.T, objects ...runtime.Object) (*fake.Clientset, *Cluster) {
	t.Helper()
	client := fake.NewClientset(objects...)
	cluster, err := New(client, driver)
	if err != nil {
		t.Fatal(err)
	}
	return client, cluster
}

// answerWith has the API server answer a request with an error.
func answerWith(client *fake.Clientset, verb, resource string, err error) {
	client.PrependReactor(verb, resource, func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, err })
}

// A machine counts as gone, and a volume as unused, by these answers. So no other error may be taken for "not found".
func TestOnlyNotFoundProvesThatAnObjectDoesNotExist(t *testing.T) {
	for resource, ask := range liveQuestions() {
		client, cluster := notRunning(t)
		answerWith(client, "get", resource, notFound())
		if found, err := ask(t.Context(), cluster); found || err != nil {
			t.Errorf("%s, not found: got %t, %v", resource, found, err)
		}
		for name, refusal := range refusals() {
			client, cluster := notRunning(t)
			answerWith(client, "get", resource, refusal)
			if found, err := ask(t.Context(), cluster); found || !errors.Is(err, refusal) {
				t.Errorf("%s, %s: got %t, %v, want the error", resource, name, found, err)
			}
		}
	}
}

// With a resourceVersion, the API server may answer from its watch cache, which may be old.
func TestLiveAnswersAreNotFromTheWatchCache(t *testing.T) {
	for resource, ask := range liveQuestions() {
		client, cluster := notRunning(t, node("node-a", "machine-a"), attachment("va", driver, "node-a"), volume())
		if found, err := ask(t.Context(), cluster); !found || err != nil {
			t.Errorf("%s: got %t, %v, want it found", resource, found, err)
		}
		for _, action := range client.Actions() {
			if diff := cmp.Diff(metav1.GetOptions{}, action.(clienttesting.GetActionImpl).GetOptions); diff != "" {
				t.Errorf("%s, options (-want +got):\n%s", resource, diff)
			}
		}
	}
}

// What is reported as changed is judged anew, quietly. A deletion that is refused is an error that somebody must see.
func TestADeletionThatIsRefusedIsNoChange(t *testing.T) {
	remove := func(refusal error) error {
		client, cluster := notRunning(t)
		answerWith(client, "delete", "volumeattachments", refusal)
		return cluster.DeleteAttachment(t.Context(), attach.Attachment{Name: "va", UID: "a-1", ResourceVersion: "7"})
	}
	for _, answer := range []error{conflict(), notFound()} {
		if err := remove(answer); !errors.Is(err, attach.ErrChanged) {
			t.Errorf("%v: got %v, want ErrChanged", answer, err)
		}
	}
	for name, refusal := range refusals() {
		if err := remove(refusal); !errors.Is(err, refusal) || errors.Is(err, attach.ErrChanged) {
			t.Errorf("%s: got %v, want the error alone", name, err)
		}
	}
	if err := remove(nil); err != nil {
		t.Errorf("deleted: got %v", err)
	}
}
