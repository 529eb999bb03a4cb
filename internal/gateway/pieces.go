package gateway

import "io"

const (
	firstPiece = 4 << 10
	nextPiece  = 32 << 10 // each
)

// pieces are what has come of a body. What has not come takes less than a piece, however long
// the body is said to be.
type pieces struct {
	all    [][]byte // full, but for the last one
	length int64
}

// spare are next pieces to be used again, a MiB at most.
var spare = make(chan []byte, 32)

// add adds an empty piece, and says how large it is.
func (p *pieces) add() int64 {
	var piece []byte
	if len(p.all) == 0 {
		piece = make([]byte, 0, firstPiece)
	} else {
		select {
		case piece = <-spare:
		default:
			piece = make([]byte, 0, nextPiece)
		}
	}
	p.all = append(p.all, piece)
	return int64(cap(piece))
}

// fill reads until the last piece is full, or the body has at most so many bytes.
func (p *pieces) fill(from io.Reader, most int64) (err error) {
	last := &p.all[len(p.all)-1]
	to := (*last)[:min(int64(cap(*last)), most-p.length)]
	read := 0
	for read < len(to) && err == nil {
		var n int
		n, err = from.Read(to[read:])
		read += n
	}
	*last = to[:read]
	p.length += int64(read)
	return err
}

// giveBack ends the use of all of them.
func (p *pieces) giveBack() {
	for _, piece := range p.all {
		if cap(piece) != nextPiece {
			continue
		}
		select {
		case spare <- piece[:0]:
		default:
		}
	}
}
