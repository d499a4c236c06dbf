package script

import "strings"

// property is a property of the item a filter looks at.
type property struct{ name string }

func (p property) eval(f *frame) (Value, error) { return f.row[p.name], nil }

// word is an unquoted word that stands for itself.
type word struct{ value Value }

func (w word) eval(*frame) (Value, error) { return w.value, nil }

// bareword resolves an unquoted word: inside a filter a property name always
// means the property, on either side of an operator.
func (p *parser) bareword(name string) expression {
	if p.where != nil && p.where.Properties[name] {
		return p.property(name)
	}
	return word{literal(name)}
}

// property is a property that the filter looks at.
func (p *parser) property(name string) property {
	p.uses[name] = true
	return property{name}
}

// atID reports whether the next term of a filter is about .id, whose dot is
// not the joining operator.
func (p *parser) atID() bool {
	return p.where != nil && strings.HasPrefix(p.src[p.pos:], ".id")
}

// unknownProperty reports a filter whose left side names nothing.
func (p *parser) unknownProperty(e expression) bool {
	_, bare := e.(word)
	return bare && p.where != nil
}

// filter parses the terms behind where, up to the end of the command. Terms
// without an operator between them must all hold.
func (p *parser) filter(menu *Menu) (expression, error) {
	outer := p.where
	p.where = menu
	defer func() { p.where = outer }()
	var all expression
	for {
		p.spaces()
		if p.atEnd() {
			return all, nil
		}
		term, err := p.expression()
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = term
		} else {
			all = logic{left: all, right: term}
		}
	}
}
