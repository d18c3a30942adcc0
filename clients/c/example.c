/* One action, and then three events: build/example [RUN_DIR] */

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
