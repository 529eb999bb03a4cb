package cluster

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
)

// A Tombstone is what a cluster remembers of the deletion of a document.
type Tombstone struct {
	Version int64 // 0 if none is remembered
	// Untold says why the cluster does not tell, "" if it does.
	Untold string
	Shut   bool // that is because the index is shut
}

// Remembered tells which versions the deletions of documents have that the cluster
// remembers, in the order of ids. No read shows them, but the
// reason for which a write of a lower version is refused does: so each document is
// deleted under version 0, which changes nothing, not even where nothing is remembered: what is
// written next gets version 1, or any external one. Of a document that is there the
// version is that of the document. The indices must be there, or would be made. The error
// is about the whole, or passes.
func (c *Cluster) Remembered(ctx context.Context, ids []DocID) ([]Tombstone, error) {
	docs := make([]Doc, len(ids))
	for i := range ids {
		docs[i].DocID = ids[i]
	}
	results, err := c.WriteExternal(ctx, docs)
	if err != nil {
		return nil, err
	}
	list := make([]Tombstone, len(ids))
	for i, r := range results {
		if list[i], err = c.tombstone(r); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (c *Cluster) tombstone(r Result) (t Tombstone, err error) {
	failed := &StatusError{Cluster: c.name, Status: r.Status, Type: r.Type, Reason: r.Reason}
	passes := r.Status == http.StatusTooManyRequests || r.Status >= 500 || r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden
	switch {
	case r.OK(), r.Type == "routing_missing_exception": // nothing can have been written without it
	case r.Status == http.StatusConflict:
		m := currentVersion.FindStringSubmatch(r.Reason)
		if m == nil {
			return t, &StatusError{Cluster: c.name, Status: r.Status, Type: r.Type, Reason: "it does not tell which version it has: " + r.Reason}
		}
		t.Version, err = strconv.ParseInt(m[1], 10, 64)
	case r.Shut():
		t.Untold, t.Shut = failed.Error(), true
	case passes || r.Type == "index_not_found_exception" || r.Type == "cluster_block_exception":
		return t, failed
	default:
		t.Untold = failed.Error()
	}
	return t, err
}

// Shut reports whether a document was refused because somebody has closed its index, or
// has blocked it; not if the cluster has done that, as its disk is full.
func (r Result) Shut() bool {
	return r.Type == "index_closed_exception" || r.Type == "cluster_block_exception" && blockedIndex.MatchString(r.Reason)
}

// blockedIndex finds the blocks of one index: closed, read-only, read, write and
// metadata. 12 is that of a full disk, and 6 and 13 are those of all indices.
var blockedIndex = regexp.MustCompile(`\[[A-Z_]+/[45789]/`)

// currentVersion is how every version from 5.x to 8.x ends the reason of such a conflict;
// the document's id stands in front of it.
var currentVersion = regexp.MustCompile(`current version \[(\d+)\] is higher or equal to the one provided \[0\]$`)
