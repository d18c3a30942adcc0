/* What the files of the client share with each other, and with nobody else. */

#ifndef AMID_INTERNAL_H
#define AMID_INTERNAL_H

#include "amid.h"

#include <stdarg.h>
#include <zmq.h>

/* So that the compiler checks the values against the format, as it does for printf. */
#ifdef __GNUC__
#define AMID_PRINTF(text, values) __attribute__((format(printf, text, values)))
#else
#define AMID_PRINTF(text, values)
#endif

#define AMID_TICK "amid:tick"


/* ── value.c: memory, and MessagePack as C has it ── */

/* Zeroed memory, to be freed with `free`. */
void *amid_allocate(size_t count, size_t size);
char *amid_copied(const char *text);

/* An empty zone: memory that is freed as a whole, with msgpack_zone_free. */
msgpack_zone *amid_zone(void);
/* As sprintf and vsprintf, into memory of the zone. */
const char *amid_format(msgpack_zone *zone, const char *format, ...) AMID_PRINTF(2, 3);
const char *amid_vformat(msgpack_zone *zone, const char *format, va_list values) AMID_PRINTF(2, 0);
/* Text or bytes with a NUL behind them, in memory of the zone; NULL when the value is neither. */
const char *amid_string(msgpack_zone *zone, const msgpack_object *value);

bool amid_is_map(const msgpack_object *value);
bool amid_is_list(const msgpack_object *value);
/* Whether it is a number of 0 or more; if so, it is in `number`. */
bool amid_unsigned(const msgpack_object *value, uint64_t *number);

/* Append the value. False when it has no place in MessagePack. */
bool amid_pack(msgpack_sbuffer *into, const msgpack_object *value);
/* Read the one value in a frame, whose content is taken over: the value points into it. False when it holds something else. */
bool amid_unpack(zmq_msg_t *frame, msgpack_unpacked *into);

/* Read an event or a tick as it was published. It points into the body and the zone. False when a member is not there or wrong. */
bool amid_event_of(const msgpack_object *body, msgpack_zone *zone, amid_event *event);


/* ── call.c: errors and sockets ── */

/* Fill the error, which may be NULL, with a message made as sprintf does. server: NULL when it is not known. Returns false. */
bool amid_fail(amid_error *error, const char *kind, bool sent, const msgpack_object *server, const char *format, ...)
    AMID_PRINTF(5, 6);

/* Seconds of a clock that nobody sets. */
double amid_now(void);
/* Wait until a socket can be read or written (ZMQ_POLLIN, ZMQ_POLLOUT). False when the clock says `end` before that. */
bool amid_wait(void *socket, short what, double end);
/* Read the next message, which has come, and unpack its last frame. False when that is not MessagePack. */
bool amid_receive(void *socket, msgpack_unpacked *into);
/* A socket of the client's context that does not linger. NULL when there is none to be had. */
void *amid_socket(amid_client *client, int type, amid_error *error);
/* False with "unreachable" when the endpoint is none. */
bool amid_connect(void *socket, const char *endpoint, amid_error *error);


/* ── recovery.c: which lost events to fetch once more ── */

/* Seconds before a page is asked for again that is refused for now. */
#define AMID_PAUSE 0.5

/* Behind `after`, and not behind `until` unless it is open: then it goes to the epoch's end. */
struct amid_range {
    const char *server;
    uint64_t epoch;
    uint64_t after;
    uint64_t until;
    bool open;
    int tries;
};

/* Begins zeroed. The gaps before one message lie in the old epoch and in the new one: two ranges are all there can be. */
struct amid_recovery {
    struct amid_range ranges[2];
    size_t size;
    /* Seconds to wait before asking. */
    double pause;
};

/* What to ask replay for, or NULL when there is nothing. */
const struct amid_range *amid_recovery_ask(const struct amid_recovery *recovery);
/* Add a gap before a message. Gaps in several names of one epoch are one range, so that their events come in order. */
void amid_recovery_add(struct amid_recovery *recovery, amid_gap gap);
/* Whether an event of a page lies in the range asked for. Give it each, in order, and then say that the page ends. */
bool amid_recovery_wants(struct amid_recovery *recovery, uint64_t seq);
/* more: whether there are more events of the range; a page that had none of it is the last. */
void amid_recovery_page_ends(struct amid_recovery *recovery, bool more);
/* The page was not to be had. */
void amid_recovery_refused(struct amid_recovery *recovery, const amid_error *error);

#endif
