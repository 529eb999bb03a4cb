// Package library is the data of the applications: books.
package library

import "fmt"

// A Book is a document.
type Book struct {
	Title     string   `json:"title"`
	Author    string   `json:"author"`
	Year      int      `json:"year"`
	Price     float64  `json:"price"`
	Published string   `json:"published"`
	Reviews   []Review `json:"reviews"`
}

// A Review is a nested part of a book.
type Review struct {
	By    string `json:"by"`
	Stars int    `json:"stars"`
}

var (
	authors = []string{"Herbert", "Le Guin", "Lem", "Butler"}
	lengths = []string{"long", "short", "endless"}
)

// Number is the i-th book.
func Number(i int) Book {
	return Book{
		Title:     fmt.Sprintf("Volume %d of the %s story", i, lengths[i%3]),
		Author:    authors[i%4],
		Year:      1950 + i%60,
		Price:     float64(i) * 0.5,
		Published: fmt.Sprintf("20%02d-%02d-01T10:00:00Z", 10+i%5, 1+i%12),
		Reviews:   []Review{{fmt.Sprintf("reader %d", i%3), 1 + i%5}},
	}
}

// Settings and Properties are those of an index of books.
const (
	Settings = `{"number_of_shards":2,"number_of_replicas":0,"analysis":{
		"filter":{"few":{"type":"stop","stopwords":["the","of"]}},
		"analyzer":{"titles":{"type":"custom","tokenizer":"standard","filter":["lowercase","few"]}}}}`

	Properties = `{"properties":{
		"title":{"type":"text","analyzer":"titles","fields":{"raw":{"type":"keyword","ignore_above":100}}},
		"author":{"type":"keyword"},"year":{"type":"integer"},"price":{"type":"double"},"published":{"type":"date"},
		"suggest":{"type":"completion"},
		"reviews":{"type":"nested","properties":{"by":{"type":"keyword"},"stars":{"type":"byte"}}}}}`
)

// Index is the body that creates an index of books, below a mapping type if there
// is one.
func Index(kind string) string {
	mapping := Properties
	if kind != "" {
		mapping = fmt.Sprintf("{%q:%s}", kind, Properties)
	}
	return fmt.Sprintf(`{"settings":%s,"mappings":%s}`, Settings, mapping)
}
