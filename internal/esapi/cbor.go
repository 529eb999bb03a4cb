package esapi

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// CBOR (RFC 8949). It is read here rather than by a library, because keys have
// to keep their order and numbers their kind.

type cborReader struct {
	in    []byte
	out   []byte
	limit int
	depth int
}

// selfDescribed begins a body that says that it is CBOR.
const selfDescribed = 55799

func cborToJSON(body []byte, limit int) ([]byte, error) {
	if len(body) == 0 {
		return nil, nil
	}
	r := &cborReader{in: body, out: make([]byte, 0, len(body)+len(body)/4), limit: limit}
	if err := r.value(); err != nil {
		return nil, err
	}
	if len(r.in) > 0 {
		return nil, errorText("something follows the value")
	}
	return r.out, nil
}

type errorText string

func (e errorText) Error() string { return string(e) }

// The kinds of CBOR's items, its major types.
const (
	cborUnsigned = iota
	cborNegative
	cborBytes
	cborText
	cborArray
	cborMap
	cborTag
	cborSimple
)

const (
	cborIndefinite = 31
	cborBreak      = 0xff
)

// head reads the beginning of an item.
func (r *cborReader) head() (kind int, info byte, n uint64, err error) {
	if len(r.in) == 0 {
		return 0, 0, 0, errEnds
	}
	first := r.in[0]
	kind, info = int(first>>5), first&31
	r.in = r.in[1:]
	if info < 24 {
		return kind, info, uint64(info), nil
	}
	if info == cborIndefinite {
		return kind, info, 0, nil
	}
	if info > 27 {
		return 0, 0, 0, errorText("an unknown length")
	}
	width := 1 << (info - 24)
	if len(r.in) < width {
		return 0, 0, 0, errEnds
	}
	for _, c := range r.in[:width] {
		n = n<<8 | uint64(c)
	}
	r.in = r.in[width:]
	return kind, info, n, nil
}

// value writes the next item.
func (r *cborReader) value() error {
	if len(r.out) > r.limit {
		return errLarge
	}
	if r.depth++; r.depth > maxNesting {
		return errNesting
	}
	defer func() { r.depth-- }()
	kind, info, n, err := r.head()
	if err != nil {
		return err
	}
	if info == cborIndefinite && (kind < cborBytes || kind == cborTag) {
		return errorText("an item without a length")
	}
	switch kind {
	case cborUnsigned:
		r.out = strconv.AppendUint(r.out, n, 10)
	case cborNegative:
		b := new(big.Int).SetUint64(n)
		r.out = b.Sub(big.NewInt(-1), b).Append(r.out, 10)
	case cborBytes:
		data, err := r.string(kind, info, n)
		if err != nil {
			return err
		}
		r.out = appendText(r.out, []byte(base64.StdEncoding.EncodeToString(data)))
	case cborText:
		text, err := r.string(kind, info, n)
		if err != nil {
			return err
		}
		r.out = appendText(r.out, text)
	case cborArray:
		r.out = append(r.out, '[')
		if err := r.members(info, n, r.value); err != nil {
			return err
		}
		r.out = append(r.out, ']')
	case cborMap:
		r.out = append(r.out, '{')
		if err := r.members(info, n, r.member); err != nil {
			return err
		}
		r.out = append(r.out, '}')
	case cborTag:
		return r.tagged(n)
	case cborSimple:
		return r.simple(info, n)
	}
	return nil
}

// members writes n items, or those up to the break.
func (r *cborReader) members(info byte, n uint64, one func() error) error {
	for i := uint64(0); info == cborIndefinite || i < n; i++ {
		if info == cborIndefinite && len(r.in) > 0 && r.in[0] == cborBreak {
			r.in = r.in[1:]
			return nil
		}
		if i > 0 {
			r.out = append(r.out, ',')
		}
		if err := one(); err != nil {
			return err
		}
	}
	return nil
}

func (r *cborReader) member() error {
	from := len(r.out)
	if err := r.value(); err != nil {
		return err
	}
	switch key := string(r.out[from:]); {
	case key[0] == '"':
	case key[0] == '{' || key[0] == '[':
		return errorText("a key that is not a text")
	default: // a number: its text
		r.out = appendText(r.out[:from], []byte(key))
	}
	r.out = append(r.out, ':')
	return r.value()
}

// string reads a text or bytes, in one piece or in several.
func (r *cborReader) string(kind int, info byte, n uint64) ([]byte, error) {
	if info != cborIndefinite {
		if n > uint64(len(r.in)) {
			return nil, errEnds
		}
		s := r.in[:n]
		r.in = r.in[n:]
		return s, nil
	}
	var s []byte
	for {
		if len(r.in) > 0 && r.in[0] == cborBreak {
			r.in = r.in[1:]
			return s, nil
		}
		k, i, n, err := r.head()
		if err != nil {
			return nil, err
		}
		if k != kind || i == cborIndefinite {
			return nil, errorText("a text with a piece that is none")
		}
		piece, err := r.string(k, i, n)
		if err != nil {
			return nil, err
		}
		s = append(s, piece...)
	}
}

// tagged writes large and decimal numbers; other tags say nothing that JSON has.
func (r *cborReader) tagged(tag uint64) error {
	const positive, negative, decimal = 2, 3, 4
	switch tag {
	case positive, negative:
		kind, info, n, err := r.head()
		if err != nil {
			return err
		}
		if kind != cborBytes {
			return errorText("a large number that is no bytes")
		}
		data, err := r.string(kind, info, n)
		if err != nil {
			return err
		}
		if len(data) > maxBigNumber {
			return errorText("a number that is too large")
		}
		b := new(big.Int).SetBytes(data)
		if tag == negative {
			b.Sub(big.NewInt(-1), b)
		}
		r.out = b.Append(r.out, 10)
		return nil
	case decimal:
		part := &cborReader{in: r.in, limit: r.limit, depth: r.depth}
		if err := part.value(); err != nil {
			return err
		}
		r.in = part.in
		exponent, mantissa, ok := strings.Cut(strings.Trim(string(part.out), "[]"), ",")
		if !ok || !isWhole(exponent) || !isWhole(mantissa) {
			return errorText("a decimal number that is no pair of numbers")
		}
		r.out = append(append(append(r.out, mantissa...), 'e'), exponent...)
		return nil
	}
	return r.value()
}

// maxBigNumber bounds numbers that are bytes: writing one in decimal takes time
// that grows faster than its length.
const maxBigNumber = 1 << 10

func isWhole(s string) bool {
	_, err := strconv.ParseInt(s, 10, 64)
	return err == nil || len(s) > 0 && len(s) < 3*maxBigNumber && strings.Trim(strings.TrimPrefix(s, "-"), "0123456789") == "" && s != "-"
}

func (r *cborReader) simple(info byte, n uint64) error {
	switch info {
	case 20:
		r.out = append(r.out, "false"...)
	case 21:
		r.out = append(r.out, "true"...)
	case 22, 23: // null, undefined
		r.out = append(r.out, "null"...)
	case 25:
		r.out = appendFloat(r.out, halfFloat(uint16(n)), 32)
	case 26:
		r.out = appendFloat(r.out, float64(math.Float32frombits(uint32(n))), 32)
	case 27:
		r.out = appendFloat(r.out, math.Float64frombits(n), 64)
	default:
		return errorText("an unknown value")
	}
	return nil
}

func halfFloat(bits uint16) float64 {
	exponent, mantissa := int(bits>>10&31), float64(bits&1023)
	var f float64
	switch exponent {
	case 0:
		f = math.Ldexp(mantissa, -24)
	case 31:
		f = math.Inf(1)
		if mantissa != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(mantissa+1024, exponent-25)
	}
	if bits&0x8000 != 0 {
		f = -f
	}
	return f
}

// appendFloat writes the shortest text of a number with a fraction, so that it
// stays one. What is no number becomes a text, as Java prints it.
func appendFloat(b []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	from := len(b)
	b = strconv.AppendFloat(b, f, 'g', -1, bits)
	if !strings.ContainsAny(string(b[from:]), ".e") {
		b = append(b, ".0"...)
	}
	return b
}

// A cborPrinter writes CBOR as Elasticsearch does: objects and arrays without a
// length, so that they can be written while they come.
type cborPrinter struct{ scalarWriter }

func newCBORPrinter(w byteWriter) *cborPrinter {
	p := &cborPrinter{}
	p.scalarWriter = scalarWriter{w: w, form: p}
	return p
}

func (p *cborPrinter) open(bracket byte) {
	p.flush(true)
	if bracket == '{' {
		p.w.WriteByte(cborMap<<5 | cborIndefinite)
	} else {
		p.w.WriteByte(cborArray<<5 | cborIndefinite)
	}
}

func (p *cborPrinter) close() {
	p.flush(true)
	p.w.WriteByte(cborBreak)
}

func (p *cborPrinter) name(raw []byte) {
	p.flush(true)
	text, _ := unescaped(raw[1:len(raw)-1], true)
	p.shortText(text)
}

func (p *cborPrinter) begin() {}

func (p *cborPrinter) end() { p.flush(true) }

func (p *cborPrinter) head(kind byte, n uint64) {
	switch {
	case n < 24:
		p.w.WriteByte(kind<<5 | byte(n))
	case n < 1<<8:
		p.w.Write([]byte{kind<<5 | 24, byte(n)})
	case n < 1<<16:
		p.w.Write(binary.BigEndian.AppendUint16([]byte{kind<<5 | 25}, uint16(n)))
	case n < 1<<32:
		p.w.Write(binary.BigEndian.AppendUint32([]byte{kind<<5 | 26}, uint32(n)))
	default:
		p.w.Write(binary.BigEndian.AppendUint64([]byte{kind<<5 | 27}, n))
	}
}

func (p *cborPrinter) shortText(text []byte) {
	p.head(cborText, uint64(len(text)))
	p.w.Write(text)
}

func (p *cborPrinter) longText()             { p.w.WriteByte(cborText<<5 | cborIndefinite) }
func (p *cborPrinter) textPiece(text []byte) { p.shortText(text) }
func (p *cborPrinter) textEnd()              { p.w.WriteByte(cborBreak) }

func (p *cborPrinter) literal(word byte) {
	p.w.WriteByte(cborSimple<<5 | map[byte]byte{'f': 20, 't': 21, 'n': 22}[word])
}

func (p *cborPrinter) integer(i *big.Int) {
	negative := i.Sign() < 0
	kind, tag := byte(cborUnsigned), byte(2)
	if negative {
		kind, tag = cborNegative, 3
		i = new(big.Int).Sub(big.NewInt(-1), i)
	}
	if i.IsUint64() {
		p.head(kind, i.Uint64())
		return
	}
	p.head(cborTag, uint64(tag))
	p.head(cborBytes, uint64(len(i.Bytes())))
	p.w.Write(i.Bytes())
}

func (p *cborPrinter) float(f float64) {
	p.w.Write(binary.BigEndian.AppendUint64([]byte{cborSimple<<5 | 27}, math.Float64bits(f)))
}
