package csi

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/kubernetes-csi/csi-lib-utils/protosanitizer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
)

// Observer is told of every finished call: the RPC's name, the name of its gRPC code, and how long it took. It must not
// block, and is called concurrently.
type Observer func(method, code string, took time.Duration)

// volumeRequest and nodeRequest are what most requests have in common.
type (
	volumeRequest interface{ GetVolumeId() string }
	nodeRequest   interface{ GetNodeId() string }
)

// maxLogged is how many bytes of an ID are logged, and maxLoggedRequest of a request: all of what is ours. Anybody can send
// longer ones.
const (
	maxLogged        = 256
	maxLoggedRequest = 8 << 10
)

// cut shortens a text to so many bytes, between two characters.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// cutRequest is a request that is only made a text if it is logged.
type cutRequest struct{ fmt.Stringer }

func (r cutRequest) String() string { return cut(r.Stringer.String(), maxLoggedRequest) }

// Interceptor gives every call a logger that names what the call is about, turns its error into a status, and reports it
// to observe once.
func Interceptor(observe Observer) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		method := path.Base(info.FullMethod)
		logger := klog.FromContext(ctx).WithValues("rpc", method)
		if volume, ok := request.(volumeRequest); ok && volume.GetVolumeId() != "" {
			logger = logger.WithValues("volume", cut(volume.GetVolumeId(), maxLogged))
		}
		if node, ok := request.(nodeRequest); ok && node.GetNodeId() != "" {
			logger = logger.WithValues("node", cut(node.GetNodeId(), maxLogged))
		}
		start := time.Now()
		var response any
		ctx = klog.NewContext(ctx, logger)
		err := failure.Recover(ctx, func() (err error) {
			response, err = handle(ctx, request)
			return err
		})
		took := time.Since(start)
		err = failure.Status(err)
		observe(method, status.Code(err).String(), took)
		switch {
		case err != nil:
			logger.Error(err, "Call failed", "code", status.Code(err).String(), "took", took)
		case method == "Probe":
			logger.V(5).Info("Call done", "took", took)
		default:
			logger.V(4).Info("Call done", "took", took, "request", cutRequest{protosanitizer.StripSecrets(request)})
		}
		return response, err
	}
}
