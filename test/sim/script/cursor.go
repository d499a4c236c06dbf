package script

import "strings"

// maxDepth bounds nesting, so that no input exhausts the stack.
const maxDepth = 64

// parser walks over one line. Each method leaves pos behind what it consumed.
type parser struct {
	src   string
	pos   int
	depth int
	lang  Language
	// menu is where a bare command inside [ ] belongs; nil means the root.
	menu *Menu
	// where is the menu whose properties the current filter may name.
	where *Menu
	// uses are the properties that it has named so far.
	uses map[string]bool
}

func (p *parser) fail(at int, text string) error {
	return &ParseError{Text: text, Column: at + 1}
}

func (p *parser) syntax() error { return p.fail(p.pos, "syntax error") }

// enter counts one level of nesting; the caller defers leave.
func (p *parser) enter() error {
	p.depth++
	if p.depth > maxDepth {
		return p.syntax()
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// peek returns the next byte, 0 at the end of the line.
func (p *parser) peek() byte {
	if p.pos >= len(p.src) {
		return 0
	}
	return p.src[p.pos]
}

func (p *parser) done() bool { return p.pos >= len(p.src) }

func (p *parser) spaces() {
	for p.peek() == ' ' || p.peek() == '\t' {
		p.pos++
	}
}

// accept consumes text if it comes next.
func (p *parser) accept(text string) bool {
	if !strings.HasPrefix(p.src[p.pos:], text) {
		return false
	}
	p.pos += len(text)
	return true
}

// expect consumes c or fails.
func (p *parser) expect(c byte) error {
	if p.peek() != c || p.done() {
		return p.syntax()
	}
	p.pos++
	return nil
}

// atEnd reports whether the statement ends here.
func (p *parser) atEnd() bool {
	return p.done() || strings.IndexByte(";}])", p.peek()) >= 0
}

// run consumes the bytes that belong to a class and returns them.
func (p *parser) run(belongs func(byte) bool) string {
	start := p.pos
	for !p.done() && belongs(p.src[p.pos]) {
		p.pos++
	}
	return p.src[start:p.pos]
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// isName holds for menu, command, argument and property names.
func isName(c byte) bool { return isAlnum(c) || c == '-' || c == '.' }

// isArgument holds for the bytes of an unquoted argument value.
func isArgument(c byte) bool {
	return c > ' ' && c != 0x7f && strings.IndexByte("\";[]{}()=$'#\\", c) < 0
}

// isWord holds for the bytes of an unquoted word in an expression.
func isWord(c byte) bool {
	return isArgument(c) && strings.IndexByte(",!~<>&|:", c) < 0
}
