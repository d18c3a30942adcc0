package amid;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.zeromq.ZMQ;
import org.zeromq.ZMQException;

/**
 * Calls over the daemon's rpc socket.
 *
 * <p>A call borrows a DEALER socket of its own and gives it back when it has its answer, so many threads may call at once and one
 * slow call holds up no other. A socket whose call got no answer is closed, and with it goes whatever comes late. Nothing is ever
 * sent twice.
 *
 * <p>The daemon answers every call before its deadline, but a client must not hang when there is no daemon either. So a call has
 * two waits of its own: {@link #HANDOVER} until the request is with a broker, after which it is {@code unreachable} and certainly
 * not sent; then the call's patience for the answer, after which it is a {@code timeout}, and an action may have been carried
 * out.
 */
final class Rpc implements AutoCloseable {
    private static final Duration HANDOVER = Duration.ofSeconds(1);
    private static final System.Logger LOG = System.getLogger("amid.client");

    private final Path runDir;
    private final AtomicLong ids = new AtomicLong();
    private final Deque<Line> idle = new ArrayDeque<>();
    private boolean closed;

    Rpc(Path runDir) {
        this.runDir = runDir;
    }

    /** A socket and where it leads to. */
    private record Line(ZMQ.Socket socket, String endpoint) {
        void close() {
            socket.close();
        }
    }

    /** The result of a call. */
    Object call(Call call) {
        long id = ids.incrementAndGet();
        byte[] request = request(id, call);
        Line line = borrow();
        Body reply;
        try {
            handOver(line, request, call);
            reply = answer(line, id, call);
        } catch (RuntimeException | Error error) {
            line.close();
            throw error;
        }
        giveBack(line);
        return result(reply);
    }

    @Override
    public void close() {
        synchronized (idle) {
            closed = true;
            idle.forEach(Line::close);
            idle.clear();
        }
    }

    private Line borrow() {
        synchronized (idle) {
            if (closed) {
                throw new AmidException("unreachable", false, "this client is closed");
            }
            if (!idle.isEmpty()) {
                return idle.pop();
            }
        }
        return connected(Place.find(runDir));
    }

    private void giveBack(Line line) {
        synchronized (idle) {
            if (closed) {
                line.close();
            } else {
                idle.push(line);
            }
        }
    }

    private static Line connected(String endpoint) {
        ZMQ.Socket socket = Sockets.dealer();
        try {
            socket.connect(endpoint);
        } catch (ZMQException error) {
            socket.close();
            throw noBroker(endpoint + " (" + error.getMessage() + ")");
        }
        return new Line(socket, endpoint);
    }

    private static void handOver(Line line, byte[] request, Call call) {
        Duration wait = call.patience().compareTo(HANDOVER) < 0 ? call.patience() : HANDOVER;
        if (!Sockets.send(line.socket, request, wait)) {
            throw noBroker(line.endpoint);
        }
    }

    /** The reply to this request. One without an id can only be ours too: the socket has one call at a time. */
    private static Body answer(Line line, long id, Call call) {
        long deadline = System.nanoTime() + call.patience().toNanos();
        for (long left = call.patience().toNanos(); left > 0; left = deadline - System.nanoTime()) {
            List<byte[]> frames = Sockets.receive(line.socket, Duration.ofNanos(left));
            Body reply = frames.isEmpty() ? null : reply(frames.get(frames.size() - 1));
            if (reply != null && (!reply.has("id") || reply.get("id").equals(id))) {
                return reply;
            }
        }
        throw noAnswer(line, call);
    }

    private static byte[] request(long id, Call call) {
        Map<String, Object> request = new LinkedHashMap<>();
        request.put("jsonrpc", "2.0");
        request.put("id", id);
        request.put("method", call.method());
        request.put("params", call.params());
        try {
            return Wire.pack(request);
        } catch (IllegalArgumentException error) {
            String message = call.method() + ": a value cannot be put into a request: " + error.getMessage();
            throw new AmidException("invalid_params", false, message);
        }
    }

    /** The reply in a message, or null for one that is no reply: that peer is not amid. */
    private static Body reply(byte[] packed) {
        try {
            if (Wire.unpack(packed) instanceof Map<?, ?> map && isReply(map)) {
                return Body.of(map);
            }
        } catch (IllegalArgumentException notMessagePack) {
            LOG.log(System.Logger.Level.DEBUG, "what a message has", notMessagePack);
        }
        LOG.log(System.Logger.Level.WARNING, "ignored a message of {0} bytes that is no reply of amid", packed.length);
        return null;
    }

    private static boolean isReply(Map<?, ?> map) {
        return map.containsKey("result") || map.get("error") instanceof Map<?, ?>;
    }

    private static Object result(Body reply) {
        if (reply.has("error")) {
            throw AmidException.of(reply.body("error"));
        }
        return reply.get("result");
    }

    private static AmidException noBroker(String endpoint) {
        return AmidException.unreachable("no amid daemon answers at " + endpoint);
    }

    /** The broker has the request and said nothing, although it promises to: it is stopped, or was replaced meanwhile. */
    private static AmidException noAnswer(Line line, Call call) {
        String message = String.format(
                "the daemon at %s took %s and gave no answer within %.1f s: see `amid status`",
                line.endpoint, call.what(), call.patience().toMillis() / 1000.0);
        return new AmidException("timeout", call.acts(), message, call.server());
    }
}
