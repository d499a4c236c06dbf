// Command registrar tells a kubelet of one CSI driver's socket, as the upstream node-driver-registrar does in a
// cluster. That project isn't published as a Go module, and its kubelet-facing half is this small.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
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
	driver := flag.String("driver", "", "the CSI driver's name")
	socket := flag.String("socket", "", "the CSI driver's socket, as the kubelet sees it")
	listen := flag.String("registration-socket", "", "socket to serve, in the kubelet's plugins_registry folder")
	flag.Parse()
	if *driver == "" || *socket == "" || *listen == "" {
		return errors.New("--driver, --socket and --registration-socket are all needed")
	}
	if err := removeStale(*listen); err != nil {
		return err
	}
	listener, err := net.Listen("unix", *listen)
	if err != nil {
		return fmt.Errorf("listen for the kubelet: %w", err)
	}
	grpcServer := grpc.NewServer()
	registration.RegisterRegistrationServer(grpcServer, &server{info: &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: *driver, Endpoint: *socket, SupportedVersions: []string{"1.0.0"},
	}})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, grpcServer.Stop)
	return grpcServer.Serve(listener)
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
		return fmt.Errorf("--registration-socket %s: %w", path, err)
	}
	connection, err := net.Dial("unix", path)
	if err == nil {
		_ = connection.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("--registration-socket %s: another process may serve it (%v): stop that one first", path, err)
	}
	return os.Remove(path)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "registrar:", err)
		os.Exit(1)
	}
}
