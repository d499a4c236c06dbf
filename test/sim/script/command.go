package script

import "errors"

// Call is one menu command with its evaluated arguments.
type Call struct {
	// Menu is the path of the menu, such as "/system/resource".
	Menu string
	// Command is the word behind it, such as "get".
	Command string
	// Args holds named and positional arguments by name; [Cleared] stands for
	// an argument given as !name.
	Args map[string]Value
	// Flags holds the bare words given.
	Flags map[string]bool
	// Where tells whether an item is wanted; nil wants all. Uses are the
	// properties that it looks at.
	Where func(Record) (bool, error)
	Uses  map[string]bool
}

// invocation is a parsed menu command.
type invocation struct {
	menu    *Menu
	name    string
	command *Command
	args    map[string]expression
	flags   map[string]bool
	where   expression
	uses    map[string]bool
}

func (i *invocation) eval(f *frame) (Value, error) {
	result, err := i.call(f)
	return result.Value, err
}

// call evaluates the arguments and hands the command to the device.
func (i *invocation) call(f *frame) (Result, error) {
	call := Call{Menu: i.menu.Path, Command: i.name, Args: map[string]Value{}, Flags: i.flags}
	for name, argument := range i.args {
		v, err := argument.eval(f)
		if err != nil {
			return Result{}, err
		}
		call.Args[name] = v
	}
	if i.where != nil {
		call.Where = func(row Record) (bool, error) {
			return truth(f.withRow(row), i.where)
		}
		call.Uses = i.uses
	}
	result, err := f.env.Device.Run(f.ctx, call)
	if result.Wait != nil {
		f.env.waits = append(f.env.waits, result.Wait)
	}
	return result, i.located(f, err)
}

// located adds the place to a runtime error, as RouterOS 7.20 and later do.
func (i *invocation) located(f *frame, err error) error {
	var failure *RuntimeError
	if !errors.As(err, &failure) || !f.env.Locations {
		return err
	}
	return Failf("%s (%s/%s; line 1)", failure.Text, i.menu.Path, i.name)
}

// invocation parses a menu path, a command and its arguments.
func (p *parser) invocation() (*invocation, error) {
	i := &invocation{menu: p.menu, args: map[string]expression{}, flags: map[string]bool{}}
	if p.accept("/") || i.menu == nil {
		i.menu = p.lang.Root
	}
	if err := p.path(i); err != nil {
		return nil, err
	}
	outer, filter := p.menu, p.where
	p.menu, p.where = i.menu, nil
	defer func() { p.menu, p.where = outer, filter }()
	return i, p.arguments(i)
}

// path descends menu by menu until a command is named.
func (p *parser) path(i *invocation) error {
	for {
		p.spaces()
		start := p.pos
		name := p.run(isName)
		if name == "" {
			return p.fail(start, "expected command name")
		}
		if next := i.menu.Menus[name]; next != nil {
			i.menu = next
			p.spaces()
			p.accept("/")
			continue
		}
		i.command, i.name = i.menu.Commands[name], name
		if i.command == nil {
			return p.fail(start, "bad command name "+name)
		}
		return nil
	}
}

func (p *parser) arguments(i *invocation) error {
	positional := i.command.Positional
	for {
		p.spaces()
		if p.atEnd() {
			return nil
		}
		start := p.pos
		clears := p.peek() == '!' && i.command.Clears
		if clears {
			p.pos++
		}
		name := p.run(isName)
		switch {
		case clears:
			if !i.command.Args[name] {
				return p.fail(start, "expected end of command")
			}
			i.args[name] = constant{Cleared{}}
			continue
		case i.command.Where && name == "where":
			return p.filtered(i)
		case i.command.BareWhere:
			p.pos = start
			return p.filtered(i)
		case i.command.Flags[name] && p.peek() != '=':
			i.flags[name] = true
			continue
		case i.command.Args[name] && p.accept("="):
		case len(positional) > 0 && p.peek() != '=':
			p.pos = start
			name, positional = positional[0], positional[1:]
		default:
			return p.fail(start, "expected end of command")
		}
		v, err := p.value()
		if err != nil {
			return err
		}
		i.args[name] = v
	}
}

// filtered parses the filter that ends the command.
func (p *parser) filtered(i *invocation) error {
	outer := p.uses
	p.uses = map[string]bool{}
	where, err := p.filter(i.menu)
	i.where, i.uses = where, p.uses
	p.uses = outer
	return err
}

// value parses one argument value. Unquoted words stay strings: what they
// mean is the command's business.
func (p *parser) value() (expression, error) {
	var (
		e   expression
		err error
	)
	switch p.peek() {
	case '(':
		e, err = p.parenthesis()
	case '[':
		e, err = p.substitution()
	case '"':
		e, err = p.text()
	case '$':
		e, err = p.dollar()
	default:
		w := p.run(isArgument)
		if w == "" && !p.atEnd() && p.peek() != ' ' {
			return nil, p.syntax()
		}
		e = constant{w}
	}
	if err == nil && !p.atEnd() && p.peek() != ' ' && p.peek() != '\t' {
		return nil, p.fail(p.pos, "expected end of command")
	}
	return e, err
}

// String names the command in messages.
func (c Call) String() string {
	return c.Menu + "/" + c.Command
}
