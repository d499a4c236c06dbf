package failure

import (
	"context"
	"fmt"
	"runtime/debug"

	"k8s.io/klog/v2"
)

// Recover runs operate and returns its error, or ErrPanic if it panics. A bug in one call must not end the process.
// Each goroutine must call Recover itself, because a panic can only be recovered within its goroutine.
func Recover(ctx context.Context, operate func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("%w: %v", ErrPanic, reason)
			klog.FromContext(ctx).Error(err, "Panic", "stack", string(debug.Stack()))
		}
	}()
	return operate()
}
