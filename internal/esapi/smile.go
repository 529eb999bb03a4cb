package esapi

import (
	"bytes"
	"encoding/base64"
	"math"
	"math/big"
	"strconv"
)

// SMILE, Jackson's binary JSON (version 1 of its specification). There is no
// well-kept library for it in Go.

var smileHeader = []byte(":)\n")

const (
	smileSharedNames  = 1 << iota // flags in the header
	smileSharedValues             //
	smileRawBinary                // says only that there may be raw bytes
)

const (
	smileEndOfText    = 0xfc
	smileRawBytes     = 0xfd
	smileEndOfContent = 0xff // separates the values of a bulk

	maxShared     = 1024 // entries of a table of shared texts
	maxSharedText = 64   // bytes; longer ones are not shared
)

// smileToJSON writes one value, or the values of a body of lines, each with a
// newline.
func smileToJSON(body []byte, lines bool, limit int) ([]byte, error) {
	r := &smileReader{in: body, out: make([]byte, 0, len(body)+len(body)/2), limit: limit}
	for first := true; len(r.in) > 0; first = false {
		if r.in[0] == smileEndOfContent {
			r.in = r.in[1:]
			if lines && !first {
				continue
			}
			if lines { // an empty line: the header of an msearch
				r.out = append(r.out, '\n')
			}
			continue
		}
		if !first && !lines {
			return nil, errorText("something follows the value")
		}
		if err := r.document(first); err != nil {
			return nil, err
		}
		if lines {
			r.out = append(r.out, '\n')
			if len(r.in) > 0 && r.in[0] == smileEndOfContent {
				r.in = r.in[1:]
			}
		}
	}
	return r.out, nil
}

type smileReader struct {
	in     []byte
	out    []byte
	limit  int
	depth  int
	flags  byte
	names  [][]byte // that later ones refer to
	values [][]byte
}

// document reads a header, if there is one, and a value.
func (r *smileReader) document(first bool) error {
	if bytes.HasPrefix(r.in, smileHeader) {
		if len(r.in) < 4 {
			return errEnds
		}
		if r.in[3]>>4 != 0 {
			return errorText("a version of the format that is not known")
		}
		r.flags, r.names, r.values = r.in[3], nil, nil
		r.in = r.in[4:]
		if len(r.in) == 0 {
			return nil
		}
	} else if first {
		return errorText("the header is missing")
	}
	return r.value()
}

func (r *smileReader) take(n int) ([]byte, error) {
	if n < 0 || n > len(r.in) {
		return nil, errEnds
	}
	b := r.in[:n]
	r.in = r.in[n:]
	return b, nil
}

func (r *smileReader) byte() (byte, error) {
	b, err := r.take(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// vint reads a number of 7 bits a byte, 6 in the last.
func (r *smileReader) vint() (uint64, error) {
	var n uint64
	for range 10 {
		c, err := r.byte()
		if err != nil {
			return 0, err
		}
		if c&0x80 != 0 {
			return n<<6 | uint64(c&0x3f), nil
		}
		n = n<<7 | uint64(c)
	}
	return 0, errorText("a number that does not end")
}

func zigzag(n uint64) int64 { return int64(n>>1) ^ -int64(n&1) }

// fixed reads a number of a fixed width, 7 bits a byte.
func (r *smileReader) fixed(width int) (uint64, error) {
	b, err := r.take(width)
	if err != nil {
		return 0, err
	}
	var n uint64
	for _, c := range b {
		n = n<<7 | uint64(c&0x7f)
	}
	return n, nil
}

func (r *smileReader) untilEnd() ([]byte, error) {
	n := bytes.IndexByte(r.in, smileEndOfText)
	if n < 0 {
		return nil, errEnds
	}
	b := r.in[:n]
	r.in = r.in[n+1:]
	return b, nil
}

func share(table *[][]byte, text []byte) {
	if len(*table) == maxShared {
		*table = (*table)[:0]
	}
	*table = append(*table, text)
}

func shared(table [][]byte, i int) ([]byte, error) {
	if i < 0 || i >= len(table) {
		return nil, errorText("a reference to a text that is not there")
	}
	return table[i], nil
}

// value writes the next value.
func (r *smileReader) value() error {
	if len(r.out) > r.limit {
		return errLarge
	}
	c, err := r.byte()
	if err != nil {
		return err
	}
	switch {
	case c == 0:
		return errorText("an unknown value")
	case c < 0x20:
		return r.text(shared(r.values, int(c)-1))
	case c < 0x40:
		return r.simple(c)
	case c < 0x80: // ASCII, 1 to 64 bytes
		return r.short(int(c) - 0x40 + 1)
	case c < 0xc0: // UTF-8, 2 to 65 bytes
		return r.short(int(c) - 0x80 + 2)
	case c < 0xe0:
		r.out = strconv.AppendInt(r.out, zigzag(uint64(c&0x1f)), 10)
		return nil
	}
	switch c {
	case 0xe0, 0xe4:
		return r.text(r.untilEnd())
	case 0xe8:
		data, err := r.safeBytes()
		return r.binary(data, err)
	case 0xec, 0xed, 0xee, 0xef:
		low, err := r.byte()
		if err != nil {
			return err
		}
		return r.text(shared(r.values, int(c&3)<<8|int(low)))
	case 0xf8:
		return r.nested('[', ']', 0xf9, r.value)
	case 0xfa:
		return r.nested('{', '}', 0xfb, r.member)
	case smileRawBytes:
		n, err := r.vint()
		if err != nil {
			return err
		}
		if n > uint64(len(r.in)) {
			return errEnds
		}
		data, err := r.take(int(n))
		return r.binary(data, err)
	}
	return errorText("an unknown value")
}

func (r *smileReader) text(s []byte, err error) error {
	if err == nil {
		r.out = appendText(r.out, s)
	}
	return err
}

func (r *smileReader) binary(data []byte, err error) error {
	if err == nil {
		r.out = appendText(r.out, []byte(base64.StdEncoding.EncodeToString(data)))
	}
	return err
}

func (r *smileReader) short(n int) error {
	s, err := r.take(n)
	if err == nil && r.flags&smileSharedValues != 0 {
		share(&r.values, s)
	}
	return r.text(s, err)
}

func (r *smileReader) simple(c byte) error {
	switch c {
	case 0x20:
		r.out = append(r.out, `""`...)
	case 0x21:
		r.out = append(r.out, "null"...)
	case 0x22:
		r.out = append(r.out, "false"...)
	case 0x23:
		r.out = append(r.out, "true"...)
	case 0x24, 0x25:
		n, err := r.vint()
		r.out = strconv.AppendInt(r.out, zigzag(n), 10)
		return err
	case 0x26:
		i, err := r.bigNumber()
		if err == nil {
			r.out = i.Append(r.out, 10)
		}
		return err
	case 0x28:
		n, err := r.fixed(5)
		r.out = appendFloat(r.out, float64(math.Float32frombits(uint32(n))), 32)
		return err
	case 0x29:
		n, err := r.fixed(10)
		r.out = appendFloat(r.out, math.Float64frombits(n), 64)
		return err
	case 0x2a:
		scale, err := r.vint()
		if err != nil {
			return err
		}
		i, err := r.bigNumber()
		if err != nil {
			return err
		}
		r.out = append(i.Append(r.out, 10), 'e')
		r.out = strconv.AppendInt(r.out, -zigzag(scale), 10)
	default:
		return errorText("an unknown value")
	}
	return nil
}

func (r *smileReader) bigNumber() (*big.Int, error) {
	data, err := r.safeBytes()
	if err != nil {
		return nil, err
	}
	if len(data) > maxBigNumber {
		return nil, errorText("a number that is too large")
	}
	i := new(big.Int).SetBytes(data)
	if len(data) > 0 && data[0]&0x80 != 0 { // two's complement
		i.Sub(i, new(big.Int).Lsh(big.NewInt(1), uint(8*len(data))))
	}
	return i, nil
}

// safeBytes reads bytes that are written with 7 bits each.
func (r *smileReader) safeBytes() ([]byte, error) {
	n, err := r.vint()
	if err != nil {
		return nil, err
	}
	if n > uint64(len(r.in)) {
		return nil, errEnds
	}
	whole, rest := int(n)/7, int(n)%7
	width := whole * 8
	if rest > 0 {
		width += rest + 1
	}
	in, err := r.take(width)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, n)
	for len(out) < int(n) {
		group := min(7, int(n)-len(out))
		var bits uint64
		for i, c := range in[:group+1] {
			if i == group { // what is left of the last byte
				bits = bits<<group | uint64(c)&(1<<group-1)
			} else {
				bits = bits<<7 | uint64(c&0x7f)
			}
		}
		in = in[group+1:]
		for i := group - 1; i >= 0; i-- {
			out = append(out, byte(bits>>(8*i)))
		}
	}
	return out, nil
}

// nested writes the members or elements up to the end mark.
func (r *smileReader) nested(open, closing, end byte, one func() error) error {
	if r.depth++; r.depth > maxNesting {
		return errNesting
	}
	defer func() { r.depth-- }()
	r.out = append(r.out, open)
	for first := true; ; first = false {
		if len(r.in) == 0 {
			return errEnds
		}
		if r.in[0] == end {
			r.in = r.in[1:]
			r.out = append(r.out, closing)
			return nil
		}
		if !first {
			r.out = append(r.out, ',')
		}
		if err := one(); err != nil {
			return err
		}
	}
}

func (r *smileReader) member() error {
	if err := r.text(r.name()); err != nil {
		return err
	}
	r.out = append(r.out, ':')
	return r.value()
}

func (r *smileReader) name() ([]byte, error) {
	c, err := r.byte()
	if err != nil {
		return nil, err
	}
	n := 0
	switch {
	case c == 0x20:
		return nil, nil
	case c >= 0x30 && c < 0x34:
		low, err := r.byte()
		if err != nil {
			return nil, err
		}
		return shared(r.names, int(c&3)<<8|int(low))
	case c == 0x34:
		return r.untilEnd()
	case c >= 0x40 && c < 0x80:
		return shared(r.names, int(c)-0x40)
	case c >= 0x80 && c < 0xc0:
		n = int(c) - 0x80 + 1
	case c >= 0xc0 && c < 0xf8:
		n = int(c) - 0xc0 + 2
	default:
		return nil, errorText("an unknown name")
	}
	s, err := r.take(n)
	if err == nil && r.flags&smileSharedNames != 0 {
		share(&r.names, s)
	}
	return s, err
}

// A smilePrinter writes SMILE without references to shared texts.
type smilePrinter struct {
	scalarWriter
	stack []byte
	begun bool
}

func newSMILEPrinter(w byteWriter) *smilePrinter {
	p := &smilePrinter{}
	p.scalarWriter = scalarWriter{w: w, form: p}
	return p
}

// begin writes the header in front of the first value.
func (p *smilePrinter) begin() {
	if !p.begun {
		p.begun = true
		p.w.Write(smileHeader)
		p.w.WriteByte(0)
	}
}

func (p *smilePrinter) open(bracket byte) {
	p.begin()
	p.flush(true)
	p.stack = append(p.stack, bracket)
	if bracket == '{' {
		p.w.WriteByte(0xfa)
	} else {
		p.w.WriteByte(0xf8)
	}
}

func (p *smilePrinter) close() {
	p.flush(true)
	last := len(p.stack) - 1
	if p.stack[last] == '{' {
		p.w.WriteByte(0xfb)
	} else {
		p.w.WriteByte(0xf9)
	}
	p.stack = p.stack[:last]
}

func (p *smilePrinter) name(raw []byte) {
	p.flush(true)
	text, _ := unescaped(raw[1:len(raw)-1], true)
	n := len(text)
	switch {
	case n == 0:
		p.w.WriteByte(0x20)
		return
	case isASCII(text) && n <= maxSharedText:
		p.w.WriteByte(0x80 + byte(n) - 1)
	case !isASCII(text) && n >= 2 && n <= 57:
		p.w.WriteByte(0xc0 + byte(n) - 2)
	default:
		p.w.WriteByte(0x34)
		p.w.Write(text)
		p.w.WriteByte(smileEndOfText)
		return
	}
	p.w.Write(text)
}

func (p *smilePrinter) scalar(piece []byte, more bool) {
	p.begin()
	p.scalarWriter.scalar(piece, more)
}

func (p *smilePrinter) end() { p.flush(true) }

func isASCII(text []byte) bool {
	for _, c := range text {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func (p *smilePrinter) shortText(text []byte) {
	n := len(text)
	switch {
	case n == 0:
		p.w.WriteByte(0x20)
	case isASCII(text) && n <= 64:
		p.w.WriteByte(0x40 + byte(n) - 1)
		p.w.Write(text)
	case !isASCII(text) && n <= 65:
		p.w.WriteByte(0x80 + byte(n) - 2)
		p.w.Write(text)
	default:
		p.longText()
		p.textPiece(text)
		p.textEnd()
	}
}

func (p *smilePrinter) longText()             { p.w.WriteByte(0xe4) }
func (p *smilePrinter) textPiece(text []byte) { p.w.Write(text) }
func (p *smilePrinter) textEnd()              { p.w.WriteByte(smileEndOfText) }

func (p *smilePrinter) literal(word byte) {
	p.w.WriteByte(map[byte]byte{'n': 0x21, 'f': 0x22, 't': 0x23}[word])
}

func (p *smilePrinter) integer(i *big.Int) {
	if !i.IsInt64() {
		p.w.WriteByte(0x26)
		p.safeBytes(twosComplement(i))
		return
	}
	n := i.Int64()
	z := uint64(n<<1) ^ uint64(n>>63)
	switch {
	case z < 32:
		p.w.WriteByte(0xc0 + byte(z))
		return
	case n >= math.MinInt32 && n <= math.MaxInt32:
		p.w.WriteByte(0x24)
	default:
		p.w.WriteByte(0x25)
	}
	p.vint(z)
}

func (p *smilePrinter) vint(n uint64) {
	b := [10]byte{9: 0x80 | byte(n&0x3f)}
	i := 9
	for n >>= 6; n > 0; n >>= 7 {
		i--
		b[i] = byte(n & 0x7f)
	}
	p.w.Write(b[i:])
}

// twosComplement are the bytes of a number as Java writes them.
func twosComplement(i *big.Int) []byte {
	if i.Sign() >= 0 {
		return append([]byte{0}, i.Bytes()...)
	}
	n := uint(len(i.Bytes())+1) * 8
	return new(big.Int).Add(i, new(big.Int).Lsh(big.NewInt(1), n)).Bytes()
}

func (p *smilePrinter) safeBytes(data []byte) {
	p.vint(uint64(len(data)))
	for len(data) > 0 {
		group := min(7, len(data))
		var bits uint64
		for _, c := range data[:group] {
			bits = bits<<8 | uint64(c)
		}
		for i := group - 1; i >= 0; i-- {
			p.w.WriteByte(byte(bits>>(group+7*i)) & 0x7f)
		}
		p.w.WriteByte(byte(bits & (1<<group - 1)))
		data = data[group:]
	}
}

func (p *smilePrinter) float(f float64) {
	p.w.WriteByte(0x29)
	bits := math.Float64bits(f)
	for i := 9; i >= 0; i-- {
		p.w.WriteByte(byte(bits>>(7*i)) & 0x7f)
	}
}
