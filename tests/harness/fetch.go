package harness

import (
	"context"
	"fmt"
	"io"
)

// Fetch prepares everything that can be run, so that starting needs no network
// later.
func Fetch(ctx context.Context, progress io.Writer) error {
	say := reporter(progress)
	for _, r := range releases {
		if _, err := distribution(ctx, r, say); err != nil {
			return fmt.Errorf("elasticsearch %s: %w", r.Version, err)
		}
	}
	for _, version := range RESTSpecVersions {
		if _, err := RESTSpec(ctx, version, say); err != nil {
			return fmt.Errorf("rest-api-spec %s: %w", version, err)
		}
	}
	if _, err := kafkaDistribution(ctx, say); err != nil {
		return fmt.Errorf("kafka %s: %w", KafkaVersion, err)
	}
	return nil
}
