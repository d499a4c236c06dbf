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

// Observer is called after every call, with the RPC's name, the name of its gRPC code, and the time that it took. It
// must not block, and is called concurrently.
type Observer func(method, code string, took time.Duration)

// maxLogged and maxLoggedRequest bound what is logged of an ID and of a request, in bytes. They leave room for every
// valid one, but a caller can send longer ones.
const (
	maxLogged        = 256
	maxLoggedRequest = 8 << 10
)

// cut shortens a text to at most limit bytes and an ellipsis. It doesn't cut within a character.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// cutRequest is formatted only if it is logged, and shortened then.
type cutRequest struct{ fmt.Stringer }

func (r cutRequest) String() string { return cut(r.Stringer.String(), maxLoggedRequest) }

// Interceptor returns the interceptor of every call. It adds the RPC, the volume and the node to the call's logger,
// turns an error or a panic into a status, logs the outcome, and calls observe once.
func Interceptor(observe Observer) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		method := path.Base(info.FullMethod)
		logger := klog.FromContext(ctx).WithValues("rpc", method)
		if volume, ok := request.(interface{ GetVolumeId() string }); ok && volume.GetVolumeId() != "" {
			logger = logger.WithValues("volume", cut(volume.GetVolumeId(), maxLogged))
		}
		if node, ok := request.(interface{ GetNodeId() string }); ok && node.GetNodeId() != "" {
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
