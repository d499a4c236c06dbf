package nvme

import (
	"errors"
	"maps"
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
