// Prints the events of a PBX, then the answer to a call. Needs nats.go (Debian's package
// golang-github-nats-io-go-nats-dev, or the module github.com/nats-io/nats.go).
//
// consumer nats://127.0.0.1:4222 pbx1 [COUNT]
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// CallFailed: for Kind and Sent see clients/README.md. If Sent is true, Asterisk may have executed
// the action: do not repeat it.
type CallFailed struct {
	Kind    string
	Sent    bool
	Message string
}

func (e *CallFailed) Error() string { return fmt.Sprintf("%s, sent %v: %s", e.Kind, e.Sent, e.Message) }

type reply struct {
	Result struct {
		Response map[string]any `json:"response"`
	} `json:"result"`
	Error *struct {
		Message string `json:"message"`
		Data    struct {
			Kind string `json:"kind"`
			Sent bool   `json:"sent"`
		} `json:"data"`
	} `json:"error"`
}

func call(nc *nats.Conn, server, action string, fields map[string]any, timeout time.Duration) (map[string]any, error) {
	params := map[string]any{"action": action, "fields": fields, "timeout": timeout.Seconds()}
	body, err := json.Marshal(map[string]any{"id": 1, "method": "action", "params": params})
	if err != nil {
		return nil, err
	}
	request := nats.NewMsg("amid.rpc." + server + ".action." + action)
	request.Data = body
	request.Header.Set("Amid-Expires", strconv.FormatInt(time.Now().Add(timeout).UnixMilli(), 10))
	answer, err := nc.RequestMsg(request, timeout+2*time.Second)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, &CallFailed{"not_connected", false, "no amid serves " + server + " now"}
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed):
		return nil, &CallFailed{"unreachable", false, "no connection to NATS"}
	case err != nil:
		return nil, &CallFailed{"timeout", true, err.Error()}
	}
	var got reply
	if err := json.Unmarshal(answer.Data, &got); err != nil {
		return nil, err
	}
	if got.Error != nil {
		return nil, &CallFailed{got.Error.Data.Kind, got.Error.Data.Sent, got.Error.Message}
	}
	return got.Result.Response, nil
}

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: consumer URL SERVER [COUNT]")
	}
	url, server, count := os.Args[1], os.Args[2], -1
	if len(os.Args) > 3 {
		count, _ = strconv.Atoi(os.Args[3])
	}
	// Without a buffer: a request is sent at once, or it fails.
	nc, err := nats.Connect(url, nats.ReconnectBufSize(-1), nats.MaxReconnects(-1))
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		log.Fatal(err)
	}
	stream := "AMID_" + server
	durable := &nats.ConsumerConfig{Durable: "example-go", AckPolicy: nats.AckExplicitPolicy}
	if _, err := js.AddConsumer(stream, durable); err != nil {
		log.Fatal(err)
	}
	events, err := js.PullSubscribe("", "example-go", nats.Bind(stream, "example-go"))
	if err != nil {
		log.Fatal(err)
	}
	for count != 0 {
		messages, err := events.Fetch(1, nats.MaxWait(5*time.Second))
		if err != nil && !errors.Is(err, nats.ErrTimeout) {
			log.Fatal(err)
		}
		for _, message := range messages {
			var event struct {
				Epoch, Seq int64
				Event      string
			}
			if err := json.Unmarshal(message.Data, &event); err != nil {
				log.Fatal(err)
			}
			fmt.Println(event.Epoch, event.Seq, event.Event) // handle it, then acknowledge it
			if err := message.Ack(); err != nil {
				log.Fatal(err)
			}
			count--
		}
	}
	response, err := call(nc, server, "Ping", map[string]any{}, 5*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response["Ping"])
}
