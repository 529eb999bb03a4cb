package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	checkInterval = 5 * time.Second  // while all is well
	retryInterval = time.Second      // while it is not
	auditInterval = 60 * time.Second // of the topic's settings
	suspectPause  = 200 * time.Millisecond

	tableSegmentBytes = 64 << 20
)

// brokersTime has the brokers tell when a record was appended: the clocks of gateways may differ by
// more than what a late record is waited for.
const brokersTime = "LogAppendTime"

// steward is the goroutine that knows whether the journal can be used. It
// closes first when it knows that for the first time.
func (k *Kafka) steward(first chan struct{}) {
	var audited, trimmed time.Time
	for {
		audit := time.Since(audited) >= auditInterval
		err := k.look(audit)
		if k.down.Err() != nil {
			return
		}
		if audit && err == nil {
			audited = time.Now()
		}
		k.report(err)
		if first != nil {
			close(first)
			first = nil
		}
		if err == nil && k.opts.TrimInterval > 0 && time.Since(trimmed) >= k.opts.TrimInterval {
			k.trim()
			trimmed = time.Now()
		}
		wait := checkInterval
		if err != nil {
			wait, audited = retryInterval, time.Time{}
		}
		if k.opts.TrimInterval > 0 {
			wait = min(wait, k.opts.TrimInterval)
		}
		select {
		case <-time.After(wait):
		case <-k.suspect:
			select {
			case <-time.After(suspectPause):
			case <-k.down.Done():
				return
			}
		case <-k.down.Done():
			return
		}
	}
}

// report publishes what the steward has found.
func (k *Kafka) report(err error) {
	k.mu.Lock()
	before := k.problem
	k.problem = err
	k.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		k.opts.Logf("%v", err)
	case err == nil && before != nil:
		k.opts.Logf("the journal in topic %s is available", k.opts.Topic)
	}
}

// look returns nil if appends can be expected to succeed. The topic is created
// if it is missing. With audit its settings are compared, too.
func (k *Kafka) look(audit bool) error {
	ctx, cancel := context.WithTimeout(k.down, k.opts.checkTimeout())
	defer cancel()
	return k.prepareTopic(ctx, k.opts.Topic, k.opts.Partitions, false, audit)
}

// prepareTopic creates a topic if it is missing and checks it. Errors are
// ErrUnavailable.
func (k *Kafka) prepareTopic(ctx context.Context, topic string, partitions int, compact, audit bool) error {
	detail, err := k.checkLeaders(ctx, topic)
	if errors.Is(err, kerr.UnknownTopicOrPartition) && !k.wasThere(topic) {
		detail, err = k.createTopic(ctx, topic, partitions, compact)
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("%w; it was there before: somebody has deleted it, and with it what was not applied: restart and resync the follower", err)
	}
	if err != nil {
		return err
	}
	if err := k.sameAsBefore(topic, detail.TopicID); err != nil {
		return err
	}
	if n := len(detail.Partitions); n != partitions {
		return fmt.Errorf("%w: topic %s has %d partitions and %d are configured; configure %d, or another topic: "+
			"with another number the records of an index lose their order", ErrUnavailable, topic, n, partitions, n)
	}
	if !audit {
		return nil
	}
	return k.auditTopic(ctx, topic, detail, compact)
}

// A topic that was there is not created again, as that would hide the loss.
func (k *Kafka) wasThere(topic string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.there[topic]
	return ok
}

// sameAsBefore notes which topic it is: also when somebody else has created it
// again, what was not applied is gone.
func (k *Kafka) sameAsBefore(topic string, id [16]byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if before, ok := k.there[topic]; ok && before != id {
		return fmt.Errorf("%w: topic %s was deleted and created again, and what was not applied is gone: restart and resync the follower", ErrUnavailable, topic)
	}
	k.there[topic] = id
	return nil
}

// checkLeaders asks a broker for the topic's partitions, which all need a
// leader. (kadm would answer from the client's memory, up to seconds old.)
func (k *Kafka) checkLeaders(ctx context.Context, topic string) (*kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, k.cl)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer within %s: %w", k.opts.checkTimeout(), err)
		}
		return nil, fmt.Errorf("%w: Kafka at %s: %w", ErrUnavailable, strings.Join(k.opts.Brokers, " "), err)
	}
	if len(resp.Topics) != 1 {
		return nil, fmt.Errorf("%w: Kafka at %s: it tells about %d topics when asked for %s", ErrUnavailable, strings.Join(k.opts.Brokers, " "), len(resp.Topics), topic)
	}
	found := &resp.Topics[0]
	if err := kerr.ErrorForCode(found.ErrorCode); err != nil {
		return nil, fmt.Errorf("%w: topic %s: %w", ErrUnavailable, topic, err)
	}
	if len(found.Partitions) == 0 {
		return nil, fmt.Errorf("%w: topic %s has no partitions yet", ErrUnavailable, topic)
	}
	for _, p := range found.Partitions {
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil && !errors.Is(err, kerr.ReplicaNotAvailable) {
			return nil, fmt.Errorf("%w: topic %s, partition %d: %w: look which of the brokers %v are down", ErrUnavailable, topic, p.Partition, err, p.Replicas)
		}
		if p.Leader < 0 {
			return nil, fmt.Errorf("%w: topic %s, partition %d has no leader: look which of the brokers %v are down", ErrUnavailable, topic, p.Partition, p.Replicas)
		}
	}
	return found, nil
}

// minInSync is how many replicas have to confirm.
func (k *Kafka) minInSync() int {
	if k.opts.ReplicationFactor < 2 {
		return 1
	}
	return 2
}

// createTopic returns when all partitions have a leader.
func (k *Kafka) createTopic(ctx context.Context, topic string, partitions int, compact bool) (*kmsg.MetadataResponseTopic, error) {
	settings := map[string]*string{
		"cleanup.policy":                 kadm.StringPtr("delete"),
		"retention.ms":                   kadm.StringPtr("-1"),
		"retention.bytes":                kadm.StringPtr("-1"),
		"max.message.bytes":              kadm.StringPtr(strconv.Itoa(max(topicRecordBytes, k.opts.largestBatch()+recordOverhead))),
		"min.insync.replicas":            kadm.StringPtr(strconv.Itoa(k.minInSync())),
		"unclean.leader.election.enable": kadm.StringPtr("false"),
		"message.timestamp.type":         kadm.StringPtr(brokersTime),
	}
	if compact {
		settings["cleanup.policy"] = kadm.StringPtr("compact")
		delete(settings, "retention.ms")
		delete(settings, "retention.bytes")
		// Only closed segments are compacted, and who opens a table reads it all.
		settings["segment.bytes"] = kadm.StringPtr(strconv.Itoa(max(tableSegmentBytes, 2*k.opts.largestBatch()+recordOverhead)))
		settings["segment.ms"] = kadm.StringPtr(strconv.FormatInt((24 * time.Hour).Milliseconds(), 10))
	}
	_, err := k.admin.CreateTopic(ctx, int32(partitions), int16(k.opts.ReplicationFactor), settings, topic)
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists): // by another process, just now
	case errors.Is(err, kerr.InvalidReplicationFactor):
		return nil, fmt.Errorf("%w: creating topic %s: there are not %d brokers for as many replicas: start more, or allow a single replica for trying out: %w", ErrUnavailable, topic, k.opts.ReplicationFactor, err)
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return nil, fmt.Errorf("%w: topic %s is missing and may not be created: create it, or allow it with kafka-acls.sh --add --operation Create: %w", ErrUnavailable, topic, err)
	case err != nil:
		return nil, fmt.Errorf("%w: creating topic %s: %w", ErrUnavailable, topic, err)
	default:
		k.opts.Logf("topic %s was created with %d partitions and %d replicas", topic, partitions, k.opts.ReplicationFactor)
	}
	// Until all brokers know the topic, the client would see it as missing.
	for {
		detail, err := k.checkLeaders(ctx, topic)
		if err == nil && len(detail.Partitions) == partitions {
			return detail, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: topic %s was created and is not ready after %s: %w", ErrUnavailable, topic, k.opts.checkTimeout(), errors.Join(err, ctx.Err()))
		}
	}
}

// auditTopic complains about settings that lose records.
func (k *Kafka) auditTopic(ctx context.Context, topic string, detail *kmsg.MetadataResponseTopic, compact bool) error {
	configs, err := k.admin.DescribeTopicConfigs(ctx, topic)
	if err == nil {
		err = configs[0].Err
	}
	if errors.Is(err, kerr.TopicAuthorizationFailed) {
		k.opts.Logf("the settings of topic %s cannot be checked: allow it with kafka-acls.sh --add --operation DescribeConfigs", topic)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: reading the settings of topic %s: %w", ErrUnavailable, topic, err)
	}
	settings := map[string]string{}
	for _, c := range configs[0].Configs {
		if c.Value != nil {
			settings[c.Key] = *c.Value
		}
	}
	replicas := len(detail.Partitions[0].Replicas)
	if list := k.complaints(topic, settings, replicas, compact); len(list) > 0 {
		return fmt.Errorf("%w: topic %s: %s", ErrUnavailable, topic, strings.Join(list, "; "))
	}
	k.mu.Lock()
	if !compact {
		k.unlimited = settings["retention.ms"] == "-1"
	}
	k.mu.Unlock()
	return nil
}

// complaints lists what is wrong with a topic. A setting that the broker does
// not tell is not complained about.
func (k *Kafka) complaints(topic string, settings map[string]string, replicas int, compact bool) (list []string) {
	number := func(name string) (int64, bool) {
		n, err := strconv.ParseInt(settings[name], 10, 64)
		return n, err == nil
	}
	complain := func(why, name, value string) {
		list = append(list, fmt.Sprintf("%s=%s %s: kafka-configs.sh --alter --entity-type topics --entity-name %s --add-config %s=%s",
			name, settings[name], why, topic, name, value))
	}
	policy := settings["cleanup.policy"]
	if compact {
		if policy != "" && policy != "compact" {
			complain("forgets entries", "cleanup.policy", "compact")
		}
	} else {
		if strings.Contains(policy, "compact") {
			complain("deletes all but the last record of an index", "cleanup.policy", "delete")
		}
		if n, ok := number("retention.ms"); ok && n >= 0 && time.Duration(n)*time.Millisecond < k.opts.MinRetention {
			complain(fmt.Sprintf("deletes records that a follower has missed for %s, and at least %s are wanted", time.Duration(n)*time.Millisecond, k.opts.MinRetention), "retention.ms", "-1")
		}
		if n, ok := number("retention.bytes"); ok && n >= 0 {
			complain("deletes records that a follower has missed", "retention.bytes", "-1")
		}
		if kind := settings["message.timestamp.type"]; kind != "" && kind != brokersTime {
			complain("has each gateway tell the time: with a wrong clock a document that was deleted could come back", "message.timestamp.type", brokersTime)
		}
	}
	if n, ok := number("max.message.bytes"); ok && n < int64(k.opts.largestBatch()) {
		complain(fmt.Sprintf("is less than the %d bytes that a record may have", k.opts.largestBatch()), "max.message.bytes", strconv.Itoa(max(topicRecordBytes, k.opts.largestBatch()+recordOverhead)))
	}
	if k.opts.AllowSingleReplica {
		return list
	}
	if settings["unclean.leader.election.enable"] == "true" {
		complain("loses confirmed records when a broker fails", "unclean.leader.election.enable", "false")
	}
	if replicas < 2 {
		list = append(list, "it has one replica, so that confirmed records are lost with one broker: give it three with kafka-reassign-partitions.sh, or allow a single replica for trying out")
	} else if n, ok := number("min.insync.replicas"); ok && n < 2 {
		complain("lets one broker alone confirm a record, which is lost with it", "min.insync.replicas", "2")
	}
	return list
}
