package appliance_test

import (
	"testing"
	"testing/synctest"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

func TestCommandsTakeTheirTime(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name, line string
		timing     appliance.Timing
		low, high  time.Duration // of 20 runs each
	}{
		{"print", `:put [:len [/disk print as-value]]`, appliance.Timing{Scale: 1}, 50 * ms, 100 * ms},
		{"set", `/disk set p comment="x"`, appliance.Timing{Scale: 1}, 50 * ms, 100 * ms},
		{"add and remove", `/disk add type=file slot=x file-path=raid10/x.img file-size=1K; /disk remove x; /file remove "raid10/x.img"`, appliance.Timing{Scale: 1}, 800 * ms, 1000 * ms},
		{"a big file", `/disk add type=file slot=x file-path=raid10/x.img file-size=8G; /disk remove x; /file remove "raid10/x.img"`, appliance.Timing{Scale: 1, PerGiB: time.Second}, 8800 * ms, 9000 * ms},
		{"growth", `/disk set p file-size=2G; /disk set p file-size=1G`, appliance.Timing{Scale: 1}, 200 * ms, 310 * ms},
		{"find and get", `:put [/disk get p slot]; :put [/disk find]`, appliance.Timing{Scale: 1}, 0, 0},
		{"twice as slow", `:put [:len [/disk print as-value]]`, appliance.Timing{Scale: 2}, 100 * ms, 200 * ms},
		{"no time", `/disk add type=file slot=x file-path=raid10/x.img file-size=8G; /disk remove x; /file remove "raid10/x.img"`, appliance.Timing{PerGiB: time.Hour}, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, func(o *appliance.Options) {
					o.Timing = test.timing
					o.Unknowns.AllowShrink = true
				})
				b.run(t, `/disk add type=file slot=p file-path=raid10/p.img file-size=1G`)
				for range 20 {
					started := time.Now()
					if out := b.run(t, test.line); len(out) > 20 {
						t.Fatalf("got %q", out)
					}
					if took := time.Since(started); took < test.low || took > test.high {
						t.Errorf("took %v, want from %v to %v", took, test.low, test.high)
					}
				}
			})
		})
	}
}

func TestOneLinesTimeIsNotAnothers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, func(o *appliance.Options) { o.Timing = appliance.Timing{Scale: 1, PerGiB: time.Hour} })
		done := make(chan time.Duration)
		started := time.Now()
		go func() {
			b.run(t, `/disk add type=file slot=x file-path=raid10/x.img file-size=1G`)
			done <- time.Since(started)
		}()
		synctest.Wait()
		b.run(t, `:put [:len [/disk print as-value]]`)
		if took := time.Since(started); took > time.Second {
			t.Errorf("a print took %v while a file was made", took)
		}
		if took := <-done; took < time.Hour {
			t.Errorf("the file was made in %v", took)
		}
	})
}

func TestAHandshakeTakesAsLongAsTheRealOne(t *testing.T) {
	for range 50 {
		if got := (appliance.Timing{Scale: 1}).Handshake(); got < 200*time.Millisecond || got > 500*time.Millisecond {
			t.Errorf("got %v, want 200 to 500 ms", got)
		}
	}
	if got := (appliance.Timing{}).Handshake(); got != 0 {
		t.Errorf("without a scale: got %v, want 0", got)
	}
}
