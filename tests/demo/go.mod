module github.com/esperanto-es/esperanto/tests/demo

go 1.26.0

replace github.com/esperanto-es/esperanto => ../..

require (
	github.com/esperanto-es/esperanto v0.0.0-00010101000000-000000000000
	gopkg.in/olivere/elastic.v5 v5.0.86
)

require (
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/mailru/easyjson v0.7.1 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/tidwall/gjson v1.20.0 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	github.com/tidwall/pretty v1.2.0 // indirect
	github.com/twmb/franz-go v1.22.2 // indirect
	github.com/twmb/franz-go/pkg/kadm v1.19.0 // indirect
	github.com/twmb/franz-go/pkg/kmsg v1.15.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
)
