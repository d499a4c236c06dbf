package transport

import "errors"

// ConnectResult is how an attempt to connect ended, as metrics name it.
type ConnectResult string

// The results of an attempt to connect.
const (
	ConnectDone        ConnectResult = "done"
	ConnectUnreachable ConnectResult = "unreachable"
	ConnectHostKey     ConnectResult = "host_key"
	ConnectPermission  ConnectResult = "permission"
	ConnectCredentials ConnectResult = "credentials"
)

// ConnectResults are all of them, for metrics to declare.
func ConnectResults() []ConnectResult {
	return []ConnectResult{ConnectDone, ConnectUnreachable, ConnectHostKey, ConnectPermission, ConnectCredentials}
}

func connectResultOf(err error) ConnectResult {
	var field *FieldError
	switch {
	case err == nil:
		return ConnectDone
	case errors.Is(err, ErrHostKey):
		return ConnectHostKey
	case errors.Is(err, ErrPermission):
		return ConnectPermission
	case errors.As(err, &field):
		return ConnectCredentials
	default:
		return ConnectUnreachable
	}
}
