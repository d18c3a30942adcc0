/* A client of amid, the daemon beside an Asterisk PBX: calls that end before a deadline, and events in which no loss is silent.
 *
 * It is this file and amid.c. It speaks MessagePack over ZeroMQ, as clients/README.md describes, and gives results as msgpack-c's
 * own objects. Link with libzmq, msgpack-c, pthread and m. Times are in seconds; a timeout of 0 is AMID_TIMEOUT.
 *
 * Results: a function that takes `msgpack_unpacked *result` fills it when it returns true; `result->data` then lives until you
 * call msgpack_unpacked_destroy(result). When it returns false, it leaves `result` alone.
 *
 * Errors: start with `amid_error error = {0};` and give the same one to as many calls as you like. A call that fails fills it and
 * frees what it held before; a call that succeeds leaves it alone. End with amid_error_free. It may be NULL everywhere.
 *
 * Threads: an amid_client may be used by several threads at once, an amid_events and an amid_error by one at a time. None may be
 * taken through a fork. A signal ends no wait: wait for a short time, and look at your flag between. Without memory, it aborts. */

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

/* ── values: what goes into a request. Each points to what it was made from: keep that until the call has returned. ── */

msgpack_object amid_text(const char *text); /* in UTF-8, up to its NUL; other bytes are amid_bytes */
msgpack_object amid_bytes(const void *bytes, uint32_t size);
msgpack_object amid_integer(int64_t number);
msgpack_object amid_real(double number);
msgpack_object amid_boolean(bool yes);
msgpack_object amid_list(msgpack_object *values, uint32_t size); /* the value of a header that is repeated */
msgpack_object amid_map(msgpack_object_kv *pairs, uint32_t size);
msgpack_object_kv amid_pair(const char *name, msgpack_object value);

/* The value under `name`, text or bytes, or NULL when there is none or `map` is no map. It lives as long as the map. */
const msgpack_object *amid_get(const msgpack_object *map, const char *name);

/* ── errors ── */

/* A call that failed. All that it points to is its own, until amid_error_free or the next failure. */
typedef struct amid_error {
    const char *kind; /* of clients/README.md, or "unreachable" when there is no daemon; there may be new ones: go by `sent` */
    bool sent;        /* false: Asterisk never saw the action, and trying again is safe; true: it may have been carried out */
    const char *message;
    const char *server; /* these three are NULL when they are not known; response: Asterisk's own packet, a map */
    const char *action_id;
    const msgpack_object *response;
    msgpack_zone *zone; /* holds the above */
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
    const char *server; /* NULL when there is only one */
    double timeout;     /* at most 3600 */
    const char *until;  /* the name of a later event with this ActionID to wait for as well, such as OriginateResponse */
    bool raw;           /* give `packets`, a list of the bytes of each packet of the answer, in place of maps */
} amid_options;

/* Send an action and wait for its whole answer. No function here ever sends anything a second time.
 *
 * fields: a map from header name to text, bytes, a number or a boolean, or a list of them for a header that is repeated; or NULL.
 * options: NULL for none. result: a map of `server`, `action_id`, `response`, `events`, `complete`, `output`, `elapsed`, and
 * `until` when it was asked for. When there is no answer a second after the timeout, the error is "timeout" with `sent` true. */
bool amid_action(amid_client *client, const char *name, const msgpack_object *fields, const amid_options *options,
                 msgpack_unpacked *result, amid_error *error);

/* In these, server is NULL when there is only one. A command of the Asterisk CLI gives the list of its output lines; amid_actions
 * what this Asterisk offers, a list of maps with `name`, `synopsis` and `privilege`; amid_restart replaces a server's reader. */
bool amid_command(amid_client *client, const char *command, const char *server, double timeout, msgpack_unpacked *result,
                  amid_error *error);
bool amid_actions(amid_client *client, const char *server, double timeout, msgpack_unpacked *result, amid_error *error);
bool amid_restart(amid_client *client, const char *server, double timeout, msgpack_unpacked *result, amid_error *error);

/* The live state of a PBX: a map that has a list of things for each kind. kinds: such as "channels" and "calls"; size: how many, 0
 * means all kinds. where: a condition such as "name=support", or NULL. options: server and timeout, or NULL. */
bool amid_state(amid_client *client, const char *const *kinds, size_t size, const char *where, const amid_options *options,
                msgpack_unpacked *result, amid_error *error);

/* Any method. params: a map, or NULL for none. timeout: how long the daemon may take; where the method has a `timeout` too, put it
 * among the params yourself. result: whatever the method gives. */
bool amid_call(amid_client *client, const char *method, const msgpack_object *params, double timeout, msgpack_unpacked *result,
               amid_error *error);

/* Each server's name, state, epoch, lanes and more; the daemon's version, uptime, processes and counters; a sign of life. */
#define amid_servers(client, timeout, result, error) amid_call(client, "servers", NULL, timeout, result, error)
#define amid_status(client, timeout, result, error) amid_call(client, "status", NULL, timeout, result, error)
#define amid_ping(client, timeout, result, error) amid_call(client, "ping", NULL, timeout, result, error)

/* ── events ── */

typedef struct amid_event {
    const char *server;
    uint64_t epoch, seq;          /* the event session, and the event's number within it, from 1 */
    uint64_t prev;                /* the number of the event of the same name before it in this epoch, 0 for none */
    double time;                  /* when the daemon read it, in seconds since 1970 */
    const char *event;            /* its name */
    const msgpack_object *fields; /* a map from header name to value: text, bytes, or a list when the header is repeated */
} amid_event;

/* Events behind number `after` of an epoch that the daemon no longer holds. ended: the epoch ended, and what is missing at its end
 * cannot be known; `missed` is 0 then. */
typedef struct amid_gap {
    const char *server;
    uint64_t epoch, after;
    bool ended;
    uint64_t missed;
} amid_gap;

/* A change of a thing of the live state. The first one, and the first one after a loss of changes, has the kind "reset" and the
 * whole state instead, which replaces what you know. */
typedef struct amid_change {
    const char *server, *kind, *id;
    const msgpack_object *set;   /* a map of the members with new values; NULL: the thing is gone */
    const msgpack_object *state; /* of a "reset" only, as amid_state gives it */
} amid_change;

typedef struct amid_item {
    enum { AMID_EVENT, AMID_GAP, AMID_CHANGE } kind;
    union {
        amid_event event;
        amid_gap gap;
        amid_change change;
    };
} amid_item;

/* The events of a server, each once and in order, with a gap where the daemon no longer holds some, or the changes of its live
 * state. It goes on through every restart of the daemon. */
typedef struct amid_events amid_events;

/* Whatever comes once this has returned is given. names: the event names wanted, which compare without case; they are copied. size:
 * how many; 0 means all events. server: NULL when there is only one. Close it with amid_events_close, before its client. */
amid_events *amid_events_open(amid_client *client, const char *const *names, size_t size, const char *server, amid_error *error);

/* The same for the changes of things of these kinds, such as "channels" and "calls": each item is an AMID_CHANGE. */
amid_events *amid_changes_open(amid_client *client, const char *const *kinds, size_t size, const char *server, amid_error *error);

/* The next item. timeout: seconds to wait for it; 0 is for ever. NULL with error "timeout" when none came; it may be called
 * again then. The item and all that it points to live until the next call, or until amid_events_close. */
const amid_item *amid_events_next(amid_events *events, double timeout, amid_error *error);

uint64_t amid_events_missed(const amid_events *events); /* how many events are known to be missing */
void amid_events_close(amid_events *events);

#ifdef __cplusplus
}
#endif

#endif
