/* Calls: a request goes to the daemon, and its answer comes back before a deadline, or an error says why not.
 *
 * A call borrows a socket of its own and gives it back when it has its answer, so one slow call holds up no other thread. A socket
 * whose call got no answer is closed, and with it goes whatever comes late. With ZMQ_IMMEDIATE nothing is queued for a broker that
 * is not there, and so "unreachable" really means that nothing was sent. */

#define _POSIX_C_SOURCE 200809L

#include "internal.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Seconds until a request must be with a broker. */
#define HANDOVER 1.0
/* Seconds an answer may come after the call's timeout, for the way to the broker and back. */
#define MARGIN 1.0
/* The longest timeout of an action that the daemon accepts, in seconds. */
#define LONGEST 3600.0
/* Events that replay gives at most, unless its caller says otherwise. */
#define PAGE 1000
/* The longest wait that is handed to ZeroMQ at once, in seconds; a longer one goes in pieces. */
#define LONGEST_POLL 1e6

#define HOW "start one with `amid run`, or name its directory with AMID_RUN_DIR"

/* A DEALER socket. It lives as long as its calls are answered. */
struct connection {
    struct connection *next;
    void *socket;
    msgpack_zone *zone;
    const char *endpoint;
    uint64_t calls;
};

struct amid_client {
    void *context;
    char *run_dir;
    /* Over `idle`, the connections that no call has borrowed. */
    pthread_mutex_t lock;
    struct connection *idle;
};

/* A call before it has an id. patience: seconds to wait for its answer. */
struct call {
    const char *method;
    msgpack_object params;
    double patience;
};

/* ── errors ── */

/* Whatever the error held before goes. */
static void fill(amid_error *error, amid_error with)
{
    amid_error_free(error);
    *error = with;
}

void amid_error_free(amid_error *error)
{
    if (error && error->zone)
        msgpack_zone_free(error->zone);
    if (error)
        *error = (amid_error){0};
}

bool amid_fail(amid_error *error, const char *kind, bool sent, const msgpack_object *server, const char *format, ...)
{
    if (!error)
        return false;
    msgpack_zone *zone = amid_zone();
    va_list values;
    va_start(values, format);
    const char *message = amid_vformat(zone, format, values);
    va_end(values);
    fill(error, (amid_error){.kind = kind, .sent = sent, .message = message, .server = amid_string(zone, server), .zone = zone});
    return false;
}

/* The error in a reply, which is taken over. One that does not say whether it was sent may have been. */
static bool fail_as_told(amid_error *error, msgpack_unpacked *reply)
{
    const msgpack_object *told = amid_get(&reply->data, "error"), *data = amid_get(told, "data");
    const msgpack_object *sent = amid_get(data, "sent"), *response = amid_get(data, "response");
    msgpack_zone *zone = msgpack_unpacked_release_zone(reply);
    amid_error filled = {
        .kind = amid_string(zone, amid_get(data, "kind")),
        .sent = !sent || sent->type != MSGPACK_OBJECT_BOOLEAN || sent->via.boolean,
        .message = amid_string(zone, amid_get(told, "message")),
        .server = amid_string(zone, amid_get(data, "server")),
        .action_id = amid_string(zone, amid_get(data, "action_id")),
        .response = amid_is_map(response) ? response : NULL,
        .zone = zone,
    };
    amid_unsigned(amid_get(data, "oldest"), &filled.oldest);
    if (!filled.kind)
        filled.kind = "internal_error";
    if (!filled.message)
        filled.message = filled.kind;
    if (error)
        fill(error, filled);
    else
        msgpack_zone_free(zone);
    return false;
}

/* ── where the daemon is ── */

/* What is at `path`, in words, or NULL for a socket that may be used. */
static const char *what_is_wrong_at(const char *path)
{
    struct stat found;
    if (stat(path, &found) != 0)
        return errno == EACCES ? "this user may not enter it" : "no socket";
    if (!S_ISSOCK(found.st_mode))
        return "no socket";
    return access(path, W_OK) == 0 ? NULL : "this user may not use its socket";
}

/* The directories to look in, in order. One that was named is the only one: another could be another PBX's. */
static size_t run_dirs(msgpack_zone *zone, const char *run_dir, const char *dirs[2])
{
    const char *named = getenv("AMID_RUN_DIR"), *private = getenv("XDG_RUNTIME_DIR");
    size_t size = 0;
    if (run_dir || (named && *named)) {
        dirs[0] = run_dir ? run_dir : named;
        return 1;
    }
    dirs[size++] = "/run/amid";
    if (private && *private)
        dirs[size++] = amid_format(zone, "%s/amid", private);
    return size;
}

/* The endpoint of the daemon's rpc socket, or NULL. */
static const char *find(msgpack_zone *zone, const char *run_dir, amid_error *error)
{
    const char *dirs[2], *looked = "";
    size_t size = run_dirs(zone, run_dir, dirs);
    for (size_t i = 0; i < size; i++) {
        const char *wrong = what_is_wrong_at(amid_format(zone, "%s/rpc", dirs[i]));
        if (!wrong)
            return amid_format(zone, "ipc://%s/rpc", dirs[i]);
        looked = amid_format(zone, "%s%s%s/rpc: %s", looked, *looked ? "; " : "", dirs[i], wrong);
    }
    amid_fail(error, "unreachable", false, NULL, "no amid daemon found (%s): " HOW, looked);
    return NULL;
}

/* ── sockets ── */

double amid_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

bool amid_wait(void *socket, short what, double end)
{
    zmq_pollitem_t item = {.socket = socket, .events = what};
    for (;;) {
        double left = fmax(end - amid_now(), 0);
        int ready = zmq_poll(&item, 1, (long)ceil(fmin(left, LONGEST_POLL) * 1000));
        if (ready > 0)
            return true;
        if (ready < 0 ? zmq_errno() != EINTR : left == 0)
            return false;
    }
}

bool amid_receive(void *socket, msgpack_unpacked *into)
{
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    int size;
    do
        size = zmq_msg_recv(&frame, socket, ZMQ_DONTWAIT);
    while (size >= 0 && zmq_msg_more(&frame));
    bool unpacked = size >= 0 && amid_unpack(&frame, into);
    zmq_msg_close(&frame);
    return unpacked;
}

void *amid_socket(amid_client *client, int type, amid_error *error)
{
    void *socket = zmq_socket(client->context, type);
    if (!socket) {
        amid_fail(error, "unreachable", false, NULL, "no ZeroMQ socket can be opened: %s", zmq_strerror(zmq_errno()));
        return NULL;
    }
    zmq_setsockopt(socket, ZMQ_LINGER, &(int){0}, sizeof(int));
    return socket;
}

bool amid_connect(void *socket, const char *endpoint, amid_error *error)
{
    if (zmq_connect(socket, endpoint) == 0)
        return true;
    const char *why = zmq_strerror(zmq_errno());
    return amid_fail(error, "unreachable", false, NULL, "no amid daemon answers at %s (%s): " HOW, endpoint, why);
}

/* ── connections ── */

static void disconnect(struct connection *connection)
{
    if (connection->socket)
        zmq_close(connection->socket);
    msgpack_zone_free(connection->zone);
    free(connection);
}

static void *dealer(amid_client *client, amid_error *error)
{
    void *socket = amid_socket(client, ZMQ_DEALER, error);
    if (socket)
        zmq_setsockopt(socket, ZMQ_IMMEDIATE, &(int){1}, sizeof(int));
    return socket;
}

static struct connection *connect_anew(amid_client *client, amid_error *error)
{
    struct connection *connection = amid_allocate(1, sizeof *connection);
    connection->zone = amid_zone();
    connection->endpoint = find(connection->zone, client->run_dir, error);
    if (connection->endpoint)
        connection->socket = dealer(client, error);
    if (connection->socket && amid_connect(connection->socket, connection->endpoint, error))
        return connection;
    disconnect(connection);
    return NULL;
}

static struct connection *borrow(amid_client *client, amid_error *error)
{
    pthread_mutex_lock(&client->lock);
    struct connection *connection = client->idle;
    if (connection)
        client->idle = connection->next;
    pthread_mutex_unlock(&client->lock);
    return connection ? connection : connect_anew(client, error);
}

static void give_back(amid_client *client, struct connection *connection)
{
    pthread_mutex_lock(&client->lock);
    connection->next = client->idle;
    client->idle = connection;
    pthread_mutex_unlock(&client->lock);
}

amid_client *amid_open(const char *run_dir)
{
    amid_client *client = amid_allocate(1, sizeof *client);
    client->context = zmq_ctx_new();
    if (!client->context)
        abort();
    client->run_dir = run_dir ? amid_copied(run_dir) : NULL;
    pthread_mutex_init(&client->lock, NULL);
    return client;
}

void amid_close(amid_client *client)
{
    if (!client)
        return;
    for (struct connection *connection = client->idle, *next; connection; connection = next) {
        next = connection->next;
        disconnect(connection);
    }
    while (zmq_ctx_term(client->context) != 0 && zmq_errno() == EINTR)
        ;
    pthread_mutex_destroy(&client->lock);
    free(client->run_dir);
    free(client);
}

/* ── a call ── */

/* The request as MessagePack. Its id joins it with its answer. */
static bool pack_request(msgpack_sbuffer *into, uint64_t id, const struct call *call)
{
    msgpack_object_kv members[] = {
        amid_pair("jsonrpc", amid_text("2.0")),
        amid_pair("id", amid_integer((int64_t)id)),
        amid_pair("method", amid_text(call->method)),
        amid_pair("params", call->params),
    };
    msgpack_object request = amid_map(members, 4);
    return amid_pack(into, &request);
}

/* With the empty frame that a DEALER has to send itself. */
static bool hand_over(struct connection *connection, const msgpack_sbuffer *request, double patience, amid_error *error)
{
    bool taken = amid_wait(connection->socket, ZMQ_POLLOUT, amid_now() + fmin(HANDOVER, patience)) &&
                 zmq_send(connection->socket, "", 0, ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0 &&
                 zmq_send(connection->socket, request->data, request->size, ZMQ_DONTWAIT) >= 0;
    return taken || amid_fail(error, "unreachable", false, NULL, "no amid daemon answers at %s: " HOW, connection->endpoint);
}

static bool send_request(struct connection *connection, const struct call *call, amid_error *error)
{
    msgpack_sbuffer request;
    msgpack_sbuffer_init(&request);
    bool sent = pack_request(&request, ++connection->calls, call)
                    ? hand_over(connection, &request, call->patience, error)
                    : amid_fail(error, "invalid_params", false, NULL, "%s: a value cannot be put into a request", call->method);
    msgpack_sbuffer_destroy(&request);
    return sent;
}

/* Whether it is the reply to this request. One without an id can only be ours too: the socket has one call at a time. */
static bool is_reply(const msgpack_object *reply, uint64_t id)
{
    uint64_t joined;
    const msgpack_object *own = amid_get(reply, "id");
    bool ours = !own || own->type == MSGPACK_OBJECT_NIL || (amid_unsigned(own, &joined) && joined == id);
    return ours && (amid_get(reply, "result") || amid_is_map(amid_get(reply, "error")));
}

/* The broker has the request and said nothing, although it promises to: it is stopped, or was replaced meanwhile. */
static bool fail_unanswered(const struct connection *connection, const struct call *call, amid_error *error)
{
    bool acts = strcmp(call->method, "action") == 0 || strcmp(call->method, "restart") == 0;
    return amid_fail(error, "timeout", acts, amid_get(&call->params, "server"),
                     "the daemon at %s took %s and gave no answer within %g s: see `amid status`", connection->endpoint,
                     call->method, call->patience);
}

static bool receive_reply(struct connection *connection, const struct call *call, msgpack_unpacked *reply, amid_error *error)
{
    double end = amid_now() + call->patience;
    while (amid_wait(connection->socket, ZMQ_POLLIN, end)) {
        if (!amid_receive(connection->socket, reply))
            continue;
        if (is_reply(&reply->data, connection->calls))
            return true;
        msgpack_unpacked_destroy(reply);
    }
    return fail_unanswered(connection, call, error);
}

/* The result of a reply in place of the reply, or its error. */
static bool outcome(msgpack_unpacked *reply, msgpack_unpacked *result, amid_error *error)
{
    if (amid_get(&reply->data, "error"))
        return fail_as_told(error, reply);
    *result = (msgpack_unpacked){.zone = reply->zone, .data = *amid_get(&reply->data, "result")};
    return true;
}

/* A timeout that the daemon will refuse is refused soon, so its answer is worth waiting for. */
static double patience(double timeout)
{
    return (timeout > 0 && timeout <= LONGEST ? timeout : AMID_TIMEOUT) + MARGIN;
}

bool amid_call(amid_client *client, const char *method, const msgpack_object *params, double timeout, msgpack_unpacked *result,
               amid_error *error)
{
    struct call call = {.method = method, .params = params ? *params : amid_map(NULL, 0), .patience = patience(timeout)};
    struct connection *connection = borrow(client, error);
    if (!connection)
        return false;
    msgpack_unpacked reply;
    if (!send_request(connection, &call, error) || !receive_reply(connection, &call, &reply, error)) {
        disconnect(connection);
        return false;
    }
    give_back(client, connection);
    return outcome(&reply, result, error);
}

/* ── the methods ── */

/* Params that are put together member by member; what is not set is left out. */
struct params {
    msgpack_object_kv members[5];
    uint32_t size;
};

static void add(struct params *params, const char *name, msgpack_object value)
{
    params->members[params->size++] = amid_pair(name, value);
}

static void add_text(struct params *params, const char *name, const char *text)
{
    if (text)
        add(params, name, amid_text(text));
}

static double timeout_or_default(double timeout)
{
    return timeout == 0 ? AMID_TIMEOUT : timeout;
}

static bool call_with(amid_client *client, const char *method, struct params *params, double timeout, msgpack_unpacked *result,
                      amid_error *error)
{
    msgpack_object map = amid_map(params->members, params->size);
    return amid_call(client, method, &map, timeout, result, error);
}

bool amid_action(amid_client *client, const char *name, const msgpack_object *fields, const amid_options *options,
                 msgpack_unpacked *result, amid_error *error)
{
    amid_options with = options ? *options : (amid_options){0};
    double timeout = timeout_or_default(with.timeout);
    struct params params = {0};
    add_text(&params, "action", name);
    add(&params, "fields", fields ? *fields : amid_map(NULL, 0));
    add_text(&params, "server", with.server);
    add(&params, "timeout", amid_real(timeout));
    add_text(&params, "until", with.until);
    return call_with(client, "action", &params, timeout, result, error);
}

bool amid_command(amid_client *client, const char *command, const char *server, double timeout, msgpack_unpacked *result,
                  amid_error *error)
{
    msgpack_object_kv field = amid_pair("Command", amid_text(command));
    msgpack_object fields = amid_map(&field, 1);
    if (!amid_action(client, "Command", &fields, &(amid_options){.server = server, .timeout = timeout}, result, error))
        return false;
    const msgpack_object *output = amid_get(&result->data, "output");
    result->data = output ? *output : amid_list(NULL, 0);
    return true;
}

bool amid_servers(amid_client *client, double timeout, msgpack_unpacked *result, amid_error *error)
{
    return amid_call(client, "servers", NULL, timeout, result, error);
}

bool amid_status(amid_client *client, double timeout, msgpack_unpacked *result, amid_error *error)
{
    return amid_call(client, "status", NULL, timeout, result, error);
}

bool amid_actions(amid_client *client, const char *server, double timeout, msgpack_unpacked *result, amid_error *error)
{
    double seconds = timeout_or_default(timeout);
    struct params params = {0};
    add_text(&params, "server", server);
    add(&params, "timeout", amid_real(seconds));
    return call_with(client, "actions", &params, seconds, result, error);
}

bool amid_replay(amid_client *client, const char *server, uint64_t epoch, uint64_t after, uint32_t limit, double timeout,
                 msgpack_unpacked *result, amid_error *error)
{
    double seconds = timeout_or_default(timeout);
    struct params params = {0};
    add_text(&params, "server", server);
    add(&params, "epoch", amid_integer((int64_t)epoch));
    add(&params, "after", amid_integer((int64_t)after));
    add(&params, "limit", amid_integer(limit ? limit : PAGE));
    add(&params, "timeout", amid_real(seconds));
    return call_with(client, "replay", &params, seconds, result, error);
}

bool amid_restart(amid_client *client, const char *server, double timeout, msgpack_unpacked *result, amid_error *error)
{
    struct params params = {0};
    add_text(&params, "server", server);
    return call_with(client, "restart", &params, timeout, result, error);
}

bool amid_ping(amid_client *client, double timeout, msgpack_unpacked *result, amid_error *error)
{
    return amid_call(client, "ping", NULL, timeout, result, error);
}
