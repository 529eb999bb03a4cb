package journal_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/esperanto-es/esperanto/replicate/journal"
	"github.com/esperanto-es/esperanto/replicate/journal/journaltest"
)

func admin(t testing.TB, brokers []string) *kadm.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until f returns nil.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	end := time.Now().Add(2 * time.Minute)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func closeSoon(t testing.TB, j journal.Journal) {
	t.Helper()
	if err := j.Close(within(t, time.Minute)); err != nil {
		t.Error(err)
	}
}

// wants checks that err is of that kind and its text holds all words.
func wants(t testing.TB, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("got %v, want %v", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// A broker that neither answers nor closes connections must not hang anybody.
func TestKafkaFrozenBroker(t *testing.T) {
	t.Parallel()
	cluster := fakeKafka(t)
	var frozen sync.Mutex
	cluster.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		frozen.Lock()
		defer frozen.Unlock()
		return nil, nil, false
	})
	k := soundKafka(t, journal.KafkaOptions{Brokers: cluster.ListenAddrs(), AllowSingleReplica: true, AppendTimeout: 6 * time.Second})
	frozenBroker(t, k, 6*time.Second, frozen.Lock, frozen.Unlock)
	closeSoon(t, k)
}

// frozenBroker is also run on a real Kafka.
func frozenBroker(t *testing.T, k *journal.Kafka, timeout time.Duration, freeze, thaw func()) {
	put := func(ctx context.Context) error { return k.Table("state").Put(ctx, "k", []byte("v")) }
	journaltest.Append(t, k, "k", "before")
	if err := put(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	freeze()
	var once sync.Once
	defer once.Do(thaw)

	var acks []<-chan journaltest.Ack
	start := time.Now()
	for i := range 5 {
		c, err := journaltest.Start(k, "k", fmt.Sprint("frozen ", i))
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d > timeout {
			t.Fatalf("Append took %s", d)
		}
		acks = append(acks, c)
	}
	if err := put(within(t, 100*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Put returned %v", err)
	}
	for i, c := range acks {
		select {
		case a := <-c:
			if a.Err == nil {
				t.Errorf("record %d was acknowledged", i)
			}
		case <-time.After(timeout + 30*time.Second):
			t.Fatalf("done of record %d was not called within %s", i, time.Since(start))
		}
	}
	t.Logf("done was called after %s", time.Since(start))
	eventually(t, "Append refuses", func() error {
		start := time.Now()
		_, err := journaltest.Start(k, "k", "refused")
		if d := time.Since(start); d > timeout {
			t.Fatalf("Append took %s", d)
		}
		if !errors.Is(err, journal.ErrUnavailable) {
			return fmt.Errorf("Append returned %w", err)
		}
		return nil
	})
	err := k.Ping(within(t, time.Minute))
	wants(t, err, journal.ErrUnavailable)
	t.Logf("refused after %s: %v", time.Since(start), err)

	once.Do(thaw)
	start = time.Now()
	eventually(t, "Ping", func() error { return k.Ping(within(t, time.Second)) })
	eventually(t, "Append", func() error {
		c, err := journaltest.Start(k, "k", "after")
		if err != nil {
			return err
		}
		return (<-c).Err
	})
	t.Logf("available again after %s", time.Since(start))
	if err := put(within(t, time.Minute)); err != nil {
		t.Error(err)
	}
	c := journaltest.NewCollector()
	stop := journaltest.Consume(t, k, c)
	c.Until(t, "the record from after", func() bool {
		e := c.Entries()
		return len(e) > 0 && string(e[len(e)-1].Value) == "after"
	})
	t.Logf("%d records are there", len(c.Entries())) // those without acknowledgement may be
	if first := string(c.Entries()[0].Value); first != "before" {
		t.Errorf("the first record is %s", first)
	}
	stop(nil)
}

// Without brokers the journal opens, says so, and is there when they are.
func TestKafkaComesLater(t *testing.T) {
	t.Parallel()
	var l net.Listener
	var err error
	for l == nil { // none of those that the system gives to outgoing connections, which would take it meanwhile
		l, _ = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000)))
	}
	addr := l.Addr().String()
	l.Close()
	start := time.Now()
	k, err := journal.OpenKafka(within(t, 200*time.Millisecond), journal.KafkaOptions{
		Brokers: []string{addr}, Partitions: 4, AllowSingleReplica: true, AppendTimeout: 6 * time.Second, Logf: testLog(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closeSoon(t, k)
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("opening took %s", d)
	}
	_, err = journaltest.Start(k, "k", "v")
	wants(t, err, journal.ErrUnavailable, addr)
	wants(t, k.Ping(context.Background()), journal.ErrUnavailable, addr)
	_, err = k.Table("state").Get(within(t, 100*time.Millisecond), "k")
	if err == nil {
		t.Error("Get succeeded")
	}
	_, port, _ := net.SplitHostPort(addr)
	var p int
	fmt.Sscan(port, &p)
	fakeKafka(t, kfake.Ports(p))
	eventually(t, "Ping", func() error { return k.Ping(within(t, time.Second)) })
	journaltest.Append(t, k, "k", "v")
	eventually(t, "Put", func() error { return k.Table("state").Put(within(t, time.Minute), "k", []byte("v")) })
}

func TestKafkaOptions(t *testing.T) {
	for want, o := range map[string]journal.KafkaOptions{
		"at least one broker":  {},
		"10000 partitions":     {Brokers: []string{"x:1"}, Partitions: 10_000},
		"replication factor":   {Brokers: []string{"x:1"}, ReplicationFactor: 1},
		"shorter than 2s":      {Brokers: []string{"x:1"}, AppendTimeout: time.Second},
		"use plain, scram-sha": {Brokers: []string{"x:1"}, SASL: &journal.KafkaSASL{Mechanism: "md5"}},
	} {
		if _, err := journal.OpenKafka(context.Background(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// Each topic has one setting that loses records. Appends are refused with the
// way out, and taken as soon as it is gone.
func TestKafkaTopicSettings(t *testing.T) {
	t.Parallel()
	cluster := fakeKafka(t, kfake.NumBrokers(3))
	adm := admin(t, cluster.ListenAddrs())
	ctx := within(t, 5*time.Minute)
	for name, test := range map[string]struct {
		settings   map[string]string
		partitions int32
		replicas   int16
		want       []string
	}{
		"sound":                  {},
		"compacted":              {settings: map[string]string{"cleanup.policy": "compact,delete"}, want: []string{"--add-config cleanup.policy=delete"}},
		"short":                  {settings: map[string]string{"retention.ms": "604800000"}, want: []string{"168h", "336h", "--add-config retention.ms=-1"}},
		"sized":                  {settings: map[string]string{"retention.bytes": "1000"}, want: []string{"--add-config retention.bytes=-1"}},
		"small records":          {settings: map[string]string{"max.message.bytes": "1000012"}, want: []string{"--add-config max.message.bytes=20971520"}},
		"acks of one":            {settings: map[string]string{"min.insync.replicas": "1"}, want: []string{"--add-config min.insync.replicas=2"}},
		"gateways tell the time": {settings: map[string]string{"message.timestamp.type": "CreateTime"}, want: []string{"--add-config message.timestamp.type=LogAppendTime"}},
		"one replica":            {replicas: 1, want: []string{"kafka-reassign-partitions.sh"}},
		"partitions":             {partitions: 3, want: []string{"has 3 partitions and 4 are configured"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic := strings.ReplaceAll(name, " ", "-")
			settings := map[string]*string{}
			for k, v := range map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "max.message.bytes": "20971520", "min.insync.replicas": "2", "message.timestamp.type": "LogAppendTime"} {
				settings[k] = &v
			}
			for k, v := range test.settings {
				settings[k] = &v
			}
			if test.partitions == 0 {
				test.partitions = 4
			}
			if test.replicas == 0 {
				test.replicas = 3
			}
			if _, err := adm.CreateTopic(ctx, test.partitions, test.replicas, settings, topic); err != nil {
				t.Fatal(err)
			}
			o := journal.KafkaOptions{Brokers: cluster.ListenAddrs(), Topic: topic}
			if test.want == nil {
				k := soundKafka(t, o)
				defer closeSoon(t, k)
				journaltest.Append(t, k, "k", "v")
				return
			}
			k := faultyKafka(t, o, append(test.want, topic)...)
			defer closeSoon(t, k)
			err := k.Ping(ctx)
			wants(t, err, journal.ErrUnavailable)
			t.Log(err)
			_, err = journaltest.Start(k, "k", "v")
			wants(t, err, journal.ErrUnavailable)
			if test.settings == nil {
				return
			}
			var alter []kadm.AlterConfig
			for name := range test.settings {
				value := map[string]string{"cleanup.policy": "delete", "min.insync.replicas": "2", "max.message.bytes": "20971520", "message.timestamp.type": "LogAppendTime"}[name]
				if value == "" {
					value = "-1"
				}
				alter = append(alter, kadm.AlterConfig{Name: name, Value: &value})
			}
			if _, err := adm.AlterTopicConfigs(ctx, alter, topic); err != nil {
				t.Fatal(err)
			}
			eventually(t, "Ping", func() error { return k.Ping(ctx) })
			journaltest.Append(t, k, "k", "v")
		})
	}
}

// What is created has the settings that are asked for of others.
func TestKafkaCreatesTopics(t *testing.T) {
	t.Parallel()
	cluster := fakeKafka(t, kfake.NumBrokers(3))
	k := soundKafka(t, journal.KafkaOptions{Brokers: cluster.ListenAddrs()})
	defer closeSoon(t, k)
	journaltest.Append(t, k, "k", "v")
	ctx := within(t, time.Minute)
	if err := k.Table("state").Put(ctx, "k", nil); err != nil {
		t.Fatal(err)
	}
	configs, err := admin(t, cluster.ListenAddrs()).DescribeTopicConfigs(ctx, "esperanto", "esperanto.state")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs {
		got := map[string]string{}
		for _, s := range c.Configs {
			got[s.Key] = s.MaybeValue()
		}
		want := map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "max.message.bytes": "20971520", "min.insync.replicas": "2", "message.timestamp.type": "LogAppendTime"}
		if c.Name != "esperanto" {
			want["cleanup.policy"] = "compact"
			delete(want, "retention.ms")
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s: %s is %q, not %q", c.Name, name, got[name], value)
			}
		}
	}

	k2 := faultyKafka(t, journal.KafkaOptions{Brokers: fakeKafka(t).ListenAddrs()}, "not 3 brokers")
	defer closeSoon(t, k2)
	wants(t, k2.Ping(ctx), journal.ErrUnavailable)
}

// Records that were deleted before they were applied are told, not skipped.
func TestKafkaLostRecords(t *testing.T) {
	t.Parallel()
	cluster := fakeKafka(t)
	adm := admin(t, cluster.ListenAddrs())
	ctx := within(t, 5*time.Minute)
	k := soundKafka(t, journal.KafkaOptions{Brokers: cluster.ListenAddrs(), AllowSingleReplica: true})
	p := k.Partition("k")
	for i := range 10 {
		journaltest.Append(t, k, "k", fmt.Sprint(i))
	}
	consumeLost := func(words ...string) {
		t.Helper()
		err := k.Consume(ctx, journaltest.NewCollector())
		wants(t, err, journal.ErrLost, append(words, "--reset-offsets", "resync")...)
		t.Log(err)
	}
	if err := k.Commit(ctx, p, 5); err != nil {
		t.Fatal(err)
	}
	deleted := kadm.Offsets{}
	deleted.AddOffset("esperanto", p, 8, -1)
	if _, err := adm.DeleteRecords(ctx, deleted); err != nil {
		t.Fatal(err)
	}
	consumeLost("5 is the next to apply and 8 is the oldest")

	committed := kadm.Offsets{}
	committed.AddOffset("esperanto", p, 11, -1)
	if err := adm.CommitAllOffsets(ctx, "esperanto", committed); err != nil {
		t.Fatal(err)
	}
	consumeLost("11 is the next to apply and the topic ends at 10")

	// The way out that the error names.
	committed = kadm.Offsets{}
	committed.AddOffset("esperanto", p, 8, -1)
	if err := adm.CommitAllOffsets(ctx, "esperanto", committed); err != nil {
		t.Fatal(err)
	}
	c := journaltest.NewCollector()
	stop := journaltest.Consume(t, k, c)
	c.Wait(t, 2)

	// Deleted while it is consumed. It was there, so it is not made anew.
	if _, err := adm.DeleteTopic(ctx, "esperanto"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the journal notices", func() error {
		if err := k.Ping(ctx); err == nil {
			return errors.New("Ping is nil")
		}
		_, err := journaltest.Start(k, "k", "v")
		if err == nil || !strings.Contains(err.Error(), "somebody has deleted it") {
			return fmt.Errorf("Append: %w", err)
		}
		return nil
	})
	if _, err := adm.CreateTopic(ctx, 4, 1, map[string]*string{"max.message.bytes": kadm.StringPtr("20971520")}, "esperanto"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the journal notices", func() error {
		_, err := journaltest.Start(k, "k", "v")
		if err == nil || !strings.Contains(err.Error(), "created again") {
			return fmt.Errorf("Append: %w", err)
		}
		return nil
	})
	stop(nil)
	closeSoon(t, k)
}

// TestKafkaFetchesOnce: what was fetched for a handler that is slower than Kafka is not thrown away
// and fetched again.
func TestKafkaFetchesOnce(t *testing.T) {
	t.Parallel()
	cluster := fakeKafka(t)
	var read atomic.Int64
	k := soundKafka(t, journal.KafkaOptions{Brokers: cluster.ListenAddrs(), AllowSingleReplica: true,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			return countedConn{c, &read}, err
		}})
	defer closeSoon(t, k)
	const records, size = 20_000, 500
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, size)
	var pending sync.WaitGroup
	for n := range records {
		for i := range text {
			text[i] = byte(random.Uint32()) // nothing to compress
		}
		pending.Add(1)
		if err := k.Append(journal.Record{Key: "k", Value: bytes.Clone(text)}, func(_ journal.Position, err error) {
			if err != nil {
				t.Error(err)
			}
			pending.Done()
		}); err != nil {
			t.Fatal(err)
		}
		if n%1000 == 999 {
			pending.Wait()
		}
	}
	before := read.Load()
	h := slowHandler{records, make(chan struct{})}
	ctx, cancel := context.WithCancel(within(t, 5*time.Minute))
	ended := make(chan error)
	go func() { ended <- k.Consume(ctx, &h) }()
	select {
	case <-h.all:
	case <-ctx.Done():
		t.Error("not all came")
	}
	if n := read.Load() - before; n < records*size || n > records*size*11/10 {
		t.Errorf("%d bytes were fetched of %d", n, records*size)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A countedConn counts what is read.
type countedConn struct {
	net.Conn
	read *atomic.Int64
}

func (c countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

// A slowHandler takes its time for the entries of the one partition that has some.
type slowHandler struct {
	left int
	all  chan struct{} // closed when nothing is left
}

func (h *slowHandler) Assigned(int32, int64) {}
func (h *slowHandler) Revoked(int32)         {}

func (h *slowHandler) Deliver(_ context.Context, _ int32, entries []journal.Entry) error {
	time.Sleep(20 * time.Millisecond)
	if h.left -= len(entries); h.left == 0 {
		close(h.all)
	}
	return nil
}

func TestKafkaTrims(t *testing.T) {
	t.Parallel()
	cluster := fakeKafka(t)
	ctx := within(t, 5*time.Minute)
	k := soundKafka(t, journal.KafkaOptions{Brokers: cluster.ListenAddrs(), AllowSingleReplica: true, TrimInterval: 20 * time.Millisecond})
	defer closeSoon(t, k)
	p := k.Partition("k")
	for i := range 10 {
		journaltest.Append(t, k, "k", fmt.Sprint(i))
	}
	c := journaltest.NewCollector()
	stop := journaltest.Consume(t, k, c)
	c.Wait(t, 10)
	if err := k.Commit(ctx, p, 7); err != nil {
		t.Fatal(err)
	}
	eventually(t, "trimming", func() error {
		b, err := k.Bounds(ctx)
		if err == nil && b[p] != (journal.Bounds{Partition: p, First: 7, Next: 10, Committed: 7}) {
			err = fmt.Errorf("%+v", b[p])
		}
		return err
	})
	stop(nil)
	c = journaltest.NewCollector()
	stop = journaltest.Consume(t, k, c)
	if e := c.Wait(t, 3); e[0].Offset != 7 {
		t.Errorf("it goes on at %d", e[0].Offset)
	}
	stop(nil)
}

func TestKafkaTableIsBounded(t *testing.T) {
	t.Parallel()
	cluster := fakeKafka(t)
	ctx := within(t, 5*time.Minute)
	k := soundKafka(t, journal.KafkaOptions{Brokers: cluster.ListenAddrs(), AllowSingleReplica: true, MaxTableBytes: 1000})
	defer closeSoon(t, k)
	table := k.Table("state")
	if err := table.Put(ctx, "k", make([]byte, 900)); err != nil {
		t.Fatal(err)
	}
	wants(t, table.Put(ctx, "other", make([]byte, 200)), journal.ErrFull, "state")
	if err := table.Delete(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	if err := table.Put(ctx, "other", make([]byte, 200)); err != nil {
		t.Fatal(err)
	}
}

// Several brokers, encrypted and with a password, and a password that is wrong.
func TestKafkaTLSAndSASL(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(nil) // for its certificate
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			cluster := fakeKafka(t, kfake.EnableSASL(), kfake.Superuser(strings.ToUpper(mechanism), "user", "secret"),
				kfake.TLS(&tls.Config{Certificates: server.TLS.Certificates}))
			with := func(password string) journal.KafkaOptions {
				return journal.KafkaOptions{
					Brokers: cluster.ListenAddrs(), AllowSingleReplica: true, AppendTimeout: 6 * time.Second,
					TLS:  &tls.Config{RootCAs: roots, ServerName: "example.com"},
					SASL: &journal.KafkaSASL{Mechanism: mechanism, User: "user", Password: password},
				}
			}
			k := soundKafka(t, with("secret"))
			journaltest.Append(t, k, "k", "v")
			c := journaltest.NewCollector()
			stop := journaltest.Consume(t, k, c)
			c.Wait(t, 1)
			stop(nil)
			if err := k.Table("state").Put(within(t, time.Minute), "k", nil); err != nil {
				t.Error(err)
			}
			closeSoon(t, k)
			k = faultyKafka(t, with("wrong"))
			err := k.Ping(within(t, time.Minute))
			wants(t, err, journal.ErrUnavailable)
			t.Log(err)
			closeSoon(t, k)
		})
	}
}

// A table that is read anew after an error shows no older state than it had shown, also
// if a broker that was deposed says where the topic ends.
func TestKafkaTableDoesNotGoBack(t *testing.T) {
	t.Parallel()
	cluster := fakeKafka(t)
	ctx := within(t, 5*time.Minute)
	k := soundKafka(t, journal.KafkaOptions{Brokers: cluster.ListenAddrs(), AllowSingleReplica: true})
	defer closeSoon(t, k)
	table := k.Table("state")
	if err := table.Put(ctx, "k", []byte("new")); err != nil {
		t.Fatal(err)
	}
	topics, err := admin(t, cluster.ListenAddrs()).ListTopics(ctx, "esperanto.state")
	if err != nil {
		t.Fatal(err)
	}
	var failing, deposed atomic.Bool
	cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if !failing.Load() && !deposed.Load() {
			return nil, nil, false
		}
		time.Sleep(10 * time.Millisecond)
		res := r.ResponseKind().(*kmsg.FetchResponse)
		if failing.Load() {
			partition := kmsg.NewFetchResponseTopicPartition()
			partition.ErrorCode = kerr.OffsetOutOfRange.Code
			topic := kmsg.NewFetchResponseTopic()
			topic.Topic, topic.TopicID, topic.Partitions = "esperanto.state", topics["esperanto.state"].ID, []kmsg.FetchResponseTopicPartition{partition}
			res.Topics = []kmsg.FetchResponseTopic{topic}
		}
		return res, nil, true
	})
	cluster.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if !deposed.Load() {
			return nil, nil, false
		}
		res := r.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, asked := range r.(*kmsg.ListOffsetsRequest).Topics {
			topic := kmsg.NewListOffsetsResponseTopic()
			topic.Topic = asked.Topic
			for _, p := range asked.Partitions {
				partition := kmsg.NewListOffsetsResponseTopicPartition()
				partition.Partition, partition.Offset, partition.LeaderEpoch = p.Partition, 0, p.CurrentLeaderEpoch
				topic.Partitions = append(topic.Partitions, partition)
			}
			res.Topics = append(res.Topics, topic)
		}
		return res, nil, true
	})
	failing.Store(true)
	eventually(t, "the table fails", func() error {
		if _, err := table.Get(ctx, "k"); err == nil {
			return errors.New("it does not")
		}
		return nil
	})
	deposed.Store(true)
	failing.Store(false)
	for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		if v, err := table.Get(short, "k"); err == nil && string(v) != "new" {
			t.Fatalf("it shows %q", v)
		}
		cancel()
	}
	deposed.Store(false)
	if v, err := table.Get(ctx, "k"); err != nil || string(v) != "new" {
		t.Errorf("%q %v", v, err)
	}
}
