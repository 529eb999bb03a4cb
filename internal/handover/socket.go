// Package handover keeps a listening socket, and the connections of clients that
// are idle, while one server takes the place of another in the same process. It
// promises: no connection is reset and no request is lost, neither on connections
// that nobody has accepted yet nor on those that wait for their next request.
package handover

import (
	"context"
	"net"
	"sync"
	"time"
)

// sockets are the open ones of this process.
var sockets = struct {
	sync.Mutex
	open map[string]*socket // by network and address
}{open: map[string]*socket{}}

// A socket accepts connections for the newest of its listeners.
type socket struct {
	key string
	net.Listener

	mu        sync.Mutex
	listeners []*listener // open ones, the newest last
}

// Listen listens on a TCP address. If there is a listener on it in this process
// already, both share its socket: new connections go to the newest listener
// that is open. How the socket is configured is then said by the first one.
func Listen(ctx context.Context, network, address string, config net.ListenConfig) (net.Listener, error) {
	sockets.Lock()
	defer sockets.Unlock()
	key := network + "/" + address
	if s := sockets.open[key]; s != nil {
		return s.add(), nil
	}
	opened, err := config.Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s, l := share(key, opened)
	sockets.open[key] = s
	return l, nil
}

// share makes a socket with its first listener, which is there before a connection can
// be accepted: without any, the socket would take itself for closed.
func share(key string, opened net.Listener) (*socket, *listener) {
	s := &socket{key: key, Listener: opened}
	l := s.add()
	go s.accept()
	return s, l
}

func (s *socket) add() *listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &listener{socket: s, queue: make(chan accepted), closed: make(chan struct{})}
	s.listeners = append(s.listeners, l)
	return l
}

// newest is the listener that gets connections, nil if all are closed.
func (s *socket) newest() *listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.listeners) == 0 {
		return nil
	}
	return s.listeners[len(s.listeners)-1]
}

// remove takes a listener away. The socket is closed with the last one.
func (s *socket) remove(l *listener) error {
	sockets.Lock()
	defer sockets.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.listeners {
		if s.listeners[i] == l {
			s.listeners = append(s.listeners[:i:i], s.listeners[i+1:]...)
			break
		}
	}
	if len(s.listeners) > 0 {
		return nil
	}
	delete(sockets.open, s.key)
	return s.Listener.Close()
}

// accepted is what Accept returns, and what is known of the connection.
type accepted struct {
	conn   net.Conn
	err    error
	begun  bool
	unread []byte
}

// accept hands out connections until the socket is closed.
func (s *socket) accept() {
	for {
		c, err := s.Listener.Accept()
		if !s.deliver(accepted{conn: c, err: err}) {
			return
		}
	}
}

// deliver waits until a listener takes a. It reports false if all are closed.
func (s *socket) deliver(a accepted) bool {
	for {
		l := s.newest()
		if l == nil {
			if a.conn != nil {
				a.conn.Close()
			}
			return false
		}
		select {
		case l.queue <- a:
			return true
		case <-l.closed:
		}
	}
}

// A listener is one server's share of a socket.
type listener struct {
	socket *socket
	queue  chan accepted

	once     sync.Once
	closed   chan struct{}
	closedAt time.Time // once closed is closed
	err      error     // of Close

	watch watch
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case a := <-l.queue:
		if tcp, ok := a.conn.(*net.TCPConn); ok {
			return &conn{TCPConn: tcp, of: l, begun: a.begun, http1: a.begun, unread: a.unread}, nil // one that is bound does not come here
		}
		return a.conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		l.closedAt = time.Now()
		close(l.closed)
		l.err = l.socket.remove(l)
	})
	return l.err
}

func (l *listener) Addr() net.Addr { return l.socket.Addr() }

// A server that shuts down closes its idle connections right after its
// listeners, and those that nothing was asked on within the next 5 seconds. What
// it closes later than this was not idle.
const idleWindow = 10 * time.Second

// successor is the listener that takes over connections which are idle now, nil
// if this one is not being shut down or is the last.
func (l *listener) successor() *listener {
	select {
	case <-l.closed:
		if time.Since(l.closedAt) < idleWindow {
			return l.socket.newest()
		}
	default:
	}
	return nil
}
