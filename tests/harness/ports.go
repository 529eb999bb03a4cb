package harness

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// freePorts returns n ports of 127.0.0.1 on which nobody listens. They lie
// below the range that systems hand out to outgoing connections, so that a
// cluster which is stopped finds its port free when it starts again.
func freePorts(n int) ([]int, error) {
	var ports []int
	for tries := 0; len(ports) < n && tries < 1000; tries++ {
		port := 12000 + rand.IntN(20000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer l.Close() // held until all are found: no port twice
		ports = append(ports, port)
	}
	if len(ports) < n {
		return nil, errors.New("no free port between 12000 and 32000 on 127.0.0.1")
	}
	return ports, nil
}
