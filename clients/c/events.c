/* Events as they come: messages from a SUB socket become events and gaps.
 *
 * What is missing is fetched once more before anything behind it is given out, as far as the daemon still holds it. What cannot be
 * had is a gap in its place, so no loss is silent. */

#define _POSIX_C_SOURCE 200809L

#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Seconds to wait for the first tick of each server that is up, which shows that a subscription is in effect. */
#define SETTLE 2.0

/* The events of one message or page. It goes when the last of them has gone. */
struct batch {
    msgpack_unpacked body;
    size_t users;
};

/* An event, a tick or a gap on its way. A gap is of no batch. */
struct node {
    struct node *next;
    amid_item item;
    struct batch *batch;
};

struct queue {
    struct node *first;
    struct node *last;
};

struct amid_events {
    amid_client *client;
    void *socket;
    /* The result of `servers`, and those of them that are up and have not ticked yet. */
    msgpack_unpacked listed;
    const char **awaited;
    size_t awaited_size;

    amid_gaps *gaps;
    struct amid_recovery recovery;
    /* Whether what is missing before the first of the inbox has been asked for, as far as it can be had. */
    bool recovered;
    /* What has come and was not looked at yet, and what is ready to be given out. */
    struct queue inbox;
    struct queue ready;
    /* The node whose item the caller has. */
    struct node *given;
    amid_counters counters;
};

/* ── queues ── */

static void push(struct queue *queue, struct node *node)
{
    node->next = NULL;
    if (queue->first)
        queue->last->next = node;
    else
        queue->first = node;
    queue->last = node;
}

static struct node *pop(struct queue *queue)
{
    struct node *node = queue->first;
    if (node)
        queue->first = node->next;
    return node;
}

static void let_go(struct batch *batch)
{
    if (--batch->users > 0)
        return;
    msgpack_unpacked_destroy(&batch->body);
    free(batch);
}

static void drop(struct node *node)
{
    if (!node)
        return;
    if (node->batch)
        let_go(node->batch);
    free(node);
}

static void drop_all(struct queue *queue)
{
    for (struct node *node; (node = pop(queue));)
        drop(node);
}

/* Add the events of a list to a queue. The body that they lie in is taken over; what is no event is passed over. */
static void push_list(struct queue *queue, msgpack_unpacked *body, const msgpack_object *list)
{
    struct batch *batch = amid_allocate(1, sizeof *batch);
    *batch = (struct batch){.body = *body, .users = 1};
    for (uint32_t i = 0; amid_is_list(list) && i < list->via.array.size; i++) {
        amid_event event;
        if (!amid_event_of(&list->via.array.ptr[i], batch->body.zone, &event))
            continue;
        struct node *node = amid_allocate(1, sizeof *node);
        node->item = (amid_item){.kind = AMID_EVENT, .event = event};
        node->batch = batch;
        batch->users++;
        push(queue, node);
    }
    let_go(batch);
}

/* ── what comes ── */

static void push_gaps(amid_events *events, amid_gap_list missed)
{
    for (size_t i = 0; i < missed.size; i++) {
        struct node *node = amid_allocate(1, sizeof *node);
        node->item = (amid_item){.kind = AMID_GAP, .gap = missed.gaps[i]};
        push(&events->ready, node);
        events->counters.gaps++;
        events->counters.missed += missed.gaps[i].missed;
    }
}

/* Give it out when it is new and wanted, behind the gaps before it. Returns whether it was. */
static bool take(amid_events *events, struct node *node)
{
    bool fresh;
    push_gaps(events, amid_gaps_take(events->gaps, &node->item.event, &fresh));
    if (fresh)
        push(&events->ready, node);
    else
        drop(node);
    return fresh;
}

/* Whether something is missing before an event or tick; if so, it is to be fetched. */
static bool begin_recovery(amid_events *events, const amid_event *event)
{
    amid_gap_list missing = amid_gaps_before(events->gaps, event);
    for (size_t i = 0; i < missing.size; i++)
        amid_recovery_add(&events->recovery, amid_gaps_widened(events->gaps, missing.gaps[i]));
    return missing.size > 0;
}

/* Take what came, up to where something is missing that may still be had. */
static void advance(amid_events *events)
{
    while (events->inbox.first && !amid_recovery_ask(&events->recovery)) {
        events->recovered = !events->recovered && begin_recovery(events, &events->inbox.first->item.event);
        if (!events->recovered)
            take(events, pop(&events->inbox));
    }
}

/* ── what is fetched ── */

static bool is_true(const msgpack_object *value)
{
    return value && value->type == MSGPACK_OBJECT_BOOLEAN && value->via.boolean;
}

/* What replay gave for the range that was asked for. The page is taken over. */
static void take_page(amid_events *events, msgpack_unpacked *page)
{
    struct queue fetched = {0};
    bool more = is_true(amid_get(&page->data, "more")), any = false;
    push_list(&fetched, page, amid_get(&page->data, "events"));
    for (struct node *node; (node = pop(&fetched));) {
        if (amid_recovery_wants(&events->recovery, node->item.event.seq)) {
            any = true;
            events->counters.replayed += take(events, node);
        } else {
            drop(node);
        }
    }
    amid_recovery_page_ends(&events->recovery, more && any);
}

static void pause_for(double seconds)
{
    double whole = floor(seconds);
    nanosleep(&(struct timespec){.tv_sec = (time_t)whole, .tv_nsec = (long)((seconds - whole) * 1e9)}, NULL);
}

/* What the caller's own limit cut short is asked again, and does not count as a try. */
static bool is_cut_short(double limit, const amid_error *error)
{
    return limit < AMID_TIMEOUT && (strcmp(error->kind, "timeout") == 0 || strcmp(error->kind, "unreachable") == 0);
}

/* Ask replay once, for `limit` seconds at most. */
static void fetch(amid_events *events, double limit)
{
    const struct amid_range *ask = amid_recovery_ask(&events->recovery);
    amid_error error = {0};
    msgpack_unpacked page;
    pause_for(fmin(events->recovery.pause, limit));
    if (amid_replay(events->client, ask->server, ask->epoch, ask->after, 0, limit, &page, &error))
        take_page(events, &page);
    else if (is_cut_short(limit, &error))
        events->recovery.pause = AMID_PAUSE; /* who is not there says so at once */
    else
        amid_recovery_refused(&events->recovery, &error);
    amid_error_free(&error);
    advance(events);
}

/* ── receiving ── */

static void no_longer_awaited(amid_events *events, const char *server)
{
    for (size_t i = 0; i < events->awaited_size; i++)
        if (strcmp(events->awaited[i], server) == 0)
            events->awaited[i] = events->awaited[--events->awaited_size];
}

/* Wait for a message and take it. False when none came before `end`. */
static bool receive(amid_events *events, double end)
{
    msgpack_unpacked body;
    if (!amid_wait(events->socket, ZMQ_POLLIN, end))
        return false;
    if (!amid_receive(events->socket, &body))
        return true;
    struct queue came = {0};
    push_list(&came, &body, &body.data);
    for (struct node *node; (node = pop(&came));) {
        if (node->item.event.counts)
            no_longer_awaited(events, node->item.event.server);
        push(&events->inbox, node);
    }
    advance(events);
    return true;
}

static void settle(amid_events *events)
{
    double end = amid_now() + SETTLE;
    while (events->awaited_size > 0 && receive(events, end))
        ;
}

const amid_item *amid_events_next(amid_events *events, double timeout, amid_error *error)
{
    double end = timeout == 0 ? INFINITY : amid_now() + timeout;
    drop(events->given);
    while (!(events->given = pop(&events->ready))) {
        double left = end - amid_now();
        if (left <= 0) {
            amid_fail(error, "timeout", false, NULL, "no event came within %g s; the subscription is still open", timeout);
            return NULL;
        }
        if (amid_recovery_ask(&events->recovery))
            fetch(events, fmin(left, AMID_TIMEOUT));
        else
            receive(events, end);
    }
    return &events->given->item;
}

amid_counters amid_events_counters(const amid_events *events)
{
    return events->counters;
}

/* ── subscribing ── */

/* The server at a place of the list, or NULL when it is not the one that was asked for. */
static const msgpack_object *chosen(const amid_events *events, uint32_t i, const char *server)
{
    const msgpack_object *entry = &events->listed.data.via.array.ptr[i], *name = amid_get(entry, "name");
    const char *own = amid_string(events->listed.zone, name);
    return own && (!server || strcmp(own, server) == 0) ? entry : NULL;
}

static const char *member(const amid_events *events, const msgpack_object *entry, const char *name)
{
    const char *text = amid_string(events->listed.zone, amid_get(entry, name));
    return text ? text : "";
}

static void subscribe(amid_events *events, const char *topic)
{
    zmq_setsockopt(events->socket, ZMQ_SUBSCRIBE, topic, strlen(topic));
}

/* Connect to one server and subscribe to what is wanted of it. */
static bool join(amid_events *events, const msgpack_object *entry, const char *const *names, size_t size, amid_error *error)
{
    msgpack_zone *zone = events->listed.zone;
    const char *server = member(events, entry, "name");
    if (!amid_connect(events->socket, member(events, entry, size ? "events" : "stream"), error))
        return false;
    for (size_t i = 0; i < size; i++)
        subscribe(events, amid_format(zone, "event.%s.%s.", server, names[i]));
    if (size == 0)
        subscribe(events, amid_format(zone, "stream.%s.", server));
    if (strcmp(member(events, entry, "state"), "up") == 0)
        events->awaited[events->awaited_size++] = server;
    return true;
}

static bool fail_unknown(const amid_events *events, const char *server, amid_error *error)
{
    const msgpack_object named = server ? amid_text(server) : (msgpack_object){.type = MSGPACK_OBJECT_NIL};
    const char *known = "";
    for (uint32_t i = 0; i < events->listed.data.via.array.size; i++) {
        const char *name = member(events, &events->listed.data.via.array.ptr[i], "name");
        known = amid_format(events->listed.zone, "%s%s%s", known, *known ? ", " : "", name);
    }
    return amid_fail(error, "unknown_server", false, &named, "there is no server %s; the daemon has: %s",
                     server ? server : "at all", *known ? known : "none");
}

/* Ticks come last: the first tick then shows that all of the subscription is in effect. */
static bool join_all(amid_events *events, const char *const *names, size_t size, const char *server, amid_error *error)
{
    const msgpack_object *entry;
    uint32_t servers = amid_is_list(&events->listed.data) ? events->listed.data.via.array.size : 0, joined = 0;
    events->awaited = amid_allocate(servers, sizeof *events->awaited);
    for (uint32_t i = 0; i < servers; i++) {
        if (!(entry = chosen(events, i, server)))
            continue;
        if (!join(events, entry, names, size, error))
            return false;
        joined++;
    }
    for (uint32_t i = 0; i < servers; i++)
        if ((entry = chosen(events, i, server)))
            subscribe(events, amid_format(events->listed.zone, "tick.%s.", member(events, entry, "name")));
    return joined > 0 || fail_unknown(events, server, error);
}

amid_events *amid_events_open(amid_client *client, const char *const *names, size_t size, const char *server, amid_error *error)
{
    amid_events *events = amid_allocate(1, sizeof *events);
    events->client = client;
    events->gaps = amid_gaps_new(names, size);
    if (amid_servers(client, 0, &events->listed, error))
        events->socket = amid_socket(client, ZMQ_SUB, error);
    if (!events->socket || !join_all(events, names, size, server, error)) {
        amid_events_close(events);
        return NULL;
    }
    settle(events);
    return events;
}

void amid_events_close(amid_events *events)
{
    if (!events)
        return;
    if (events->socket)
        zmq_close(events->socket);
    drop_all(&events->inbox);
    drop_all(&events->ready);
    drop(events->given);
    msgpack_unpacked_destroy(&events->listed);
    free(events->awaited);
    amid_gaps_free(events->gaps);
    free(events);
}
