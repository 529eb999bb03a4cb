# Everything that is downloaded comes through Go modules and Maven; clusters for
# tests and demo are started by tests/harness.
.PHONY: build demo test fast conformance bench speed figures model clean

CLUSTERS = go run ./tests/harness/cmd/clusters exec --

# The gateway: Caddy with the esperanto module.
build:
	go build -o bin/esperanto ./cmd/esperanto

# Shows, on real clusters, what esperanto does. EXIT=--exit ends it at the end.
demo: build
	cd tests/demo && go run . --gateway ../../bin/esperanto $(EXIT)

# All tests, with real Elasticsearch and Kafka.
test:
	go vet ./...
	$(CLUSTERS) go test -timeout 40m -p 2 ./...
	cd tests/demo && go vet ./...

# The tests that need no cluster: seconds.
fast:
	go test ./...

# Ratios to what is measured in the same run: what the translation costs, and then
# what stands in between.
bench:
	go test -run XXX -bench . ./tests/bench
	$(MAKE) speed

# nginx, plain Caddy and esperanto in turn with nothing in between; docs/performance.md
# says how to read the tables. SPEED=... passes flags on, such as "-modes document -pin".
speed:
	$(CLUSTERS) go test -timeout 4h ./tests/bench/speed -run TestSpeed -v -speed $(SPEED)

# What replication costs and how fast it is, on real clusters; docs/performance.md
# says how to read the table. FIGURES=... passes flags on, such as -out $(CURDIR)/figures.json.
figures:
	$(CLUSTERS) go test -timeout 60m ./tests/bench/replication -run TestFigures -v -figures $(FIGURES)

# Random operations through the gateway while the master moves and the gateway is
# killed, on all pairs of versions in turn.
FOR ?= 30m
model:
	$(CLUSTERS) go test -timeout 24h ./tests/faults -run TestModel -v -for $(FOR)

# Elasticsearch's own REST tests through the gateway, all of them on all pairs of
# versions, and the figures for the documentation. Takes long.
conformance:
	$(CLUSTERS) go test -timeout 3h ./tests/conformance -v -share 1 -home -figures ../../docs/conformance.json
	go generate ./docs

clean:
	rm -rf bin
