package script

import "fmt"

// ParseError rejects a whole line; nothing of it was executed.
type ParseError struct {
	// Text is the message without the position.
	Text string
	// Column counts bytes from 1.
	Column int
}

// Error is the line the console prints.
func (e *ParseError) Error() string {
	return fmt.Sprintf("%s (line 1 column %d)", e.Text, e.Column)
}

// RuntimeError is a runtime error in RouterOS' own words. It stops the program
// unless :onerror or :do on-error catches it.
type RuntimeError struct {
	// Text is the message as the console prints it.
	Text string
}

// Error is the line the console prints.
func (e *RuntimeError) Error() string { return e.Text }

// Failf makes a [RuntimeError]; a [Device] returns it for everything that is the
// caller's fault. Any other error aborts the program uncaught.
func Failf(format string, args ...any) error {
	return &RuntimeError{Text: fmt.Sprintf(format, args...)}
}
