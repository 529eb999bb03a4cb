package esapi

import (
	"net/url"
	"strings"
)

// A part is a variable piece of a path, a field of Endpoint.
type part uint8

const (
	literal part = iota // not variable
	partIndex
	partType
	partID
	partName
	partMetric
	partIndexMetric
	partField
	partNodeID
	partScrollID
	partTaskID
	partTarget
	partSnapshot
	partFeature
	partContext
	partLang
	partBlock
	partAlias
	partZoom
	partX
	partY
	partItem
	parts // their number
)

// partNames are the names that the rows of the route table use.
var partNames = map[string]part{
	"index": partIndex, "type": partType, "id": partID, "name": partName, "metric": partMetric,
	"index_metric": partIndexMetric, "field": partField, "node_id": partNodeID, "scroll_id": partScrollID,
	"task_id": partTaskID, "target": partTarget, "snapshot": partSnapshot, "feature": partFeature,
	"context": partContext, "lang": partLang, "block": partBlock, "alias": partAlias,
	"zoom": partZoom, "x": partX, "y": partY, "item": partItem,
}

func (e *Endpoint) part(p part) *string {
	switch p {
	case partIndex:
		return &e.Index
	case partType:
		return &e.Type
	case partID:
		return &e.ID
	case partName:
		return &e.Name
	case partMetric:
		return &e.Metric
	case partIndexMetric:
		return &e.IndexMetric
	case partField:
		return &e.Field
	case partNodeID:
		return &e.NodeID
	case partScrollID:
		return &e.ScrollID
	case partTaskID:
		return &e.TaskID
	case partTarget:
		return &e.Target
	case partSnapshot:
		return &e.Snapshot
	case partFeature:
		return &e.Feature
	case partContext:
		return &e.Context
	case partLang:
		return &e.Lang
	case partBlock:
		return &e.Block
	case partAlias:
		return &e.Alias
	case partZoom:
		return &e.Zoom
	case partX:
		return &e.X
	case partY:
		return &e.Y
	case partItem:
		return &e.Item
	}
	panic("esapi: a literal is not a part")
}

// partSet has one bit for each part.
type partSet uint32

func (e *Endpoint) parts() partSet {
	var set partSet
	for p := literal + 1; p < parts; p++ {
		if *e.part(p) != "" {
			set |= 1 << p
		}
	}
	return set
}

// decodeSegment undoes percent-encoding. A plus sign is a blank up to 7.3 and a
// plus from 7.4 on (HTTP-13).
func decodeSegment(s string, plusIsBlank bool) (string, bool) {
	if plusIsBlank && strings.IndexByte(s, '+') >= 0 {
		s = strings.ReplaceAll(s, "+", "%20")
	}
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	decoded, err := url.PathUnescape(s)
	return decoded, err == nil
}

const upperHex = "0123456789ABCDEF"

// appendSegment percent-encodes a part. What it writes is read alike by all
// versions, whatever they do with a plus sign. If disguise is set the first
// byte is encoded too, so that the segment is not taken for a word of the API.
func appendSegment(b []byte, s string, disguise bool) []byte {
	disguise = disguise || s == "." || s == ".."
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case disguise && (i == 0 || c == '.'):
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			strings.IndexByte("-._~*,:", c) >= 0:
			b = append(b, c)
			continue
		}
		b = append(b, '%', upperHex[c>>4], upperHex[c&15])
	}
	return b
}
