package volumelock

import (
	"errors"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

func TestOneOperationAVolume(t *testing.T) {
	var locks Locks[string]
	unlock, err := locks.Lock("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := locks.Lock("a"); !errors.Is(err, failure.ErrBusy) {
		t.Errorf("lock what is locked: %v, want ErrBusy", err)
	}
	other, err := locks.Lock("b")
	if err != nil {
		t.Errorf("lock another volume: %v", err)
	}
	unlocked := locks.Unlocked("a")
	select {
	case <-unlocked:
		t.Error("unlocked is announced while the volume is locked")
	default:
	}
	unlock()
	other()
	<-unlocked
	<-locks.Unlocked("a")
	if len(locks.locked) != 0 {
		t.Errorf("%d locks are left behind", len(locks.locked))
	}
}
