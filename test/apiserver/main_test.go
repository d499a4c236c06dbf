package apiserver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"git.srvlab.io/whiskey/rds-csi-driver/test/cluster"
)

const (
	driver = cluster.DriverName
	// restarter is the pod-restarter's ServiceAccount, Lease and component, and controller the controller's.
	restarter  = "rds-csi-pod-restarter"
	controller = "rds-csi-controller"
	// patience bounds every wait for something that must happen. It is long since it only matters when a test fails.
	patience = 60 * time.Second
	askEvery = 50 * time.Millisecond
)

// api is the API server that every test uses, with objects of its own.
var api *cluster.Cluster

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	harness, programs := os.Getenv("RDS_CSI_HARNESS"), os.Getenv("RDS_CSI_PROGRAMS")
	if harness == "" || programs == "" {
		return 1, errors.New("set RDS_CSI_HARNESS to the folder that make harness builds to, and RDS_CSI_PROGRAMS to the one of make build; make apiserver does both")
	}
	// Sockets below a run folder need a short path, which t.TempDir doesn't give.
	folder, err := os.MkdirTemp("", "rds-api-")
	if err != nil {
		return 1, err
	}
	defer func() {
		if code != 0 {
			err = errors.Join(err, fmt.Errorf("the logs are in %s", filepath.Join(folder, "logs")))
			return
		}
		err = errors.Join(err, os.RemoveAll(folder))
	}()
	api, err = cluster.StartAPIServer(context.Background(), cluster.Options{
		Folder: folder, Harness: harness, Programs: programs, Manifests: "../../manifests",
		Progress: func(format string, values ...any) { fmt.Printf(format+"\n", values...) },
	})
	if err != nil {
		return 1, err
	}
	if err := api.Install(context.Background(), "../../manifests/pod-restarter"); err != nil {
		return 1, errors.Join(err, cluster.Stop(folder))
	}
	code = m.Run()
	if err := cluster.Stop(folder); err != nil {
		return 1, err
	}
	return code, nil
}

// admin talks to the API server without any limits.
func admin() kubernetes.Interface { return api.Client() }

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("waited %s in vain: %s", patience, what)
		}
	}
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}
