/* The client; amid.h says what it does. A call borrows a socket of its own and gives it back when it has its answer, so one slow
 * call holds up no other thread. A socket whose call got no answer is closed, and with it goes whatever comes late. With
 * ZMQ_IMMEDIATE nothing is queued for a broker that is not there, and so "unreachable" really means that nothing was sent. */

#define _POSIX_C_SOURCE 200809L

#include "amid.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define SEND_TIMEOUT 1.0   /* seconds until a request must be with a broker */
#define MARGIN 1.0         /* seconds an answer may come after the call's timeout, for the way to the broker and back */
#define MAX_TIMEOUT 3600.0 /* the longest timeout of an action that the daemon accepts, in seconds */
#define MAX_POLL 1e6       /* the longest wait that is handed to ZeroMQ at once, in seconds */
#define PULL_TIMEOUT 5.0   /* seconds that a request for events waits in the daemon */
#define STATE_TIMEOUT 10.0 /* the same for one for the whole state: the daemon may load the lists of a PBX first */
#define RETRY_DELAY 0.5    /* seconds before a request for events that failed is made again */
#define MAX_REQUEST_BYTES (1024 * 1024)
#define MAX_IDLE 16        /* sockets that are kept for the next call */
#define ADVICE "start one with `amid run`, or name its directory with AMID_RUN_DIR"

struct amid_client {
    void *context;
    char *run_dir;
    atomic_uint_least64_t last_id;
    void *_Atomic idle[MAX_IDLE];
};

/* ── memory and values ── */

/* Returns `memory`, which must be there. */
static void *check_memory(void *memory) {
    if (!memory)
        abort();
    return memory;
}

static msgpack_zone *zone_new(void) { return check_memory(msgpack_zone_new(MSGPACK_ZONE_CHUNK_SIZE)); }

#define VALUE(kind, member, ...) ((msgpack_object){.type = MSGPACK_OBJECT_##kind, .via.member = __VA_ARGS__})

msgpack_object amid_text(const char *text) { return VALUE(STR, str, {.size = (uint32_t)strlen(text), .ptr = text}); }
msgpack_object amid_bytes(const void *bytes, uint32_t size) { return VALUE(BIN, bin, {.size = size, .ptr = bytes}); }
msgpack_object amid_real(double number) { return VALUE(FLOAT64, f64, number); }
msgpack_object amid_boolean(bool yes) { return VALUE(BOOLEAN, boolean, yes); }
msgpack_object amid_list(msgpack_object *values, uint32_t size) { return VALUE(ARRAY, array, {.size = size, .ptr = values}); }
msgpack_object amid_map(msgpack_object_kv *pairs, uint32_t size) { return VALUE(MAP, map, {.size = size, .ptr = pairs}); }

msgpack_object amid_integer(int64_t number) {
    return number < 0 ? VALUE(NEGATIVE_INTEGER, i64, number) : VALUE(POSITIVE_INTEGER, u64, (uint64_t)number);
}

msgpack_object_kv amid_pair(const char *name, msgpack_object value) {
    return (msgpack_object_kv){.key = amid_text(name), .val = value};
}

/* Whether it is text or bytes, which are laid out alike. */
static bool is_text(const msgpack_object *value) {
    return value && (value->type == MSGPACK_OBJECT_STR || value->type == MSGPACK_OBJECT_BIN);
}

/* Text or bytes with a NUL behind them, in memory of the zone; NULL when the value is neither. */
static char *string(msgpack_zone *zone, const msgpack_object *value) {
    if (!is_text(value))
        return NULL;
    char *copy = check_memory(msgpack_zone_malloc(zone, (size_t)value->via.str.size + 1));
    memcpy(copy, value->via.str.ptr, value->via.str.size);
    copy[value->via.str.size] = '\0';
    return copy;
}

/* A number of either kind; 0 when the value is none. */
static uint64_t to_integer(const msgpack_object *value) {
    return value && value->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? value->via.u64 : 0;
}

static double to_double(const msgpack_object *value) {
    bool is = value && (value->type == MSGPACK_OBJECT_FLOAT32 || value->type == MSGPACK_OBJECT_FLOAT64);
    return is ? value->via.f64 : (double)to_integer(value);
}

const msgpack_object *amid_get(const msgpack_object *map, const char *name) {
    size_t size = strlen(name);
    for (uint32_t i = 0; map && map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++) {
        const msgpack_object *key = &map->via.map.ptr[i].key;
        if (is_text(key) && key->via.str.size == size && memcmp(key->via.str.ptr, name, size) == 0)
            return &map->via.map.ptr[i].val;
    }
    return NULL;
}

/* Append the value. False when it has no place in MessagePack. */
static bool pack(msgpack_sbuffer *into, const msgpack_object *value) {
    msgpack_packer packer;
    msgpack_packer_init(&packer, into, msgpack_sbuffer_write);
    return msgpack_pack_object(&packer, *value) == 0;
}

/* Read the one value in `size` bytes, which are copied. False when they hold something else. */
static bool unpack(const void *bytes, size_t size, msgpack_unpacked *into) {
    *into = (msgpack_unpacked){.zone = zone_new()};
    size_t end = 0;
    char *copy = memcpy(check_memory(msgpack_zone_malloc(into->zone, size + 1)), bytes, size);
    bool read = msgpack_unpack(copy, size, &end, into->zone, &into->data) == MSGPACK_UNPACK_SUCCESS;
    if (!read)
        msgpack_unpacked_destroy(into);
    return read;
}

/* ── errors ── */

void amid_error_free(amid_error *error) {
    if (error && error->zone)
        msgpack_zone_free(error->zone);
    if (error)
        *error = (amid_error){0};
}

/* Put one error in the place of another, which may be NULL. Returns false. */
static bool fill(amid_error *error, amid_error with) {
    amid_error_free(error ? error : &with);
    if (error)
        *error = with;
    return false;
}

/* The same with a message made as printf does. */
static bool fail(amid_error *error, const char *kind, bool sent, const char *format, ...) {
    char message[4096];
    va_list values;
    va_start(values, format);
    vsnprintf(message, sizeof message, format, values);
    va_end(values);
    msgpack_zone *zone = zone_new();
    msgpack_object text = amid_text(message);
    return fill(error, (amid_error){.kind = kind, .sent = sent, .message = string(zone, &text), .zone = zone});
}

/* The result of a reply in place of the reply, or its error. One that does not say whether it was sent may have been. */
static bool outcome(msgpack_unpacked *reply, amid_error *error) {
    const msgpack_object *failure = amid_get(&reply->data, "error"), *data = amid_get(failure, "data");
    const msgpack_object *sent = amid_get(data, "sent"), *response = amid_get(data, "response");
    if (!failure) {
        reply->data = *amid_get(&reply->data, "result");
        return true;
    }
    msgpack_zone *zone = msgpack_unpacked_release_zone(reply);
    const char *kind = string(zone, amid_get(data, "kind")), *message = string(zone, amid_get(failure, "message"));
    return fill(error, (amid_error){
        .kind = kind ? kind : "internal_error",
        .sent = !sent || sent->type != MSGPACK_OBJECT_BOOLEAN || sent->via.boolean,
        .message = message ? message : "the daemon gave no reason",
        .server = string(zone, amid_get(data, "server")),
        .action_id = string(zone, amid_get(data, "action_id")),
        .response = response && response->type == MSGPACK_OBJECT_MAP ? response : NULL,
        .zone = zone,
    });
}

/* ── sockets ── */

/* Seconds of a clock that nobody sets. */
static double now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Wait until a socket can be read or written. False when the clock says `end` before that. */
static bool wait_for(void *socket, short what, double end) {
    zmq_pollitem_t item = {.socket = socket, .events = what};
    for (;;) {
        double left = fmax(end - now(), 0);
        int ready = zmq_poll(&item, 1, (long)ceil(fmin(left, MAX_POLL) * 1000));
        if (ready > 0)
            return true;
        if (ready < 0 ? zmq_errno() != EINTR : left == 0)
            return false;
    }
}

/* What keeps this user from a socket, in words, or NULL. */
static const char *reason_unusable(const char *path) {
    struct stat found;
    if (stat(path, &found) != 0)
        return strerror(errno);
    return !S_ISSOCK(found.st_mode) ? "no socket" : access(path, W_OK) != 0 ? "this user may not use it" : NULL;
}

/* Find the rpc socket's endpoint. A directory that was named is the only one: another could be another PBX's. */
static bool find_endpoint(const char *run_dir, char *endpoint, size_t size, amid_error *error) {
    const char *named = run_dir ? run_dir : getenv("AMID_RUN_DIR"), *private = getenv("XDG_RUNTIME_DIR");
    const char *path = endpoint + strlen("ipc://");
    bool is_named = named && *named;
    snprintf(endpoint, size, "ipc://%s/rpc", is_named ? named : "/run/amid");
    if (!is_named && reason_unusable(path) && private && *private)
        snprintf(endpoint, size, "ipc://%s/amid/rpc", private);
    const char *also = is_named || !private ? "" : "/run/amid/rpc or ", *wrong = reason_unusable(path);
    return !wrong || fail(error, "unreachable", false, "no amid daemon found at %s%s (%s): " ADVICE, also, path, wrong);
}

static void *connect_to_daemon(amid_client *client, amid_error *error) {
    char endpoint[1024];
    if (!find_endpoint(client->run_dir, endpoint, sizeof endpoint, error))
        return NULL;
    void *socket = check_memory(zmq_socket(client->context, ZMQ_DEALER));
    zmq_setsockopt(socket, ZMQ_LINGER, &(int){0}, sizeof(int));
    zmq_setsockopt(socket, ZMQ_IMMEDIATE, &(int){1}, sizeof(int));
    if (zmq_connect(socket, endpoint) == 0)
        return socket;
    fail(error, "unreachable", false, "no amid daemon answers at %s (%s): " ADVICE, endpoint, zmq_strerror(zmq_errno()));
    zmq_close(socket);
    return NULL;
}

static void *acquire_socket(amid_client *client, amid_error *error) {
    void *socket = NULL;
    for (size_t i = 0; i < MAX_IDLE && !socket; i++)
        socket = atomic_exchange(&client->idle[i], NULL);
    return socket ? socket : connect_to_daemon(client, error);
}

static void release_socket(amid_client *client, void *socket) {
    for (size_t i = 0; i < MAX_IDLE && socket; i++)
        if (atomic_compare_exchange_strong(&client->idle[i], &(void *){NULL}, socket))
            socket = NULL;
    if (socket)
        zmq_close(socket);
}

amid_client *amid_open(const char *run_dir) {
    amid_client *client = check_memory(calloc(1, sizeof *client));
    client->context = check_memory(zmq_ctx_new());
    client->run_dir = run_dir ? check_memory(strdup(run_dir)) : NULL;
    return client;
}

void amid_close(amid_client *client) {
    if (!client)
        return;
    for (size_t i = 0; i < MAX_IDLE; i++)
        if (client->idle[i])
            zmq_close(client->idle[i]);
    while (zmq_ctx_term(client->context) != 0 && zmq_errno() == EINTR)
        ;
    free(client->run_dir);
    free(client);
}

/* ── calls ── */

/* Hand a request to a broker by `end`, behind the empty frame that a DEALER has to send itself. Returns its id, or 0. */
static uint64_t send_request(amid_client *client, void *socket, const char *method, const msgpack_object *params, double end,
                             amid_error *error) {
    uint64_t id = atomic_fetch_add(&client->last_id, 1) + 1;
    msgpack_object_kv members[] = {
        amid_pair("jsonrpc", amid_text("2.0")),
        amid_pair("id", amid_integer((int64_t)id)),
        amid_pair("method", amid_text(method)),
        amid_pair("params", params ? *params : amid_map(NULL, 0)),
    };
    msgpack_object request = amid_map(members, 4);
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    bool sent = true;
    if (!pack(&packed, &request))
        sent = fail(error, "invalid_params", false, "%s: a value cannot be put into a request", method);
    else if (packed.size > MAX_REQUEST_BYTES)
        sent = fail(error, "invalid_request", false, "%s: the request has more than %d bytes", method, MAX_REQUEST_BYTES);
    else if (!wait_for(socket, ZMQ_POLLOUT, fmin(end, now() + SEND_TIMEOUT)) ||
             zmq_send(socket, "", 0, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0 || zmq_send(socket, packed.data, packed.size, ZMQ_DONTWAIT) < 0)
        sent = fail(error, "unreachable", false, "no amid daemon takes the request: " ADVICE);
    msgpack_sbuffer_destroy(&packed);
    return sent ? id : 0;
}

/* Wait for the reply to a request, or for any when `id` is 0; false when none came before `end`. One without an id counts: where a
 * socket has one call at a time it can only be that call's. */
static bool receive(void *socket, uint64_t id, msgpack_unpacked *reply, double end) {
    while (wait_for(socket, ZMQ_POLLIN, end)) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        while (zmq_msg_recv(&frame, socket, ZMQ_DONTWAIT) >= 0 && zmq_msg_more(&frame))
            ;
        bool unpacked = unpack(zmq_msg_data(&frame), zmq_msg_size(&frame), reply);
        zmq_msg_close(&frame);
        if (!unpacked)
            continue;
        uint64_t own = to_integer(amid_get(&reply->data, "id"));
        if ((own == id || own == 0 || id == 0) && (amid_get(&reply->data, "result") || amid_get(&reply->data, "error")))
            return true;
        msgpack_unpacked_destroy(reply);
    }
    return false;
}

bool amid_call(amid_client *client, const char *method, const msgpack_object *params, double timeout, msgpack_unpacked *result,
               amid_error *error) {
    /* A timeout that the daemon will refuse is refused soon, so its answer is worth waiting for. */
    double limit = (timeout > 0 && timeout <= MAX_TIMEOUT ? timeout : AMID_TIMEOUT) + MARGIN;
    bool acts = strcmp(method, "action") == 0 || strcmp(method, "restart") == 0;
    msgpack_unpacked reply;
    void *socket = acquire_socket(client, error);
    uint64_t id = socket ? send_request(client, socket, method, params, INFINITY, error) : 0;
    if (id && receive(socket, id, &reply, now() + limit)) {
        release_socket(client, socket);
        bool done = outcome(&reply, error);
        if (done)
            *result = reply;
        return done;
    }
    if (socket)
        zmq_close(socket);
    /* A broker that has the request and says nothing, although it promises to, is stopped, or was replaced meanwhile. */
    if (id)
        fail(error, "timeout", acts, "the daemon took %s and gave no answer within %g s: see `amid status`", method, limit);
    if (id && error)
        error->server = string(error->zone, params ? amid_get(params, "server") : NULL);
    return false;
}

/* Params whose first members are given, and what is set of the options. */
static bool call_with(amid_client *client, const char *method, msgpack_object_kv *members, uint32_t size,
                      amid_options options, msgpack_unpacked *result, amid_error *error) {
    if (strcmp(method, "restart") != 0)
        members[size++] = amid_pair("timeout", amid_real(options.timeout == 0 ? AMID_TIMEOUT : options.timeout));
    if (options.server)
        members[size++] = amid_pair("server", amid_text(options.server));
    if (options.until)
        members[size++] = amid_pair("until", amid_text(options.until));
    if (options.raw)
        members[size++] = amid_pair("raw", amid_boolean(true));
    msgpack_object params = amid_map(members, size);
    return amid_call(client, method, &params, options.timeout, result, error);
}

bool amid_action(amid_client *client, const char *name, const msgpack_object *fields, const amid_options *options,
                 msgpack_unpacked *result, amid_error *error) {
    msgpack_object_kv members[6] = {
        amid_pair("action", amid_text(name)),
        amid_pair("fields", fields ? *fields : amid_map(NULL, 0)),
    };
    return call_with(client, "action", members, 2, options ? *options : (amid_options){0}, result, error);
}

bool amid_command(amid_client *client, const char *command, const char *server, double timeout, msgpack_unpacked *result,
                  amid_error *error) {
    msgpack_object_kv field = amid_pair("Command", amid_text(command));
    msgpack_object fields = amid_map(&field, 1);
    bool done = amid_action(client, "Command", &fields, &(amid_options){.server = server, .timeout = timeout}, result, error);
    const msgpack_object *output = done ? amid_get(&result->data, "output") : NULL;
    if (done)
        result->data = output ? *output : amid_list(NULL, 0);
    return done;
}

bool amid_actions(amid_client *client, const char *server, double timeout, msgpack_unpacked *result, amid_error *error) {
    msgpack_object_kv members[2];
    return call_with(client, "actions", members, 0, (amid_options){.server = server, .timeout = timeout}, result, error);
}

bool amid_restart(amid_client *client, const char *server, double timeout, msgpack_unpacked *result, amid_error *error) {
    msgpack_object_kv members[1];
    return call_with(client, "restart", members, 0, (amid_options){.server = server, .timeout = timeout}, result, error);
}

/* Copies of texts in memory of the zone, as a list. */
static msgpack_object text_list(msgpack_zone *zone, const char *const *texts, size_t size) {
    msgpack_object *list = check_memory(msgpack_zone_malloc(zone, (size + 1) * sizeof *list));
    for (size_t i = 0; i < size; i++) {
        msgpack_object text = amid_text(texts[i]);
        list[i] = amid_text(string(zone, &text));
    }
    return amid_list(list, (uint32_t)size);
}

bool amid_state(amid_client *client, const char *const *kinds, size_t size, const char *where, const amid_options *options,
                msgpack_unpacked *result, amid_error *error) {
    msgpack_zone *zone = zone_new();
    msgpack_object_kv members[6];
    uint32_t used = 0;
    if (size)
        members[used++] = amid_pair("kinds", text_list(zone, kinds, size));
    if (where)
        members[used++] = amid_pair("where", amid_text(where));
    bool done = call_with(client, "state", members, used, options ? *options : (amid_options){0}, result, error);
    msgpack_zone_free(zone);
    return done;
}

/* ── events ── */

/* zone: of the server, or NULL, and the list of names or kinds. id: of the open request, 0 for none. due: when to ask again, or until
 * when the open request may take. page: the answer that is being given out. has_item: the item is in front of its events. */
struct amid_events {
    amid_client *client;
    void *socket;
    msgpack_zone *zone;
    const char *server;
    msgpack_object list;
    bool is_changes, has_cursor, has_item;
    uint64_t epoch, seq, rev, id;
    double due;
    msgpack_unpacked page;
    uint32_t given;
    amid_item item;
    uint64_t missed;
};

/* A request that waits so long. Changes begin, and after a loss begin again, with the whole state. */
struct pull {
    const char *method;
    double timeout;
    msgpack_object params;
    msgpack_object_kv members[4], after[3];
};

static void prepare_pull(const amid_events *events, double wait, struct pull *pull) {
    bool is_state = events->is_changes && !events->has_cursor;
    uint32_t size = 0;
    pull->method = is_state ? "state" : "events";
    pull->timeout = is_state ? STATE_TIMEOUT : wait;
    pull->members[size++] = amid_pair("timeout", amid_real(pull->timeout));
    if (events->server)
        pull->members[size++] = amid_pair("server", amid_text(events->server));
    if (events->is_changes || events->list.via.array.size)
        pull->members[size++] = amid_pair(events->is_changes ? "kinds" : "names", events->list);
    pull->after[0] = amid_pair("epoch", amid_integer((int64_t)events->epoch));
    pull->after[1] = amid_pair("seq", amid_integer((int64_t)events->seq));
    pull->after[2] = amid_pair("rev", amid_integer((int64_t)events->rev));
    if (events->has_cursor)
        pull->members[size++] = amid_pair("after", amid_map(pull->after, events->is_changes ? 3 : 2));
    pull->params = amid_map(pull->members, size);
}

/* Keep a request open. Returns when to look again, at `end` at the latest. */
static double send_pull(amid_events *events, double end) {
    if (events->due <= now()) {
        struct pull pull;
        prepare_pull(events, PULL_TIMEOUT, &pull);
        events->id = send_request(events->client, events->socket, pull.method, &pull.params, end, NULL);
        events->due = now() + (events->id ? pull.timeout + MARGIN : RETRY_DELAY);
    }
    return fmin(end, events->due);
}

/* Whether an error may be over in a moment. It is given to the caller otherwise. */
static bool discard_transient(amid_error *error, amid_error failure) {
    static const char *const kinds[] = {"unreachable", "not_connected", "busy", "timeout", "connection_lost"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(failure.kind, kinds[i]) == 0)
            return !fill(NULL, failure);
    return fill(error, failure);
}

/* Take the result of a pull: the next events or changes, or the whole state. */
static void take_page(amid_events *events, msgpack_unpacked page) {
    bool is_state = events->is_changes && !events->has_cursor;
    msgpack_unpacked_destroy(&events->page);
    events->page = page;
    events->given = 0;
    const msgpack_object *data = &events->page.data, *missed = amid_get(data, "missed");
    const char *server = string(page.zone, amid_get(data, "server"));
    amid_gap gap = {server, events->epoch, events->seq, missed && missed->type == MSGPACK_OBJECT_NIL, to_integer(missed)};
    bool is_loss = gap.ended || gap.missed > 0;
    events->epoch = to_integer(amid_get(data, "epoch"));
    events->seq = to_integer(amid_get(data, "seq"));
    events->rev = to_integer(amid_get(data, "rev"));
    events->has_cursor = !(is_loss && events->is_changes);
    events->has_item = is_state || (is_loss && !events->is_changes);
    events->missed += gap.missed;
    events->item = (amid_item){.kind = AMID_GAP, .gap = gap};
    if (is_state)
        events->item = (amid_item){.kind = AMID_CHANGE, .change = {.server = server, .kind = "reset", .id = "", .state = data}};
}

/* Take a reply. False with an error that asking again would not change. */
static bool take_reply(amid_events *events, msgpack_unpacked reply, amid_error *error) {
    uint64_t id = to_integer(amid_get(&reply.data, "id"));
    amid_error failure = {0};
    if (id == 0 || id != events->id) { /* it is late */
        msgpack_unpacked_destroy(&reply);
        return true;
    }
    bool done = outcome(&reply, &failure);
    events->id = 0;
    events->due = done ? 0 : now() + RETRY_DELAY;
    if (done)
        take_page(events, reply);
    return done || discard_transient(error, failure);
}

static bool next_item(amid_events *events) {
    const msgpack_object *list = amid_get(&events->page.data, "events");
    bool has_item = events->has_item, has_body = list && list->type == MSGPACK_OBJECT_ARRAY && events->given < list->via.array.size;
    events->has_item = false;
    if (has_item || !has_body)
        return has_item;
    msgpack_zone *zone = events->page.zone;
    const msgpack_object *body = &list->via.array.ptr[events->given++];
    const char *server = string(zone, amid_get(body, "server"));
    if (events->is_changes)
        events->item = (amid_item){.kind = AMID_CHANGE, .change = {
            .server = server,
            .kind = string(zone, amid_get(body, "kind")),
            .id = string(zone, amid_get(body, "id")),
            .set = amid_get(body, "set"),
        }};
    else
        events->item = (amid_item){.kind = AMID_EVENT, .event = {
            .server = server,
            .epoch = to_integer(amid_get(body, "epoch")),
            .seq = to_integer(amid_get(body, "seq")),
            .prev = to_integer(amid_get(body, "prev")),
            .time = to_double(amid_get(body, "time")),
            .event = string(zone, amid_get(body, "event")),
            .fields = amid_get(body, "fields"),
        }};
    return true;
}

const amid_item *amid_events_next(amid_events *events, double timeout, amid_error *error) {
    double end = timeout == 0 ? INFINITY : now() + timeout;
    msgpack_unpacked reply;
    while (!next_item(events)) {
        if (receive(events->socket, 0, &reply, send_pull(events, end))) {
            if (!take_reply(events, reply, error))
                return NULL;
            send_pull(events, end); /* the daemon works on the next answer while the caller works on this one */
            if (next_item(events))
                break;
        }
        if (now() >= end) {
            fail(error, "timeout", false, "no event came within %g s; the stream is still open", timeout);
            return NULL;
        }
    }
    return &events->item;
}

uint64_t amid_events_missed(const amid_events *events) { return events->missed; }

/* Take the first page: what comes from now on, or the whole state. A server whose reader is away begins when it is back. */
static bool take_first_page(amid_events *events, amid_error *error) {
    struct pull pull;
    msgpack_unpacked page;
    amid_error failure = {0};
    prepare_pull(events, 0, &pull);
    bool done = amid_call(events->client, pull.method, &pull.params, pull.timeout, &page, &failure);
    if (done)
        take_page(events, page);
    return done || (strcmp(failure.kind, "unreachable") == 0 ? fill(error, failure) : discard_transient(error, failure));
}

static amid_events *follow(amid_client *client, bool is_changes, const char *const *texts, size_t size, const char *server,
                           amid_error *error) {
    amid_events *events = check_memory(calloc(1, sizeof *events));
    events->client = client;
    events->zone = zone_new();
    events->is_changes = is_changes;
    events->list = text_list(events->zone, texts, size);
    msgpack_object name = amid_text(server ? server : "");
    events->server = server ? string(events->zone, &name) : NULL;
    if (take_first_page(events, error))
        events->socket = connect_to_daemon(client, error);
    if (events->socket)
        return events;
    amid_events_close(events);
    return NULL;
}

amid_events *amid_events_open(amid_client *client, const char *const *names, size_t size, const char *server, amid_error *error) {
    return follow(client, false, names, size, server, error);
}

amid_events *amid_changes_open(amid_client *client, const char *const *kinds, size_t size, const char *server, amid_error *error) {
    return follow(client, true, kinds, size, server, error);
}

void amid_events_close(amid_events *events) {
    if (!events)
        return;
    if (events->socket)
        zmq_close(events->socket);
    msgpack_unpacked_destroy(&events->page);
    msgpack_zone_free(events->zone);
    free(events);
}
