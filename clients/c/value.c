/* Memory, and MessagePack as C has it: objects that point into the bytes they were read from. */

#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ── memory ── */

void *amid_allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        abort();
    return memory;
}

char *amid_copied(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(amid_allocate(size, 1), text, size);
}

msgpack_zone *amid_zone(void)
{
    msgpack_zone *zone = msgpack_zone_new(MSGPACK_ZONE_CHUNK_SIZE);
    if (!zone)
        abort();
    return zone;
}

static char *zone_allocate(msgpack_zone *zone, size_t size)
{
    char *memory = msgpack_zone_malloc(zone, size);
    if (!memory)
        abort();
    return memory;
}

const char *amid_vformat(msgpack_zone *zone, const char *format, va_list values)
{
    va_list again;
    va_copy(again, values);
    size_t size = (size_t)vsnprintf(NULL, 0, format, again) + 1;
    va_end(again);
    char *text = zone_allocate(zone, size);
    vsnprintf(text, size, format, values);
    return text;
}

const char *amid_format(msgpack_zone *zone, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    const char *text = amid_vformat(zone, format, values);
    va_end(values);
    return text;
}

/* ── values to send ── */

msgpack_object amid_text(const char *text)
{
    return (msgpack_object){.type = MSGPACK_OBJECT_STR, .via.str = {.size = (uint32_t)strlen(text), .ptr = text}};
}

msgpack_object amid_bytes(const void *bytes, uint32_t size)
{
    return (msgpack_object){.type = MSGPACK_OBJECT_BIN, .via.bin = {.size = size, .ptr = bytes}};
}

msgpack_object amid_integer(int64_t number)
{
    if (number < 0)
        return (msgpack_object){.type = MSGPACK_OBJECT_NEGATIVE_INTEGER, .via.i64 = number};
    return (msgpack_object){.type = MSGPACK_OBJECT_POSITIVE_INTEGER, .via.u64 = (uint64_t)number};
}

msgpack_object amid_real(double number)
{
    return (msgpack_object){.type = MSGPACK_OBJECT_FLOAT64, .via.f64 = number};
}

msgpack_object amid_boolean(bool yes)
{
    return (msgpack_object){.type = MSGPACK_OBJECT_BOOLEAN, .via.boolean = yes};
}

msgpack_object amid_list(msgpack_object *values, uint32_t size)
{
    return (msgpack_object){.type = MSGPACK_OBJECT_ARRAY, .via.array = {.size = size, .ptr = values}};
}

msgpack_object amid_map(msgpack_object_kv *pairs, uint32_t size)
{
    return (msgpack_object){.type = MSGPACK_OBJECT_MAP, .via.map = {.size = size, .ptr = pairs}};
}

msgpack_object_kv amid_pair(const char *name, msgpack_object value)
{
    return (msgpack_object_kv){.key = amid_text(name), .val = value};
}

/* ── values that came ── */

/* Text and bytes alike, with a NULL `ptr` for what is neither. */
static msgpack_object_bin bytes_of(const msgpack_object *value)
{
    if (value && value->type == MSGPACK_OBJECT_STR)
        return (msgpack_object_bin){.size = value->via.str.size, .ptr = value->via.str.ptr};
    if (value && value->type == MSGPACK_OBJECT_BIN)
        return value->via.bin;
    return (msgpack_object_bin){0};
}

const char *amid_string(msgpack_zone *zone, const msgpack_object *value)
{
    msgpack_object_bin bytes = bytes_of(value);
    if (!bytes.ptr)
        return NULL;
    char *string = zone_allocate(zone, (size_t)bytes.size + 1);
    memcpy(string, bytes.ptr, bytes.size);
    string[bytes.size] = '\0';
    return string;
}

bool amid_is_map(const msgpack_object *value)
{
    return value && value->type == MSGPACK_OBJECT_MAP;
}

bool amid_is_list(const msgpack_object *value)
{
    return value && value->type == MSGPACK_OBJECT_ARRAY;
}

bool amid_unsigned(const msgpack_object *value, uint64_t *number)
{
    if (!value || value->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return false;
    *number = value->via.u64;
    return true;
}

const msgpack_object *amid_get(const msgpack_object *map, const char *name)
{
    if (!amid_is_map(map))
        return NULL;
    size_t size = strlen(name);
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *pair = &map->via.map.ptr[i];
        msgpack_object_bin key = bytes_of(&pair->key);
        if (key.ptr && key.size == size && memcmp(key.ptr, name, size) == 0)
            return &pair->val;
    }
    return NULL;
}

/* Whether it is a number of either kind; if so, it is in `number`. */
static bool real_of(const msgpack_object *value, double *number)
{
    uint64_t whole;
    if (amid_unsigned(value, &whole)) {
        *number = (double)whole;
        return true;
    }
    if (!value || (value->type != MSGPACK_OBJECT_FLOAT32 && value->type != MSGPACK_OBJECT_FLOAT64))
        return false;
    *number = value->via.f64;
    return true;
}

bool amid_event_of(const msgpack_object *body, msgpack_zone *zone, amid_event *event)
{
    *event = (amid_event){
        .server = amid_string(zone, amid_get(body, "server")),
        .event = amid_string(zone, amid_get(body, "event")),
        .fields = amid_get(body, "fields"),
    };
    if (!event->server || !event->event || !amid_is_map(event->fields))
        return false;
    bool is_tick = strcmp(event->event, AMID_TICK) == 0;
    bool numbered = amid_unsigned(amid_get(body, "epoch"), &event->epoch) && amid_unsigned(amid_get(body, "seq"), &event->seq) &&
                    amid_unsigned(amid_get(body, "nth"), &event->nth) && real_of(amid_get(body, "time"), &event->time);
    if (!is_tick)
        return numbered && event->seq > 0 && event->nth > 0;
    event->counts = amid_get(body, "counts");
    return numbered && amid_is_map(event->counts);
}

/* ── bytes ── */

bool amid_pack(msgpack_sbuffer *into, const msgpack_object *value)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, into, msgpack_sbuffer_write);
    return msgpack_pack_object(&packer, *value) == 0;
}

static void free_frame(void *frame)
{
    zmq_msg_close(frame);
    free(frame);
}

bool amid_unpack(zmq_msg_t *frame, msgpack_unpacked *into)
{
    zmq_msg_t *kept = amid_allocate(1, sizeof *kept);
    zmq_msg_init(kept);
    zmq_msg_move(kept, frame);
    msgpack_unpacked_init(into);
    size_t size = zmq_msg_size(kept), end = 0;
    msgpack_unpack_return got = msgpack_unpack_next(into, zmq_msg_data(kept), size, &end);
    if (got != MSGPACK_UNPACK_SUCCESS || end != size) {
        msgpack_unpacked_destroy(into);
        free_frame(kept);
        return false;
    }
    if (!into->zone) /* a value without parts needs none */
        into->zone = amid_zone();
    if (!msgpack_zone_push_finalizer(into->zone, free_frame, kept))
        abort();
    return true;
}
