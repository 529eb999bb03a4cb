package esapi

// ValidJSON reports whether a body is one JSON value that is not nested too
// deeply. Parsers go down as deep as a body says, and a goroutine's stack that has
// become too large ends the process.
func ValidJSON(body []byte) bool {
	start := blanks(body, 0)
	if start == len(body) {
		return false
	}
	end := skipValue(body, start, maxNesting)
	return end >= 0 && blanks(body, end) == len(body)
}
