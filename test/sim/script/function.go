package script

// lengthOf is [:len value].
type lengthOf struct{ value expression }

func (e lengthOf) eval(f *frame) (Value, error) {
	v, err := e.value.eval(f)
	return length(v), err
}

func (p *parser) len() (expression, error) {
	p.spaces()
	v, err := p.value()
	return lengthOf{v}, err
}

// serialized is [:serialize to=json value=...].
type serialized struct {
	value expression
	style jsonStyle
}

func (e serialized) eval(f *frame) (Value, error) {
	v, err := e.value.eval(f)
	if err != nil {
		return nil, err
	}
	style := e.style
	style.emptyAsString, style.rawControls = f.env.EmptyAsString, f.env.RawControls
	return style.encode(v)
}

func (p *parser) serialize() (expression, error) {
	e := serialized{value: constant{}}
	for {
		p.spaces()
		if p.atEnd() {
			return e, nil
		}
		if err := p.serializeArgument(&e); err != nil {
			return nil, err
		}
	}
}

// serializeArgument parses one argument. to and options are checked while
// parsing: an older version rejects the whole line over an unknown option.
func (p *parser) serializeArgument(e *serialized) error {
	start := p.pos
	name := p.run(isName)
	if !p.accept("=") {
		return p.fail(start, "expected end of command")
	}
	var err error
	switch {
	case name == "value":
		e.value, err = p.value()
		return err
	case name == "to" && p.run(isArgument) == "json":
		return nil
	case name == "options" && p.lang.SerializeOptions:
		e.style.keepStrings = p.run(isArgument) == "json.no-string-conversion"
		if e.style.keepStrings {
			return nil
		}
	}
	return p.fail(start, "expected end of command")
}
