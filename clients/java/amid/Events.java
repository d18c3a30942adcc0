package amid;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.zeromq.ZMQ;

/**
 * Events of a subscription, and gaps where some are missing, for as long as one likes.
 *
 * <pre>{@code
 * try (Events events = client.events("Newchannel", "Hangup")) {
 *     for (Item item : events) { … }
 * }
 * }</pre>
 *
 * <p>It goes on through every restart of the daemon. What was lost because this program did not read in time is fetched once
 * more, in its place. Loss is never silent: what the daemon no longer holds is a {@link Gap}. With names, each name's events are
 * in order; a lost one may come after a later one of another name.
 *
 * <p>One thread takes the items. It ends, within a second, when any thread calls {@link #close} or interrupts it.
 */
public final class Events implements Iterable<Item>, Iterator<Item>, AutoCloseable {
    /** How long to wait for the first tick of each server that is up, which shows that a subscription is in effect. */
    private static final Duration SETTLE = Duration.ofSeconds(2);

    /** How long a wait may last before the clock is looked at, and whether to end. */
    private static final Duration WAKE = Duration.ofSeconds(1);

    private final Client client;
    private final Feed feed;
    private final ZMQ.Socket socket = Sockets.subscriber();
    private final CountDownLatch closing = new CountDownLatch(1);

    Events(Client client, Feed feed) {
        this.client = client;
        this.feed = feed;
        client.opened(this);
        feed.endpoints().forEach(socket::connect);
        feed.topics().forEach(topic -> socket.subscribe(topic.getBytes(StandardCharsets.UTF_8)));
        settle();
    }

    /** Itself: what was taken does not come again. */
    @Override
    public Iterator<Item> iterator() {
        return this;
    }

    /** Waits for the next item, however long. False: this was closed, or the thread was interrupted. */
    @Override
    public boolean hasNext() {
        while (feed.isEmpty() && !hasEnded()) {
            step(Client.TIMEOUT);
        }
        return !feed.isEmpty();
    }

    /** Waits for the next item, however long. */
    @Override
    public Item next() {
        if (hasNext()) {
            return feed.next();
        }
        throw new NoSuchElementException("the stream of events was ended");
    }

    /**
     * Waits for the next item.
     *
     * @throws AmidException of kind {@code timeout} when none came in time; the subscription is still open
     */
    public Item next(Duration timeout) {
        long deadline = System.nanoTime() + timeout.toNanos();
        while (feed.isEmpty() && !hasEnded()) {
            Duration left = Duration.ofNanos(deadline - System.nanoTime());
            if (left.isNegative() || left.isZero()) {
                throw noEvent(timeout);
            }
            step(left);
        }
        return next();
    }

    /** How many events are known to be missing. */
    public long missed() {
        return feed.missed();
    }

    /** How many gaps there were; of one at the end of an epoch nobody knows the size. */
    public long gaps() {
        return feed.gaps();
    }

    /** How many events were lost on the way and fetched once more. */
    public long replayed() {
        return feed.replayed();
    }

    /** Ends the subscription. Any thread may do it; it waits for the one that takes the items, a second at most. */
    @Override
    public void close() {
        closing.countDown();
        synchronized (socket) {
            socket.close();
        }
        client.closed(this);
    }

    private static AmidException noEvent(Duration timeout) {
        double seconds = timeout.toMillis() / 1000.0;
        return new AmidException(
                "timeout", false, String.format("no event came within %.1f s; the subscription is still open", seconds));
    }

    private boolean hasEnded() {
        return closing.getCount() == 0 || Thread.currentThread().isInterrupted();
    }

    private void step(Duration left) {
        Recovery.Ask ask = feed.ask();
        if (ask == null) {
            receive(shorter(left, WAKE));
        } else {
            fetch(ask, shorter(left, Client.TIMEOUT));
        }
    }

    private void fetch(Recovery.Ask ask, Duration limit) {
        pause(shorter(feed.pause(), limit));
        if (hasEnded()) {
            return;
        }
        try {
            feed.fetched(client.replay(ask.server(), ask.epoch(), ask.after(), Recovery.PAGE, limit));
        } catch (AmidException error) {
            feed.refused(error, limit);
        }
    }

    private void pause(Duration pause) {
        try {
            closing.await(pause.toMillis(), TimeUnit.MILLISECONDS);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private void settle() {
        long deadline = System.nanoTime() + SETTLE.toNanos();
        for (long left = SETTLE.toNanos(); left > 0 && !feed.isSettled(); left = deadline - System.nanoTime()) {
            receive(Duration.ofNanos(left));
        }
    }

    private void receive(Duration wait) {
        List<byte[]> frames = message(wait);
        if (!frames.isEmpty()) {
            feed.take(frames.get(1), System.nanoTime());
        }
        feed.watch(System.nanoTime());
    }

    /** A socket is for one thread at a time: it must not be closed under the one that waits on it. */
    private List<byte[]> message(Duration wait) {
        synchronized (socket) {
            return closing.getCount() == 0 ? List.of() : Sockets.receive(socket, wait);
        }
    }

    private static Duration shorter(Duration one, Duration other) {
        return one.compareTo(other) < 0 ? one : other;
    }
}
