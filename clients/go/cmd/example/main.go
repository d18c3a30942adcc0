// One action, and then three events: example [RUN_DIR]
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
	events, err := client.Events(ctx, server)
	for n := 0; n < 3 && err == nil; n++ {
		var item amid.Item
		if item, err = events.Next(ctx); err == nil {
			fmt.Println(item)
		}
	}
}
