package cluster

import "errors"

// ErrNotSent says that a request cannot have reached any node, so that nothing
// was changed by it: no node was available, or none could be connected to.
var ErrNotSent = errors.New("no node of the cluster could be reached")
