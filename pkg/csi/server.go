package csi

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"k8s.io/klog/v2"
)

// shutdownGrace is how long calls in flight may go on after the server's context has ended.
const shutdownGrace = 10 * time.Second

// Server serves CSI on one Unix socket.
type Server struct {
	socket   string
	services Services
	observe  Observer
	// serving is the socket while it is served.
	serving atomic.Pointer[socket]
}

// Services are the services of a process. Identity must be set, and at least one of the others; nil stands for none.
type Services struct {
	Identity   csi.IdentityServer
	Controller csi.ControllerServer
	Node       csi.NodeServer
}

// NewServer returns an error unless the endpoint is unix:// and an absolute path, such as unix:///csi/csi.sock.
func NewServer(endpoint string, services Services, observe Observer) (*Server, error) {
	socket, isUnix := strings.CutPrefix(endpoint, "unix://")
	if !isUnix || !filepath.IsAbs(socket) {
		return nil, fmt.Errorf("endpoint %q: want unix:// and an absolute path, such as unix:///csi/csi.sock", endpoint)
	}
	return &Server{socket: socket, services: services, observe: observe}, nil
}

// Healthy returns nil if calls to the socket arrive here, and an error that says why they don't. A second process, which
// somebody started by mistake or before this one had ended, may have taken the path. It is safe for concurrent use.
func (s *Server) Healthy() error {
	serving := s.serving.Load()
	if serving == nil {
		return errNotServing
	}
	return serving.mine()
}

var errNotServing = errors.New("the CSI socket isn't served")

// Run serves until ctx ends, and then lets calls in flight finish for up to ten seconds. It returns an error if it
// can't listen or serve. It removes nothing from the socket's path but a socket that nobody serves.
func (s *Server) Run(ctx context.Context) error {
	listener, err := listenAt(ctx, s.socket)
	if err != nil {
		return err
	}
	s.serving.Store(listener)
	defer s.serving.Store(nil)
	logger := klog.FromContext(ctx)
	withLogger := func(call context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		return handle(klog.NewContext(call, logger), request)
	}
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(withLogger, Interceptor(s.observe)))
	csi.RegisterIdentityServer(server, s.services.Identity)
	if s.services.Controller != nil {
		csi.RegisterControllerServer(server, s.services.Controller)
	}
	if s.services.Node != nil {
		csi.RegisterNodeServer(server, s.services.Node)
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		force := time.AfterFunc(shutdownGrace, server.Stop)
		defer force.Stop()
		server.GracefulStop()
	})
	logger.Info("Serving CSI", "socket", s.socket)
	err = server.Serve(listener)
	if !stop() {
		<-stopped
	}
	return err
}
