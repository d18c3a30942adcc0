// One action, the live state, and then three events: example [RUN_DIR]
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"amid"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client := amid.New(append(os.Args, "")[1])
	servers, err := client.Servers(ctx)
	if err != nil {
		log.Fatal(err)
	}
	server := servers[0]["name"].(string)
	answer, err := client.Action(ctx, "CoreStatus", nil, amid.Options{Server: server})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(server, "is up since", answer["response"].(amid.Map)["CoreStartupTime"])

	state, err := client.State(ctx, nil, amid.Options{Server: server}, "channels", "calls")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(state["calls"].([]any)), "calls now")
	changes, err := client.Changes(ctx, server, "calls")
	show(ctx, changes, err, 1) // the first one is a reset, the whole state; then each change comes

	events, err := client.Events(ctx, server)
	show(ctx, events, err, 3)
}

// show prints the next items of events or changes.
func show(ctx context.Context, items *amid.Events, err error, count int) {
	for ; count > 0 && err == nil; count-- {
		var item amid.Item
		item, err = items.Next(ctx)
		switch item := item.(type) {
		case *amid.Event:
			fmt.Println(item.Event, item.Fields)
		case *amid.Gap:
			fmt.Println("events are missing behind number", item.After.Seq)
		case *amid.Change:
			fmt.Println(item.Kind, item.ID, item.Gone, item.Set)
		}
	}
	if err != nil {
		log.Fatal(err)
	}
	items.Close()
}
