package harness

import (
	"net"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A broker that is started again first tells of the others only. That it is ready later shows.
func TestBrokerIsReadyLater(t *testing.T) {
	k, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.ClusterID("books"))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var members []kmsg.MetadataResponseBroker
	for id, addr := range k.ListenAddrs() {
		host, port, _ := net.SplitHostPort(addr)
		m := kmsg.NewMetadataResponseBroker()
		m.NodeID, m.Host = int32(id), host
		n, _ := strconv.Atoi(port)
		m.Port = int32(n)
		members = append(members, m)
	}
	var joined atomic.Bool
	k.ControlKey(kmsg.Metadata.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.KeepControl()
		res := req.ResponseKind().(*kmsg.MetadataResponse)
		res.ClusterID, res.Brokers = kmsg.StringPtr("books"), members[:1]
		if joined.Load() {
			res.Brokers = members
		}
		return res, nil, true
	})
	client, err := kgo.NewClient(kgo.SeedBrokers(k.ListenAddrs()[1]), kgo.RequestRetries(0))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	b := &broker{id: 1, cluster: "books"}
	if err := client.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b.ready(t.Context(), client) {
		t.Error("it is ready before it is a member")
	}
	joined.Store(true)
	if !b.ready(t.Context(), client) {
		t.Error("it is a member and not ready")
	}
}
