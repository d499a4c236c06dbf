// Command registrar tells a kubelet of one CSI driver's socket, as the upstream node-driver-registrar does in a
// cluster, with the flags of that one that the manifests use. It isn't published as a Go module, and is this small.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/klog/v2"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

type server struct {
	registration.UnimplementedRegistrationServer
	info *registration.PluginInfo
}

// GetInfo answers the kubelet's plugin watcher.
func (s *server) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return s.info, nil
}

// NotifyRegistrationStatus logs the kubelet's verdict on the driver.
func (s *server) NotifyRegistrationStatus(_ context.Context, status *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	klog.InfoS("Kubelet answered", "registered", status.PluginRegistered, "err", status.Error)
	return &registration.RegistrationStatusResponse{}, nil
}

func run() error {
	socket := flag.String("csi-address", "/run/csi/socket", "the CSI driver's socket")
	seen := flag.String("kubelet-registration-path", "", "the CSI driver's socket, as the kubelet sees it")
	registry := flag.String("plugin-registration-path", "/registration", "the kubelet's plugins_registry folder")
	klog.InitFlags(nil)
	flag.Parse()
	if *seen == "" {
		return errors.New("--kubelet-registration-path is needed")
	}
	driver, err := driverName(*socket)
	if err != nil {
		return err
	}
	listen := filepath.Join(*registry, driver+"-reg.sock")
	if err := removeStale(listen); err != nil {
		return err
	}
	listener, err := net.Listen("unix", listen)
	if err != nil {
		return fmt.Errorf("listen for the kubelet: %w", err)
	}
	grpcServer := grpc.NewServer()
	registration.RegisterRegistrationServer(grpcServer, &server{info: &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: driver, Endpoint: *seen, SupportedVersions: []string{"1.0.0"},
	}})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, grpcServer.Stop)
	return grpcServer.Serve(listener)
}

// driverName asks the driver for its name. It waits for the driver, since a sidecar starts before the container that it
// serves.
func driverName(socket string) (string, error) {
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return "", fmt.Errorf("--csi-address %s: %w", socket, err)
	}
	defer func() { _ = connection.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	info, err := csi.NewIdentityClient(connection).GetPluginInfo(ctx, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return "", fmt.Errorf("ask the driver at %s for its name: %w", socket, err)
	}
	return info.GetName(), nil
}

// removeStale removes a socket that nobody serves any more. Anything else at the path is somebody's.
func removeStale(path string) error {
	found, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && found.Mode().Type() != os.ModeSocket {
		err = errors.New("it isn't a socket, so it is left alone")
	}
	if err != nil {
		return fmt.Errorf("the socket for the kubelet, %s: %w", path, err)
	}
	connection, err := net.Dial("unix", path)
	if err == nil {
		_ = connection.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("the socket for the kubelet, %s: another process may serve it (%v): stop that one first", path, err)
	}
	return os.Remove(path)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "registrar:", err)
		os.Exit(1)
	}
}
