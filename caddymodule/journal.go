package caddymodule

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// A Journal says where writes are kept until they have reached the second
// cluster.
type Journal struct {
	// The folder of the embedded journal. Each gateway has a folder of its own
	// in it. Default: `esperanto` in Caddy's data directory.
	Path string `json:"path,omitempty"`

	// The size in bytes at which the journal is full and writes are refused, because
	// the second cluster has not taken what is kept. Default: 10 GiB.
	MaxSize int64 `json:"max_size,omitempty"`

	// Whether the intent to write is durable before a write is sent to the
	// master (`first`) or while it is under way (`beside`, the default of the
	// embedded journal, which has lower latency and still survives a kill of
	// the process).
	Intent string `json:"intent,omitempty"`
}

func (j *Journal) check() error {
	if j.MaxSize < 0 {
		return fmt.Errorf("journal: max_size must be positive")
	}
	if !slices.Contains([]string{"", "first", "beside"}, j.Intent) {
		return fmt.Errorf("journal: intent %s: write first or beside", j.Intent)
	}
	return nil
}

// identity is where a gateway's journal is.
func (j *Journal) identity(gateway string) string {
	path := j.Path
	if path == "" {
		path = filepath.Join(caddy.AppDataDir(), "esperanto")
	}
	return filepath.Join(path, strings.NewReplacer("/", "_", `\`, "_", "..", "_").Replace(gateway))
}

// open opens a gateway's journal.
func (j *Journal) open(gateway string, log *zap.Logger) (journal.Journal, error) {
	dir := j.identity(gateway)
	e, err := journal.OpenEmbedded(dir, journal.EmbeddedOptions{MaxBytes: j.MaxSize, Logf: log.Sugar().Infof})
	if errors.Is(err, journal.ErrInUse) {
		return nil, fmt.Errorf("%w: %s; stop that process, or give this gateway another folder with \"journal { path <folder> }\" in the global option esperanto", err, dir)
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (j *Journal) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option, value := d.Val(), ""
		if !d.AllArgs(&value) {
			return d.Errf("journal: %s takes exactly one value", option)
		}
		switch option {
		case "path":
			j.Path = value
		case "max_size":
			size, err := humanize.ParseBytes(value)
			if err != nil || size == 0 || size > math.MaxInt64 {
				return d.Errf("journal: max_size %s: write a size such as 10GB", value)
			}
			j.MaxSize = int64(size)
		case "intent":
			j.Intent = value
		default:
			return d.Errf("journal: unknown option %s; the options are: path, max_size, intent", option)
		}
		if err := j.check(); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}
