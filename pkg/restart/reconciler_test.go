package restart

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/volumehealth"
)

func enabled() Config { return Config{Enabled: true, Share: 0.25, Resync: time.Hour, Workers: 2} }

// started runs a reconciler in the bubble until the test ends.
func started(t *testing.T, r *Reconciler) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
}

func advance(by time.Duration) {
	<-time.After(by)
	synctest.Wait()
}

// noticed brings the cache up to date and enqueues the workload, as informers do after an event.
func (w *world) noticed(r *Reconciler) {
	w.sync()
	r.Enqueue(ofSet("").Workload())
	synctest.Wait()
}

// What the API server itself says just before counts, not the cache.
func TestOnlyWhatTheAPIServerConfirmsIsDeleted(t *testing.T) {
	for name, test := range map[string]struct {
		live    []func(*Pod)
		deleted bool
	}{
		"still lost":                    {nil, true},
		"lost in another way by now":    {[]func(*Pod){func(p *Pod) { p.Reports = nil }, reports(volumehealth.ConnectionLost)}, true},
		"well again":                    {[]func(*Pod){func(p *Pod) { p.Reports = nil }}, false},
		"another pod of the name":       {[]func(*Pod){func(p *Pod) { p.UID = "another" }}, false},
		"being deleted":                 {[]func(*Pod){terminating}, false},
		"ended":                         {[]func(*Pod){ended}, false},
		"volumes not mounted":           {[]func(*Pod){unmounted}, false},
		"orphaned by its controller":    {[]func(*Pod){noController}, false},
		"adopted by another controller": {[]func(*Pod){func(p *Pod) { p.Controller.UID = "another" }}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := worldOf(but(ofSet("a"), lost))
				w.change("a", test.live...) // the cache doesn't show it yet
				r, o := reconcilerOf(t, enabled(), w)
				started(t, r)
				if deleted := len(w.deletions()) > 0; deleted != test.deleted || w.gets == 0 {
					t.Errorf("deleted: %t, want %t (%d live requests, actions %v)", deleted, test.deleted, w.gets, o.soFar().actions)
				}
			})
		})
	}
}

// Pods that are well cost no request.
func TestAWellPodCostsNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := worldOf(ofSet("a"), but(ofSet("b"), reports(volumehealth.ConnectionBroken)))
		r, _ := reconcilerOf(t, enabled(), w)
		started(t, r)
		if w.gets != 0 || len(w.deletions()) != 0 {
			t.Errorf("%d requests, deleted %v, want none", w.gets, w.deletions())
		}
	})
}

// Three pods of one ReplicaSet are lost. Each is deleted once the one before is replaced and Ready, not before.
func TestThreePodsAreRestartedOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := worldOf(but(ofSet("a"), lost), but(ofSet("b"), lost, notReady), but(ofSet("c"), lost))
		r, o := reconcilerOf(t, enabled(), w)
		started(t, r)
		expect := func(when string, want ...string) {
			t.Helper()
			w.noticed(r)
			advance(time.Minute)
			if got := w.deletions(); !slices.Equal(got, want) {
				t.Fatalf("%s: deleted %v, want %v", when, got, want)
			}
		}
		expect("at first the one that serves nobody", "b")
		w.change("b-2", unmounted)
		expect("the replacement isn't Ready", "b")
		w.remove("b")
		expect("the deleted one is gone", "b")
		w.change("b-2", func(p *Pod) { p.Mounted, p.Ready = true, true })
		expect("the replacement is Ready", "b", "a")
		w.remove("a")
		expect("it is gone and isn't replaced yet", "b", "a")
		w.change("a-2")
		expect("it is replaced", "b", "a", "c")
		if len(o.soFar().restarted) != 3 || len(o.soFar().notes) != 3 {
			t.Errorf("counted %v, noted %v, want 3 each", o.soFar().restarted, o.soFar().notes)
		}
	})
}

// A pod that is new for another reason, as after scaling up, is no replacement of one that the cache still shows.
func TestANewPodIsNoReplacementOfOneThatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := worldOf(but(ofSet("a"), lost), but(ofSet("b"), lost))
		r, _ := reconcilerOf(t, enabled(), w)
		started(t, r)
		w.with(func(w *world) { w.cached = append(w.cached, ofSet("c")) })
		r.Enqueue(ofSet("").Workload())
		synctest.Wait()
		if got := w.deletions(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("deleted %v, want a alone", got)
		}
	})
}

// A workload that was scaled down gets no replacement, and must not wait for it forever.
func TestAReplacementIsAwaitedForALimitedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := worldOf(but(ofSet("a"), lost), but(ofSet("b"), lost))
		config := enabled()
		config.Resync = time.Minute
		r, _ := reconcilerOf(t, config, w)
		started(t, r)
		w.remove("a")
		w.sync()
		advance(replacedWithin - time.Second)
		if got := w.deletions(); len(got) != 1 {
			t.Fatalf("deleted %v, want a alone for now", got)
		}
		advance(2 * time.Minute)
		if got := w.deletions(); len(got) != 2 {
			t.Errorf("deleted %v, want both by now", got)
		}
	})
}

// A pod that changed since it was read stays, and is judged anew; one that is gone is no error.
func TestAPodThatChangedIsJudgedAnew(t *testing.T) {
	for name, test := range map[string]struct {
		err     error
		deleted int
	}{"changed": {ErrChanged, 1}, "gone": {ErrGone, 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := worldOf(but(ofSet("a"), lost))
				w.deleteErr = fmt.Errorf("delete: %w", test.err)
				r, o := reconcilerOf(t, enabled(), w)
				started(t, r)
				if len(o.soFar().restarted) != 0 || len(o.soFar().notes) != 0 || slices.Contains(o.soFar().actions, ActionError) {
					t.Errorf("counted %v, noted %v, actions %v", o.soFar().restarted, o.soFar().notes, o.soFar().actions)
				}
				if errors.Is(test.err, ErrGone) {
					w.remove("a")
					w.sync()
				}
				w.with(func(w *world) { w.deleteErr = nil })
				advance(recheckAfter)
				if got := w.deletions(); len(got) != test.deleted {
					t.Errorf("deleted %v, want %d", got, test.deleted)
				}
			})
		})
	}
}

// A pod whose deletion was refused since it changed keeps nobody else waiting: it may be well by now.
func TestARefusedDeletionIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := worldOf(but(ofSet("a"), lost), but(ofSet("b"), lost))
		w.deleteErr = ErrChanged
		r, _ := reconcilerOf(t, enabled(), w)
		started(t, r)
		w.with(func(w *world) { w.deleteErr = nil })
		w.change("a", func(p *Pod) { p.Reports = nil })
		w.noticed(r)
		if got := w.deletions(); !slices.Equal(got, []string{"b"}) {
			t.Errorf("deleted %v, want b", got)
		}
	})
}

// Errors are tried again with back-off, and no second pod of the workload goes meanwhile.
func TestErrorsAreTriedAgainWithBackOff(t *testing.T) {
	failed := errors.New("connection refused")
	for name, fail := range map[string]func(*world, error){
		"get":    func(w *world, err error) { w.live = func(pod Pod) (Pod, error) { return pod, err } },
		"delete": func(w *world, err error) { w.deleteErr = err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := worldOf(but(ofSet("a"), lost), but(ofSet("b"), lost))
				fail(w, failed)
				r, o := reconcilerOf(t, enabled(), w)
				started(t, r)
				advance(time.Minute)
				tries := len(o.soFar().actions)
				if tries > 2*9 || tries < 2*2 || !slices.Contains(o.soFar().actions, ActionError) {
					t.Errorf("actions in a minute: %v, want a few", o.soFar().actions)
				}
				w.with(func(w *world) { fail(w, nil) })
				advance(backoffMax)
				if got := w.deletions(); len(got) != 1 || got[0] != "a" {
					t.Errorf("deleted %v, want a alone", got)
				}
			})
		})
	}
}

// A deletion whose answer was lost may have happened, although the cache doesn't show it for long.
func TestALostAnswerCountsAsADeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := worldOf(but(ofSet("a"), lost), but(ofSet("b"), lost))
		w.deleteErr, w.happens = errors.New("timed out"), true
		r, _ := reconcilerOf(t, enabled(), w)
		started(t, r)
		w.with(func(w *world) { w.deleteErr = nil })
		advance(5 * time.Minute)
		if got := w.deletions(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("deleted %v, want a alone", got)
		}
	})
}

func TestAPodWithoutAControllerIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := worldOf(but(ofSet("a"), lost, noController))
		config := enabled()
		config.Resync = time.Minute
		r, o := reconcilerOf(t, config, w)
		started(t, r)
		advance(time.Hour)
		if len(o.soFar().notes) != 1 || o.soFar().notes[0].Reason != VolumeLost || !o.soFar().notes[0].Warning || o.soFar().notes[0].UID != "uid-of-a" || !strings.Contains(o.soFar().notes[0].Message, volumehealth.DeviceReplaced) {
			t.Errorf("got %+v, want one warning", o.soFar().notes)
		}
		w.change("a", func(p *Pod) { p.Reports[0].Reason = volumehealth.FilesystemShutDown })
		w.sync()
		advance(time.Hour)
		if len(o.soFar().notes) != 2 {
			t.Errorf("got %+v, want a second one for the second reason", o.soFar().notes)
		}
		if len(w.deletions()) != 0 || w.gets != 0 {
			t.Errorf("deleted %v with %d requests, want none", w.deletions(), w.gets)
		}
	})
}

// Without the flag nothing happens but a count of what would.
func TestItIsAnOptIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := worldOf(but(ofSet("a"), lost), but(ofSet("b"), lost), ofSet("c"), but(ofSet("d"), lost, noController))
		r, o := reconcilerOf(t, Config{Share: 0.25, Resync: time.Minute, Workers: 1}, w)
		started(t, r)
		advance(time.Hour)
		if len(w.deletions()) != 0 || w.gets != 0 || len(o.soFar().notes) != 0 || len(o.soFar().restarted) != 0 {
			t.Errorf("deleted %v with %d requests, noted %v, counted %v, want none", w.deletions(), w.gets, o.soFar().notes, o.soFar().restarted)
		}
		if want := []string{volumehealth.DeviceReplaced, volumehealth.DeviceReplaced}; !slices.Equal(o.soFar().withheld, want) {
			t.Errorf("withheld: got %v, want %v", o.soFar().withheld, want)
		}
	})
}

// Another process may have led meanwhile: every run looks at everything anew.
func TestItRunsAgain(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	synctest.Test(t, func(t *testing.T) {
		w := worldOf(but(ofSet("a"), lost))
		r, _ := reconcilerOf(t, enabled(), w)
		for _, pod := range []string{"a", "b"} {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- r.Run(ctx) }()
			synctest.Wait()
			if got := w.deletions(); got[len(got)-1] != pod {
				t.Fatalf("deleted %v, want %s at last", got, pod)
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
			w.remove("a")
			w.change("b", lost)
			w.noticed(r)
			if got := w.deletions(); got[len(got)-1] != pod {
				t.Fatalf("deleted outside a run: %v", got)
			}
		}
	})
}

func TestInvalidConfigurations(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"share":   func(c *Config) { c.Share = 0 },
		"share ":  func(c *Config) { c.Share = 1.5 },
		"resync":  func(c *Config) { c.Resync = 0 },
		"workers": func(c *Config) { c.Workers = 0 },
	} {
		config := enabled()
		spoil(&config)
		if _, err := NewReconciler(config, worldOf(), Observer{}); err == nil {
			t.Errorf("%s: no error for %+v", name, config)
		}
	}
}
