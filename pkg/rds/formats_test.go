package rds

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// These formats are stored on appliances and in PersistentVolumes. A change here strands every existing volume.
func TestGoldenFormats(t *testing.T) {
	id, err := NewVolumeID("raid10", "rds-csi", "c0ffee00-1111-2222-3333-444455556666", "pvc-0f923194-922a-5dd8-b376-c2c6ccb56dd8")
	if err != nil {
		t.Fatal(err)
	}
	record := Record{
		Cluster: "c0ffee00-1111-2222-3333-444455556666", Volume: "pvc-0f923194-922a-5dd8-b376-c2c6ccb56dd8",
		PV: "pvc-0f923194-922a-5dd8-b376-c2c6ccb56dd8", PVC: "shop/data-0", Generation: 7, Token: "00112233445566aa",
		Holding: Holding{
			Epoch: "8899aabbccddeeff", Access: "mount", Mode: "single-node-writer",
			Holders: []string{"node-a/4c4c4544-0042-3510-8052-b4c04f4d3732"}, Departed: []string{"node-b/5d5d"},
		},
	}
	free := Record{Cluster: "c1", Volume: "v1", Generation: 1, Token: "00112233445566aa"}
	tests := map[string]struct{ got, want string }{
		"volume ID":            {id.String(), "raid10/rds-csi/c0ffee00-1111-2222-3333-444455556666/csi-6a04bc78975a4a5c0e07d2b92580"},
		"slot":                 {id.Slot(), "csi-6a04bc78975a4a5c0e07d2b92580"},
		"backing file in disk": {id.file().inDisk(), "/raid10/rds-csi/c0ffee00-1111-2222-3333-444455556666/csi-6a04bc78975a4a5c0e07d2b92580.img"},
		"backing file in file": {id.file().inFile(), "raid10/rds-csi/c0ffee00-1111-2222-3333-444455556666/csi-6a04bc78975a4a5c0e07d2b92580.img"},
		"NQN of a holding":     {record.SubsystemNQN(id), "nqn.2026-11.io.srvlab.csi.rds:csi-6a04bc78975a4a5c0e07d2b92580:8899aabbccddeeff"},
		"NQN without holder":   {free.SubsystemNQN(id), "nqn.2026-11.io.srvlab.csi.rds:csi-6a04bc78975a4a5c0e07d2b92580:idle-00112233445566aa"},
		"record, held": {encoded(t, record), "rds-csi/2 cluster=c0ffee00-1111-2222-3333-444455556666 len=341 volume=pvc-0f923194-922a-5dd8-b376-c2c6ccb56dd8 gen=7 token=00112233445566aa " +
			"epoch=8899aabbccddeeff holders=node-a/4c4c4544-0042-3510-8052-b4c04f4d3732 access=mount mode=single-node-writer ro=false departed=node-b/5d5d " +
			"pv=pvc-0f923194-922a-5dd8-b376-c2c6ccb56dd8 pvc=shop/data-0"},
		"record, new":  {padded(t, free), "rds-csi/2 cluster=c1 len=512 volume=v1 gen=1 token=00112233445566aa pad=" + strings.Repeat("x", 440)},
		"record, free": {encoded(t, free), "rds-csi/2 cluster=c1 len=067 volume=v1 gen=1 token=00112233445566aa"},
	}
	for name, test := range tests {
		if test.got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", name, test.got, test.want)
		}
	}
}

// padded is the comment of a new disk with this record.
func padded(t *testing.T, record Record) string {
	t.Helper()
	text, err := record.encodePadded()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// recordIn is the record of a new volume in a cluster.
func recordIn(t *testing.T, cluster, name string) Record {
	t.Helper()
	id, err := NewVolumeID("raid10", "rds-csi", cluster, name)
	if err != nil {
		t.Fatal(err)
	}
	return NewRecord(id, name, "", "")
}

// longNames is a record with the longest names.
func longNames(t *testing.T) Record {
	t.Helper()
	record := recordIn(t, "cluster", strings.Repeat("v", 128))
	record.PV, record.PVC = strings.Repeat("p", 128), "ns/"+strings.Repeat("c", 100)
	return record
}

func encoded(t *testing.T, record Record) string {
	t.Helper()
	text, err := record.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestVolumeIDs(t *testing.T) {
	for _, bad := range []string{
		"", "x", "raid10/rds-csi/csi-0011223344556677889900112233", ":raid10/rds-csi/c1/csi-0011223344556677889900112233", "a:b:raid10/rds-csi/c1/csi-0011223344556677889900112233", "a/b:raid10/rds-csi/c1/csi-0011223344556677889900112233", "raid10/csi-0011223344556677889900112233", "raid10/rds-csi/c1/csi-xyz", "raid10/rds-csi/c1/csi-001122334455667788990011223", "raid10/rds-csi/c1/csi-00112233445566778899001122334", "raid10/rds-csi/c1/csi-00112233445566778899001122AA", "raid10/rds-csi/c1/other", "/raid10/rds-csi/c1/csi-0011223344556677889900112233",
		"raid10/rds-csi//csi-0011223344556677889900112233", "raid10/../c1/csi-0011223344556677889900112233", `raid10/"/c1/csi-0011223344556677889900112233`,
		"raid10/rds-csi/c1/csi-0011223344556677889900112233/", "raid10/c1/" + strings.Repeat("a", 128) + "/csi-0011223344556677889900112233", "raid10/rds csi/c1/csi-0011223344556677889900112233",
	} {
		if id, err := ParseVolumeID(bad); err == nil {
			t.Errorf("ParseVolumeID(%q) = %v, want an error", bad, id)
		}
	}
	longest := "raid10/" + strings.Repeat("a", MaxVolumeIDLength-len("raid10//c1/csi-0011223344556677889900112233")) + "/c1/csi-0011223344556677889900112233"
	if id, err := ParseVolumeID(longest); err != nil || id.String() != longest || len(longest) != 128 {
		t.Errorf("%d bytes: got %s, %v", len(longest), id, err)
	}
	if id, err := ParseVolumeID("a" + longest); err == nil {
		t.Errorf("129 bytes: got %s", id)
	}
	for _, bad := range []struct{ pool, directory, cluster string }{
		{"", "rds-csi", "c"},
		{"raid10", "", "c"},
		{"raid10/x", "rds-csi", "c"},
		{"raid10", "/rds-csi", "c"},
		{"raid10", "a;b", "c"},
		{"$x", "rds-csi", "c"},
		{"..", "rds-csi", "c"},
		{"raid10", "rds-csi", ""},
		{"raid10", "rds-csi", "a/b"},
		{"raid10", "rds-csi", ".."},
		{"raid10", "rds-csi", "a:b"},
		{"raid10", "rds-csi", strings.Repeat("c", 64) + strings.Repeat("d", 64)},
	} {
		var field *FieldError
		if _, err := NewVolumeID(bad.pool, bad.directory, bad.cluster, "name"); !errors.As(err, &field) {
			t.Errorf("NewVolumeID(%q, %q, %q): got %v, want a FieldError", bad.pool, bad.directory, bad.cluster, err)
		}
	}
}

// randomRecord makes records like those that the driver writes.
func randomRecord(random *rand.Rand) Record {
	pick := func(texts ...string) string { return texts[random.IntN(len(texts))] }
	record := Record{
		Cluster: pick("c1", "c0ffee00-1111-2222-3333-444455556666"), Volume: pick("v", "pvc-0f923194-922a-5dd8-b376-c2c6ccb56dd8"),
		PV: pick("", "pv-1"), PVC: pick("", "ns/claim"), Generation: random.Uint64N(1<<63) + 1, Token: randomToken(),
	}
	if random.IntN(3) > 0 {
		record.Holding = Holding{
			Epoch: randomToken(), Access: pick("mount", "block"), Mode: pick("single-node-writer", "multi-node-multi-writer"),
			ReadOnly: random.IntN(2) == 0, Holders: []string{pick("a/1", "b/2", "node.example/4c4c")},
		}
		if random.IntN(2) == 0 {
			record.Holding.Departed = []string{"z/9", "y/8"}
		}
	}
	return record
}

func TestRecordRoundTrip(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		want := randomRecord(random)
		text := encoded(t, want)
		if random.IntN(2) == 0 {
			text = padded(t, want)
		}
		got, err := ParseRecord(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
	}
}

// Every write must leave a comment that no condition written before can match, and never step back.
func TestEveryWriteMovesOn(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		old := randomRecord(random)
		for name, next := range map[string]Record{
			"publish": old.Publish("n/1", "mount", "single-node-writer", false), "unpublish": old.Unpublish("a/1"), "unpublish all": old.Unpublish(""), "unpublish nobody": old.Unpublish("nobody/0"),
		} {
			if next.Generation != old.Generation+1 || next.Token == old.Token {
				t.Errorf("%s: got generation %d, token %s after %d, %s", name, next.Generation, next.Token, old.Generation, old.Token)
			}
			if next.Held() && name == "publish" && next.Holding.Epoch == old.Holding.Epoch {
				t.Errorf("publish kept epoch %s", next.Holding.Epoch)
			}
		}
	}
}

func TestHoldersComeAndGoUnderOneEpoch(t *testing.T) {
	first := recordIn(t, "c", "v").Publish("a/1", "block", "multi-node-multi-writer", false)
	both := first.Join("b/2")
	if diff := cmp.Diff([]string{"a/1", "b/2"}, both.Holding.Holders); diff != "" || both.Holding.Epoch != first.Holding.Epoch || both.Token == first.Token || both.Generation <= first.Generation {
		t.Errorf("joined: %+v after %+v", both, first)
	}
	left, departed := both.Unpublish("a/1"), both.Depart("a/1")
	if diff := cmp.Diff([]string{"b/2"}, left.Holding.Holders); diff != "" || left.Holding.Departed != nil {
		t.Errorf("after a was seen letting go: %+v", left.Holding)
	}
	if diff := cmp.Diff([]string{"a/1"}, departed.Holding.Departed); diff != "" {
		t.Errorf("after a left unseen: %+v", departed.Holding)
	}
	if back := departed.Join("a/1"); len(back.Holding.Departed) > 0 || !back.HeldBy("a/1") {
		t.Errorf("after a came back: %+v", back.Holding)
	}
	for name, empty := range map[string]Record{"last one unpublished": departed.Unpublish("b/2"), "last one departed": departed.Depart("b/2"), "all unpublished": both.Unpublish("")} {
		if empty.Held() || empty.Holding.Departed != nil {
			t.Errorf("%s: got %+v, want no holding", name, empty.Holding)
		}
	}
}

func TestARestoredRecordIsNewerThanWhatWasForgotten(t *testing.T) {
	record := recordIn(t, "c", "v").Publish("a/1", "mount", "single-node-writer", false)
	for _, forgotten := range []uint64{0, record.Generation, 99} {
		restored := record.Restore(Holding{Epoch: "8899aabbccddeeff", Holders: []string{"b/2"}}, forgotten)
		if restored.Generation <= forgotten || restored.Generation <= record.Generation || restored.Token == record.Token || !restored.HeldBy("b/2") || restored.HeldBy("a/1") {
			t.Errorf("forgotten %d: got %+v", forgotten, restored)
		}
	}
}

func TestRecordsThatDoNotFit(t *testing.T) {
	record := longNames(t).
		Publish(strings.Repeat("n", 128)+"/"+strings.Repeat("m", 60), "mount", "single-node-writer", false)
	text := encoded(t, record)
	if len(text) > maxRecordLength || strings.Contains(text, " pv=") || !strings.Contains(text, record.Holding.Holders[0]) {
		t.Errorf("got %d bytes: %s; want the holder whole and PV and PVC left out", len(text), text)
	}
	record.Holding.Holders = []string{strings.Repeat("n", 200) + "/" + strings.Repeat("m", 55), strings.Repeat("o", 100) + "/1"}
	var field *FieldError
	if _, err := record.Encode(); !errors.As(err, &field) {
		t.Errorf("a record that can't fit: got %v, want a FieldError", err)
	}
	// It would be read as two.
	for _, holding := range []Holding{{Holders: []string{"a/1,b/2"}}, {Holders: []string{"a/1"}, Departed: []string{"b/2,c/3"}}} {
		record.Holding = holding
		if _, err := record.Encode(); !errors.As(err, &field) {
			t.Errorf("a comma in a node ID of %+v: got %v, want a FieldError", holding, err)
		}
	}
}

func TestForeignCommentsAreNotRecords(t *testing.T) {
	free := recordIn(t, "c1", "v1")
	free.Generation = 1
	good := encoded(t, free.Publish("a/1", "mount", "single-node-writer", false))
	for _, bad := range []string{
		"", "backup of the shop", "rds-csi/1" + strings.TrimPrefix(good, "rds-csi/2"), good + " ", " " + good, good + " extra=1",
		strings.Replace(good, " cluster=c1", "", 1), strings.Replace(good, "gen=2", "gen=02", 1), strings.Replace(good, "gen=2", "gen=0", 1),
		strings.Replace(good, "holders=a/1", "holders=", 1), strings.Replace(good, "ro=false", "ro=0", 1), strings.Replace(good, "token=", "token=x", 1),
		strings.Replace(good, " holders=a/1", "", 1), "rds-csi/2 volume=v1 cluster=c1 len=068 gen=1 token=0011223344556677",
	} {
		if record, err := ParseRecord(bad); err == nil {
			t.Errorf("ParseRecord(%q) = %+v, want an error", bad, record)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 10 {
		text, _ := randomRecord(random).Encode()
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, comment string) {
		record, err := ParseRecord(comment)
		if err != nil {
			return
		}
		if again, err := record.Encode(); err != nil || again != comment {
			t.Errorf("%q was accepted but is written as %q, %v", comment, again, err)
		}
	})
}

// stateOf is a command that writes and shows the state afterwards.
func stateOf(t *testing.T, nonce string) *command {
	t.Helper()
	id, err := NewVolumeID("raid10", "rds-csi", "c1", "pvc-1")
	if err != nil {
		t.Fatal(err)
	}
	cmd := &command{nonce: nonce}
	cmd.act("/disk set [find]")
	cmd.showState(id)
	return cmd
}

// A section that is missing must not pass for an empty one, nor one that is there twice for either.
func TestEveryMarkerMustBeThereOnce(t *testing.T) {
	lines := []string{"n-DONE", `n-DISKS 1 [{"slot":"x"}]`, "n-POOLS 0 []", `n-FILES 0 ""`, "n-UPTIME 41m", "n-END"}
	read := func(lines []string) error {
		_, err := readReply(stateOf(t, "n"), strings.Join(lines, "\r\n")+"\r\n")
		return err
	}
	if err := read(lines); err != nil {
		t.Errorf("the whole reply: %v", err)
	}
	for i, line := range lines {
		bad := map[string][]string{
			"missing":  slices.Delete(slices.Clone(lines), i, i+1),
			"twice":    slices.Insert(slices.Clone(lines), i, line),
			"cut off":  lines[:i],
			"unasked":  slices.Insert(slices.Clone(lines), i, "n-SIZES 0 []"),
			"disputed": slices.Insert(slices.Clone(lines), i, "n-ERR failure"),
		}
		for what, lines := range bad {
			if err := read(lines); !errors.Is(err, ErrIncomplete) {
				t.Errorf("%s %s: got %v, want ErrIncomplete", line, what, err)
			}
		}
	}
	for _, count := range []string{"", "0", "2", "-1", "1x"} {
		lines[1] = "n-DISKS " + count + ` [{"slot":"x"}]`
		if err := read(lines); !errors.Is(err, ErrIncomplete) {
			t.Errorf("%q disks, and one is listed: got %v, want ErrIncomplete", count, err)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	f.Add("n-DONE\r\nn-DISKS 1 [{\"slot\":\"x\",\"size\":\"1 024\"}]\r\nn-POOLS 0 []\r\nn-FILES 0 \r\nn-UPTIME 1w3d15:41:57\r\nn-END\r\n")
	f.Add("expected end of command (line 1 column 24)\r\n")
	f.Add("a log linen-ERR failure: no space\r\nn-DISKS 0 []\r\nn-POOLS 0 \"\"\r\nn-FILES 0 \r\nn-UPTIME 41m\r\nn-END")
	f.Add("n-DONE\r\nn-MANY 3\r\nn-POOLS 0 []\r\nn-FILES 0 []\r\nn-UPTIME 41m\r\nn-END\r\n")
	f.Add("n-DONE\r\nn-DISKS 2 [{\"slot\":5,\"comment\":\"two\r\nlines\"},null]\r\nn-POOLS 0 []\r\nn-FILES 0 []\r\nn-UPTIME 41m\r\na lognote\r\nn-END\r\n")
	f.Fuzz(func(t *testing.T, output string) {
		answer, err := readReply(stateOf(t, "n"), output)
		refused := (*CommandError)(nil)
		switch {
		case err == nil && slices.ContainsFunc([]string{"DISKS", "POOLS", "FILES", "UPTIME", "END"}, func(marker string) bool { return strings.Count(output, "n-"+marker) != 1 }):
			t.Errorf("%q: a reply without all its markers was believed: %+v", output, answer)
		case err != nil && !errors.As(err, &refused) && !errors.Is(err, ErrIncomplete):
			t.Errorf("%q: got %v, want a CommandError or ErrIncomplete", output, err)
		}
	})
}

func TestUptimes(t *testing.T) {
	for text, want := range map[string]string{
		"1w3d15:41:57": "255h41m57s", "3d15h41m57s": "87h41m57s", "41m": "41m0s", "57s": "57s", "00:00:05": "5s", "2d": "48h0m0s",
		"": "", "5": "", "1x": "", "1h1h": "", "00:99:00": "", "w": "", ":": "", "1d:": "",
	} {
		got, err := parseUptime(text)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("parseUptime(%q) = %v, %v, want %q", text, got, err, want)
		}
	}
}

// An appliance may cut a comment anywhere, at the end of a field, too: without its last field, a record would say that no
// host departed.
func TestARecordThatWasCutIsNone(t *testing.T) {
	record := recordIn(t, "c1", "v1").Publish("a/1", "block", "multi-node-multi-writer", false).Join("b/2").Depart("b/2")
	for _, whole := range []string{encoded(t, record), padded(t, record)} {
		for length := range len(whole) {
			_, err := ParseRecord(whole[:length])
			if err == nil {
				t.Errorf("%q was taken for a record", whole[:length])
				continue
			}
			said := fmt.Sprintf("%d bytes of %d: bytes %d to %d are missing", length, len(whole), length+1, len(whole))
			if length > len("rds-csi/2 cluster=c1 len=512 ") && !strings.Contains(err.Error(), said) {
				t.Errorf("%d bytes: got %v, want %q", length, err, said)
			}
		}
	}
}

func TestARecordIsPaddedToItsLongest(t *testing.T) {
	for length := range 129 {
		record := recordIn(t, strings.Repeat("c", 64), "v")
		record.PV, record.PVC = strings.Repeat("p", 128), "ns/"+strings.Repeat("c", 100+length)
		text := padded(t, record)
		if len(text) != maxRecordLength || !strings.Contains(text, " len=512 ") {
			t.Fatalf("got %d bytes: %s", len(text), text)
		}
		got, err := ParseRecord(text)
		if err != nil || got.Volume != "v" || got.PV != "" && got.PV != record.PV {
			t.Fatalf("%s: got %+v, %v", text, got, err)
		}
	}
}
