package script

import "strings"

// statement is one step of a program.
type statement interface {
	run(f *frame) error
}

// block is a list of statements in a scope of its own.
type block []statement

func (b block) run(f *frame) error {
	inner := f.scope()
	for _, s := range b {
		if err := s.run(inner); err != nil {
			return err
		}
	}
	return nil
}

// Program is a parsed line.
type Program struct{ statements block }

// Parse reads a whole line. Its errors are of type *ParseError. A line break
// inside the line is one: the console takes a single line per command.
func Parse(line string, lang Language) (*Program, error) {
	line = strings.TrimRight(line, "\r\n")
	p := &parser{src: line, lang: lang}
	if i := strings.IndexAny(line, "\r\n"); i >= 0 {
		return nil, p.fail(i, "syntax error")
	}
	b, err := p.statements()
	if err != nil {
		return nil, err
	}
	if !p.done() {
		return nil, p.syntax()
	}
	return &Program{statements: b}, nil
}

// statements parses up to the end of the line or a closing bracket.
func (p *parser) statements() (block, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	var b block
	for {
		p.spaces()
		if p.accept(";") {
			continue
		}
		if p.atEnd() {
			return b, nil
		}
		s, err := p.statement()
		if err != nil {
			return nil, err
		}
		b = append(b, s)
		p.spaces()
		if !p.atEnd() {
			return nil, p.fail(p.pos, "expected end of command")
		}
	}
}

func (p *parser) statement() (statement, error) {
	if p.accept(":") {
		return p.control()
	}
	i, err := p.invocation()
	return &commandStatement{i}, err
}

// block parses { statements }. Commands in it start from the root again.
func (p *parser) block() (block, error) {
	if err := p.expect('{'); err != nil {
		return nil, err
	}
	outer := p.menu
	p.menu = nil
	defer func() { p.menu = outer }()
	b, err := p.statements()
	if err != nil {
		return nil, err
	}
	return b, p.expect('}')
}

// commandStatement is a menu command on its own; what it prints is shown.
type commandStatement struct{ command *invocation }

func (c *commandStatement) run(f *frame) error {
	return f.step(func() error {
		result, err := c.command.call(f)
		if err != nil || result.Text == "" {
			return err
		}
		return f.print(result.Text)
	})
}

// substitution parses [ command ] and yields what the command returns.
func (p *parser) substitution() (expression, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	if err := p.expect('['); err != nil {
		return nil, err
	}
	filter := p.where
	p.where = nil
	defer func() { p.where = filter }()
	p.spaces()
	e, err := p.substituted()
	if err != nil {
		return nil, err
	}
	p.spaces()
	if p.peek() != ']' {
		return nil, p.fail(p.pos, "expected end of command")
	}
	p.pos++
	return e, nil
}

func (p *parser) substituted() (expression, error) {
	if !p.accept(":") {
		i, err := p.invocation()
		return i, err
	}
	start := p.pos
	switch name := p.run(isName); name {
	case "len":
		return p.len()
	case "serialize":
		return p.serialize()
	default:
		return nil, p.fail(start, "bad command name "+name)
	}
}
