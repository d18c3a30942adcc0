// The harness of the Go client; clients/CONFORMANCE.md says what it does.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"amid"
)

const mark = "$bin"

var client *amid.Client

func main() {
	client = amid.New(strings.Join(os.Args[1:], ""))
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		decoder := json.NewDecoder(strings.NewReader(string(line)))
		decoder.UseNumber()
		var asked map[string]any
		if err := decoder.Decode(&asked); err != nil {
			panic(err)
		}
		do(meant(asked).(amid.Map))
	}
}

func do(asked amid.Map) {
	switch asked["do"] {
	case "decode":
		raw, _ := hex.DecodeString(asked["hex"].(string))
		value, err := amid.Unpack(raw)
		must(err)
		say(amid.Map{"value": value})
	case "encode":
		packed, err := amid.Pack(asked["value"])
		must(err)
		say(amid.Map{"hex": hex.EncodeToString(packed)})
	case "call":
		call(asked["method"].(string), asked["params"].(amid.Map))
	case "calls":
		calls(int(asked["count"].(int64)), int(asked["at_once"].(int64)))
	case "events":
		events(namesIn(asked["names"]), asked["server"].(string), asked["count"].(int64), seconds(asked["timeout"]))
	case "changes":
		err := changes(namesIn(asked["kinds"]), asked["server"].(string), asked["resets"].(int64), seconds(asked["timeout"]))
		say(endOf(err))
	}
}

func call(method string, params amid.Map) {
	result, err := resultOf(context.Background(), method, params)
	if err != nil {
		say(failureOf(err))
	} else {
		say(amid.Map{"result": result})
	}
}

func resultOf(ctx context.Context, method string, params amid.Map) (any, error) {
	server, _ := params["server"].(string)
	until, _ := params["until"].(string)
	options := amid.Options{Server: server, Timeout: seconds(params["timeout"]), Until: until}
	switch method {
	case "action":
		fields, _ := params["fields"].(amid.Map)
		return client.Action(ctx, params["action"].(string), fields, options)
	case "servers":
		return client.Servers(ctx)
	case "status":
		return client.Status(ctx)
	case "actions":
		return client.Actions(ctx, options)
	case "state":
		return client.State(ctx, params["where"], options, namesIn(params["kinds"])...)
	case "audit":
		return client.Audit(ctx, 0, params["limit"].(int64))
	case "restart":
		return client.Restart(ctx, server)
	case "ping":
		return client.Ping(ctx)
	}
	return client.Call(ctx, method, params, 0)
}

func calls(count, atOnce int) {
	var right int64
	numbers := make(chan int)
	var pingers sync.WaitGroup
	for n := 0; n < atOnce; n++ {
		pingers.Add(1)
		go func() {
			defer pingers.Done()
			for number := range numbers {
				if ping(fmt.Sprintf("own-%d", number)) {
					atomic.AddInt64(&right, 1)
				}
			}
		}()
	}
	for number := 0; number < count; number++ {
		numbers <- number
	}
	close(numbers)
	pingers.Wait()
	say(amid.Map{"right": right, "wrong": int64(count) - right, "at_once": atOnce})
}

func ping(own string) bool {
	answer, err := client.Action(context.Background(), "Ping", amid.Map{"ActionID": own}, amid.Options{Server: "pbx1"})
	response, _ := answer["response"].(amid.Map)
	return err == nil && response["ActionID"] == own
}

func events(names []string, server string, count int64, timeout time.Duration) {
	stream, err := client.Events(context.Background(), server, names...)
	must(err)
	defer stream.Close()
	say(amid.Map{"listening": true})
	missed := int64(0)
	for count > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		item, err := stream.Next(ctx)
		cancel()
		if err != nil {
			break // nothing came in time
		}
		switch item := item.(type) {
		case *amid.Event:
			count--
			say(amid.Map{"event": ofEvent(item)})
		case *amid.Gap:
			say(amid.Map{"gap": ofGap(item)})
			if item.Missed > 0 {
				missed += item.Missed
			}
		}
	}
	say(amid.Map{"end": true, "missed": missed})
}

// changes ends without an error after so many resets.
func changes(kinds []string, server string, resets int64, timeout time.Duration) error {
	stream, err := client.Changes(context.Background(), server, kinds...)
	if err != nil {
		return err
	}
	defer stream.Close()
	for resets > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		item, err := stream.Next(ctx)
		cancel()
		if err != nil {
			return err
		}
		change := item.(*amid.Change)
		if change.Kind == "reset" {
			resets--
		}
		say(amid.Map{"change": ofChange(change)})
	}
	return nil
}

func endOf(err error) amid.Map {
	if err != nil {
		return failureOf(err)
	}
	return amid.Map{"end": true}
}

// ── values in lines ──

func ofChange(change *amid.Change) amid.Map {
	return amid.Map{
		"server": change.Server, "kind": change.Kind, "id": change.ID, "set": change.Set, "gone": change.Gone, "state": change.State,
	}
}

func ofEvent(event *amid.Event) amid.Map {
	return amid.Map{
		"server": event.Server, "epoch": event.Epoch, "seq": event.Seq, "prev": event.Prev,
		"time": event.Time, "event": event.Event, "fields": event.Fields,
	}
}

func ofGap(gap *amid.Gap) amid.Map {
	shown := amid.Map{"server": gap.Server, "epoch": gap.After.Epoch, "after": gap.After.Seq, "missed": nil}
	if gap.Missed >= 0 {
		shown["missed"] = gap.Missed
	}
	return shown
}

func failureOf(failed error) amid.Map {
	var err *amid.Error
	if !errors.As(failed, &err) {
		err = &amid.Error{Kind: "timeout", Message: failed.Error()} // the context's
	}
	shown := amid.Map{"kind": err.Kind, "sent": err.Sent, "message": err.Message}
	for name, value := range map[string]string{"server": err.Server, "action_id": err.ActionID} {
		if value != "" {
			shown[name] = value
		}
	}
	if err.Response != nil {
		shown["response"] = err.Response
	}
	return amid.Map{"error": shown}
}

func say(answer amid.Map) {
	line, err := json.Marshal(shown(answer))
	must(err)
	os.Stdout.Write(append(line, '\n'))
}

func shown(value any) any {
	switch value := value.(type) {
	case string:
		if !utf8.ValidString(value) { // the client gives a name that may be bytes as a string
			return amid.Map{mark: hex.EncodeToString([]byte(value))}
		}
	case []byte:
		return amid.Map{mark: hex.EncodeToString(value)}
	case amid.Map:
		made := amid.Map{}
		for name, one := range value {
			if !utf8.ValidString(name) {
				name = mark + ":" + hex.EncodeToString([]byte(name))
			}
			made[name] = shown(one)
		}
		return made
	case []amid.Map:
		return each(value, shown)
	case []any:
		return each(value, shown)
	}
	return value
}

func meant(line any) any {
	switch line := line.(type) {
	case json.Number:
		if whole, err := line.Int64(); err == nil {
			return whole
		}
		fraction, _ := line.Float64()
		return fraction
	case map[string]any:
		if raw, ok := line[mark].(string); ok && len(line) == 1 {
			return bytesOf(raw)
		}
		made := amid.Map{}
		for name, one := range line {
			if strings.HasPrefix(name, mark+":") {
				name = string(bytesOf(name[len(mark)+1:]))
			}
			made[name] = meant(one)
		}
		return made
	case []any:
		return each(line, meant)
	}
	return line
}

func each[T any](list []T, of func(any) any) []any {
	made := []any{}
	for _, one := range list {
		made = append(made, of(one))
	}
	return made
}

func bytesOf(digits string) []byte {
	raw, err := hex.DecodeString(digits)
	must(err)
	return raw
}

func namesIn(value any) []string {
	list, ok := value.([]any)
	if !ok {
		return nil
	}
	names := []string{}
	for _, one := range list {
		names = append(names, one.(string))
	}
	return names
}

func seconds(value any) time.Duration {
	switch value := value.(type) {
	case int64:
		return time.Duration(value) * time.Second
	case float64:
		return time.Duration(value * float64(time.Second))
	}
	return 0
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
