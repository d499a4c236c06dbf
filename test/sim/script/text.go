package script

import (
	"encoding/hex"
	"strings"
)

// text is a double-quoted string: pieces that are joined when it is evaluated.
type text []expression

func (t text) eval(f *frame) (Value, error) {
	var b strings.Builder
	for _, piece := range t {
		v, err := piece.eval(f)
		if err != nil {
			return nil, err
		}
		b.WriteString(Format(v))
	}
	return b.String(), nil
}

// text parses a quoted string with its escapes and $ expansions. Expansion is
// what makes an unescaped $ in a client's data visible.
func (p *parser) text() (expression, error) {
	if err := p.expect('"'); err != nil {
		return nil, err
	}
	var pieces text
	for {
		pieces = p.plain(pieces)
		switch p.peek() {
		case '"':
			p.pos++
			return pieces, nil
		case '\\':
			c, err := p.escape()
			if err != nil {
				return nil, err
			}
			pieces = append(pieces, constant{string(c)})
		case '$':
			e, err := p.dollar()
			if err != nil {
				return nil, err
			}
			pieces = append(pieces, e)
		default:
			return nil, p.syntax()
		}
	}
}

// plain consumes the bytes that stand for themselves.
func (p *parser) plain(pieces text) text {
	literal := p.run(func(c byte) bool {
		return c != '"' && c != '\\' && c != '$' && c != '\n' && c != '\r' && c != 0
	})
	if literal == "" {
		return pieces
	}
	return append(pieces, constant{literal})
}

// escape consumes a backslash sequence and returns what it stands for.
func (p *parser) escape() ([]byte, error) {
	if p.pos+1 >= len(p.src) {
		return nil, p.syntax()
	}
	from := "\"\\$?_nrtabfv"
	to := "\"\\$? \n\r\t\a\b\f\v"
	if i := strings.IndexByte(from, p.src[p.pos+1]); i >= 0 {
		p.pos += 2
		return []byte{to[i]}, nil
	}
	if p.pos+2 >= len(p.src) {
		return nil, p.syntax()
	}
	// The console knows upper-case digits only.
	digits := p.src[p.pos+1 : p.pos+3]
	decoded, err := hex.DecodeString(digits)
	if err != nil || digits != strings.ToUpper(digits) {
		return nil, p.syntax()
	}
	p.pos += 3
	return decoded, nil
}

// dollar parses $name, $(expression) or $[command].
func (p *parser) dollar() (expression, error) {
	if err := p.expect('$'); err != nil {
		return nil, err
	}
	switch p.peek() {
	case '(':
		return p.parenthesis()
	case '[':
		return p.substitution()
	}
	name := p.run(isAlnum)
	if name == "" {
		return nil, p.syntax()
	}
	if p.where != nil && p.where.Properties[name] {
		return p.property(name), nil
	}
	return variable{name}, nil
}
