package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	elastic "gopkg.in/olivere/elastic.v5"
)

// The index and the mapping type of the application.
const (
	index    = "library"
	bookType = "book"
)

const mapping = `{
	"settings": {"number_of_shards": 2, "number_of_replicas": 0},
	"mappings": {
		"book": {
			"properties": {
				"title":  {"type": "text"},
				"author": {"type": "keyword"},
				"year":   {"type": "integer"},
				"price":  {"type": "double"}
			}
		}
	}
}`

// An application is written for Elasticsearch 5 and nothing else.
type application struct {
	client *elastic.Client
}

type book struct {
	Title  string  `json:"title"`
	Author string  `json:"author"`
	Year   int     `json:"year"`
	Price  float64 `json:"price"`
}

var authors = []string{"Frank Herbert", "Ursula K. Le Guin", "Stanisław Lem", "Octavia E. Butler"}

func someBook(i int) book {
	return book{fmt.Sprintf("Volume %d of the story", i), authors[i%len(authors)], 1950 + i%60, float64(i%4000) / 100}
}

func (d *demo) connect(ctx context.Context) error {
	client, err := elastic.NewClient(elastic.SetURL(d.gateway.URL()))
	if err != nil {
		return err
	}
	d.app = &application{client}
	version, err := client.ElasticsearchVersion(d.gateway.URL())
	if err != nil {
		return err
	}
	if version[0] != '5' {
		return fmt.Errorf("the gateway says that it is %s", version)
	}
	say("the client is told version %s and the address of the gateway alone", version)
	return nil
}

func (d *demo) createIndex(ctx context.Context) error {
	_, err := d.app.client.CreateIndex(index).BodyString(mapping).Do(ctx)
	return err
}

func (d *demo) write(ctx context.Context) error {
	c := d.app.client
	for i := range 20 {
		put := c.Index().Index(index).Type(bookType).BodyJson(someBook(i))
		if i%2 == 0 {
			put.Id(strconv.Itoa(i)) // the others get an id
		}
		if _, err := put.Do(ctx); err != nil {
			return err
		}
	}
	bulk := c.Bulk().Index(index).Type(bookType)
	for i := 100; i < 1100; i++ {
		bulk.Add(elastic.NewBulkIndexRequest().Id(strconv.Itoa(i)).Doc(someBook(i)))
	}
	bulk.Add(elastic.NewBulkUpdateRequest().Id("100").Doc(map[string]any{"price": 1.5}))
	bulk.Add(elastic.NewBulkDeleteRequest().Id("101"))
	answer, err := bulk.Do(ctx)
	if err != nil {
		return err
	}
	if failed := answer.Failed(); len(failed) > 0 {
		return fmt.Errorf("%d items of the bulk failed", len(failed))
	}
	update, err := c.Update().Index(index).Type(bookType).Id("2").Doc(map[string]any{"price": 9.99}).Do(ctx)
	if err != nil {
		return err
	}
	if _, err := c.Delete().Index(index).Type(bookType).Id("4").Do(ctx); err != nil {
		return err
	}
	got, err := c.Get().Index(index).Type(bookType).Id("2").Do(ctx)
	if err != nil {
		return err
	}
	if update.Version != 2 || got.Version == nil || *got.Version != 2 || got.Type != bookType {
		return fmt.Errorf("document 2 is %+v after an update answered with version %d", got, update.Version)
	}
	if _, err := c.Get().Index(index).Type(bookType).Id("4").Do(ctx); !elastic.IsNotFound(err) {
		return fmt.Errorf("the deleted document 4: %v", err)
	}
	say("20 single documents, a bulk of 1002 items, a partial update (now version 2, type %q), a delete", got.Type)
	return nil
}

func (d *demo) search(ctx context.Context) error {
	if _, err := d.app.client.Refresh(index).Do(ctx); err != nil {
		return err
	}
	answer, err := d.app.client.Search(index).Type(bookType).
		Query(elastic.NewBoolQuery().Must(elastic.NewMatchQuery("title", "story")).Filter(elastic.NewRangeQuery("year").Gte(1990))).
		Aggregation("authors", elastic.NewTermsAggregation().Field("author").OrderByTermAsc().
			SubAggregation("price", elastic.NewAvgAggregation().Field("price"))).
		Sort("year", false).Size(3).Do(ctx)
	if err != nil {
		return err
	}
	found, ok := answer.Aggregations.Terms("authors")
	if !ok || len(found.Buckets) != len(authors) || answer.TotalHits() == 0 || len(answer.Hits.Hits) != 3 {
		return fmt.Errorf("the search found %d hits and these aggregations: %v", answer.TotalHits(), answer.Aggregations)
	}
	for _, hit := range answer.Hits.Hits {
		if hit.Type != bookType {
			return fmt.Errorf("a hit has the type %q", hit.Type)
		}
	}
	say("%d books since 1990, by %d authors", answer.TotalHits(), len(found.Buckets))
	return nil
}

// goOn uses the application as before; a 5.x client must not notice that
// Elasticsearch 8 answers.
func (d *demo) goOn(ctx context.Context) error {
	if err := d.search(ctx); err != nil {
		return err
	}
	c := d.app.client
	put, err := c.Index().Index(index).Type(bookType).Id("after-switch").BodyJson(someBook(1)).Do(ctx)
	if err != nil {
		return err
	}
	if !put.Created || put.Type != bookType {
		return fmt.Errorf("the answer to a write is no answer of Elasticsearch 5: %+v", put)
	}
	got, err := c.Get().Index(index).Type(bookType).Id("after-switch").Do(ctx)
	if err != nil {
		return err
	}
	var b book
	if err := json.Unmarshal(*got.Source, &b); err != nil {
		return err
	}
	if b != someBook(1) {
		return fmt.Errorf("read %+v", b)
	}
	return nil
}

// A writer writes without a pause until it is stopped.
type writer struct {
	stop    context.CancelFunc
	done    sync.WaitGroup
	written atomic.Int64
	longest atomic.Int64 // of one write, in nanoseconds
	err     atomic.Pointer[error]
}

var generation atomic.Int64

func (a *application) startWriter() *writer {
	ctx, cancel := context.WithCancel(context.Background())
	w := &writer{stop: cancel}
	name := fmt.Sprintf("writer-%d", generation.Add(1))
	w.done.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			start := time.Now()
			// The write itself is not cancelled: each one counts.
			_, err := a.client.Index().Index(index).Type(bookType).Id(fmt.Sprintf("%s-%d", name, i)).BodyJson(someBook(i)).Do(context.Background())
			if err != nil {
				w.err.Store(&err)
				return
			}
			w.written.Add(1)
			w.longest.Store(max(w.longest.Load(), int64(time.Since(start))))
		}
	})
	return w
}

// end stops the writer and tells whether any write failed.
func (w *writer) end() error {
	w.stop()
	w.done.Wait()
	if err := w.err.Load(); err != nil {
		return fmt.Errorf("a write failed after %d: %w", w.written.Load(), *err)
	}
	if w.written.Load() == 0 {
		return errors.New("nothing was written")
	}
	return nil
}
