package faults

import (
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A proxy stands between the gateways and a cluster and does harm to answers.
type proxy struct {
	listener net.Listener
	target   string
	harm     atomic.Pointer[func(chunk []byte) (kept []byte, cut bool)] // nil: none
	done     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // nil when it is closed
}

// through puts a proxy in front of a cluster, 0 or 1.
func (r *rig) through(which int) *proxy {
	r.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	p := &proxy{listener: l, target: strings.TrimPrefix(r.ends[which], "http://"), conns: map[net.Conn]bool{}}
	r.ends[which] = "http://" + l.Addr().String()
	p.done.Go(p.accept)
	r.Cleanup(p.close)
	return p
}

func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		c.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	p.done.Wait()
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		p.done.Go(func() {
			p.carry(client, server)
		})
	}
}

// carry carries both ways until one end closes.
func (p *proxy) carry(client, server net.Conn) {
	p.mu.Lock()
	closed := p.conns == nil
	if !closed {
		p.conns[client], p.conns[server] = true, true
	}
	p.mu.Unlock()
	end := func() {
		client.Close()
		server.Close()
	}
	if closed {
		end()
		return
	}
	var requests sync.WaitGroup
	requests.Go(func() {
		defer end()
		_, _ = io.Copy(server, client)
	})
	p.answers(client, server)
	end()
	requests.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, server)
}

func (p *proxy) answers(client, server net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		chunk, cut := buffer[:n], false
		if harm := p.harm.Load(); harm != nil && n > 0 {
			chunk, cut = (*harm)(chunk)
		}
		if _, werr := client.Write(chunk); werr != nil || err != nil || cut {
			return
		}
	}
}

// does sets the harm; nil for none.
func (p *proxy) does(harm func(chunk []byte) ([]byte, bool)) {
	if harm == nil {
		p.harm.Store(nil)
		return
	}
	p.harm.Store(&harm)
}

// Answers of one cluster are cut in the middle, one in ten, and the connection
// with them.
func TestTruncatedAnswers(t *testing.T) {
	for which, name := range []string{"of the master", "of the follower"} {
		t.Run(name, func(t *testing.T) {
			r := shared(t, "5.6.16", "7.10.2")
			p := r.through(which)
			r.start()
			l := r.write(6)
			l.await(50, longest)
			var cuts atomic.Int64
			p.does(func(chunk []byte) ([]byte, bool) {
				if rand.IntN(10) > 0 {
					return chunk, false
				}
				cuts.Add(1)
				return chunk[:rand.IntN(len(chunk))], true
			})
			for end := time.Now().Add(time.Duration(*rounds) * time.Minute); cuts.Load() < int64(25**rounds) && time.Now().Before(end); {
				l.await(5, longest)
			}
			p.does(nil)
			r.kills = int(cuts.Load())
			l.await(50, longest)
			r.final()
		})
	}
}

// Both clusters answer slowly, and not evenly.
func TestSlowClusters(t *testing.T) {
	r := shared(t, "5.6.16", "7.10.2")
	for which := range 2 {
		r.through(which).does(func(chunk []byte) ([]byte, bool) {
			if rand.IntN(20) == 0 {
				time.Sleep(500 * time.Millisecond)
			}
			time.Sleep(rand.N(30 * time.Millisecond))
			return chunk, false
		})
	}
	r.start()
	l := r.write(8)
	l.await(int64(400**rounds), time.Duration(*rounds)*2*longest)
	r.final()
}
