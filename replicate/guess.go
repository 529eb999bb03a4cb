package replicate

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// A Guess names the fields of an index whose types the follower has guessed when it took
// over: the master could not be asked.
type Guess struct {
	Index  string   `json:"index"`
	Made   bool     `json:"made,omitempty"` // the whole index was made by the follower
	Fields []string `json:"fields"`         // the first 100
	Count  int      `json:"count"`
}

// A keptGuess is one as it is kept. Before is what the follower had before, while the
// failover is under way, else nil.
type keptGuess struct {
	Guess
	Before []string `json:"before"`
}

// maxGuesses bounds the fields that are named.
const maxGuesses = 100

// noteGuesses keeps which fields the follower has of indices before something is applied
// without the master.
func (r *Replicator) noteGuesses(ctx context.Context, p *pair, names []string) error {
	for _, name := range names {
		kept, err := r.asides.table.Get(ctx, guessPrefix+name)
		if err != nil {
			return err
		}
		var g keptGuess
		if json.Unmarshal(kept, &g) == nil && g.Before != nil {
			continue
		}
		p.to.Facts().Forget(name)
		fields, there, err := fieldsOf(ctx, p.to, name)
		if err != nil {
			return err
		}
		if err := r.keepGuess(ctx, keptGuess{Guess{Index: name, Made: !there}, fields}); err != nil {
			return err
		}
	}
	return nil
}

func (r *Replicator) keepGuess(ctx context.Context, g keptGuess) error {
	raw, err := json.Marshal(g)
	if err != nil {
		return err
	}
	return r.asides.table.Put(ctx, guessPrefix+g.Index, raw)
}

// fieldsOf are the fields of an index, never nil.
func fieldsOf(ctx context.Context, c *cluster.Cluster, name string) (fields []string, there bool, err error) {
	index, there, err := c.Facts().Lookup(ctx, name)
	fields = []string{}
	for path := range index.Fields {
		fields = append(fields, path)
	}
	slices.Sort(fields)
	return fields, there, err
}

// guessed lists the guesses.
func (r *Replicator) guessed(ctx context.Context) (list []keptGuess, err error) {
	err = r.asides.table.Scan(ctx, func(key string, value []byte) bool {
		var g keptGuess
		if strings.HasPrefix(key, guessPrefix) && json.Unmarshal(value, &g) == nil {
			list = append(list, g)
		}
		return true
	})
	return list, err
}

// settleGuesses finds out what was guessed, when all is applied.
func (r *Replicator) settleGuesses(ctx context.Context, to *cluster.Cluster) error {
	list, err := r.guessed(ctx)
	if err != nil {
		return err
	}
	for _, g := range list {
		if g.Before == nil {
			continue // of an earlier failover
		}
		to.Facts().Forget(g.Index)
		fields, there, err := fieldsOf(ctx, to, g.Index)
		if err != nil {
			return err
		}
		fields = slices.DeleteFunc(fields, func(f string) bool { _, had := slices.BinarySearch(g.Before, f); return had })
		if len(fields) == 0 && !(g.Made && there) {
			if err := r.asides.table.Delete(ctx, guessPrefix+g.Index); err != nil {
				return err
			}
			continue
		}
		g.Count, g.Fields, g.Before = len(fields), fields[:min(len(fields), maxGuesses)], nil
		if err := r.keepGuess(ctx, g); err != nil {
			return err
		}
		r.log.Warn("guessed at failover: the types of these fields are what the follower took them for", "cluster", to.Name(), "index", g.Index, "made", g.Made, "fields", g.Fields, "count", g.Count)
	}
	return nil
}

// forgetGuesses drops what an earlier failover has guessed.
func (r *Replicator) forgetGuesses(ctx context.Context) error {
	list, err := r.guessed(ctx)
	for _, g := range list {
		if err == nil && g.Before == nil { // else of one that was given up
			err = r.asides.table.Delete(ctx, guessPrefix+g.Index)
		}
	}
	return err
}
