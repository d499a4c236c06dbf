package script

import (
	"errors"
	"strings"
	"time"
)

// control parses what follows a colon at the start of a statement.
func (p *parser) control() (statement, error) {
	start := p.pos
	name := p.run(isName)
	p.spaces()
	switch name {
	case "put":
		v, err := p.value()
		return put{v}, err
	case "error":
		v, err := p.value()
		return raise{v}, err
	case "delay":
		v, err := p.value()
		return delay{v}, err
	case "local":
		return p.local()
	case "if":
		return p.condition()
	case "do":
		return p.guarded()
	case "onerror":
		return p.onError()
	default:
		return nil, p.fail(start, "bad command name "+name)
	}
}

type put struct{ value expression }

func (s put) run(f *frame) error {
	return f.step(func() error {
		v, err := s.value.eval(f)
		if err != nil {
			return err
		}
		return f.print(Format(v))
	})
}

type raise struct{ value expression }

func (s raise) run(f *frame) error {
	return f.step(func() error {
		v, err := s.value.eval(f)
		if err != nil {
			return err
		}
		if f.env.Locations {
			return Failf("%s (:error; line 1)", Format(v))
		}
		return Failf("%s", Format(v))
	})
}

type delay struct{ value expression }

func (s delay) run(f *frame) error {
	var wait time.Duration
	err := f.step(func() error {
		v, err := s.value.eval(f)
		if err != nil {
			return err
		}
		given := Format(v)
		if strings.Trim(given, "0123456789") == "" {
			given += "s"
		}
		wait, err = time.ParseDuration(given)
		if err != nil {
			return Failf("invalid value for argument delay-time")
		}
		return nil
	})
	if err != nil {
		return err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-f.ctx.Done():
		return f.ctx.Err()
	}
}

type local struct {
	name  string
	value expression
}

func (s local) run(f *frame) error {
	return f.step(func() error {
		v, err := s.value.eval(f)
		f.vars[s.name] = v
		return err
	})
}

func (p *parser) local() (statement, error) {
	name := p.run(isAlnum)
	if name == "" {
		return nil, p.syntax()
	}
	p.spaces()
	if p.atEnd() {
		return local{name: name, value: constant{}}, nil
	}
	v, err := p.value()
	return local{name: name, value: v}, err
}

type condition struct {
	test expression
	arms map[string]block
}

// run evaluates the test as one step and the chosen arm statement by
// statement: between the two, statements of other programs may run.
func (s condition) run(f *frame) error {
	var holds bool
	err := f.locked(func() error {
		var err error
		holds, err = truth(f, s.test)
		return err
	})
	if err != nil {
		return err
	}
	if holds {
		return s.arms["do"].run(f)
	}
	return s.arms["else"].run(f)
}

func (p *parser) condition() (statement, error) {
	test, err := p.value()
	if err != nil {
		return nil, err
	}
	arms, err := p.blocks("do", "else")
	return condition{test: test, arms: arms}, err
}

// guard runs body and, if it fails, handler with the message in variable.
type guard struct {
	body, handler block
	variable      string
}

func (s guard) run(f *frame) error {
	err := s.body.run(f)
	var failure *RuntimeError
	if !errors.As(err, &failure) || s.handler == nil {
		return err
	}
	inner := f.scope()
	inner.vars[s.variable] = failure.Text
	return s.handler.run(inner)
}

// guarded parses :do { } on-error={ }.
func (p *parser) guarded() (statement, error) {
	body, err := p.block()
	if err != nil {
		return nil, err
	}
	blocks, err := p.blocks("on-error")
	return guard{body: body, handler: blocks["on-error"]}, err
}

// onError parses :onerror name in={ } do={ }.
func (p *parser) onError() (statement, error) {
	name := p.run(isAlnum)
	if name == "" {
		return nil, p.syntax()
	}
	blocks, err := p.blocks("in", "do")
	return guard{body: blocks["in"], handler: blocks["do"], variable: name}, err
}

// blocks parses name={ } arguments up to the end of the statement.
func (p *parser) blocks(known ...string) (map[string]block, error) {
	blocks := map[string]block{}
	for {
		p.spaces()
		if p.atEnd() {
			return blocks, nil
		}
		start := p.pos
		name := p.run(isName)
		if !Names(known...)[name] || !p.accept("=") {
			return nil, p.fail(start, "expected end of command")
		}
		b, err := p.block()
		if err != nil {
			return nil, err
		}
		if b == nil {
			b = block{}
		}
		blocks[name] = b
	}
}
