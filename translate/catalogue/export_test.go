package catalogue

// ReachedAnotherPage sets how far a scroll has come as far as is known.
func ReachedAnotherPage(scroll string, at int64) { pitPositions.reach(scroll, at) }
