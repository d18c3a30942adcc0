package amid;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * The gap rule: which events are missing, by the numbers on those that came. It knows no socket.
 *
 * <p>{@code epoch} changes with each session with Asterisk and only grows; {@code seq} counts a server's events in an epoch;
 * {@code nth} counts them per name, so that a subscriber to some names, who sees holes in {@code seq} by design, can check too. A
 * tick states the last of each, so that a loss at the end of a quiet stream shows.
 *
 * <p>Give {@link #event} each event and {@link #tick} each tick, in the order they come. {@link #before} tells the same and takes
 * nothing, for a subscriber that fetches what it missed before it goes on. Not for several threads.
 */
public final class Gaps {
    private final Set<String> names;
    private final Map<String, Seen> seen = new HashMap<>();

    /** The rule for a subscriber to these event names; to all events when there are none. */
    public Gaps(Set<String> names) {
        this.names = new TreeSet<>(names);
    }

    /**
     * What an event tells.
     *
     * @param fresh whether the event is new; one that was seen already is not to be given out
     * @param gaps what is missing before it
     */
    public record Told(boolean fresh, List<Gap> gaps) {}

    /** Takes an event. */
    public Told event(Event event) {
        Seen known = seen.get(event.server());
        if (known != null && !isFresh(known, event)) {
            return new Told(false, List.of());
        }
        List<Gap> gaps = beforeEvent(event);
        upTo(event).take(event);
        return new Told(true, gaps);
    }

    /** Takes a tick, and tells what it shows to be missing: everything up to its {@code seq} has been published. */
    public List<Gap> tick(Tick tick) {
        List<Gap> gaps = beforeTick(tick);
        Seen known = seen.get(tick.server());
        if (known == null || !isOld(known, tick)) {
            seen.put(tick.server(), Seen.at(tick));
        }
        return gaps;
    }

    /** What this event or tick, when it is the next to be taken, shows to be missing. */
    public List<Gap> before(Published message) {
        return message instanceof Tick tick ? beforeTick(tick) : beforeEvent((Event) message);
    }

    /** With names only, {@code gap} from where nothing of any name is missing: what was lost of the others lies there too. */
    public Gap widened(Gap gap) {
        Seen known = seen.get(gap.server());
        if (isForAll() || known == null || known.epoch != gap.epoch()) {
            return gap;
        }
        return gap.from(names.stream().mapToLong(known::after).min().getAsLong());
    }

    private boolean isForAll() {
        return names.isEmpty();
    }

    /** What is known of the event's server in the event's epoch. */
    private Seen upTo(Event event) {
        Seen known = seen.get(event.server());
        if (known == null) {
            known = Seen.first(event);
        } else if (known.epoch != event.epoch()) {
            known = Seen.begun(event.epoch());
        }
        seen.put(event.server(), known);
        return known;
    }

    /** With names only, each name is a stream of its own: of one a lost event may be fetched when another's has come. */
    private boolean isFresh(Seen known, Event event) {
        if (event.epoch() != known.epoch) {
            return event.epoch() > known.epoch;
        }
        return event.seq() > (isForAll() ? known.seq : known.after(event.event()));
    }

    private static boolean isOld(Seen known, Tick tick) {
        return tick.epoch() < known.epoch || (tick.epoch() == known.epoch && tick.seq() < known.seq);
    }

    private List<Gap> beforeEvent(Event event) {
        Seen known = seen.get(event.server());
        if (known == null || !isFresh(known, event)) {
            return List.of();
        }
        return across(known, event, at -> isForAll() ? inSeq(at, event, event.seq() - 1) : inName(at, event));
    }

    private List<Gap> beforeTick(Tick tick) {
        Seen known = seen.get(tick.server());
        if (known == null || isOld(known, tick)) {
            return List.of();
        }
        return across(known, tick, at -> isForAll() ? inSeq(at, tick, tick.seq()) : inNames(at, tick));
    }

    private interface Missing {
        List<Gap> since(Seen at);
    }

    /** A new epoch ends the old one, of which nobody knows what came last, and begins with nothing seen. */
    private static List<Gap> across(Seen known, Published message, Missing missing) {
        if (message.epoch() == known.epoch) {
            return missing.since(known);
        }
        List<Gap> gaps = new ArrayList<>();
        gaps.add(Gap.atEnd(message.server(), known.epoch, known.seq));
        gaps.addAll(missing.since(Seen.begun(message.epoch())));
        return gaps;
    }

    private static List<Gap> inSeq(Seen at, Published message, long until) {
        return gap(message, at.seq, until, until - at.seq, null);
    }

    private static List<Gap> inName(Seen at, Event event) {
        long missed = event.nth() - 1 - at.nth(event.event(), event.nth() - 1);
        return gap(event, at.after(event.event()), event.seq() - 1, missed, event.event());
    }

    private List<Gap> inNames(Seen at, Tick tick) {
        List<Gap> gaps = new ArrayList<>();
        for (String name : names) {
            long count = tick.counts().getOrDefault(name, 0L);
            gaps.addAll(gap(tick, at.after(name), tick.seq(), count - at.nth(name, count), name));
        }
        return gaps;
    }

    private static List<Gap> gap(Published message, long after, long until, long missed, String name) {
        return missed > 0 ? List.of(new Gap(message.server(), message.epoch(), after, until, missed, name)) : List.of();
    }

    /** What is known of a server. */
    private static final class Seen {
        private final long epoch;
        private long seq;
        private final Map<String, Long> nths = new HashMap<>();

        /** Whether the count of every name is known, from a tick or because the epoch began before our eyes. */
        private final boolean whole;

        /** The seq at which it was. */
        private final long base;

        /** The last seq of each name since. */
        private final Map<String, Long> seqs = new HashMap<>();

        private Seen(long epoch, long seq, boolean whole) {
            this.epoch = epoch;
            this.seq = seq;
            this.base = seq;
            this.whole = whole;
        }

        static Seen first(Event event) {
            return new Seen(event.epoch(), event.seq(), false);
        }

        static Seen at(Tick tick) {
            Seen seen = new Seen(tick.epoch(), tick.seq(), true);
            seen.nths.putAll(tick.counts());
            return seen;
        }

        /** An epoch that began before our eyes: nothing of it has been seen, and all of it counts. */
        static Seen begun(long epoch) {
            return new Seen(epoch, 0, true);
        }

        void take(Event event) {
            seq = Math.max(seq, event.seq());
            seqs.put(event.event(), event.seq());
            nths.put(event.event(), event.nth());
        }

        long nth(String name, long otherwise) {
            return nths.getOrDefault(name, whole ? 0 : otherwise);
        }

        /** Behind which number the next event of this name comes; those of other names may have come since. */
        long after(String name) {
            return seqs.getOrDefault(name, base);
        }
    }
}
