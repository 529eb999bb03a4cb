// Package speed measures what stands between a client and a cluster: nginx, plain
// Caddy and esperanto in turn with nothing at all.
//
//	make speed
//
// docs/performance.md says how to read what it prints. Parts of it by its flags, such as
//
//	make speed SPEED="-backends cluster -modes document -connections 100"
//
// Without -speed everything is run once with next to nothing, to see that it works.
package speed
