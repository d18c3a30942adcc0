package amid;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Set;

/**
 * Which lost events to fetch once more, and when to stop asking: between {@link Gaps}, which sees a loss, and {@code replay}.
 *
 * <p>A gap becomes a range of numbers. It is asked for page by page, until it is whole or the daemon does not hold the rest. Where
 * the daemon holds only the end of a range, it says which number is the oldest, and the asking goes on from there.
 *
 * <p>Give it gaps with {@link #begin}; while {@link #ask} is not null, call {@code replay} with it and give {@link #page} or
 * {@link #refused} what came.
 */
final class Recovery {
    /** Events asked for at a time: a reader takes some ten milliseconds to encode so many, and serves others between two pages. */
    static final int PAGE = 1000;

    /**
     * How often a page is asked for when it is refused for now: its reader or the broker may just have been replaced. A try that
     * failed otherwise counts for half of them.
     */
    private static final int TRIES = 8;

    private static final Duration PAUSE = Duration.ofMillis(500);

    /** Errors that come at once and may be over in a moment. */
    private static final Set<String> FOR_NOW = Set.of("not_connected", "busy", "unreachable");

    /** Errors that asking again would not change. */
    private static final Set<String> FINAL = Set.of("gone", "unknown_server", "invalid_params", "unknown_method", "denied");

    private final Deque<Range> ranges = new ArrayDeque<>();
    private Duration pause = Duration.ZERO;

    /** What to ask {@code replay} for: events of an epoch behind a number. */
    record Ask(String server, long epoch, long after) {}

    /** The next thing to ask for, or null. */
    Ask ask() {
        Range first = ranges.peek();
        return first == null ? null : new Ask(first.server, first.epoch, first.after);
    }

    /** How long to wait before asking it. */
    Duration pause() {
        return pause;
    }

    void begin(List<Gap> gaps) {
        for (Gap gap : gaps) {
            Range last = ranges.peekLast();
            if (last != null && last.isOfTheEpochOf(gap)) {
                last.extend(gap);
            } else {
                ranges.add(new Range(gap));
            }
        }
    }

    /** Those events of a page that lie in the range. */
    List<Event> page(Page page) {
        Range first = ranges.getFirst();
        pause = Duration.ZERO;
        List<Event> wanted = page.events().stream().filter(first::has).toList();
        if (!wanted.isEmpty()) {
            first.after = wanted.get(wanted.size() - 1).seq();
        }
        if (!page.more() || wanted.isEmpty() || first.isWhole()) {
            ranges.remove();
        }
        return wanted;
    }

    /**
     * Nothing is known of what was asked for: it is asked again, but not at once, since a daemon that is gone refuses in no time.
     */
    void postponed() {
        pause = PAUSE;
    }

    void refused(AmidException error) {
        Range first = ranges.getFirst();
        boolean forNow = FOR_NOW.contains(error.getKind());
        pause = forNow ? PAUSE : Duration.ZERO;
        first.tries -= forNow ? 1 : TRIES / 2;
        long oldest = error.getOldest().orElse(0);
        if (oldest > first.after + 1 && first.reaches(oldest)) {
            first.after = oldest - 1;
            first.tries = TRIES;
        } else if (FINAL.contains(error.getKind()) || first.tries <= 0) {
            ranges.remove();
        }
    }

    /** Behind {@code after}, not behind {@code until}; null is to the epoch's end. */
    private static final class Range {
        private final String server;
        private final long epoch;
        private long after;
        private Long until;
        private int tries = TRIES;

        Range(Gap gap) {
            server = gap.server();
            epoch = gap.epoch();
            after = gap.after();
            until = gap.until();
        }

        boolean isOfTheEpochOf(Gap gap) {
            return server.equals(gap.server()) && epoch == gap.epoch();
        }

        /** Gaps in several names of one epoch are one range, so that their events come in order. */
        void extend(Gap gap) {
            after = Math.min(after, gap.after());
            until = until == null || gap.until() == null ? null : Long.valueOf(Math.max(until, gap.until()));
        }

        boolean has(Event event) {
            return event.seq() > after && reaches(event.seq());
        }

        boolean reaches(long seq) {
            return until == null || seq <= until;
        }

        boolean isWhole() {
            return until != null && after >= until;
        }
    }
}
