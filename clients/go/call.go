package amid

import (
	"fmt"
	"strings"
	"time"
)

const (
	defaultTimeout = 5 * time.Second // the daemon has the same
	margin         = time.Second     // that an answer may come after the call's timeout, for the way to the broker and back
	longestTimeout = time.Hour       // that the daemon accepts
)

// readOnly are the methods that change nothing: without an answer of theirs, nothing was done.
var readOnly = map[string]bool{"servers": true, "status": true, "actions": true, "replay": true, "ping": true}

// call is a request, how long to wait for its answer, and what the answer means. It knows no socket.
type call struct {
	id       int64
	method   string
	params   Map
	patience time.Duration
	request  []byte
}

func newCall(id int64, method string, params Map, timeout time.Duration) (*call, error) {
	request, err := Pack(Map{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	if err != nil {
		return nil, &Error{Kind: "invalid_params", Message: fmt.Sprintf("%s: a value cannot be put into a request: %s", method, err)}
	}
	if timeout <= 0 || timeout > longestTimeout { // the daemon soon refuses it, and that answer is worth waiting for
		timeout = defaultTimeout
	}
	return &call{id, method, params, timeout + margin, request}, nil
}

// reply is the reply to this call, or nil. One without an id can only be ours, where one call is open at a time.
func (c *call) reply(body []byte) Map {
	value, err := Unpack(body)
	reply, ok := value.(Map)
	if err != nil || !ok || (reply["id"] != nil && integer(reply["id"]) != c.id) {
		return nil
	}
	if _, ok := reply["result"]; ok {
		return reply
	}
	if _, ok := reply["error"].(Map); ok {
		return reply
	}
	return nil
}

// noAnswer: the broker has the request, but it is stopped, or was replaced meanwhile.
func (c *call) noAnswer(endpoint string) *Error {
	what := strings.TrimSpace(c.method + " " + text(c.params["action"]))
	message := fmt.Sprintf("the daemon at %s took %s and gave no answer within %s: see `amid status`", endpoint, what, c.patience)
	return &Error{Kind: "timeout", Sent: !readOnly[c.method], Message: message, Server: text(c.params["server"])}
}
