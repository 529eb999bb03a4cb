// Package byquery compares delete by query, update by query and reindex as the
// gateway carries them out with what real clusters do themselves: the same
// request on the same documents gets the same answer and leaves the same
// documents.
package byquery
