package amid

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Error is a call that failed; errors.As finds it. Sent false: Asterisk never received the action, so retrying is safe. True:
// it may have run, and a second try may be a second phone call.
type Error struct {
	Kind     string // one of the kinds in clients/README.md, or "unreachable": no daemon took the request
	Sent     bool
	Message  string
	Server   string // where it is known, as is ActionID
	ActionID string
	Response Map // Asterisk's own packet, with "action_failed" for one
}

func (e *Error) Error() string { return fmt.Sprintf("amid: %s: %s", e.Kind, e.Message) }

// errorOf is the error in a reply. Without "sent" in it, Asterisk may have received the action.
func errorOf(reply Map) *Error {
	data := as[Map](reply["data"])
	if data["kind"] == nil {
		data = Map{"kind": "internal_error"}
	}
	kind, server, actionID := as[string](data["kind"]), as[string](data["server"]), as[string](data["action_id"])
	return &Error{kind, data["sent"] != false, as[string](reply["message"]), server, actionID, as[Map](data["response"])}
}

// failed is an error of this client. Without an answer, only the methods that change something were perhaps sent.
func failed(kind, method string, params Map, format string, known ...any) *Error {
	sent := method == "action" || method == "restart"
	return &Error{Kind: kind, Sent: sent, Message: fmt.Sprintf(format, known...), Server: as[string](params["server"])}
}

func unreachable(what string) *Error {
	return &Error{Kind: "unreachable", Message: what + ": start one with `amid run`, or name its directory in AMID_RUN_DIR"}
}

// findEndpoint returns the endpoint of the daemon's rpc socket. A directory that was named, by runDir or AMID_RUN_DIR, is the
// only one to look in: another could be another PBX's.
func findEndpoint(runDir string) (string, error) {
	if runDir == "" {
		runDir = os.Getenv("AMID_RUN_DIR")
	}
	directories := []string{runDir}
	if private := os.Getenv("XDG_RUNTIME_DIR"); runDir == "" && private != "" {
		directories = []string{"/run/amid", private + "/amid"}
	} else if runDir == "" {
		directories = []string{"/run/amid"}
	}
	var looked []string
	for _, directory := range directories {
		path := directory + "/rpc"
		if info, err := os.Stat(path); err != nil || info.Mode()&os.ModeSocket == 0 {
			looked = append(looked, directory+": no socket")
		} else if syscall.Access(path, 2) != nil { // W_OK: connecting takes the permission to write it
			looked = append(looked, directory+": this user may not use its socket")
		} else {
			return "ipc://" + path, nil
		}
	}
	return "", unreachable("no amid daemon found (" + strings.Join(looked, "; ") + ")")
}
