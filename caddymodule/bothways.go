package caddymodule

import (
	"errors"
	"fmt"
)

// checkBothWays looks at both_ways, and at what it excludes.
func (h *Handler) checkBothWays() error {
	var err error
	option := "both_ways"
	switch {
	case h.BothWays == "":
	case h.Target == "":
		err = errors.New("both_ways has no use without a target")
	case h.BothWays != h.Source && h.BothWays != h.Target:
		err = fmt.Errorf("both_ways %s: name the source %s or the target %s, the same at both sites: that cluster's document counts when both have written the same version of it", h.BothWays, h.Source, h.Target)
	case h.Master != h.Source:
		option, err = "master", fmt.Errorf("with both_ways the master is the source %s, and stays it; the gateway of the other site has source and target exchanged", h.Source)
	case h.Failover > 0:
		option, err = "failover", errors.New("failover and both_ways exclude each other: with both_ways the other cluster has applications and a gateway of its own; point the applications at that gateway")
	case h.JournalDown == "accept":
		option, err = "journal_down", errors.New("journal_down accept and both_ways exclude each other: a resync could not tell a document that was deleted while the journal was down from one that the other site has written")
	}
	if err != nil {
		return &flaw{option: option, err: err}
	}
	return nil
}
