package esapi

import "unicode/utf8"

// IsPlain reports whether a text stands for itself between the quotes of a JSON string, and is
// one that ends where it ends: ASCII with nothing to escape.
func IsPlain[T string | []byte](text T) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
