// Package peek looks at what has come on a connection without reading it: whether the
// other side has ended it while nobody reads.
package peek

// A State is what a look has found.
type State int

// What can be found.
const (
	Quiet State = iota // nothing has come
	Data               // something that nobody has read yet
	Ended              // the other side has closed the connection, or it is broken
)
