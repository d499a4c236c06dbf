package export_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

// published returns a registry with one subsystem.
func published(options export.Options) *export.Registry {
	r := export.New(options)
	r.Publish(export.Subsystem{Slot: "x", NQN: "nqn:x", File: "/f", Size: 5})
	return r
}

func connect(t *testing.T, r *export.Registry, host string) *export.Session {
	t.Helper()
	s, err := r.Connect("nqn:x", host)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAWithdrawalWaitsForItsInitiators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := published(export.Options{})
		a, b := connect(t, r, "a"), connect(t, r, "b")
		go func() {
			<-a.Revoked()
			<-time.After(300 * time.Millisecond)
			r.End(a.ID)
			<-b.Revoked()
			<-time.After(400 * time.Millisecond)
			r.End(b.ID)
		}()
		started := time.Now()
		r.Withdraw("x")(t.Context())
		if got, want := time.Since(started), 700*time.Millisecond; got != want {
			t.Errorf("the withdrawal took %v, want %v", got, want)
		}
		for _, revocation := range r.Revocations() {
			if !revocation.Confirmed {
				t.Errorf("got %+v, want it confirmed", revocation)
			}
		}
		if got := r.Sessions(); len(got) != 0 {
			t.Errorf("sessions left: %v", got)
		}
	})
}

func TestAWithdrawalWaitsNoLongerThanItsBound(t *testing.T) {
	for bound, want := range map[time.Duration]time.Duration{0: 2 * time.Second, 5 * time.Second: 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r := published(export.Options{RevokeWait: bound})
			session := connect(t, r, "a")
			started := time.Now()
			r.Withdraw("x")(t.Context())
			if got := time.Since(started); got != want {
				t.Errorf("the withdrawal took %v, want %v", got, want)
			}
			got := r.Revocations()
			wantList := []export.Revocation{{
				Slot: "x", SubsystemNQN: "nqn:x", HostNQN: "a", Time: started, Seconds: want.Seconds(),
			}}
			if diff := cmp.Diff(wantList, got); diff != "" {
				t.Errorf("revocations (-want +got):\n%s", diff)
			}
			// Its word that comes too late ends the session, no more.
			r.End(session.ID)
			if r.Revocations()[0].Confirmed {
				t.Error("a late confirmation was counted")
			}
		})
	}
}

func TestABrokenStreamConfirmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := published(export.Options{})
		session := connect(t, r, "a")
		r.Broken(session)
		r.Withdraw("x")(t.Context())
		if got := r.Revocations(); len(got) != 1 || got[0].Confirmed {
			t.Errorf("got %+v, want one that is not confirmed", got)
		}
		got := r.Sessions()
		if len(got) != 1 || !got[0].Broken || !got[0].Revoked {
			t.Errorf("got %+v, want the session still listed, broken and revoked", got)
		}
		// It is counted once only.
		r.Publish(export.Subsystem{Slot: "x", NQN: "nqn:x"})
		r.Withdraw("x")(t.Context())
		if got := r.Revocations(); len(got) != 1 {
			t.Errorf("got %d revocations, want 1", len(got))
		}
	})
}

func TestNobodyConnectsWhileOldHostsAreCutOff(t *testing.T) {
	r := published(export.Options{RevokeWait: time.Minute})
	old := connect(t, r, "old")
	wait := r.Withdraw("x")
	r.Publish(export.Subsystem{Slot: "x", NQN: "nqn:x2"})
	if _, err := r.Connect("nqn:x2", "new"); !errors.Is(err, export.ErrRefused) {
		t.Errorf("connect during the teardown: got %v, want ErrRefused", err)
	}
	r.End(old.ID)
	wait(t.Context())
	if _, err := r.Connect("nqn:x2", "new"); err != nil {
		t.Errorf("connect after the teardown: %v", err)
	}
}

func TestTheSameHostReplacesItsSession(t *testing.T) {
	r := published(export.Options{})
	first, other := connect(t, r, "a"), connect(t, r, "b")
	second := connect(t, r, "a")
	select {
	case <-first.Ended():
	default:
		t.Error("the first session goes on, want it ended")
	}
	var ids []string
	for _, s := range r.Sessions() {
		ids = append(ids, s.ID)
	}
	if want := []string{second.ID, other.ID}; !cmp.Equal(ids, want) {
		t.Errorf("got sessions %v, want %v", ids, want)
	}
}

func TestOnlyTheAllowedHostConnects(t *testing.T) {
	r := published(export.Options{})
	r.Update("x", func(s *export.Subsystem) { s.AllowHost = "b" })
	if _, err := r.Connect("nqn:x", "a"); !errors.Is(err, export.ErrRefused) {
		t.Errorf("host a: got %v, want ErrRefused", err)
	}
	if _, err := r.Connect("nqn:x", "b"); err != nil {
		t.Errorf("host b: %v", err)
	}
}

func TestIdentityChangesWithEachExportUnlessStable(t *testing.T) {
	for _, stable := range []bool{false, true} {
		r := published(export.Options{StableIdentity: stable})
		first := connect(t, r, "a").Subsystem
		r.End(r.Sessions()[0].ID)
		r.Withdraw("x")(t.Context())
		r.Publish(export.Subsystem{Slot: "x", NQN: "nqn:x"})
		second := connect(t, r, "a").Subsystem
		if same := first.UUID == second.UUID && first.Serial == second.Serial; same != stable {
			t.Errorf("stable=%t: got the same identity: %t", stable, same)
		}
	}
}

func TestShutdownCutsTheWaitShort(t *testing.T) {
	r := published(export.Options{RevokeWait: time.Hour})
	connect(t, r, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Withdraw("x")(ctx) // would take an hour
}

func TestALostTargetKeepsItsSessionsListed(t *testing.T) {
	r := export.New(export.Options{RevokeWait: time.Millisecond})
	r.Publish(export.Subsystem{Slot: "x", NQN: "nqn:x"})
	session, err := r.Connect("nqn:x", "host")
	if err != nil {
		t.Fatal(err)
	}
	r.Lose()
	r.Lose()
	r.Broken(session) // the stream's end is noticed later
	select {
	case <-session.Lost():
	default:
		t.Error("the session wasn't lost")
	}
	if got := r.Sessions(); len(got) != 1 || !got[0].Broken || got[0].Revoked {
		t.Errorf("got sessions %+v, want one that is broken and was never revoked", got)
	}
	if _, err := r.Connect("nqn:x", "host"); !errors.Is(err, export.ErrDown) {
		t.Errorf("while lost: got %v, want ErrDown", err)
	}
	r.Restore()
	r.Publish(export.Subsystem{Slot: "x", NQN: "nqn:x"})
	if _, err := r.Connect("nqn:x", "host"); err != nil {
		t.Errorf("restored: %v", err)
	}
	if got := r.Sessions(); len(got) != 1 || got[0].Broken {
		t.Errorf("got sessions %+v, want the new one instead of the old", got)
	}
}
