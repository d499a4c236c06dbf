package node

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

// many is how many volumes a node gets at once.
const many = 32

// All of them at once, each with its own data; how long it took is printed.
func TestManyVolumesAtOnce(t *testing.T) {
	r := newRig(t, world.Options{})
	volumes := make([]*volume, many)
	for i := range volumes {
		volumes[i] = r.create(t, fmt.Sprintf("pvc-%d", i), "block", map[string]string{"nr_io_queues": "1"})
		volumes[i].attach(t, world.NodeA)
	}
	ready := make([]time.Duration, 0, many)
	var mu sync.Mutex
	var all sync.WaitGroup
	began := time.Now()
	for i, v := range volumes {
		all.Go(func() {
			if err := v.stage(t); err != nil {
				t.Errorf("stage %d: %v", i, err)
				return
			}
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			ready = append(ready, took)
		})
	}
	all.Wait()
	if len(ready) != many {
		t.FailNow()
	}
	t.Logf("connect to device ready: the 1st of %d at once %.2f s, the last %.2f s", many, ready[0].Seconds(), slices.Max(ready).Seconds())
	for i, v := range volumes {
		if err := v.publish(t); err != nil {
			t.Fatal(err)
		}
		if err := v.write(byte(i)); err != nil {
			t.Error(err)
		}
	}
	for i, v := range volumes {
		if !v.holds(t, byte(i)) {
			t.Errorf("volume %d doesn't hold its own data", i)
		}
		v.home(t)
	}
}

// How long one volume takes is printed.
func TestOneVolumeAlone(t *testing.T) {
	r := newRig(t, world.Options{})
	v := r.create(t, "pvc-1", "ext4", nil)
	v.attach(t, world.NodeA)
	began := time.Now()
	if err := v.stage(t); err != nil {
		t.Fatal(err)
	}
	t.Logf("connect, format and mount: %.2f s", time.Since(began).Seconds())
	twice(t, "unstage", v.unstage)
	began = time.Now()
	if err := v.stage(t); err != nil {
		t.Fatal(err)
	}
	t.Logf("stage of a formatted volume: %.2f s", time.Since(began).Seconds())
	v.home(t)
}
