package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// gate is a transport that lets nothing through while it is shut, as for a client that the API server is down for.
type gate struct {
	http.RoundTripper
	shut atomic.Bool
}

func (g *gate) RoundTrip(request *http.Request) (*http.Response, error) {
	if g.shut.Load() {
		return nil, errors.New("no way to the API server")
	}
	return g.RoundTripper.RoundTrip(request)
}

// What happened while the API server was away for the driver is found when it is back, whatever it was.
func TestNothingIsLostWhileTheAPIServerIsAway(t *testing.T) {
	way := &gate{}
	cluster := listen(t, account(t, func(next http.RoundTripper) http.RoundTripper {
		way.RoundTripper = next
		return way
	}))
	for _, name := range []string{"deleted", "replaced", "stays"} {
		makeNode(t, "node-"+name, "machine-"+name)
		makeVolume(t, "pv-"+name)
		makeAttachment(t, "csi-"+name, "pv-"+name, "node-"+name, "machine-"+name)
	}
	makeVolume(t, "pv-new")
	eventually(t, "the caches have all that was made", func() bool {
		_, attachment := cluster.CachedAttachment("csi-stays")
		node, found := cluster.CachedNode("node-stays")
		_, volume := cluster.CachedAttachment("csi-replaced")
		return attachment && volume && found && node.Machine == "machine-stays"
	})

	// The kill ends every watch, and the shut gate keeps the driver from opening a new one before all has happened.
	way.shut.Store(true)
	if err := api.RestartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	deleteNode(t, "node-deleted")
	deleteNode(t, "node-replaced")
	makeNode(t, "node-replaced", "machine-another")
	makeAttachment(t, "csi-new", "pv-new", "node-deleted", "machine-deleted")
	if _, found := cluster.CachedNode("node-deleted"); !found {
		t.Fatal("the cache knows of the deletion already: the gate doesn't hold")
	}
	cluster.forget()
	way.shut.Store(false)

	for _, name := range []string{"csi-deleted", "csi-replaced", "csi-new"} {
		eventually(t, name+" is to be looked at", func() bool { return cluster.enqueued(name) })
	}
	eventually(t, "the caches have what happened", func() bool {
		_, found := cluster.CachedNode("node-deleted")
		replaced, _ := cluster.CachedNode("node-replaced")
		_, attachment := cluster.CachedAttachment("csi-new")
		return !found && replaced.Machine == "machine-another" && attachment
	})
}

// scribe is a transport that notes what is asked about nodes, and has watches of them end after 4 seconds. The API server
// sends a bookmark 2 seconds before it ends a watch.
type scribe struct {
	http.RoundTripper
	// bookmarks is whether watches ask for them as the client wants it.
	bookmarks bool
	mu        sync.Mutex
	asked     []url.Values
}

const watchSeconds = "4"

func (s *scribe) RoundTrip(request *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(request.URL.Path, "/api/v1/nodes") {
		return s.RoundTripper.RoundTrip(request)
	}
	request = request.Clone(request.Context())
	query := request.URL.Query()
	if query.Get("watch") != "" {
		query.Set("timeoutSeconds", watchSeconds)
	}
	if !s.bookmarks && query.Get("sendInitialEvents") == "" {
		query.Del("allowWatchBookmarks")
	}
	request.URL.RawQuery = query.Encode()
	s.mu.Lock()
	s.asked = append(s.asked, query)
	s.mu.Unlock()
	return s.RoundTripper.RoundTrip(request)
}

// resumed gives the versions from which watches went on after the first, and how often everything was fetched.
func (s *scribe) resumed(t *testing.T) (versions []int, fetched int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, query := range s.asked {
		if query.Get("watch") == "" || query.Get("sendInitialEvents") == "true" {
			fetched++
			continue
		}
		versions = append(versions, must[int](t)(strconv.Atoi(query.Get("resourceVersion"))))
	}
	return versions, fetched
}

// A watch on which nothing happens is moved on by bookmarks, so that it can go on from where the cluster is by now and
// needn't fetch everything again. Without bookmarks the version stands still until it is too old.
func TestBookmarksMoveAQuietWatchOn(t *testing.T) {
	for _, bookmarks := range []bool{true, false} {
		t.Run(fmt.Sprint("bookmarks=", bookmarks), func(t *testing.T) {
			t.Parallel()
			notes := &scribe{bookmarks: bookmarks}
			listen(t, account(t, func(next http.RoundTripper) http.RoundTripper {
				notes.RoundTripper = next
				return notes
			}))
			eventually(t, "the watch went on once", func() bool { versions, _ := notes.resumed(t); return len(versions) == 1 })
			var now int
			for i := range 5 {
				made := must[*corev1.ConfigMap](t)(admin().CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{
					ObjectMeta: metav1.ObjectMeta{GenerateName: "churn-"}, Data: map[string]string{"i": strconv.Itoa(i)},
				}, metav1.CreateOptions{}))
				now = must[int](t)(strconv.Atoi(made.ResourceVersion))
			}
			eventually(t, "the watch went on four times", func() bool { versions, _ := notes.resumed(t); return len(versions) >= 4 })
			versions, fetched := notes.resumed(t)
			if last := versions[len(versions)-1]; (last >= now) != bookmarks {
				t.Errorf("watches went on from %v while the cluster is at %d", versions, now)
			}
			if fetched != 1 {
				t.Errorf("all nodes were fetched %d times, want once", fetched)
			}
		})
	}
}
