package amid;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;

/**
 * The events of a server as they come: each once and in order, also over the restart of a reader or of the daemon. Events that the
 * daemon no longer holds are reported as an {@link Item.Gap} in their place.
 *
 * <pre>{@code
 * try (Events events = client.events("pbx1", "Newchannel", "Hangup")) {
 *     for (Item item : events) { … }
 * }
 * }</pre>
 *
 * <p>One thread takes the items, and stops waiting when another one calls {@link #close} or interrupts it. A thread of this class
 * requests the next ones meanwhile.
 */
public final class Events implements Iterable<Item>, AutoCloseable {
    private static final Duration WAIT = Duration.ofSeconds(5); // that one request waits for an event in the daemon
    private static final Duration STATE_WAIT = Duration.ofSeconds(10); // for a state: the daemon may load the lists of a PBX first
    private static final Duration RETRY_DELAY = Duration.ofMillis(500);
    private static final Optional<Item> END = Optional.empty(); // among the items: the events were closed, or failed
    private static final Set<String> TRANSIENT = Set.of("unreachable", "not_connected", "busy", "timeout", "connection_lost");

    private final Rpc rpc;
    private final Map<String, Object> params;
    private final LinkedBlockingQueue<Optional<Item>> ready = new LinkedBlockingQueue<>(1000);
    private final Thread puller = new Thread(this::run, "amid-events");
    private Map<String, Object> cursor;
    private volatile RuntimeException failure; // why there are no more items
    private volatile boolean closed;

    /** params: {@code server}, and {@code names} or {@code kinds}. */
    Events(Rpc rpc, Map<String, Object> params) {
        this.rpc = rpc;
        this.params = params;
        try {
            pull(Duration.ZERO).forEach(item -> ready.add(Optional.of(item)));
        } catch (AmidException error) {
            if (!error.getKind().equals("timeout")) { // of a server whose first reader has not reported yet: it begins when it does
                throw error;
            }
        }
        puller.setDaemon(true);
        puller.start();
    }

    /** The items to come. It ends when this is closed or the thread is interrupted. */
    @Override
    public Iterator<Item> iterator() {
        return Stream.generate(() -> next(Duration.ofNanos(Long.MAX_VALUE))).takeWhile(Objects::nonNull).iterator();
    }

    /**
     * Waits for the next item. Null: this was closed, or the thread was interrupted. Throws {@link AmidException} of kind {@code
     * timeout} when none came in time; the events stay open then.
     */
    public Item next(Duration timeout) {
        Optional<Item> item;
        try {
            item = closed || failure != null && ready.isEmpty() ? END : ready.poll(timeout.toNanos(), TimeUnit.NANOSECONDS);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            return null;
        }
        if (item == null) {
            throw new AmidException("timeout", "no event came within " + Client.seconds(timeout) + " s; the events are still open");
        }
        if (item.isEmpty() && !closed) {
            throw failure;
        }
        return item.orElse(null);
    }

    /** Ends the events, also for a thread that waits for one. Any thread may call it. */
    @Override
    public void close() {
        closed = true;
        puller.interrupt();
        ready.clear();
        ready.offer(END);
    }

    private void run() {
        while (!closed && failure == null) {
            try {
                for (Item item : pull(WAIT)) {
                    ready.put(Optional.of(item));
                }
            } catch (InterruptedException byClose) {
                return;
            } catch (RuntimeException error) {
                if (error instanceof AmidException failed && TRANSIENT.contains(failed.getKind())) {
                    LockSupport.parkNanos(RETRY_DELAY.toNanos());
                } else {
                    failure = error;
                    ready.offer(END); // in vain when it is full, so nobody waits
                }
            }
        }
    }

    private List<Item> pull(Duration wait) {
        boolean isChanges = params.containsKey("kinds");
        boolean isState = isChanges && cursor == null; // the first answer, and the first one after a loss
        Duration limit = isState ? STATE_WAIT : wait;
        Map<String, Object> request = Client.with(params, "timeout", Client.seconds(limit), "after", cursor);
        Body page = Body.of(rpc.call(isState ? "state" : "events", request, limit));
        boolean isLost = !isState && (page.get("missed") == null || page.number("missed") > 0);
        Body behind = cursor == null ? page : Body.of(cursor);
        cursor = Client.with(Map.of(), "epoch", page.get("epoch"), "seq", page.get("seq"), "rev", page.get("rev"));
        List<Item> items = new ArrayList<>();
        if (isState) {
            items.add(new Item.Change(page.text("server"), "reset", "", Body.of(null), false, page));
        } else if (isLost && isChanges) {
            cursor = null;
            return items;
        } else if (isLost) {
            items.add(new Item.Gap(page.text("server"), behind.number("epoch"), behind.number("seq"), (Long) page.get("missed")));
        }
        page.bodies("events").forEach(body -> items.add(isChanges ? Item.Change.of(body) : Item.Event.of(body)));
        return items;
    }
}
