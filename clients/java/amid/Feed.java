package amid;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;

/**
 * What a subscriber does with event messages, without a socket or a clock: it turns them into events and gaps.
 *
 * <p>What is missing is fetched once more before anything behind it is given out, as far as the daemon still holds it. While
 * {@link #ask} is not null, events are missing: call {@code replay} with it and give {@link #fetched} or {@link #refused} what came
 * of it, before the next message. What cannot be had comes as a {@link Gap} in its place.
 */
final class Feed {
    /** How long a server may be without a tick before it is said: a daemon that is gone must not look like a quiet PBX. */
    private static final Duration QUIET = Duration.ofSeconds(5);

    private static final System.Logger LOG = System.getLogger("amid.client");

    private final Set<String> names;
    private final List<Body> servers;
    private final Set<String> awaited = new HashSet<>();
    private final Map<String, Long> heard = new HashMap<>();
    private final Set<String> quiet = new HashSet<>();
    private final Gaps gaps;
    private final Recovery recovery = new Recovery();
    private final Deque<Published> inbox = new ArrayDeque<>();
    private final Deque<Item> ready = new ArrayDeque<>();
    private boolean recovered;
    private long missedEvents;
    private long gapCount;
    private long replayedEvents;

    /**
     * A feed of the servers in {@code listed}, which is what the method {@code servers} gives.
     *
     * @param server one of them only; null is all
     * @param names the event names wanted; all events when there are none
     * @param now nanoseconds of a clock that only goes forward
     */
    Feed(List<Map<String, Object>> listed, String server, Set<String> names, long now) {
        this.names = new TreeSet<>(names);
        this.gaps = new Gaps(names);
        this.servers = chosen(listed.stream().map(Body::of).toList(), server);
        for (Body each : servers) {
            heard.put(each.text("name"), now);
            if (each.text("state").equals("up")) {
                awaited.add(each.text("name"));
            }
        }
    }

    List<String> endpoints() {
        String socket = names.isEmpty() ? "stream" : "events";
        return servers.stream().map(server -> server.text(socket)).toList();
    }

    /** Ticks come last: the first tick then shows that all of them are in effect. */
    List<String> topics() {
        List<String> known = servers.stream().map(server -> server.text("name")).toList();
        Stream<String> wanted = known.stream().flatMap(this::wantedOf);
        return Stream.concat(wanted, known.stream().map(server -> "tick." + server + ".")).toList();
    }

    /** The final dot makes the subscription to a name exact: ZeroMQ subscribes to prefixes. */
    private Stream<String> wantedOf(String server) {
        if (names.isEmpty()) {
            return Stream.of("stream." + server + ".");
        }
        return names.stream().map(name -> "event." + server + "." + name + ".");
    }

    /** Whether every server that was up has ticked: whatever it publishes from now on will come. */
    boolean isSettled() {
        return awaited.isEmpty();
    }

    /** Takes the body of an event message. */
    void take(byte[] body, long now) {
        for (Object published : (List<?>) Wire.unpack(body)) {
            keep(Body.of(published), now);
        }
        advance();
    }

    private void keep(Body body, long now) {
        String server = body.text("server");
        heard.put(server, now);
        if (body.text("event").equals(Tick.NAME)) {
            awaited.remove(server);
            quiet.remove(server);
            inbox.add(Tick.of(body));
        } else {
            inbox.add(Event.of(body));
        }
    }

    /** What to ask {@code replay} for, or null. */
    Recovery.Ask ask() {
        return recovery.ask();
    }

    /** How long to wait before asking it. */
    Duration pause() {
        return recovery.pause();
    }

    /** Takes what {@code replay} gave for {@link #ask}. */
    void fetched(Page page) {
        for (Event event : recovery.page(page)) {
            replayedEvents += giveOut(event) ? 1 : 0;
        }
        advance();
    }

    /** {@code replay} did not give it within {@code limit}. What the caller's own limit cut short is asked again. */
    void refused(AmidException error, Duration limit) {
        boolean cutShort = limit.compareTo(Client.TIMEOUT) < 0;
        if (cutShort && Set.of("timeout", "unreachable").contains(error.getKind())) {
            recovery.postponed();
        } else {
            recovery.refused(error);
            advance();
        }
    }

    boolean isEmpty() {
        return ready.isEmpty();
    }

    /** The next item, or null. */
    Item next() {
        return ready.poll();
    }

    /** Says it, once, when a server has not ticked for a while. */
    void watch(long now) {
        heard.forEach((server, at) -> {
            if (now - at > QUIET.toNanos() && quiet.add(server)) {
                LOG.log(
                        System.Logger.Level.WARNING,
                        "{0}: no tick for {1} s; its reader or the daemon is down, still waiting",
                        server,
                        QUIET.toSeconds());
            }
        });
    }

    long missed() {
        return missedEvents;
    }

    long gaps() {
        return gapCount;
    }

    long replayed() {
        return replayedEvents;
    }

    /** Takes what came, up to where something is missing that may still be had. Each gap is asked for once. */
    private void advance() {
        while (!inbox.isEmpty() && recovery.ask() == null) {
            List<Gap> missing = recovered ? List.of() : gaps.before(inbox.peek());
            recovered = !missing.isEmpty();
            if (recovered) {
                recovery.begin(missing.stream().map(gaps::widened).toList());
            } else {
                takeNext();
            }
        }
    }

    private void takeNext() {
        Published message = inbox.remove();
        if (message instanceof Tick tick) {
            gaps.tick(tick).forEach(this::giveOut);
        } else {
            giveOut((Event) message);
        }
    }

    /** Whether it is one that was asked for and is new. */
    private boolean giveOut(Event event) {
        if (!names.isEmpty() && !names.contains(event.event())) {
            return false;
        }
        Gaps.Told told = gaps.event(event);
        told.gaps().forEach(this::giveOut);
        if (told.fresh()) {
            ready.add(event);
        }
        return told.fresh();
    }

    private void giveOut(Gap gap) {
        gapCount++;
        missedEvents += gap.missed() == null ? 0 : gap.missed();
        ready.add(gap);
    }

    private static List<Body> chosen(List<Body> listed, String server) {
        List<Body> chosen = listed.stream().filter(each -> server == null || each.text("name").equals(server)).toList();
        if (chosen.isEmpty()) {
            String which = server == null ? "at all" : server;
            String known = listed.isEmpty() ? "none" : String.join(", ", listed.stream().map(each -> each.text("name")).toList());
            String message = "there is no server " + which + "; the daemon has: " + known;
            throw new AmidException("unknown_server", false, message, server);
        }
        return chosen;
    }
}
