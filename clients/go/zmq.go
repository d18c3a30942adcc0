package amid

/*
#cgo pkg-config: libzmq
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

// A call and its errno in one go: Go may change the thread between two.
static int amid_poll(void *socket, int fd, short events, long milliseconds, short *got) {
	zmq_pollitem_t items[2] = {{socket, 0, events, 0}, {NULL, fd, ZMQ_POLLIN, 0}};
	int rc = zmq_poll(items, fd < 0 ? 1 : 2, milliseconds);
	*got = items[0].revents;
	return rc < 0 ? -zmq_errno() : rc;
}
static int amid_send(void *socket, const void *data, size_t size, int flags) {
	return zmq_send(socket, data, size, flags | ZMQ_DONTWAIT) < 0 ? -zmq_errno() : 0;
}
static int amid_receive(void *socket, zmq_msg_t *message) {
	return zmq_msg_recv(message, socket, ZMQ_DONTWAIT) < 0 ? -zmq_errno() : 0;
}
static int amid_connect(void *socket, const char *endpoint) {
	return zmq_connect(socket, endpoint) < 0 ? -zmq_errno() : 0;
}
static void amid_set(void *socket, int option, int value) { zmq_setsockopt(socket, option, &value, sizeof value); }
static void amid_subscribe(void *socket, const char *topic) { zmq_setsockopt(socket, ZMQ_SUBSCRIBE, topic, strlen(topic)); }
*/
import "C"

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// longest is one wait in ZeroMQ, when nothing else ends it.
const longest = time.Hour

var (
	zmqOnce    sync.Once
	zmqContext unsafe.Pointer
)

// socket is a ZeroMQ socket whose every wait has an end: a deadline, or that of a context. For one goroutine at a time.
type socket struct {
	handle unsafe.Pointer
	// A byte in this pipe ends a wait, when a context does.
	wake, waker *os.File
}

func newSocket(kind C.int) (*socket, error) {
	zmqOnce.Do(func() { zmqContext = C.zmq_ctx_new() })
	wake, waker, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	handle := C.zmq_socket(zmqContext, kind)
	if handle == nil {
		wake.Close()
		waker.Close()
		return nil, fmt.Errorf("ZeroMQ gives no socket: %s", C.GoString(C.zmq_strerror(C.zmq_errno())))
	}
	C.amid_set(handle, C.ZMQ_LINGER, 0)
	return &socket{handle, wake, waker}, nil
}

// newDealer is a socket for requests. With IMMEDIATE nothing is queued for a broker that is not there, so that what it does
// not take has certainly not been sent.
func newDealer(endpoint string) (*socket, error) {
	made, err := newSocket(C.ZMQ_DEALER)
	if err != nil {
		return nil, err
	}
	C.amid_set(made.handle, C.ZMQ_IMMEDIATE, 1)
	if err := made.connect(endpoint); err != nil {
		made.close()
		return nil, err
	}
	return made, nil
}

func newSubscriber(endpoints, topics []string) (*socket, error) {
	made, err := newSocket(C.ZMQ_SUB)
	if err != nil {
		return nil, err
	}
	for _, endpoint := range endpoints {
		if err := made.connect(endpoint); err != nil {
			made.close()
			return nil, err
		}
	}
	for _, topic := range topics {
		name := C.CString(topic)
		C.amid_subscribe(made.handle, name)
		C.free(unsafe.Pointer(name))
	}
	return made, nil
}

func (s *socket) connect(endpoint string) error {
	name := C.CString(endpoint)
	defer C.free(unsafe.Pointer(name))
	if rc := C.amid_connect(s.handle, name); rc < 0 {
		return fmt.Errorf("%s: %w", endpoint, syscall.Errno(-rc))
	}
	return nil
}

// handOver is whether somebody took the message before the deadline.
func (s *socket) handOver(ctx context.Context, frames [][]byte, deadline time.Time) (bool, error) {
	if ready, err := s.ready(ctx, C.ZMQ_POLLOUT, deadline); !ready {
		return false, err
	}
	for place, frame := range frames {
		flags := C.int(C.ZMQ_SNDMORE)
		if place == len(frames)-1 {
			flags = 0
		}
		data := C.CBytes(frame)
		rc := C.amid_send(s.handle, data, C.size_t(len(frame)), flags)
		C.free(data)
		if rc < 0 {
			return false, nil
		}
	}
	return true, nil
}

// receive gives the last frame of the next message; nil when none came before the deadline.
func (s *socket) receive(ctx context.Context, deadline time.Time) ([]byte, error) {
	if ready, err := s.ready(ctx, C.ZMQ_POLLIN, deadline); !ready {
		return nil, err
	}
	var frame C.zmq_msg_t
	var body []byte
	for more := true; more; {
		C.zmq_msg_init(&frame)
		if C.amid_receive(s.handle, &frame) < 0 {
			return nil, nil
		}
		body = C.GoBytes(C.zmq_msg_data(&frame), C.int(C.zmq_msg_size(&frame)))
		more = C.zmq_msg_more(&frame) != 0
		C.zmq_msg_close(&frame)
	}
	return body, nil
}

// ready waits for events; an error is that of the context.
func (s *socket) ready(ctx context.Context, events C.short, deadline time.Time) (bool, error) {
	stop := s.wakeWith(ctx)
	defer stop()
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		left := time.Until(deadline)
		if left > longest {
			left = longest
		}
		var got C.short
		rc := C.amid_poll(s.handle, C.int(s.wake.Fd()), events, C.long((left+time.Millisecond-1)/time.Millisecond), &got)
		if got&events != 0 {
			return true, nil
		}
		if rc != -C.EINTR && time.Until(deadline) <= 0 { // signals, Go's own among them, end the wait in ZeroMQ, but not ours
			return false, ctx.Err()
		}
	}
}

// wakeWith makes the end of the context end a wait, until the function that it gives is called.
func (s *socket) wakeWith(ctx context.Context) func() {
	if ctx.Done() == nil {
		return func() {}
	}
	over, woken := make(chan struct{}), make(chan bool)
	go func() {
		select {
		case <-ctx.Done():
			s.waker.Write([]byte{0})
			woken <- true
		case <-over:
			woken <- false
		}
	}()
	return func() {
		close(over)
		if <-woken {
			s.wake.Read(make([]byte, 1)) // or it would end the next wait as well
		}
	}
}

func (s *socket) close() {
	C.zmq_close(s.handle)
	s.wake.Close()
	s.waker.Close()
}
