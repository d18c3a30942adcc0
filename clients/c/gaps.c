/* The rule that finds gaps: numbers on events, so that no loss is silent.
 *
 * `seq` counts a server's events in an epoch; `nth` counts them per name, so that a subscriber to some names, who sees holes in
 * `seq` by design, can check too. A tick states the last of each, so that loss at the end of a quiet stream shows. */

#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* What is remembered of one name. */
struct count {
    /* Whether `nth` is known: from a tick, an event of the name, or because the epoch began before our eyes. */
    bool known;
    uint64_t nth;
    /* Behind which number the next event of this name comes; those of other names may have come since. */
    uint64_t after;
};

/* What is remembered of one server. */
struct seen {
    struct seen *next;
    char *server;
    uint64_t epoch;
    uint64_t seq;
    /* In the order of the names. */
    struct count counts[];
};

struct amid_gaps {
    /* Sorted, each once. None: all events are subscribed to. */
    char **names;
    size_t size;
    struct seen *servers;
    /* What the last call found: room for the end of an epoch and a gap in each name. */
    amid_gap *found;
    size_t found_size;
};

static int by_text(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

amid_gaps *amid_gaps_new(const char *const *names, size_t size)
{
    amid_gaps *gaps = amid_allocate(1, sizeof *gaps);
    gaps->names = amid_allocate(size, sizeof *gaps->names);
    gaps->found = amid_allocate(size + 2, sizeof *gaps->found);
    const char **sorted = amid_allocate(size, sizeof *sorted);
    for (size_t i = 0; i < size; i++)
        sorted[i] = names[i];
    qsort(sorted, size, sizeof *sorted, by_text);
    for (size_t i = 0; i < size; i++)
        if (i == 0 || strcmp(sorted[i - 1], sorted[i]) != 0)
            gaps->names[gaps->size++] = amid_copied(sorted[i]);
    free(sorted);
    return gaps;
}

void amid_gaps_free(amid_gaps *gaps)
{
    if (!gaps)
        return;
    for (struct seen *seen = gaps->servers, *next; seen; seen = next) {
        next = seen->next;
        free(seen->server);
        free(seen);
    }
    for (size_t i = 0; i < gaps->size; i++)
        free(gaps->names[i]);
    free(gaps->names);
    free(gaps->found);
    free(gaps);
}

/* ── what is remembered ── */

static struct seen *find_server(const amid_gaps *gaps, const char *server)
{
    struct seen *seen = gaps->servers;
    while (seen && strcmp(seen->server, server) != 0)
        seen = seen->next;
    return seen;
}

static struct seen *add_server(amid_gaps *gaps, const char *server)
{
    struct seen *seen = amid_allocate(1, sizeof *seen + gaps->size * sizeof *seen->counts);
    seen->server = amid_copied(server);
    seen->next = gaps->servers;
    gaps->servers = seen;
    return seen;
}

/* The place of a name that is wanted; `size` for one that is not. */
static size_t find_name(const amid_gaps *gaps, const char *name)
{
    size_t i = 0;
    while (i < gaps->size && strcmp(gaps->names[i], name) != 0)
        i++;
    return i;
}

static bool wanted(const amid_gaps *gaps, const char *name)
{
    return gaps->size == 0 || find_name(gaps, name) < gaps->size;
}

/* The last number in an epoch: of a newer one than was seen, nothing has come. */
static uint64_t seq_in(const struct seen *seen, uint64_t epoch)
{
    return epoch == seen->epoch ? seen->seq : 0;
}

/* What is known of a name in an epoch: a newer one than was seen began before our eyes, and every count began at 0. */
static struct count count_in(const struct seen *seen, uint64_t epoch, size_t name)
{
    return epoch == seen->epoch ? seen->counts[name] : (struct count){.known = true};
}

static uint64_t published(const amid_event *tick, const char *name)
{
    uint64_t nth = 0;
    amid_unsigned(amid_get(tick->counts, name), &nth);
    return nth;
}

/* ── what is missing ── */

static void add_end(amid_gaps *gaps, const struct seen *seen)
{
    gaps->found[gaps->found_size++] =
        (amid_gap){.server = seen->server, .epoch = seen->epoch, .after = seen->seq, .ended = true};
}

static void add_lost(amid_gaps *gaps, const struct seen *seen, amid_gap lost)
{
    lost.server = seen->server;
    gaps->found[gaps->found_size++] = lost;
}

/* With all events: what lies between the last number and `until`. */
static void check_seq(amid_gaps *gaps, const struct seen *seen, uint64_t epoch, uint64_t until)
{
    uint64_t after = seq_in(seen, epoch);
    if (until > after)
        add_lost(gaps, seen, (amid_gap){.epoch = epoch, .after = after, .until = until, .missed = until - after});
}

/* With names: what lies between the last count of a name and `nth`. */
static void check_nth(amid_gaps *gaps, const struct seen *seen, uint64_t epoch, uint64_t until, size_t name, uint64_t nth)
{
    struct count count = count_in(seen, epoch, name);
    if (count.known && nth > count.nth)
        add_lost(gaps, seen, (amid_gap){.epoch = epoch, .after = count.after, .until = until, .missed = nth - count.nth,
                                        .event = gaps->names[name]});
}

/* With names, each is a stream of its own: of one a lost event may be fetched when another's has come. */
static bool is_fresh(const amid_gaps *gaps, const struct seen *seen, const amid_event *event)
{
    if (!wanted(gaps, event->event))
        return false;
    if (!seen || event->epoch != seen->epoch)
        return !seen || event->epoch > seen->epoch;
    return event->seq > (gaps->size ? seen->counts[find_name(gaps, event->event)].after : seen->seq);
}

static void before_event(amid_gaps *gaps, const struct seen *seen, const amid_event *event)
{
    if (!is_fresh(gaps, seen, event))
        return;
    if (event->epoch != seen->epoch)
        add_end(gaps, seen);
    if (gaps->size == 0)
        check_seq(gaps, seen, event->epoch, event->seq - 1);
    else
        check_nth(gaps, seen, event->epoch, event->seq - 1, find_name(gaps, event->event), event->nth - 1);
}

static bool is_old(const struct seen *seen, const amid_event *tick)
{
    return tick->epoch < seen->epoch || (tick->epoch == seen->epoch && tick->seq < seen->seq);
}

/* Everything up to a tick's `seq` has been published. */
static void before_tick(amid_gaps *gaps, const struct seen *seen, const amid_event *tick)
{
    if (is_old(seen, tick))
        return;
    if (tick->epoch != seen->epoch)
        add_end(gaps, seen);
    if (gaps->size == 0)
        check_seq(gaps, seen, tick->epoch, tick->seq);
    for (size_t i = 0; i < gaps->size; i++)
        check_nth(gaps, seen, tick->epoch, tick->seq, i, published(tick, gaps->names[i]));
}

amid_gap_list amid_gaps_before(amid_gaps *gaps, const amid_event *event)
{
    const struct seen *seen = find_server(gaps, event->server);
    gaps->found_size = 0;
    if (seen && event->counts)
        before_tick(gaps, seen, event);
    else if (seen)
        before_event(gaps, seen, event);
    return (amid_gap_list){.gaps = gaps->found, .size = gaps->found_size};
}

/* ── taking ── */

/* Remember a new epoch, or a server's first. */
static void start(const amid_gaps *gaps, struct seen *seen, uint64_t epoch, uint64_t seq, struct count count)
{
    seen->epoch = epoch;
    seen->seq = seq;
    for (size_t i = 0; i < gaps->size; i++)
        seen->counts[i] = count;
}

static void take_event(amid_gaps *gaps, struct seen *seen, const amid_event *event)
{
    if (!seen) {
        seen = add_server(gaps, event->server);
        start(gaps, seen, event->epoch, event->seq, (struct count){.after = event->seq});
    }
    if (event->epoch != seen->epoch)
        start(gaps, seen, event->epoch, 0, (struct count){.known = true});
    if (event->seq > seen->seq)
        seen->seq = event->seq;
    if (gaps->size)
        seen->counts[find_name(gaps, event->event)] = (struct count){.known = true, .nth = event->nth, .after = event->seq};
}

static void take_tick(amid_gaps *gaps, struct seen *seen, const amid_event *tick)
{
    if (seen && is_old(seen, tick))
        return;
    if (!seen)
        seen = add_server(gaps, tick->server);
    start(gaps, seen, tick->epoch, tick->seq, (struct count){.known = true, .after = tick->seq});
    for (size_t i = 0; i < gaps->size; i++)
        seen->counts[i].nth = published(tick, gaps->names[i]);
}

amid_gap_list amid_gaps_take(amid_gaps *gaps, const amid_event *event, bool *fresh)
{
    amid_gap_list missed = amid_gaps_before(gaps, event);
    struct seen *seen = find_server(gaps, event->server);
    *fresh = !event->counts && is_fresh(gaps, seen, event);
    if (event->counts)
        take_tick(gaps, seen, event);
    else if (*fresh)
        take_event(gaps, seen, event);
    return missed;
}

amid_gap amid_gaps_widened(const amid_gaps *gaps, amid_gap gap)
{
    const struct seen *seen = find_server(gaps, gap.server);
    if (gaps->size == 0 || !seen || seen->epoch != gap.epoch)
        return gap;
    gap.after = seen->counts[0].after;
    for (size_t i = 1; i < gaps->size; i++)
        if (seen->counts[i].after < gap.after)
            gap.after = seen->counts[i].after;
    return gap;
}
