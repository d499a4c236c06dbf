package nvme

import (
	"errors"
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOptionsAreReadByTheirNames(t *testing.T) {
	got, err := ParseOptions(map[string]string{
		"ctrl_loss_tmo": "600", "reconnect_delay": "5", "fast_io_fail_tmo": "30", "keep_alive_tmo": "10", "nr_io_queues": "4",
		"queue_size": "64", "hdr_digest": "true", "data_digest": "true", "pool": "raid10",
	})
	want := Options{
		CtrlLossTimeout: 10 * time.Minute, ReconnectDelay: 5 * time.Second, FastIOFailTimeout: 30 * time.Second,
		KeepAliveTimeout: 10 * time.Second, IOQueues: 4, QueueSize: 64, HeaderDigest: true, DataDigest: true,
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("ParseOptions: %v (-want +got):\n%s", err, diff)
	}
	if got, err := ParseOptions(nil); err != nil || got != DefaultOptions() {
		t.Errorf("no options: %+v, %v, want the defaults", got, err)
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	bad := map[string][]string{"fast_io_fail_tmo": {"11"}} // more than ctrl_loss_tmo, which is set to 10 below
	for _, name := range OptionNames() {
		bad[name] = append(bad[name], "", " 1", "+1", "01", "1.5", "-2", "99999999999999999999", "yes", "1\n")
	}
	for name, values := range bad {
		for _, value := range values {
			given := map[string]string{"ctrl_loss_tmo": "10"}
			maps.Copy(given, map[string]string{name: value})
			_, err := ParseOptions(given)
			if wrong, is := errors.AsType[*OptionError](err); !is || wrong.Name != name || wrong.Value != value {
				t.Errorf("%s=%q: %v, want an OptionError about it", name, value, err)
			}
		}
	}
}

// The bounds, written down a second time: what lies on one is accepted, and what lies beyond isn't.
func TestTheBoundsOfOptions(t *testing.T) {
	for name, bounds := range map[string][2]int{
		"ctrl_loss_tmo": {-1, 86400}, "reconnect_delay": {1, 3600}, "fast_io_fail_tmo": {-1, 86400}, "keep_alive_tmo": {1, 3600},
		"nr_io_queues": {0, 1024}, "queue_size": {16, 1024},
	} {
		for value, valid := range map[int]bool{bounds[0]: true, bounds[0] - 1: false, bounds[1]: true, bounds[1] + 1: false} {
			if _, err := ParseOptions(map[string]string{name: strconv.Itoa(value)}); (err == nil) != valid {
				t.Errorf("%s=%d: got %v, want it accepted: %t", name, value, err, valid)
			}
		}
	}
	for fast, valid := range map[string]bool{"9": true, "10": true, "11": false, "-1": true} {
		if _, err := ParseOptions(map[string]string{"ctrl_loss_tmo": "10", "fast_io_fail_tmo": fast}); (err == nil) != valid {
			t.Errorf("fast_io_fail_tmo=%s with ctrl_loss_tmo=10: got %v, want it accepted: %t", fast, err, valid)
		}
	}
}
