package esapi

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// A pathFilter is a sink that passes on what its patterns keep. An object or
// array that a pattern leads into is passed on when something in it is; the
// outermost object always is.
type pathFilter struct {
	to   sink
	keep bool // the patterns say what to keep, else what to drop

	steps  []string // of all patterns, "" behind each
	active []int    // steps that the next name may match, for all frames
	frames []frame
	names  []byte // of the members that are open and not yet passed on

	named   bool // a name has come, its value has not
	nameAt  int  // where in names
	verdict verdict
	nextAt  int // where in active the steps of the value begin, if it is to be looked into

	inside int // depth in an object or array that passes or is dropped as a whole
	pass   bool
}

type frame struct {
	bracket byte
	passed  bool // has been opened at the sink
	named   bool
	nameAt  int // its name is names[nameAt:nameEnd]
	nameEnd int
	first   int // its steps are active[first:last]
	last    int
}

type verdict uint8

const (
	look verdict = iota // look into it
	pass
	drop
)

func newPathFilter(patterns []string, keep bool, to sink) *pathFilter {
	f := &pathFilter{to: to, keep: keep}
	for _, p := range patterns {
		f.active = append(f.active, len(f.steps))
		f.steps = append(f.steps, splitPattern(p)...)
		f.steps = append(f.steps, "")
	}
	return f
}

// splitPattern cuts a pattern at its dots, except where a backslash is before
// them. Empty steps do not count.
func splitPattern(pattern string) []string {
	var steps []string
	var step strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch {
		case pattern[i] == '\\' && i+1 < len(pattern) && pattern[i+1] == '.':
			i++
			step.WriteByte('.')
		case pattern[i] == '.':
			if step.Len() > 0 {
				steps = append(steps, step.String())
				step.Reset()
			}
		default:
			step.WriteByte(pattern[i])
		}
	}
	if step.Len() > 0 {
		steps = append(steps, step.String())
	}
	if len(steps) == 0 {
		steps = []string{pattern} // of dots alone: matches nothing
	}
	return steps
}

// judge finds what happens to the member of this name, and puts the steps that
// may follow on active.
func (f *pathFilter) judge(name string, in *frame) verdict {
	f.nextAt = len(f.active)
	for i := in.first; i < in.last; i++ {
		at := f.active[i]
		step := f.steps[at]
		if !matchName(step, name) {
			continue
		}
		if f.steps[at+1] == "" {
			f.active = f.active[:f.nextAt]
			if f.keep {
				return pass
			}
			return drop
		}
		f.activate(at + 1)
		if step == "**" {
			f.activate(at)
		}
	}
	switch {
	case len(f.active) > f.nextAt:
		return look
	case f.keep:
		return drop
	}
	return pass
}

func (f *pathFilter) activate(at int) {
	if !slices.Contains(f.active[f.nextAt:], at) {
		f.active = append(f.active, at)
	}
}

// matchName reports whether a name fits a pattern in which * stands for any
// text.
func matchName(pattern, name string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == name
	}
	if !strings.HasPrefix(name, head) {
		return false
	}
	name = name[len(head):]
	for {
		middle, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(name, rest)
		}
		i := strings.Index(name, middle)
		if i < 0 {
			return false
		}
		name, rest = name[i+len(middle):], after
	}
}

func plainName(raw []byte) string {
	if bytes.IndexByte(raw, '\\') >= 0 {
		var name string
		if json.Unmarshal(raw, &name) == nil {
			return name
		}
	}
	return string(raw[1 : len(raw)-1])
}

func (f *pathFilter) name(raw []byte) {
	if f.inside > 0 {
		if f.pass {
			f.to.name(raw)
		}
		return
	}
	f.nameAt = len(f.names)
	f.names = append(f.names, raw...)
	f.named = true
	f.verdict = f.judge(plainName(raw), &f.frames[len(f.frames)-1])
}

// value finds what happens to the value that begins now.
func (f *pathFilter) value() verdict {
	if len(f.frames) == 0 {
		f.nextAt = 0
		return look
	}
	top := &f.frames[len(f.frames)-1]
	if top.bracket == '{' {
		return f.verdict
	}
	f.nextAt = len(f.active)
	f.active = append(f.active, f.active[top.first:top.last]...)
	return look
}

// openFrames opens at the sink what is open here, and passes the name of the
// value that is to follow.
func (f *pathFilter) openFrames() {
	for i := range f.frames {
		fr := &f.frames[i]
		if fr.passed {
			continue
		}
		fr.passed = true
		if fr.named {
			f.to.name(f.names[fr.nameAt:fr.nameEnd])
		}
		f.to.open(fr.bracket)
	}
	if f.named {
		f.to.name(f.names[f.nameAt:])
	}
}

// valueEnds forgets the name and the steps of a value.
func (f *pathFilter) valueEnds() {
	if f.named {
		f.names = f.names[:f.nameAt]
		f.named = false
	}
	if f.nextAt > 0 {
		f.active = f.active[:f.nextAt]
	}
}

func (f *pathFilter) open(bracket byte) {
	if f.inside > 0 {
		f.inside++
		if f.pass {
			f.to.open(bracket)
		}
		return
	}
	switch f.value() {
	case look:
		fr := frame{bracket: bracket, named: f.named, nameAt: f.nameAt, nameEnd: len(f.names), first: f.nextAt, last: len(f.active)}
		f.named = false
		f.frames = append(f.frames, fr)
		if len(f.frames) == 1 && bracket == '{' {
			f.openFrames()
		}
	case pass:
		f.openFrames()
		f.to.open(bracket)
		f.inside, f.pass = 1, true
	case drop:
		f.inside, f.pass = 1, false
	}
}

func (f *pathFilter) close() {
	if f.inside > 0 {
		f.inside--
		if f.pass {
			f.to.close()
		}
		if f.inside == 0 {
			f.valueEnds()
		}
		return
	}
	last := len(f.frames) - 1
	fr := f.frames[last]
	if fr.passed {
		f.to.close()
	}
	f.frames = f.frames[:last]
	f.named, f.nameAt, f.nextAt = fr.named, fr.nameAt, fr.first
	f.valueEnds()
}

func (f *pathFilter) scalar(piece []byte, more bool) {
	if f.inside > 0 {
		if f.pass {
			f.to.scalar(piece, more)
		}
		return
	}
	if !more {
		v := f.value()
		f.pass = v == pass || v == look && (!f.keep || len(f.frames) == 0)
		if f.pass {
			f.openFrames()
		}
		f.valueEnds()
	}
	if f.pass {
		f.to.scalar(piece, more)
	}
}

func (f *pathFilter) end() { f.to.end() }
