package failure

import (
	"context"
	"fmt"
	"runtime/debug"

	"k8s.io/klog/v2"
)

// Recover runs operate and returns a panic of it as ErrPanic. One request that nobody foresaw must not end the others, nor
// the process that every volume depends on. Each goroutine has to call it itself: no other one can recover for it.
func Recover(ctx context.Context, operate func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("%w: %v", ErrPanic, reason)
			klog.FromContext(ctx).Error(err, "Panic", "stack", string(debug.Stack()))
		}
	}()
	return operate()
}
