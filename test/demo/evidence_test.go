package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/cluster"
)

func TestJudgeAcceptsOnlyWhatWasWrittenInTime(t *testing.T) {
	revoked := time.Now()
	refused := errors.New("refused")
	three := deadWriter{attempts: 9, acknowledged: []int{1, 2, 3}, last: revoked, failure: refused}
	late, still, gap := three, three, three
	late.last, still.failure, gap.acknowledged = revoked.Add(1), nil, []int{1, 3}
	for name, tt := range map[string]struct {
		writer deadWriter
		blocks []int
		want   error
	}{
		"all acknowledged blocks and none later":  {three, []int{1, 2, 3}, nil},
		"the one under way got through too":       {three, []int{1, 2, 3, 4}, nil},
		"one got through without acknowledgement": {gap, []int{1, 2, 3}, nil},
		"one that failed earlier isn't there":     {gap, []int{1, 3}, nil},
		"the last acknowledged block is missing":  {three, []int{1, 2}, errEvidence},
		"the first acknowledged block is missing": {three, []int{2, 3}, errEvidence},
		"another took its place":                  {three, []int{1, 2, 4}, errEvidence},
		"the file is empty":                       {three, nil, errEvidence},
		"blocks that nobody acknowledged":         {three, []int{1, 2, 3, 4, 5}, errEvidence},
		"a block of the last attempt":             {three, []int{1, 2, 3, 9}, errEvidence},
		"a write that began after the revocation": {late, []int{1, 2, 3}, errEvidence},
		"still writing":                           {still, []int{1, 2, 3}, errEvidence},
		"never wrote":                             {deadWriter{failure: refused}, nil, errEvidence},
	} {
		t.Run(name, func(t *testing.T) {
			var content []byte
			for _, attempt := range tt.blocks {
				content = append(content, make([]byte, attempt*blockSize-len(content))...)
				binary.BigEndian.PutUint64(content[(attempt-1)*blockSize:], uint64(attempt))
			}
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, deadFileName), content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := tt.writer.judge(folder, revoked); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// What the writer writes is what judge looks for, and it is written over what is there: an append would need more of the
// filesystem than the disk's word.
func TestJudgeFindsWhatTheDeadWriterWrote(t *testing.T) {
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	if err := os.Mkdir(first, 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := newDeadWriter(first)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.attempt(w.write)
	}
	if err := os.Rename(first, second); err != nil {
		t.Fatal(err)
	}
	w.attempt(w.write)
	if err := w.judge(second, time.Now()); err != nil || len(w.acknowledged) != 3 {
		t.Errorf("%d writes acknowledged (%v): got %v, want 3 and no error", len(w.acknowledged), w.failure, err)
	}
	if info, err := os.Stat(filepath.Join(second, deadFileName)); err != nil || info.Size() != deadBlocks*blockSize {
		t.Errorf("the file changed its size: %v, %v", info, err)
	}
}

// The writer may be told of a success only after the revocation that came in the middle of its write.
func TestAWriteCountsFromItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w deadWriter
		began := time.Now()
		w.attempt(func(int) error { <-time.After(time.Second); return nil })
		if !w.last.Equal(began) {
			t.Errorf("got %s after the beginning", w.last.Sub(began))
		}
	})
}

func TestDeadWriterCountsNoWriteElsewhere(t *testing.T) {
	w, err := newDeadWriter(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if w.attempt(w.write); w.failure != nil || len(w.acknowledged) != 1 {
		t.Errorf("in the volume: got %v, want a write", w.failure)
	}
	w.volume++ // as if the volume had been unmounted and the file lay on the disk below
	if w.attempt(w.write); !errors.Is(w.failure, errOtherDevice) || len(w.acknowledged) != 1 {
		t.Errorf("below the volume: got %v, want %v", w.failure, errOtherDevice)
	}
}

func TestAFolderThatIsNoMountIsNoVolume(t *testing.T) {
	if _, err := writeFile(t.TempDir()); !errors.Is(err, errNotMounted) {
		t.Errorf("got %v, want %v", err, errNotMounted)
	}
}

func TestTimelineOrder(t *testing.T) {
	line := newTimeline(func(string, ...any) {})
	now := time.Now()
	line.reach(podGone, now, "")
	if err := line.before(podGone, attachmentGone); !errors.Is(err, errEvidence) {
		t.Errorf("one missing: got %v, want %v", err, errEvidence)
	}
	line.reach(attachmentGone, now.Add(1), "")
	line.reach(attachmentGone, now.Add(-1), "") // only the first time counts
	if err := line.before(podGone, attachmentGone); err != nil {
		t.Errorf("in order: got %v, want none", err)
	}
	if err := line.before(attachmentGone, podGone); !errors.Is(err, errEvidence) {
		t.Errorf("out of order: got %v, want %v", err, errEvidence)
	}
}

func TestClearedSumsOverLabels(t *testing.T) {
	for text, want := range map[string]float64{
		clearedCounter + " 2\n": 2,
		"# TYPE " + clearedCounter + " counter\n" + clearedCounter + "{reason=\"a b\"} 1\n" + clearedCounter + "{reason=\"c\"} 3\n": 4,
		clearedCounter + "_created 7\n": -1,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, text) }))
		got, err := cleared(t.Context(), server.URL)
		server.Close()
		if want < 0 && !errors.Is(err, errAnswer) || want >= 0 && (err != nil || got != want) {
			t.Errorf("%q: got %g, %v, want %g", text, got, err, want)
		}
	}
}

func TestTheDriverDeletesTheAttachmentAfterThePodOnly(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		attachment, pod cluster.Deletion
		want            error
	}{
		"in order":                            {cluster.Deletion{User: "driver", Revision: 10}, cluster.Deletion{Revision: 9}, nil},
		"in order, whatever the clocks show":  {cluster.Deletion{User: "driver", Revision: 10, At: now}, cluster.Deletion{Revision: 9, At: now.Add(time.Second)}, nil},
		"the pod ended later":                 {cluster.Deletion{User: "driver", Revision: 10}, cluster.Deletion{Revision: 11}, errEvidence},
		"the pod ended later, on other clock": {cluster.Deletion{User: "driver", Revision: 10, At: now.Add(time.Second)}, cluster.Deletion{Revision: 11, At: now}, errEvidence},
		"somebody else deleted it":            {cluster.Deletion{User: "another", Revision: 10}, cluster.Deletion{Revision: 9}, errEvidence},
		"nobody deleted it":                   {cluster.Deletion{}, cluster.Deletion{Revision: 9}, cluster.ErrNoDeletion},
		"the pod is there":                    {cluster.Deletion{User: "driver", Revision: 10}, cluster.Deletion{}, cluster.ErrNoDeletion},
	} {
		t.Run(name, func(t *testing.T) {
			deletions := map[string]cluster.Deletion{"volumeattachments/va": tt.attachment, "pods/p": tt.pod}
			got, err := deletedByUs(func(resource, name string) (cluster.Deletion, error) {
				deletion := deletions[resource+"/"+name]
				if deletion.Revision == 0 {
					return deletion, cluster.ErrNoDeletion
				}
				return deletion, nil
			}, "driver", "va", "p")
			if !errors.Is(err, tt.want) || got != tt.attachment {
				t.Errorf("got %+v, %v, want %+v, %v", got, err, tt.attachment, tt.want)
			}
		})
	}
}

func TestAllConfirmedRefusesOneThatIsNot(t *testing.T) {
	for body, want := range map[string]error{
		`[{"confirmed":true}]`:                     nil,
		`[{"confirmed":true},{"confirmed":false}]`: errEvidence,
		`[]`: errEvidence,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, body) }))
		if err := allConfirmed(t.Context(), server.URL); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", body, err, want)
		}
		server.Close()
	}
}
