package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/cluster"
)

func TestJudgeAcceptsOnlyWhatWasWrittenInTime(t *testing.T) {
	revoked := time.Now()
	refused := errors.New("refused")
	for name, tt := range map[string]struct {
		writer deadWriter
		lines  int
		want   error
	}{
		"all acknowledged lines and none later": {deadWriter{acknowledged: 3, last: revoked, failure: refused}, 3, nil},
		"the one under way got through too":     {deadWriter{acknowledged: 3, last: revoked, failure: refused}, 4, nil},
		"an acknowledged line is missing":       {deadWriter{acknowledged: 3, last: revoked, failure: refused}, 2, errEvidence},
		"lines that nobody acknowledged":        {deadWriter{acknowledged: 3, last: revoked, failure: refused}, 5, errEvidence},
		"written after the revocation":          {deadWriter{acknowledged: 3, last: revoked.Add(1), failure: refused}, 3, errEvidence},
		"still writing":                         {deadWriter{acknowledged: 3, last: revoked}, 3, errEvidence},
		"never wrote":                           {deadWriter{failure: refused}, 0, errEvidence},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, deadFileName), []byte(strings.Repeat("a line\n", tt.lines)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := tt.writer.judge(folder, revoked); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestDeadWriterCountsNoWriteElsewhere(t *testing.T) {
	w, err := newDeadWriter(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.write(); err != nil {
		t.Errorf("in the volume: got %v, want a write", err)
	}
	w.volume++ // as if the volume had been unmounted and the file lay on the disk below
	if err := w.write(); !errors.Is(err, errOtherDevice) {
		t.Errorf("below the volume: got %v, want %v", err, errOtherDevice)
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
