/* Which lost events to fetch once more, and when to stop asking: pure, between amid_gaps, which sees a loss, and amid_replay.
 *
 * A gap becomes a range of numbers. It is asked for page by page, until it is whole or the daemon does not hold the rest. Where the
 * daemon holds only the end of a range, it says which number is the oldest, and the asking goes on from there. */

#include "internal.h"

#include <string.h>

/* How often a page is asked for when it is refused for now: its reader or the broker may just have been replaced. A try that failed
 * otherwise counts for half of them. */
#define TRIES 8

/* Errors that come at once and may be over in a moment. */
static const char *const for_now[] = {"not_connected", "busy", "unreachable", NULL};

/* Errors that asking again would not change. */
static const char *const final[] = {"gone", "unknown_server", "invalid_params", "unknown_method", "denied", NULL};

static bool is_one_of(const char *kind, const char *const *kinds)
{
    while (*kinds && strcmp(*kinds, kind) != 0)
        kinds++;
    return *kinds;
}

const struct amid_range *amid_recovery_ask(const struct amid_recovery *recovery)
{
    return recovery->size ? &recovery->ranges[0] : NULL;
}

void amid_recovery_add(struct amid_recovery *recovery, amid_gap gap)
{
    struct amid_range *last = recovery->size ? &recovery->ranges[recovery->size - 1] : NULL;
    if (!last || last->epoch != gap.epoch) {
        recovery->ranges[recovery->size++] = (struct amid_range){
            .server = gap.server, .epoch = gap.epoch, .after = gap.after, .until = gap.until, .open = gap.ended, .tries = TRIES};
        return;
    }
    if (gap.after < last->after)
        last->after = gap.after;
    if (gap.until > last->until)
        last->until = gap.until;
}

static void drop_first(struct amid_recovery *recovery)
{
    recovery->ranges[0] = recovery->ranges[1];
    recovery->size--;
}

bool amid_recovery_wants(struct amid_recovery *recovery, uint64_t seq)
{
    struct amid_range *range = &recovery->ranges[0];
    if (seq <= range->after || (!range->open && seq > range->until))
        return false;
    range->after = seq;
    return true;
}

void amid_recovery_page_ends(struct amid_recovery *recovery, bool more)
{
    const struct amid_range *range = &recovery->ranges[0];
    bool whole = !range->open && range->after >= range->until;
    recovery->pause = 0;
    if (!more || whole)
        drop_first(recovery);
}

void amid_recovery_refused(struct amid_recovery *recovery, const amid_error *error)
{
    struct amid_range *range = &recovery->ranges[0];
    bool soon = is_one_of(error->kind, for_now);
    range->tries -= soon ? 1 : TRIES / 2;
    recovery->pause = soon ? AMID_PAUSE : 0;
    if (error->oldest > range->after + 1 && (range->open || error->oldest <= range->until)) {
        range->after = error->oldest - 1;
        range->tries = TRIES;
    } else if (is_one_of(error->kind, final) || range->tries <= 0) {
        drop_first(recovery);
    }
}
