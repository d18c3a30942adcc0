package amid

/*
#cgo pkg-config: libzmq
#include <errno.h>
#include <fcntl.h>
#include <zmq.h>

static void *amid_open(void *context, const char *endpoint, int *fd) {
	void *socket = zmq_socket(context, ZMQ_DEALER);
	zmq_setsockopt(socket, ZMQ_LINGER, &(int){0}, sizeof(int));
	zmq_setsockopt(socket, ZMQ_IMMEDIATE, &(int){1}, sizeof(int));
	if (zmq_getsockopt(socket, ZMQ_FD, fd, &(size_t){sizeof *fd}) == 0 && zmq_connect(socket, endpoint) == 0 &&
	    (*fd = fcntl(*fd, F_DUPFD_CLOEXEC, 0)) >= 0) return socket; // Go closes its own, and ZeroMQ the other
	zmq_close(socket);
	return NULL;
}
// A signal, such as those of Go's scheduler, ends any of these calls with EINTR.
#define AGAIN(call) ({ int rc; do rc = (call); while (rc < 0 && zmq_errno() == EINTR); rc; })
static int amid_events(void *socket) {
	int events = 0;
	AGAIN(zmq_getsockopt(socket, ZMQ_EVENTS, &events, &(size_t){sizeof events}));
	return events;
}
static void amid_send(void *socket, void *data, size_t size) {
	AGAIN(zmq_send(socket, "", 0, ZMQ_SNDMORE | ZMQ_DONTWAIT));
	AGAIN(zmq_send(socket, data, size, ZMQ_DONTWAIT));
}
static int amid_receive(void *socket, zmq_msg_t *last) {
	int rc = zmq_msg_init(last);
	do rc = AGAIN(zmq_msg_recv(last, socket, ZMQ_DONTWAIT));
	while (rc >= 0 && zmq_msg_more(last));
	return rc;
}
*/
import "C"

import (
	"context"
	"os"
	"time"
	"unsafe"
)

const (
	defaultTimeout  = 5 * time.Second // the daemon has the same
	maxTimeout      = time.Hour       // the daemon refuses a longer one at once, and that answer is worth waiting for
	sendTimeout     = time.Second     // until a request must be with a broker
	margin          = time.Second     // that an answer may come after the call's timeout
	pullTimeout     = 5 * time.Second // that one request waits for an event in the daemon
	stateTimeout    = 2 * pullTimeout // of a request for the whole state: the daemon may load the lists of a PBX first
	retryDelay      = time.Second / 2 // before such a request that failed is made again
	maxRequestBytes = 1024 * 1024
)

var zmqContext = C.zmq_ctx_new()

// dealer is a socket with one call open at a time. Go's own poller waits for it, so a call blocks no thread. With IMMEDIATE
// nothing is queued for a broker that is not there, so "unreachable" means that nothing was sent.
type dealer struct {
	endpoint string
	handle   unsafe.Pointer
	file     *os.File // readable when the socket has news
	lastID   int64
}

func newDealer(endpoint string) (*dealer, error) {
	var fd C.int
	name := append([]byte(endpoint), 0)
	handle := C.amid_open(zmqContext, (*C.char)(unsafe.Pointer(&name[0])), &fd)
	if handle == nil {
		return nil, unreachable("no amid daemon answers at " + endpoint)
	}
	return &dealer{endpoint, handle, os.NewFile(uintptr(fd), endpoint), 0}, nil
}

// ask returns the reply. After an error the dealer is to be closed, which cancels the call; a reply that comes late goes to no call.
func (d *dealer) ask(ctx context.Context, method string, params Map, timeout time.Duration) (Map, error) {
	d.lastID++
	request, err := Pack(Map{"jsonrpc": "2.0", "id": d.lastID, "method": method, "params": params})
	if err != nil {
		return nil, failed("invalid_params", "", params, "%s: a value cannot be put into a request: %s", method, err)
	}
	if size := len(request); size > maxRequestBytes {
		return nil, failed("invalid_request", "", params, "%s: the request has %d bytes; %d are allowed", method, size, maxRequestBytes)
	}
	if timeout <= 0 || timeout > maxTimeout {
		timeout = defaultTimeout
	}
	taken := ctx.Err() == nil && d.wait(ctx, sendTimeout, func(events C.int) bool { return events&C.ZMQ_POLLOUT != 0 })
	if taken {
		C.amid_send(d.handle, unsafe.Pointer(&request[0]), C.size_t(len(request)))
	}
	var reply Map
	if taken && d.wait(ctx, timeout+margin, func(C.int) bool { reply = d.receive(); return reply != nil }) {
		return reply, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	} else if !taken {
		return nil, unreachable("no amid daemon answers at " + d.endpoint)
	}
	const why = "the daemon at %s took %s %s and gave no answer within %s: see `amid status`"
	return nil, failed("timeout", method, params, why, d.endpoint, method, as[string](params["action"]), timeout+margin)
}

func (d *dealer) close() {
	d.file.Close()
	C.zmq_close(d.handle)
}

// wait reports whether ready was true before the timeout and the end of the context. ZeroMQ gives news once: only EVENTS says all.
func (d *dealer) wait(ctx context.Context, timeout time.Duration, ready func(events C.int) bool) bool {
	d.file.SetReadDeadline(time.Now().Add(timeout))
	over := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			d.file.SetReadDeadline(time.Unix(1, 0))
			<-over
		case <-over:
		}
	}()
	found := false
	look := func(uintptr) bool {
		found = ready(C.amid_events(d.handle))
		return found
	}
	news, _ := d.file.SyscallConn()
	if err := news.Read(look); err != nil && ctx.Err() == nil {
		look(0) // a process that was stopped for so long may have news all the same
	}
	over <- struct{}{}
	return found
}

// receive returns the reply to this call, or nil. One without an id can only be this call's.
func (d *dealer) receive() Map {
	var frame C.zmq_msg_t
	for C.amid_events(d.handle)&C.ZMQ_POLLIN != 0 && C.amid_receive(d.handle, &frame) >= 0 {
		body, _ := Unpack(C.GoBytes(C.zmq_msg_data(&frame), C.int(C.zmq_msg_size(&frame))))
		C.zmq_msg_close(&frame)
		if reply, ok := body.(Map); ok && (reply["id"] == nil || Int(reply["id"]) == d.lastID) {
			return reply
		}
	}
	return nil
}
