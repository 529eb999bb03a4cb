package esapi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// OutputOptions are what a client may ask of the form of a JSON answer (PAR-02,
// PAR-03, HTTP-23).
type OutputOptions struct {
	// FilterPath keeps the members that match any of its patterns; patterns
	// that begin with a minus sign drop what they match. "*" is part of a name
	// or a whole one, "**" one or more names, "\." a dot. Arrays do not count as
	// steps of a path.
	FilterPath []string

	Pretty bool
	Format Format // JSON if it is empty

	// PlainNames leaves names such as yes and n without quotes in YAML, as 5.x
	// and 6.x do.
	PlainNames bool
}

// OutputFrom reads the options filter_path, pretty and format, and a format from
// an Accept header. It leaves the parameters in place. changed is false if the
// answer may go out as it is.
func OutputFrom(params *Params, accept string) (o OutputOptions, changed bool) {
	for pattern := range strings.SplitSeq(params.Get("filter_path"), ",") {
		if pattern = strings.TrimSpace(pattern); pattern != "" && pattern != "-" {
			o.FilterPath = append(o.FilterPath, pattern)
		}
	}
	o.Pretty = params.Bool("pretty")
	format := FormatOf(accept)
	if params.Has("format") {
		format = FormatOf("application/" + params.Get("format"))
	}
	if format != JSON {
		o.Format = format
	}
	return o, len(o.FilterPath) > 0 || o.Pretty || o.Format != ""
}

// NewOutput returns a filter: JSON written to it goes to w in the form that is
// asked for. Names, numbers and strings keep their text and their order. It
// holds the path to the current place and no more than one name and a small
// buffer, however large the answer.
//
// As Elasticsearch does, it leaves out the objects and arrays in which nothing
// remains, also those that had been empty if a pattern that drops leads into
// them. Only the outermost object stays: an empty result is {}. An outermost
// array in which nothing remains gives no text at all.
//
// Elasticsearch does not filter the answers that are errors.
//
// Broken JSON makes Write or Close fail with an error that tells the offset in
// bytes; what came before it may have been written. Write also fails once w has.
// Close does not close w.
func NewOutput(w io.Writer, o OutputOptions) io.WriteCloser {
	buffered := bufio.NewWriterSize(w, 8<<10)
	var to sink
	switch {
	case o.Format == YAML:
		to = &yamlPrinter{w: buffered, plain: o.PlainNames}
	case o.Format == CBOR:
		to = newCBORPrinter(buffered)
	case o.Format == SMILE:
		to = newSMILEPrinter(buffered)
	case o.Pretty:
		to = &prettyPrinter{w: buffered}
	default:
		to = &compactPrinter{w: buffered}
	}
	var keep, drop []string
	for _, pattern := range o.FilterPath {
		if rest, exclusive := strings.CutPrefix(pattern, "-"); exclusive {
			drop = append(drop, rest)
		} else {
			keep = append(keep, pattern)
		}
	}
	if len(drop) > 0 {
		to = newPathFilter(drop, false, to)
	}
	if len(keep) > 0 {
		to = newPathFilter(keep, true, to)
	}
	return &output{scanner: scanner{to: to}, w: buffered}
}

type output struct {
	scanner scanner
	w       *bufio.Writer
	empty   bool
	err     error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err == nil {
		o.err = o.scanner.scan(p)
	}
	if o.err == nil {
		_, o.err = o.w.Write(nil) // what went wrong with w
	}
	if o.err != nil {
		return 0, o.err
	}
	return len(p), nil
}

func (o *output) Close() error {
	if o.err == nil {
		o.err = o.scanner.end()
	}
	if err := o.w.Flush(); o.err == nil {
		o.err = err
	}
	err := o.err
	if o.err == nil {
		o.err = errors.New("the output is closed")
	}
	return err
}

// A sink takes a JSON document piece by piece.
type sink interface {
	open(bracket byte)              // '{' or '['
	close()                         // the innermost of them
	name(raw []byte)                // of a member, with quotes and escapes; valid during the call
	scalar(piece []byte, more bool) // a value in one or more pieces; more: it has begun already
	end()                           // of the document
}

// Broken says where a JSON text is not JSON.
type Broken struct {
	Offset int64 // in bytes, from 0
	What   string
}

func (b *Broken) Error() string { return fmt.Sprintf("broken JSON at byte %d: %s", b.Offset, b.What) }
