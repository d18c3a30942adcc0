package amid

import (
	"context"
	"errors"
	"time"
)

// settle is how long to wait for the first tick of each server that is up, which shows that the subscription is in effect.
const settle = 2 * time.Second

// ErrClosed is what Next gives when the events are closed.
var ErrClosed = errors.New("amid: these events are closed")

// Events as they come, for ever, and gaps where some are missing. For one goroutine.
//
// What was lost because this program did not read in time is fetched once more and comes in its place. Loss is never
// silent: what the daemon no longer holds is a *Gap. When the daemon or a reader is replaced, ZeroMQ reconnects by itself.
// With names, each name's events are in order; a lost one may come after a later one of another name.
type Events struct {
	client *Client
	feed   *feed
	socket *socket
}

func newEvents(ctx context.Context, client *Client, feed *feed) (*Events, error) {
	subscriber, err := newSubscriber(feed.endpoints(), feed.topics())
	if err != nil {
		return nil, nobodyAt(err.Error())
	}
	made := &Events{client, feed, subscriber}
	for deadline := time.Now().Add(settle); !feed.settled() && time.Now().Before(deadline); {
		if err := made.receive(ctx, deadline); err != nil {
			made.Close()
			return nil, err
		}
	}
	return made, nil
}

// Next gives the next *Event or *Gap. When the context ends first it gives the context's error; the events stay open, and
// Next may be called again.
func (e *Events) Next(ctx context.Context) (Item, error) {
	for {
		if e.socket == nil {
			return nil, ErrClosed
		}
		if item := e.feed.next(); item != nil {
			return item, nil
		}
		if err := e.more(ctx); err != nil {
			return nil, err
		}
	}
}

// Missed is how many events are known to be missing.
func (e *Events) Missed() int64 { return e.feed.missed }

// Gaps is how many gaps there were; of one at the end of an epoch nobody knows the size.
func (e *Events) Gaps() int64 { return e.feed.gaps }

// Replayed is how many events were lost on the way and fetched once more.
func (e *Events) Replayed() int64 { return e.feed.replayed }

// Close ends the subscription.
func (e *Events) Close() {
	if e.socket != nil {
		e.socket.close()
		e.socket = nil
	}
}

// more fetches what is missing, or waits for what comes.
func (e *Events) more(ctx context.Context) error {
	if missing := e.feed.recovery.ask(); missing != nil {
		return e.fetch(ctx, *missing)
	}
	return e.receive(ctx, time.Now().Add(longest))
}

func (e *Events) receive(ctx context.Context, deadline time.Time) error {
	body, err := e.socket.receive(ctx, deadline)
	if err != nil || body == nil {
		return err
	}
	return e.feed.take(body)
}

func (e *Events) fetch(ctx context.Context, missing ask) error {
	select {
	case <-time.After(e.feed.recovery.pause):
	case <-ctx.Done():
		return ctx.Err()
	}
	limit := defaultTimeout
	if end, ok := ctx.Deadline(); ok && time.Until(end) < limit {
		limit = time.Until(end)
	}
	events, more, err := e.client.Replay(ctx, missing.server, missing.epoch, missing.after, page, limit)
	if err == nil {
		e.feed.fetched(events, more)
		return nil
	}
	refused := as(err)
	if refused == nil {
		return err
	}
	e.feed.refused(refused, limit)
	return nil
}
