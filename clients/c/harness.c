/* The harness of the C client; clients/CONFORMANCE.md says what it does. */

#include "amid.c" /* for what is static there: pack and unpack */

#include <jansson.h>
#include <pthread.h>

#define MARK "$bin"

/* ── lines and values: JSON, and {"$bin": "HEX"} for a MessagePack `bin` ── */

/* Zeroed memory, to be freed. */
static void *allocate(size_t count, size_t size)
{
    return check_memory(calloc(count + 1, size));
}

static void say(json_t *line)
{
    json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(17));
    putchar('\n');
    fflush(stdout);
    json_decref(line);
}

static char *hex_of(const char *prefix, const char *bytes, size_t size)
{
    size_t begin = strlen(prefix);
    char *hex = allocate(begin + 2 * size + 1, 1);
    memcpy(hex, prefix, begin);
    for (size_t i = 0; i < size; i++)
        sprintf(hex + begin + 2 * i, "%02x", (unsigned char)bytes[i]);
    return hex;
}

static void bytes_of_hex(const char *hex, char *bytes)
{
    for (unsigned byte; sscanf(hex, "%2x", &byte) == 1; hex += 2)
        *bytes++ = (char)byte;
}

/* A MessagePack bin or text as a JSON string, behind `prefix` if it is a bin. */
static json_t *text_shown(const msgpack_object *text, const char *prefix)
{
    if (text->type == MSGPACK_OBJECT_STR)
        return json_stringn(text->via.str.ptr, text->via.str.size);
    char *hex = hex_of(prefix, text->via.bin.ptr, text->via.bin.size);
    json_t *shown = json_string(hex);
    free(hex);
    return shown;
}

/* A string of the client. It may be a `bin`: names of queues and of events are bytes to Asterisk. */
static json_t *string_shown(const char *string)
{
    json_t *text = json_string(string); /* NULL if it is not UTF-8 */
    if (text)
        return text;
    char *hex = hex_of("", string, strlen(string));
    json_t *bin = json_pack("{s: s}", MARK, hex);
    free(hex);
    return bin;
}

static json_t *shown(const msgpack_object *value);

static json_t *map_shown(const msgpack_object_map *map)
{
    json_t *object = json_object();
    for (uint32_t i = 0; i < map->size; i++) {
        json_t *key = text_shown(&map->ptr[i].key, MARK ":");
        json_object_setn_new(object, json_string_value(key), json_string_length(key), shown(&map->ptr[i].val));
        json_decref(key);
    }
    return object;
}

static json_t *list_shown(const msgpack_object_array *list)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < list->size; i++)
        json_array_append_new(array, shown(&list->ptr[i]));
    return array;
}

/* A value as a line has it. */
static json_t *shown(const msgpack_object *value)
{
    switch (value->type) {
    case MSGPACK_OBJECT_BOOLEAN:
        return json_boolean(value->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return json_integer(value->via.i64);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return json_real(value->via.f64);
    case MSGPACK_OBJECT_STR:
        return text_shown(value, "");
    case MSGPACK_OBJECT_BIN:
        return json_pack("{s: o}", MARK, text_shown(value, ""));
    case MSGPACK_OBJECT_ARRAY:
        return list_shown(&value->via.array);
    case MSGPACK_OBJECT_MAP:
        return map_shown(&value->via.map);
    default:
        return json_null();
    }
}

static void *zone_allocate(msgpack_zone *zone, size_t size)
{
    void *memory = msgpack_zone_malloc(zone, size + 1);
    if (!memory)
        abort();
    return memory;
}

static msgpack_object bin_meant(msgpack_zone *zone, const char *hex)
{
    size_t size = strlen(hex) / 2;
    char *bytes = zone_allocate(zone, size);
    bytes_of_hex(hex, bytes);
    return amid_bytes(bytes, (uint32_t)size);
}

static msgpack_object meant(msgpack_zone *zone, json_t *line);

static msgpack_object map_meant(msgpack_zone *zone, json_t *object)
{
    json_t *value;
    const char *key;
    uint32_t size = 0;
    msgpack_object_kv *pairs = zone_allocate(zone, json_object_size(object) * sizeof *pairs);
    json_object_foreach(object, key, value) {
        bool is_bin = strncmp(key, MARK ":", sizeof MARK) == 0;
        pairs[size++] = (msgpack_object_kv){
            .key = is_bin ? bin_meant(zone, key + sizeof MARK) : amid_text(key),
            .val = meant(zone, value),
        };
    }
    return amid_map(pairs, size);
}

static msgpack_object list_meant(msgpack_zone *zone, json_t *array)
{
    size_t size = json_array_size(array);
    msgpack_object *values = zone_allocate(zone, size * sizeof *values);
    for (size_t i = 0; i < size; i++)
        values[i] = meant(zone, json_array_get(array, i));
    return amid_list(values, (uint32_t)size);
}

/* The value that a line means. It points into the line and the zone. */
static msgpack_object meant(msgpack_zone *zone, json_t *line)
{
    const char *hex = json_string_value(json_object_get(line, MARK));
    switch (json_typeof(line)) {
    case JSON_OBJECT:
        return hex ? bin_meant(zone, hex) : map_meant(zone, line);
    case JSON_ARRAY:
        return list_meant(zone, line);
    case JSON_STRING: {
        msgpack_object text = amid_text(json_string_value(line));
        text.via.str.size = (uint32_t)json_string_length(line);
        return text;
    }
    case JSON_INTEGER:
        return amid_integer(json_integer_value(line));
    case JSON_REAL:
        return amid_real(json_real_value(line));
    case JSON_TRUE:
    case JSON_FALSE:
        return amid_boolean(json_is_true(line));
    default:
        return (msgpack_object){.type = MSGPACK_OBJECT_NIL};
    }
}

/* ── decode, encode ── */

static void decode(amid_client *client, json_t *asked)
{
    (void)client;
    const char *hex = json_string_value(json_object_get(asked, "hex"));
    char *bytes = allocate(strlen(hex) / 2, 1);
    bytes_of_hex(hex, bytes);
    msgpack_unpacked value;
    if (unpack(bytes, strlen(hex) / 2, &value)) {
        say(json_pack("{s: o}", "value", shown(&value.data)));
        msgpack_unpacked_destroy(&value);
    } else {
        say(json_pack("{s: s}", "error", "not MessagePack"));
    }
    free(bytes);
}

static void encode(amid_client *client, json_t *asked)
{
    (void)client;
    msgpack_zone *zone = zone_new();
    msgpack_object value = meant(zone, json_object_get(asked, "value"));
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    pack(&packed, &value);
    char *hex = hex_of("", packed.data, packed.size);
    say(json_pack("{s: s}", "hex", hex));
    free(hex);
    msgpack_sbuffer_destroy(&packed);
    msgpack_zone_free(zone);
}

/* ── call ── */

/* The texts of a list, or none for null; they are of the line, the array is to be freed. */
static const char **texts_of(json_t *list, size_t *size)
{
    *size = json_array_size(list);
    const char **texts = allocate(*size, sizeof *texts);
    for (size_t i = 0; i < *size; i++)
        texts[i] = json_string_value(json_array_get(list, i));
    return texts;
}

static bool state(amid_client *client, json_t *given, const amid_options *options, msgpack_unpacked *result, amid_error *error)
{
    size_t size;
    const char **kinds = texts_of(json_object_get(given, "kinds"), &size);
    const char *where = json_string_value(json_object_get(given, "where"));
    bool done = amid_state(client, kinds, size, where, options, result, error);
    free(kinds);
    return done;
}

static bool call_method(amid_client *client, const char *method, json_t *given, msgpack_zone *zone, msgpack_unpacked *result,
                        amid_error *error)
{
    msgpack_object params = meant(zone, given);
    const char *server = json_string_value(json_object_get(given, "server"));
    double timeout = json_number_value(json_object_get(given, "timeout"));
    if (strcmp(method, "action") == 0) {
        const char *name = json_string_value(json_object_get(given, "action"));
        const char *until = json_string_value(json_object_get(given, "until"));
        bool raw = json_is_true(json_object_get(given, "raw"));
        amid_options options = {.server = server, .timeout = timeout, .until = until, .raw = raw};
        return amid_action(client, name, amid_get(&params, "fields"), &options, result, error);
    }
    if (strcmp(method, "servers") == 0)
        return amid_servers(client, timeout, result, error);
    if (strcmp(method, "status") == 0)
        return amid_status(client, timeout, result, error);
    if (strcmp(method, "actions") == 0)
        return amid_actions(client, server, timeout, result, error);
    if (strcmp(method, "state") == 0)
        return state(client, given, &(amid_options){.server = server, .timeout = timeout}, result, error);
    if (strcmp(method, "restart") == 0)
        return amid_restart(client, server, timeout, result, error);
    if (strcmp(method, "ping") == 0)
        return amid_ping(client, timeout, result, error);
    return amid_call(client, method, &params, timeout, result, error);
}

static json_t *error_shown(const amid_error *error)
{
    json_t *response = error->response ? shown(error->response) : NULL;
    return json_pack("{s: s, s: b, s: s, s: s*, s: s*, s: o*}", "kind", error->kind, "sent", error->sent, "message",
                     error->message, "server", error->server, "action_id", error->action_id, "response", response);
}

static void call(amid_client *client, json_t *asked)
{
    const char *method = json_string_value(json_object_get(asked, "method"));
    msgpack_zone *zone = zone_new();
    msgpack_unpacked result;
    amid_error error = {0};
    if (call_method(client, method, json_object_get(asked, "params"), zone, &result, &error)) {
        say(json_pack("{s: o}", "result", shown(&result.data)));
        msgpack_unpacked_destroy(&result);
    } else {
        say(json_pack("{s: o}", "error", error_shown(&error)));
    }
    amid_error_free(&error);
    msgpack_zone_free(zone);
}

/* ── calls ── */

/* What the threads that make calls share. */
struct pings {
    amid_client *client;
    int count;
    atomic_int begun;
    atomic_int right;
};

/* Whether a Ping with an ActionID of its own gets that back. */
static bool ping(amid_client *client, int number)
{
    char id[32];
    int size = snprintf(id, sizeof id, "own-%d", number);
    msgpack_object_kv field = amid_pair("ActionID", amid_text(id));
    msgpack_object fields = amid_map(&field, 1);
    msgpack_unpacked answer;
    if (!amid_action(client, "Ping", &fields, &(amid_options){.server = "pbx1"}, &answer, NULL))
        return false;
    const msgpack_object *own = amid_get(amid_get(&answer.data, "response"), "ActionID");
    bool right = own && own->type == MSGPACK_OBJECT_STR && own->via.str.size == (uint32_t)size &&
                 memcmp(own->via.str.ptr, id, own->via.str.size) == 0;
    msgpack_unpacked_destroy(&answer);
    return right;
}

static void *ping_on(void *shared)
{
    struct pings *pings = shared;
    for (int number; (number = atomic_fetch_add(&pings->begun, 1)) < pings->count;)
        if (ping(pings->client, number))
            atomic_fetch_add(&pings->right, 1);
    return NULL;
}

static void calls(amid_client *client, json_t *asked)
{
    size_t at_once = (size_t)json_integer_value(json_object_get(asked, "at_once"));
    struct pings pings = {.client = client, .count = (int)json_integer_value(json_object_get(asked, "count"))};
    pthread_t *threads = allocate(at_once, sizeof *threads);
    for (size_t i = 0; i < at_once; i++)
        pthread_create(&threads[i], NULL, ping_on, &pings);
    for (size_t i = 0; i < at_once; i++)
        pthread_join(threads[i], NULL);
    free(threads);
    int right = atomic_load(&pings.right);
    say(json_pack("{s: i, s: i, s: i}", "right", right, "wrong", pings.count - right, "at_once", (int)at_once));
}

/* ── events ── */

static json_t *event_shown(const amid_event *event)
{
    return json_pack("{s: s, s: I, s: I, s: I, s: f, s: o, s: o}", "server", event->server, "epoch", (json_int_t)event->epoch,
                     "seq", (json_int_t)event->seq, "prev", (json_int_t)event->prev, "time", event->time, "event",
                     string_shown(event->event), "fields", shown(event->fields));
}

static json_t *gap_shown(const amid_gap *gap)
{
    json_t *missed = gap->ended ? json_null() : json_integer((json_int_t)gap->missed);
    return json_pack("{s: s, s: I, s: I, s: o}", "server", gap->server, "epoch", (json_int_t)gap->epoch, "after",
                     (json_int_t)gap->after, "missed", missed);
}

static void say_items(amid_events *events, json_int_t count, double timeout)
{
    const amid_item *item;
    while (count > 0 && (item = amid_events_next(events, timeout, NULL))) {
        if (item->kind == AMID_EVENT) {
            say(json_pack("{s: o}", "event", event_shown(&item->event)));
            count--;
        } else {
            say(json_pack("{s: o}", "gap", gap_shown(&item->gap)));
        }
    }
}

static void events(amid_client *client, json_t *asked)
{
    size_t size;
    const char **names = texts_of(json_object_get(asked, "names"), &size);
    const char *server = json_string_value(json_object_get(asked, "server"));
    amid_error error = {0};
    amid_events *stream = amid_events_open(client, names, size, server, &error);
    free(names);
    if (!stream) {
        say(json_pack("{s: o}", "error", error_shown(&error)));
        amid_error_free(&error);
        return;
    }
    say(json_pack("{s: b}", "listening", 1));
    say_items(stream, json_integer_value(json_object_get(asked, "count")), json_number_value(json_object_get(asked, "timeout")));
    say(json_pack("{s: b, s: I}", "end", 1, "missed", (json_int_t)amid_events_missed(stream)));
    amid_events_close(stream);
}

/* ── changes ── */

static json_t *change_shown(const amid_change *change)
{
    json_t *set = change->set ? shown(change->set) : NULL, *state = change->state ? shown(change->state) : NULL;
    bool gone = !change->set && !change->state;
    return json_pack("{s: s, s: s, s: o, s: b, s: o*, s: o*}", "server", change->server, "kind", change->kind, "id",
                     string_shown(change->id), "gone", gone, "set", set, "state", state);
}

/* False with an error before so many resets. */
static bool say_changes(amid_events *changes, json_int_t resets, double timeout, amid_error *error)
{
    while (resets > 0) {
        const amid_item *item = amid_events_next(changes, timeout, error);
        if (!item)
            return false;
        resets -= item->change.state != NULL;
        say(json_pack("{s: o}", "change", change_shown(&item->change)));
    }
    return true;
}

static void changes(amid_client *client, json_t *asked)
{
    size_t size;
    const char **kinds = texts_of(json_object_get(asked, "kinds"), &size);
    const char *server = json_string_value(json_object_get(asked, "server"));
    json_int_t resets = json_integer_value(json_object_get(asked, "resets"));
    amid_error error = {0};
    amid_events *stream = amid_changes_open(client, kinds, size, server, &error);
    free(kinds);
    if (stream && say_changes(stream, resets, json_number_value(json_object_get(asked, "timeout")), &error))
        say(json_pack("{s: b}", "end", 1));
    else
        say(json_pack("{s: o}", "error", error_shown(&error)));
    amid_error_free(&error);
    amid_events_close(stream);
}

/* ── lines ── */

static const struct {
    const char *name;
    void (*answer)(amid_client *client, json_t *asked);
} tasks[] = {{"decode", decode}, {"encode", encode}, {"call", call}, {"calls", calls}, {"events", events}, {"changes", changes}};

static void answer(amid_client *client, json_t *asked)
{
    const char *name = json_string_value(json_object_get(asked, "do"));
    for (size_t i = 0; name && i < sizeof tasks / sizeof *tasks; i++)
        if (strcmp(tasks[i].name, name) == 0)
            tasks[i].answer(client, asked);
}

int main(int argc, char **argv)
{
    amid_client *client = amid_open(argc > 1 ? argv[1] : NULL);
    char *line = NULL;
    size_t room = 0;
    for (ssize_t size; (size = getline(&line, &room, stdin)) > 0;) {
        json_t *asked = json_loadb(line, (size_t)size, JSON_ALLOW_NUL, NULL);
        answer(client, asked);
        json_decref(asked);
    }
    free(line);
    amid_close(client);
    return 0;
}
