/* A client of amid, the daemon beside an Asterisk PBX: calls that end before a deadline, and events in which no loss is silent.
 *
 * It speaks MessagePack over ZeroMQ, as clients/README.md describes, and gives results as msgpack-c's own objects. Link with
 * libzmq, msgpack-c, pthread and m. There is no global state.
 *
 * Results: a function that takes `msgpack_unpacked *result` fills it when it returns true; the result is then `result->data`, and
 * everything it points to lives until you call msgpack_unpacked_destroy(result). When the function returns false, it leaves
 * `result` alone, and there is nothing to destroy.
 *
 * Errors: start with `amid_error error = {0};` and give the same one to as many calls as you like. A call that fails fills it and
 * frees what it held before; a call that succeeds leaves it alone. End with amid_error_free. It may be NULL everywhere.
 *
 * Times are in seconds. Where a timeout is 0, it is AMID_TIMEOUT.
 *
 * Threads: an amid_client may be used by several threads at once. An amid_events, an amid_gaps and an amid_error are for one thread
 * at a time. None of them may be taken through a fork. A signal ends no wait: wait for a short time, and look at your flag between.
 *
 * When there is no memory for the client's own needs, it calls abort. */

#ifndef AMID_H
#define AMID_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Seconds a call may take unless its caller says otherwise; the daemon has the same default. */
#define AMID_TIMEOUT 5.0


/* ── values ── */

/* What goes into a request. Each points to what it was made from and copies nothing: keep that until the call has returned. */

/* Text in UTF-8, up to its NUL. Other bytes are amid_bytes. */
msgpack_object amid_text(const char *text);
msgpack_object amid_bytes(const void *bytes, uint32_t size);
msgpack_object amid_integer(int64_t number);
msgpack_object amid_real(double number);
msgpack_object amid_boolean(bool yes);
/* The value of a header that is repeated. */
msgpack_object amid_list(msgpack_object *values, uint32_t size);
msgpack_object amid_map(msgpack_object_kv *pairs, uint32_t size);
/* A member of a map. */
msgpack_object_kv amid_pair(const char *name, msgpack_object value);

/* The value under `name`, text or bytes, or NULL when there is none or `map` is no map. It lives as long as the map. */
const msgpack_object *amid_get(const msgpack_object *map, const char *name);


/* ── errors ── */

/* A call that did not end well. All that it points to is its own, until amid_error_free or the next failure. */
typedef struct amid_error {
    /* A kind of clients/README.md, or "unreachable" for a daemon that cannot be reached. There may be new kinds: go by `sent`. */
    const char *kind;
    /* False: Asterisk never saw the action, and trying again is safe. True: it may have been carried out. */
    bool sent;
    const char *message;
    /* Where, and under which ActionID. NULL when it is not known. */
    const char *server;
    const char *action_id;
    /* Asterisk's own packet, a map from header name to value. NULL when there is none. */
    const msgpack_object *response;
    /* Of "gone": the first number of that epoch that replay still has. 0 when there is none. */
    uint64_t oldest;
    /* Holds the above. NULL in an error that was never filled. */
    msgpack_zone *zone;
} amid_error;

void amid_error_free(amid_error *error);


/* ── calls ── */

/* A connection to the daemon. */
typedef struct amid_client amid_client;

/* run_dir: the daemon's directory, and then the only one that is looked in. NULL: $AMID_RUN_DIR, or without it the first of
 * /run/amid and $XDG_RUNTIME_DIR/amid that holds its socket. Nothing is opened before the first call, so this cannot fail. */
amid_client *amid_open(const char *run_dir);

/* Close its amid_events first, and let no call of it be under way. */
void amid_close(amid_client *client);

/* What an action may have besides its fields; leave out what is not needed. */
typedef struct amid_options {
    /* NULL when there is only one. */
    const char *server;
    /* Seconds, at most 3600. */
    double timeout;
    /* The name of a later event with this ActionID to wait for as well, such as OriginateResponse; or NULL. */
    const char *until;
} amid_options;

/* Send an action and wait for its whole answer.
 *
 * fields: a map from header name to text, bytes, a number or a boolean, or a list of them for a header that is repeated; or NULL.
 * options: NULL for none. result: a map of `server`, `action_id`, `response`, `events`, `complete`, `output`, `elapsed`, and
 * `until` when it was asked for.
 *
 * No function here ever sends anything a second time. When there is no answer a second after the timeout, the error is "timeout",
 * with `sent` true for this function and amid_restart. */
bool amid_action(amid_client *client, const char *name, const msgpack_object *fields, const amid_options *options,
                 msgpack_unpacked *result, amid_error *error);

/* Run a command of the Asterisk CLI. server: NULL when there is only one. result: the list of its output lines. */
bool amid_command(amid_client *client, const char *command, const char *server, double timeout, msgpack_unpacked *result,
                  amid_error *error);

/* result: a list of maps with each server's name, state, Asterisk version, epoch, endpoints and lanes. */
bool amid_servers(amid_client *client, double timeout, msgpack_unpacked *result, amid_error *error);

/* result: a map of the daemon's version, uptime, servers, processes and counters. */
bool amid_status(amid_client *client, double timeout, msgpack_unpacked *result, amid_error *error);

/* The actions that this Asterisk offers. server: NULL when there is only one. result: a list of maps with `name`, `synopsis` and
 * `privilege`. */
bool amid_actions(amid_client *client, const char *server, double timeout, msgpack_unpacked *result, amid_error *error);

/* Events of an epoch behind number `after` once more. limit: how many at most; 0 is 1000. result: a map of `events`, as they were
 * published, and `more`, whether there are more. Error "gone": they are no longer held. */
bool amid_replay(amid_client *client, const char *server, uint64_t epoch, uint64_t after, uint32_t limit, double timeout,
                 msgpack_unpacked *result, amid_error *error);

/* Replace a server's reader. result: a map of `server`. */
bool amid_restart(amid_client *client, const char *server, double timeout, msgpack_unpacked *result, amid_error *error);

/* Ask the daemon, not Asterisk, for a sign of life. result: an empty map. */
bool amid_ping(amid_client *client, double timeout, msgpack_unpacked *result, amid_error *error);

/* Any method. params: a map, or NULL for none. timeout: how long the daemon may take; where the method has a `timeout` too, put it
 * among the params yourself. result: whatever the method gives. */
bool amid_call(amid_client *client, const char *method, const msgpack_object *params, double timeout, msgpack_unpacked *result,
               amid_error *error);


/* ── gaps ── */

/* One event, or one of the daemon's ticks. */
typedef struct amid_event {
    const char *server;
    /* The event session, and the event's number within it, from 1. */
    uint64_t epoch;
    uint64_t seq;
    /* Its number among the events of its name, from 1. */
    uint64_t nth;
    /* When the daemon read it, in seconds since 1970. */
    double time;
    /* Its name. */
    const char *event;
    /* A map from header name to value: text, bytes when it is not UTF-8, or a list when the header is repeated. */
    const msgpack_object *fields;
    /* Of a tick: a map from event name to the last `nth`. NULL for every other event. */
    const msgpack_object *counts;
} amid_event;

/* Events that did not come: behind number `after` and not behind number `until` of an epoch. */
typedef struct amid_gap {
    const char *server;
    uint64_t epoch;
    uint64_t after;
    /* Whether the epoch ended. What is missing at its end cannot be known: `until` and `missed` are 0 then. */
    bool ended;
    uint64_t until;
    uint64_t missed;
    /* The name of the missing events, when only some names are subscribed; or NULL. */
    const char *event;
} amid_gap;

/* It lives until the next call on the amid_gaps that gave it. */
typedef struct amid_gap_list {
    const amid_gap *gaps;
    size_t size;
} amid_gap_list;

/* The rule that finds gaps: pure, without a socket or a clock. amid_events uses it; use it to read events in another way. */
typedef struct amid_gaps amid_gaps;

/* names: the event names subscribed to, which are copied. size: how many; 0 means all events. */
amid_gaps *amid_gaps_new(const char *const *names, size_t size);
void amid_gaps_free(amid_gaps *gaps);

/* Take the next event or tick, in the order they come. Returns what was missed before it. fresh: whether it is an event to be
 * given out; false for a tick, for one that came before, and for a name that is not wanted. */
amid_gap_list amid_gaps_take(amid_gaps *gaps, const amid_event *event, bool *fresh);

/* What amid_gaps_take would return. Nothing is taken: for a reader that fetches what it missed before it goes on. */
amid_gap_list amid_gaps_before(amid_gaps *gaps, const amid_event *event);

/* With names, `gap` from where nothing of any name is missing: what was lost of the other names lies there too. */
amid_gap amid_gaps_widened(const amid_gaps *gaps, amid_gap gap);


/* ── events ── */

/* Events as they come. What was lost because this program did not read in time is fetched once more, in its place; what the daemon
 * no longer holds is a gap there. When the daemon or a reader is replaced, it reconnects by itself, and the end of the old epoch is
 * a gap. With names, each name's events are in order; a lost one may come after a later one of another name. */
typedef struct amid_events amid_events;

typedef enum amid_item_kind { AMID_EVENT, AMID_GAP } amid_item_kind;

/* What amid_events_next gives. */
typedef struct amid_item {
    amid_item_kind kind;
    union {
        amid_event event;
        amid_gap gap;
    };
} amid_item;

typedef struct amid_counters {
    /* How many events are known to be missing, and in how many gaps. */
    uint64_t missed;
    uint64_t gaps;
    /* How many were lost on the way and fetched once more. */
    uint64_t replayed;
} amid_counters;

/* Subscribe. It returns when the subscription is in effect: the first tick of every server that is up has come, or 2 seconds have
 * passed.
 *
 * names: the event names wanted; they are copied. size: how many; 0 means all events. server: NULL for all that the daemon has now.
 * Returns NULL when it fails. Close it with amid_events_close, before its client. */
amid_events *amid_events_open(amid_client *client, const char *const *names, size_t size, const char *server, amid_error *error);

/* The next event or gap. timeout: seconds to wait for it; 0 is for ever. Returns NULL with error "timeout" when none came; the
 * subscription is still open then. The item and all that it points to live until the next call, or until amid_events_close. */
const amid_item *amid_events_next(amid_events *events, double timeout, amid_error *error);

amid_counters amid_events_counters(const amid_events *events);
void amid_events_close(amid_events *events);

#ifdef __cplusplus
}
#endif

#endif
