package csi

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// stubController fails with whatever it is given, or waits until it's released.
type stubController struct {
	csi.UnimplementedControllerServer
	failure  error
	entered  chan struct{}
	released chan struct{}
}

func (s *stubController) DeleteVolume(context.Context, *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if s.entered != nil {
		close(s.entered)
		<-s.released
	}
	return &csi.DeleteVolumeResponse{}, s.failure
}

// serve runs a server until the returned function is called, which gives the error that it ended with.
func serve(t *testing.T, controller csi.ControllerServer, observe Observer) (csi.ControllerClient, func() error) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "csi.sock")
	server, err := NewServer("unix://"+socket, Services{Identity: NewNodeIdentity("test"), Controller: controller}, observe)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return csi.NewControllerClient(conn), func() error { cancel(); return <-done }
}

func TestErrorsLeaveAsStatusOnceAndAreObserved(t *testing.T) {
	observed := make(chan string, 1)
	client, stop := serve(t, &stubController{failure: fmt.Errorf("delete: %w", rds.ErrUnreachable)},
		func(method, code string, _ time.Duration) { observed <- method + " " + code })
	_, err := client.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "raid10/rds-csi/cluster-1/csi-3e2e1eef0c3d35e6f9a2a1c9a2b1"})
	if status.Code(err) != codes.Unavailable || len(status.Convert(err).Details()) != 0 {
		t.Errorf("got %v, want UNAVAILABLE without details", err)
	}
	if got := <-observed; got != "DeleteVolume Unavailable" {
		t.Errorf("observed %q", got)
	}
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// stumbling panics, as only a bug makes a handler do.
type stumbling struct {
	csi.UnimplementedControllerServer
}

func (stumbling) DeleteVolume(context.Context, *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	panic("nobody foresaw this")
}

func TestAPanicEndsOneCallOnly(t *testing.T) {
	client, stop := serve(t, stumbling{}, func(string, string, time.Duration) {})
	for range 2 {
		_, err := client.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "raid10/rds-csi/cluster-1/csi-3e2e1eef0c3d35e6f9a2a1c9a2b1"})
		if status.Code(err) != codes.Internal {
			t.Errorf("got %v, want INTERNAL", err)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// A call that is under way when the process is told to stop is finished, not cut off.
func TestStoppingFinishesCallsInFlight(t *testing.T) {
	controller := &stubController{entered: make(chan struct{}), released: make(chan struct{})}
	client, stop := serve(t, controller, func(string, string, time.Duration) {})
	result := make(chan error, 1)
	go func() {
		_, err := client.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "raid10/rds-csi/cluster-1/csi-3e2e1eef0c3d35e6f9a2a1c9a2b1"})
		result <- err
	}()
	<-controller.entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	close(controller.released)
	if err := <-result; err != nil {
		t.Errorf("the call in flight: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestEndpointsThatCannotWork(t *testing.T) {
	for _, endpoint := range []string{"", "tcp://127.0.0.1:1", "unix://relative", "/csi.sock"} {
		if _, err := NewServer(endpoint, Services{}, nil); err == nil {
			t.Errorf("%q: want an error", endpoint)
		}
	}
}
