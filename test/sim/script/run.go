package script

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Device carries out menu commands.
type Device interface {
	// Run carries out one command. It is called with Env.Lock held. An error
	// of type *RuntimeError is shown to the caller and can be caught by the
	// program; any other aborts it.
	Run(ctx context.Context, call Call) (Result, error)
}

// Result is what a command leaves behind.
type Result struct {
	// Value is what [command] yields.
	Value Value
	// Text is what the command prints as a statement of its own; its lines
	// end in "\n", the last without.
	Text string
	// Wait, when set, is called without the lock; the statement is over only
	// when it returns. It must be bounded.
	Wait func(ctx context.Context)
}

// Env is what a program runs in. It belongs to one program at a time.
type Env struct {
	// Device carries out the menu commands.
	Device Device
	// Lock is held for one statement at a time, so that programs that share
	// it interleave by statements.
	Lock sync.Locker
	// Out receives the output with CRLF line ends.
	Out io.Writer
	// BeforeStatement, when set, is called before each simple statement
	// (everything but :if, :do and :onerror, whose insides count); its error
	// aborts the program and cannot be caught by it.
	BeforeStatement func() error
	// Locations adds " (/menu/command; line 1)" to runtime errors.
	Locations bool
	// EmptyAsString makes :serialize write an empty list as "".
	EmptyAsString bool
	// RawControls makes :serialize write line ends in a text as they are.
	RawControls bool

	waits []func(context.Context)
}

// Run executes the program. A runtime error is printed like any other output,
// as the console does; an error is returned only when the program was aborted.
func (p *Program) Run(ctx context.Context, env *Env) error {
	f := &frame{ctx: ctx, env: env}
	err := p.statements.run(f)
	if failure, ok := errors.AsType[*RuntimeError](err); ok {
		return f.print(failure.Text)
	}
	return err
}

// frame is one scope of a running program.
type frame struct {
	ctx    context.Context
	env    *Env
	parent *frame
	vars   map[string]Value
	row    Record
}

func (f *frame) scope() *frame {
	return &frame{ctx: f.ctx, env: f.env, parent: f, row: f.row, vars: map[string]Value{}}
}

func (f *frame) withRow(row Record) *frame {
	inner := f.scope()
	inner.row = row
	return inner
}

func (f *frame) lookup(name string) Value {
	for ; f != nil; f = f.parent {
		if v, ok := f.vars[name]; ok {
			return v
		}
	}
	return nil
}

// step runs one simple statement.
func (f *frame) step(do func() error) error {
	if err := f.ctx.Err(); err != nil {
		return err
	}
	if f.env.BeforeStatement != nil {
		if err := f.env.BeforeStatement(); err != nil {
			return err
		}
	}
	return f.locked(do)
}

// locked holds the lock while do runs, and then does its waiting without.
func (f *frame) locked(do func() error) error {
	f.env.Lock.Lock()
	err := do()
	f.env.Lock.Unlock()
	for _, wait := range f.env.waits {
		wait(f.ctx)
	}
	f.env.waits = nil
	return err
}

// print writes lines with the line ends of the console.
func (f *frame) print(text string) error {
	if _, err := io.WriteString(f.env.Out, crlf(text)); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
