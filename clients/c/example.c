/* One action, the live state, and then three events: build/example [RUN_DIR] */

#include "amid.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    amid_client *client = amid_open(argc > 1 ? argv[1] : NULL);
    amid_error error = {0};
    msgpack_unpacked lines;
    if (amid_command(client, "core show version", NULL, 0, &lines, &error)) {
        msgpack_object_print(stdout, lines.data);
        msgpack_unpacked_destroy(&lines);
    }
    const char *kinds[] = {"channels", "calls"};
    msgpack_unpacked state;
    if (!error.kind && amid_state(client, kinds, 2, NULL, NULL, &state, &error)) {
        printf("\n%u calls now", amid_get(&state.data, "calls")->via.array.size);
        msgpack_unpacked_destroy(&state);
    }
    amid_events *changes = error.kind ? NULL : amid_changes_open(client, kinds, 2, NULL, &error);
    const amid_item *first = changes ? amid_events_next(changes, 10, &error) : NULL;
    if (first) /* the whole state, of the kind reset; then each change comes */
        printf("\n%s", first->change.kind);
    amid_events_close(changes);

    amid_events *events = error.kind ? NULL : amid_events_open(client, NULL, 0, NULL, &error);
    for (int i = 0; i < 3 && events; i++) {
        const amid_item *item = amid_events_next(events, 10, &error);
        if (!item)
            break;
        if (item->kind == AMID_EVENT)
            printf("\n%s %s", item->event.server, item->event.event);
        else
            printf("\n%s: events are missing behind number %llu", item->gap.server, (unsigned long long)item->gap.after);
    }
    puts(error.kind ? error.message : "");
    amid_events_close(events);
    amid_close(client);
    amid_error_free(&error);
    return 0;
}
