package esapi

import "bufio"

// A compactPrinter writes JSON without blanks.
type compactPrinter struct {
	w     *bufio.Writer
	stack []byte
	comma bool // something stands before the next member or element
	named bool
}

func (c *compactPrinter) before() {
	if c.comma && !c.named {
		c.w.WriteByte(',')
	}
	c.named = false
}

func (c *compactPrinter) open(bracket byte) {
	c.before()
	c.w.WriteByte(bracket)
	c.stack = append(c.stack, bracket+2) // { and }, [ and ] are two apart
	c.comma = false
}

func (c *compactPrinter) close() {
	last := len(c.stack) - 1
	c.w.WriteByte(c.stack[last])
	c.stack = c.stack[:last]
	c.comma = true
}

func (c *compactPrinter) name(raw []byte) {
	c.before()
	c.w.Write(raw)
	c.w.WriteByte(':')
	c.named = true
}

func (c *compactPrinter) scalar(piece []byte, more bool) {
	if !more {
		c.before()
		c.comma = true
	}
	c.w.Write(piece)
}

func (c *compactPrinter) end() {}

// A prettyPrinter writes JSON as Elasticsearch does for ?pretty: two blanks a
// level, " : " behind names, "{ }" and "[ ]" for empty ones, a newline at the
// end.
type prettyPrinter struct {
	w     *bufio.Writer
	stack []byte
	comma bool
	named bool
}

func (p *prettyPrinter) before() {
	switch {
	case p.named:
		p.named = false
	case len(p.stack) > 0:
		if p.comma {
			p.w.WriteByte(',')
		}
		p.line()
	}
}

func (p *prettyPrinter) line() {
	p.w.WriteByte('\n')
	for range p.stack {
		p.w.WriteString("  ")
	}
}

func (p *prettyPrinter) open(bracket byte) {
	p.before()
	p.w.WriteByte(bracket)
	p.stack = append(p.stack, bracket+2)
	p.comma = false
}

func (p *prettyPrinter) close() {
	last := len(p.stack) - 1
	bracket := p.stack[last]
	p.stack = p.stack[:last]
	if p.comma {
		p.line()
	} else {
		p.w.WriteByte(' ')
	}
	p.w.WriteByte(bracket)
	p.comma = true
}

func (p *prettyPrinter) name(raw []byte) {
	p.before()
	p.w.Write(raw)
	p.w.WriteString(" : ")
	p.named = true
}

func (p *prettyPrinter) scalar(piece []byte, more bool) {
	if !more {
		p.before()
		p.comma = true
	}
	p.w.Write(piece)
}

func (p *prettyPrinter) end() { p.w.WriteByte('\n') }
