package rds

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// claimed is the record as text that claims to have the length that it has, whatever else is wrong with it.
func claimed(record Record) string { return record.text(len(record.text(0))) }

// What is in the form of a record and can't be one is none: neither an epoch nor a token is taken for what it isn't.
func TestARecordThatOnlyLooksLikeOneIsNone(t *testing.T) {
	good := Record{
		Cluster: "c1", Volume: "v1", Generation: 2, Token: "00112233445566aa",
		Holding: Holding{Epoch: "8899aabbccddeeff", Access: "mount", Mode: "single-node-writer", Holders: []string{"a/1"}, Departed: []string{"b/2"}},
	}
	if got, err := ParseRecord(claimed(good)); err != nil || !cmp.Equal(got, good) {
		t.Fatalf("got %+v, %v, want %+v", got, err, good)
	}
	random := map[string]string{
		"empty": "", "short": "8899aabbccddeef", "long": "8899aabbccddeeff0", "in upper case": "8899AABBCCDDEEFF", "beyond f": "8899aabbccddeefg",
		"below 0": "8899aabbccddeef/", "between 9 and a": "8899aabbccddeef:", "idle": "idle-8899aabbccd",
	}
	bad := map[string]func(*Record){
		"no cluster":           func(r *Record) { r.Cluster = "" },
		"no volume":            func(r *Record) { r.Volume = "" },
		"no generation":        func(r *Record) { r.Generation = 0 },
		"an empty holder":      func(r *Record) { r.Holding.Holders = []string{"a/1", ""} },
		"an empty departed":    func(r *Record) { r.Holding.Departed = []string{"", "b/2"} },
		"a space in a name":    func(r *Record) { r.PV = "p v" },
		"one byte over":        func(r *Record) { r.Volume = strings.Repeat("v", maxRecordLength+1-len(claimed(*r))+len(r.Volume)) },
		"a variable in a name": func(r *Record) { r.PVC = "$x" },
	}
	for what, text := range random {
		bad["an epoch that is "+what] = func(r *Record) { r.Holding.Epoch = text }
		bad["a token that is "+what] = func(r *Record) { r.Token = text }
	}
	for name, spoil := range bad {
		record := good
		spoil(&record)
		if got, err := ParseRecord(claimed(record)); err == nil {
			t.Errorf("%s: %q was taken for %+v", name, claimed(record), got)
		}
	}
	free := Record{Cluster: "c1", Volume: "v1", Generation: 1, Token: "00112233445566aa"}
	for _, more := range []string{" epoch=8899aabbccddeeff", " access=mount", " ro=true", " holders=a/1", " pad=x", " pad="} {
		text := strings.Replace(claimed(free), " len=067 ", fmt.Sprintf(" len=%03d ", 67+len(more)), 1) + more
		if got, err := ParseRecord(text); err == nil {
			t.Errorf("%q was taken for %+v", text, got)
		}
	}
}

// Both sides of the greatest length, with everything that a record can leave out and without it.
func TestTheGreatestLengthOfARecord(t *testing.T) {
	for name, record := range map[string]Record{
		"free": {Cluster: "c1", Generation: 1, Token: "00112233445566aa"},
		"held": {Cluster: "c1", Generation: 1, Token: "00112233445566aa", Holding: Holding{Epoch: "8899aabbccddeeff", Holders: []string{"a/1"}}},
	} {
		for over, fits := range map[int]bool{0: true, 1: false} {
			record.Volume = ""
			record.Volume = strings.Repeat("v", maxRecordLength+over-len(record.text(0)))
			text, err := record.Encode()
			if field := (*FieldError)(nil); (err == nil) != fits || err != nil && !errors.As(err, &field) || fits && len(text) != maxRecordLength {
				t.Errorf("%s, %d bytes too long: got %d bytes, %v", name, over, len(text), err)
			}
			if got, err := ParseRecord(claimed(record)); (err == nil) != fits {
				t.Errorf("%s, %d bytes too long: read as %+v, %v", name, over, got, err)
			}
			if err := checkQuotable(strings.Repeat("x", maxRecordLength+over)); (err == nil) != fits {
				t.Errorf("%d bytes too long to be sent: %v", over, err)
			}
		}
	}
}

// Everything else in place of an epoch was never issued.
func TestAnEpochIsReadFromItsOwnNQNOnly(t *testing.T) {
	id, err := NewVolumeID("raid10", "rds-csi", "c1", "pvc-1")
	if err != nil {
		t.Fatal(err)
	}
	const epoch = "8899aabbccddeeff"
	for nqn, want := range map[string]bool{
		id.SubsystemPrefix() + epoch: true, id.SubsystemPrefix(): false, id.SubsystemPrefix() + "idle-" + epoch: false,
		id.SubsystemPrefix() + "unfinished-" + epoch: false, id.SubsystemPrefix() + strings.ToUpper(epoch): false,
		id.SubsystemPrefix() + epoch[1:]: false, id.SubsystemPrefix() + epoch + "0": false, epoch: false, "": false,
		"nqn.2026-11.io.srvlab.csi.rds:csi-0011223344556677889900112233:" + epoch: false,
	} {
		if got, ours := id.Epoch(nqn); ours != want || ours && got != epoch {
			t.Errorf("%s: got %q, %t, want %t", nqn, got, ours, want)
		}
	}
}
