package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A broker is one node of a Kafka cluster, broker and controller at once.
type broker struct {
	*unit
	id      int
	options KafkaOptions
	home    string   // folder of the jars
	ports   []int    // of the cluster: those of the brokers, then those of the controllers
	cluster string   // id of the cluster
	archive []string // options for the JVM that use the class archive
}

func (b *broker) addr() string { return fmt.Sprintf("127.0.0.1:%d", b.ports[b.id-1]) }

func (b *broker) configFile() string { return filepath.Join(b.runDir, "server.properties") }

// properties returns server.properties; what the options say wins.
func (b *broker) properties() string {
	brokers := b.options.Brokers
	var voters []string
	for i, port := range b.ports[brokers:] {
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", i+1, port))
	}
	replicas, minISR := "1", "1"
	if brokers == 3 {
		replicas, minISR = "3", "2"
	}
	p := map[string]string{
		"process.roles":                                    "broker,controller",
		"node.id":                                          fmt.Sprint(b.id),
		"controller.quorum.voters":                         strings.Join(voters, ","),
		"listeners":                                        fmt.Sprintf("PLAINTEXT://%s,CONTROLLER://127.0.0.1:%d", b.addr(), b.ports[brokers+b.id-1]),
		"advertised.listeners":                             "PLAINTEXT://" + b.addr(),
		"controller.listener.names":                        "CONTROLLER",
		"inter.broker.listener.name":                       "PLAINTEXT",
		"log.dirs":                                         filepath.Join(b.runDir, "data"),
		"default.replication.factor":                       replicas,
		"min.insync.replicas":                              minISR,
		"offsets.topic.replication.factor":                 replicas,
		"offsets.topic.num.partitions":                     "1",
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    minISR,
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            minISR,
		"group.initial.rebalance.delay.ms":                 "0",
		"auto.create.topics.enable":                        "false",
		"unclean.leader.election.enable":                   "false",
		"message.max.bytes":                                "20971520",
		"replica.fetch.max.bytes":                          "20971520",
		"log.cleaner.dedupe.buffer.size":                   "16777216",
		// With the default of 9 s, writes stall for longer than that after a kill.
		"broker.heartbeat.interval.ms": "500",
		"broker.session.timeout.ms":    fmt.Sprint(1500 + 500*brokers),
	}
	maps.Copy(p, b.options.Settings)
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&text, "%s=%s\n", key, p[key])
	}
	return text.String()
}

// java returns a command line that runs a class of Kafka.
func (b *broker) java(class string, args ...string) (command, error) {
	java, err := findJava()
	if err != nil {
		return command{}, err
	}
	heap := b.options.Heap
	if heap == "" {
		heap = "384m"
	}
	line := []string{java.path, "-Xms128m", "-Xmx" + heap, "-XX:+UseSerialGC", "-Djava.awt.headless=true",
		"-Djava.io.tmpdir=" + filepath.Join(b.runDir, "tmp"),
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"}
	if !b.options.Fast {
		line = append(line, "-XX:TieredStopAtLevel=1")
	}
	line = append(line, b.archive...)
	line = append(line, "-cp", filepath.Join(b.home, "*"), class)
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.runDir}
	return command{args: append(line, args...), env: env}, nil
}

// format prepares the data folder, once.
func (b *broker) format(ctx context.Context) error {
	if err := os.WriteFile(b.configFile(), []byte(b.properties()), 0o644); err != nil {
		return err
	}
	c, err := b.java("kafka.tools.StorageTool", "format", "-t", b.cluster, "-c", b.configFile())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Env, cmd.Dir = c.env, b.runDir
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: unprivileged().credential()}
	if err := unprivileged().own(b.runDir); err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("formatting the data folder of %s: %w\n%s", b.label, err, tail(string(out), 20))
	}
	return nil
}

// start starts the process and returns once it is a member of the cluster.
func (b *broker) start(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, err := b.java("kafka.Kafka", b.configFile())
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.addr()), kgo.DialTimeout(time.Second), kgo.RequestRetries(0),
		kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	for range 5 {
		err = b.unit.start(ctx, c, func(ctx context.Context) bool { return b.ready(ctx, client) })
		// A port that others know cannot be changed: wait for it.
		if !errors.Is(err, errPortTaken) || sleep(ctx, time.Second) != nil {
			break
		}
	}
	if err != nil {
		return b.explain(err)
	}
	return nil
}

// ready reports whether this broker is in the metadata that it hands out. It is asked each
// time: the client goes on telling what it once heard, which may be from before the
// broker was a member.
func (b *broker) ready(ctx context.Context, client *kgo.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // none
	res, err := client.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		return false
	}
	m := res.(*kmsg.MetadataResponse)
	return m.ClusterID != nil && *m.ClusterID == b.cluster &&
		slices.ContainsFunc(m.Brokers, func(of kmsg.MetadataResponseBroker) bool { return of.NodeID == int32(b.id) })
}
