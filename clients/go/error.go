package amid

import "fmt"

// Error is a call that did not end well; errors.As finds it. Sent is the word that matters: false says that Asterisk never
// saw the action, and trying again is safe; true that it may have been carried out, so that a second try may be a second
// phone call.
type Error struct {
	// Kind is what happened: one of the kinds in clients/README.md, or "unreachable" when no daemon could be asked.
	Kind    string
	Sent    bool
	Message string
	// Server and ActionID are set where they are known.
	Server   string
	ActionID string
	// Response is Asterisk's own packet, with "action_failed" for one.
	Response Map
	// Oldest is, with "gone", the first number of that epoch that Replay still has; 0 when there is none.
	Oldest int64
}

func (e *Error) Error() string {
	return fmt.Sprintf("amid: %s: %s", e.Kind, e.Message)
}

// errorOf is the error in a reply. Asterisk may have seen what nobody says it has not.
func errorOf(reply Map) *Error {
	data, _ := reply["data"].(Map)
	made := &Error{Kind: text(data["kind"]), Sent: true, Message: text(reply["message"])}
	if made.Kind == "" {
		made.Kind = "internal_error"
	}
	if sent, ok := data["sent"].(bool); ok {
		made.Sent = sent
	}
	made.Server, made.ActionID = text(data["server"]), text(data["action_id"])
	made.Response, _ = data["response"].(Map)
	made.Oldest = integer(data["oldest"])
	return made
}
