package controller

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	logsapi "k8s.io/component-base/logs/api/v1"
	logs "k8s.io/component-base/logs/json"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	drivercsi "git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/test/requests"
)

// logbook is what was logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// logged returns what a call through the interceptor leaves in the log at a verbosity.
func logged(t *testing.T, verbosity int, c requests.Call, request proto.Message) (string, error) {
	t.Helper()
	book := &logbook{}
	text := textlogger.NewLogger(textlogger.NewConfig(textlogger.Verbosity(verbosity), textlogger.Output(book)))
	err := loggedBy(t, text, c, request)
	return book.String(), err
}

// loggedAsJSON is logged with the other format.
func loggedAsJSON(t *testing.T, verbosity int, c requests.Call, request proto.Message) (string, error) {
	t.Helper()
	book := &logbook{}
	config := logsapi.NewLoggingConfiguration()
	config.Verbosity = logsapi.VerbosityLevel(verbosity)
	objects, _ := logs.Factory{}.Create(*config, logsapi.LoggingOptions{ErrorStream: book, InfoStream: book})
	err := loggedBy(t, objects, c, request)
	return book.String(), err
}

func loggedBy(t *testing.T, logger klog.Logger, c requests.Call, request proto.Message) error {
	t.Helper()
	handle := func(ctx context.Context, request any) (any, error) {
		return nil, c.Do(ctx, request.(proto.Message)) //nolint:forcetypeassert // it is what was passed in below
	}
	observe := drivercsi.Interceptor(func(string, string, time.Duration) {})
	_, err := observe(klog.NewContext(t.Context(), logger), request, &grpc.UnaryServerInfo{FullMethod: "/csi.v1/Call"}, handle)
	return err
}

// Whatever is asked for, how loud the log is, and whether it succeeds.
func TestSecretsStayOutOfTheLog(t *testing.T) {
	const secret = "hunter2-hunter2"
	for _, verbosity := range []int{0, 2, 4, 5, 10} {
		w := newControllerWorld(t)
		withSecrets := 0
		for rpc, c := range w.calls(w.create(t)) {
			if rpc == "delete" || requests.Field(c.Good, "secrets") == nil {
				continue
			}
			withSecrets++
			good := proto.Clone(c.Good)
			good.ProtoReflect().Mutable(requests.Field(good, "secrets")).Map().Set(protoreflect.ValueOfString("password").MapKey(), protoreflect.ValueOfString(secret))
			text, err := logged(t, verbosity, c, good)
			if err != nil || strings.Contains(text, secret) || verbosity >= 4 && !strings.Contains(text, "Call done") {
				t.Errorf("%s at %d: %v, logged %s", rpc, verbosity, err, text)
			}
			text, err = loggedAsJSON(t, verbosity, c, good)
			if err != nil || strings.Contains(text, secret) || verbosity >= 4 && !strings.Contains(text, `"request":"{`) {
				t.Errorf("%s at %d: %v, logged as JSON %s", rpc, verbosity, err, text)
			}
			bad := proto.Clone(good)
			switch {
			case requests.Field(bad, "volume_id") != nil:
				requests.Clear("volume_id")(bad)
			case requests.Field(bad, "name") != nil:
				requests.Clear("name")(bad)
			default:
				requests.SetText("starting_token", "none")(bad)
			}
			text, err = logged(t, verbosity, c, bad)
			if err == nil || strings.Contains(text, secret) || !strings.Contains(text, "Call failed") {
				t.Errorf("%s spoiled, at %d: %v, logged %s", rpc, verbosity, err, text)
			}
		}
		if withSecrets < 4 {
			t.Errorf("%d requests with secrets were tried, want create, publish, unpublish and expand at least", withSecrets)
		}
	}
}

func TestOverlongIDsAreCutInTheLog(t *testing.T) {
	w := newControllerWorld(t)
	long := strings.Repeat("ä", requests.TooLong/2)
	request := &csi.ControllerPublishVolumeRequest{VolumeId: long, NodeId: long, VolumeCapability: singleWriter()}
	text, err := logged(t, 2, requests.CallOf(request, w.ControllerPublishVolume), request)
	if err == nil || len(text) > 4<<10 || !strings.Contains(text, strings.Repeat("ä", 128)+"…") {
		t.Errorf("%v, logged %d bytes: %.300s", err, len(text), text)
	}
	gone := &csi.DeleteVolumeRequest{VolumeId: long}
	text, err = logged(t, 4, requests.CallOf(gone, w.DeleteVolume), gone)
	if err != nil || len(text) > 2*(8<<10) || !strings.Contains(text, "request=") {
		t.Errorf("a call that succeeds: %v, logged %d bytes: %.300s", err, len(text), text)
	}
}
