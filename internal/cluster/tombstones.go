package cluster

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
)

// Remembered tells which versions the deletions of documents have that the cluster
// remembers, in the order of ids: 0 where it remembers none. No read shows them, but the
// reason for which a write of a lower version is refused does: so each document is
// deleted under version 0, which changes nothing, not even where nothing is remembered: what is
// written next gets version 1, or any external one. Of a document that is there the
// version is that of the document. The indices must be there, or would be made.
func (c *Cluster) Remembered(ctx context.Context, ids []DocID) ([]int64, error) {
	docs := make([]Doc, len(ids))
	for i := range ids {
		docs[i].DocID = ids[i]
	}
	results, err := c.WriteExternal(ctx, docs)
	if err != nil {
		return nil, err
	}
	versions := make([]int64, len(ids))
	for i, r := range results {
		switch {
		case r.OK():
		case r.Status == http.StatusConflict:
			m := currentVersion.FindStringSubmatch(r.Reason)
			if m == nil {
				return nil, &StatusError{Cluster: c.name, Status: r.Status, Type: r.Type, Reason: "it does not tell which version it has: " + r.Reason}
			}
			if versions[i], err = strconv.ParseInt(m[1], 10, 64); err != nil {
				return nil, err
			}
		default:
			return nil, &StatusError{Cluster: c.name, Status: r.Status, Type: r.Type, Reason: r.Reason}
		}
	}
	return versions, nil
}

// currentVersion is how every version from 5.x to 8.x ends the reason of such a conflict;
// the document's id stands in front of it.
var currentVersion = regexp.MustCompile(`current version \[(\d+)\] is higher or equal to the one provided \[0\]$`)
