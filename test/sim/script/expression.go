package script

import (
	"cmp"
	"regexp"
)

// expression is anything that yields a value.
type expression interface {
	eval(f *frame) (Value, error)
}

type constant struct{ value Value }

func (c constant) eval(*frame) (Value, error) { return c.value, nil }

// variable is $name; a name nobody set yields nothing, silently.
type variable struct{ name string }

func (v variable) eval(f *frame) (Value, error) { return f.lookup(v.name), nil }

type not struct{ operand expression }

func (n not) eval(f *frame) (Value, error) {
	v, err := truth(f, n.operand)
	return !v, err
}

// logic is && or ||; decisive is the left value that settles the result.
type logic struct {
	left, right expression
	decisive    bool
}

func (l logic) eval(f *frame) (Value, error) {
	v, err := truth(f, l.left)
	if err != nil || v == l.decisive {
		return v, err
	}
	return truth(f, l.right)
}

func truth(f *frame, e expression) (bool, error) {
	v, err := e.eval(f)
	if err != nil {
		return false, err
	}
	switch v := v.(type) {
	case bool:
		return v, nil
	case nil:
		return false, nil
	default:
		return false, Failf("conditional not boolean")
	}
}

type concatenation struct{ left, right expression }

func (c concatenation) eval(f *frame) (Value, error) {
	return text{c.left, c.right}.eval(f)
}

type comparison struct {
	left, right expression
	operator    string
	// compiled is the pattern that was matched last, for the items of a filter.
	compiled *regexp.Regexp
}

func (c *comparison) eval(f *frame) (Value, error) {
	left, err := c.left.eval(f)
	if err != nil {
		return nil, err
	}
	right, err := c.right.eval(f)
	if err != nil {
		return nil, err
	}
	switch c.operator {
	case "=":
		return equal(left, right), nil
	case "!=":
		return !equal(left, right), nil
	case "~":
		return c.matches(left, right)
	default:
		return ordered(left, right, c.operator)
	}
}

// matches applies a POSIX extended regular expression. An item without the
// property never matches.
func (c *comparison) matches(subject, pattern Value) (Value, error) {
	if subject == nil {
		return false, nil
	}
	if source := Format(pattern); c.compiled == nil || c.compiled.String() != source {
		re, err := regexp.CompilePOSIX(source)
		if err != nil {
			return nil, Failf("bad regexp: %v", err)
		}
		c.compiled = re
	}
	return c.compiled.MatchString(Format(subject)), nil
}

func ordered(left, right Value, operator string) (Value, error) {
	a, aOK := left.(int64)
	b, bOK := right.(int64)
	if !aOK || !bOK {
		return false, nil
	}
	order := cmp.Compare(a, b)
	switch operator {
	case "<":
		return order < 0, nil
	case ">":
		return order > 0, nil
	case "<=":
		return order <= 0, nil
	default:
		return order >= 0, nil
	}
}

// parenthesis parses ( expression ).
func (p *parser) parenthesis() (expression, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	if err := p.expect('('); err != nil {
		return nil, err
	}
	e, err := p.expression()
	if err != nil {
		return nil, err
	}
	p.spaces()
	return e, p.expect(')')
}

// expression parses the loosest binding, or.
func (p *parser) expression() (expression, error) {
	left, err := p.conjunction()
	for err == nil && p.operator("||", "or") {
		var right expression
		right, err = p.conjunction()
		left = logic{left: left, right: right, decisive: true}
	}
	return left, err
}

func (p *parser) conjunction() (expression, error) {
	left, err := p.negation()
	for err == nil && p.operator("&&", "and") {
		var right expression
		right, err = p.negation()
		left = logic{left: left, right: right}
	}
	return left, err
}

// operator consumes a symbol or the word that means the same.
func (p *parser) operator(symbol, word string) bool {
	p.spaces()
	if p.accept(symbol) {
		return true
	}
	start := p.pos
	if p.run(isWord) == word {
		return true
	}
	p.pos = start
	return false
}

func (p *parser) negation() (expression, error) {
	p.spaces()
	if p.peek() != '!' {
		return p.comparison()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	p.pos++
	operand, err := p.negation()
	return not{operand}, err
}

func (p *parser) comparison() (expression, error) {
	start := p.pos
	left, err := p.concatenation()
	if err != nil {
		return nil, err
	}
	if p.unknownProperty(left) {
		return nil, p.fail(start, "expected end of command")
	}
	p.spaces()
	for _, operator := range []string{"!=", "<=", ">=", "=", "<", ">", "~"} {
		if p.accept(operator) {
			right, err := p.concatenation()
			return &comparison{left: left, right: right, operator: operator}, err
		}
	}
	return left, nil
}

func (p *parser) concatenation() (expression, error) {
	left, err := p.primary()
	for err == nil {
		p.spaces()
		if p.atID() || !p.accept(".") {
			break
		}
		var right expression
		right, err = p.primary()
		left = concatenation{left: left, right: right}
	}
	return left, err
}

func (p *parser) primary() (expression, error) {
	p.spaces()
	switch p.peek() {
	case '(':
		return p.parenthesis()
	case '[':
		return p.substitution()
	case '"':
		return p.text()
	case '$':
		return p.dollar()
	}
	word := p.run(isWord)
	if word == "" {
		return nil, p.syntax()
	}
	return p.bareword(word), nil
}
