package appliance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/script"
)

// captured reads an output that real hardware gave; on the wire its lines end
// in CRLF.
func captured(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(data), "\n", "\r\n")
}

func wantCaptured(t *testing.T, got, name string) {
	t.Helper()
	if want := captured(t, name); got != want {
		t.Errorf("against the capture %s (-want +got):\n%s", name, cmp.Diff(strings.Split(want, "\r\n"), strings.Split(got, "\r\n")))
	}
}

func pool(name string, size int64) func(*appliance.Options) {
	return func(o *appliance.Options) {
		o.Pools = []appliance.Pool{{Name: name, Size: size, Label: "ocp-storage"}}
		o.Console.Renumber = true
	}
}

func TestCapturedDiskAt80Columns(t *testing.T) {
	b := open(t, pool("storage-pool", 100*appliance.GiB))
	b.run(t, `/disk add type=file slot=pvc-test-123 file-path=/storage-pool/test.img file-size=50G nvme-tcp-export=yes `+
		`nvme-tcp-server-port=4420 nvme-tcp-server-nqn="nqn.2000-02.com.mikrotik:pvc-test-123"`)
	wantCaptured(t, b.run(t, `/disk print detail where slot=pvc-test-123`), "disk-80.txt")
}

// vmStorage is an appliance with the pool and the disk of the wide capture,
// where they have the numbers 0 and 31.
func vmStorage(t *testing.T) *bench {
	t.Helper()
	b := open(t, func(o *appliance.Options) {
		pool("raid10", 16003143565312)(o)
		o.Console = appliance.Console{Width: 256, Indent: 6}
	})
	for i := range 30 {
		size := 1 << 20
		if i == 0 {
			size = 16003143565312 - 14789895307264 - 1<<40 - 29<<20 // what else was on the pool
		}
		b.run(t, fmt.Sprintf(`/disk add type=file slot=d%d file-path=raid10/d%d.img file-size=%d`, i, i, size))
	}
	b.run(t, `/disk add type=file slot=vm-storage-001 file-path=raid10/vm-storage-001.img file-size=1T mount-filesystem=no mount-read-only=no compress=no`)
	b.run(t, `/disk set [find where slot=vm-storage-001] nvme-tcp-export=yes nvme-tcp-server-port=4420 `+
		`nvme-tcp-server-nqn="nqn.2026-09.com.mikrotik:rds2216.vm-storage-001"`)
	return b
}

func TestCapturedDiskOnAWideConsole(t *testing.T) {
	wantCaptured(t, vmStorage(t).run(t, `/disk print detail where slot=vm-storage-001`), "disk-wide.txt")
}

func TestCapturedPool(t *testing.T) {
	got := vmStorage(t).run(t, `/disk print detail where slot=raid10 or slot=vm-storage-001`)
	// The capture leaves parts out; what is there comes in this order.
	rest := got
	for _, part := range []string{
		`BM  type=raid slot="raid10"`, `fs-label="ocp-storage" fs-uuid="`,
		`fs=xfs model="RAID0 striped" size=16 003 143 565 312 free=14 789 895 307 264`,
		`use=8%`, `mount-point="raid10"`, `state="clean" raid-uuid=`,
	} {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Fatalf("got\n%s\nwant %q, behind the parts before it", got, part)
		}
		rest = after
	}
}

func TestCapturedFiles(t *testing.T) {
	b := open(t, func(o *appliance.Options) {
		pool("storage-pool", 100*appliance.GiB)(o)
		o.Console.Rows = func(rows []script.Record) {
			for i := 1; i < len(rows); i++ { // the real order isn't that of the names
				if strings.Contains(script.Format(rows[i]["name"]), "ccdecfad") {
					rows[i-1], rows[i] = rows[i], rows[i-1]
				}
			}
		}
	})
	b.run(t, `/file add name=storage-pool/metal-csi type=directory`)
	at := func(hour, minute, second int) time.Time {
		return time.Date(2025, time.November, 11, hour, minute, second, 0, time.Local)
	}
	for _, file := range []struct {
		id, size string
		modified time.Time
	}{
		{"ccdecfad-a8bf-572e-9120-464c4d99f12f", "10G", at(14, 32, 41)},
		{"0f923194-922a-5dd8-b376-c2c6ccb56dd8", "1G", at(16, 47, 7)},
	} {
		b.run(t, fmt.Sprintf(`/disk add type=file slot=%.8s file-path=storage-pool/metal-csi/pvc-%s.img file-size=%s`, file.id, file.id, file.size))
		touch(t, filepath.Join(b.stateDir, "files/storage-pool/metal-csi/pvc-"+file.id+".img"), file.modified)
	}
	touch(t, filepath.Join(b.stateDir, "files/storage-pool/metal-csi"), at(16, 47, 7))
	wantCaptured(t, b.run(t, `/file print detail where name~"storage-pool/metal-csi"`), "file-80.txt")
}

func touch(t *testing.T, file string, modified time.Time) {
	t.Helper()
	if err := os.Chtimes(file, modified, modified); err != nil {
		t.Fatal(err)
	}
}

func TestCapturedTraffic(t *testing.T) {
	b := open(t, nil)
	b.run(t, add)
	b.SetTraffic("x", appliance.Traffic{WriteOps: 76, WriteRate: 12_800_000})
	wantCaptured(t, b.run(t, `/disk monitor-traffic x once`), "monitor-traffic.txt")
}
