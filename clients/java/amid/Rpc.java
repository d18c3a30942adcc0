package amid;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.atomic.AtomicLong;
import org.zeromq.ZMQ;
import org.zeromq.ZMQException;
import org.zeromq.ZMsg;

/**
 * Calls over the daemon's rpc socket. ZeroMQ is jzmq, Debian's libzmq-java: JeroMQ reaches no libzmq over {@code ipc://}.
 *
 * <p>A call borrows a DEALER socket of its own and returns it with its answer, so many threads may call at once and one slow call
 * delays no other. A socket whose call got no answer is closed, so a late answer is dropped. With IMMEDIATE nothing is queued for a
 * broker that is not there: {@code unreachable} means that nothing was sent.
 */
final class Rpc {
    private static final Duration SEND_TIMEOUT = Duration.ofSeconds(1);
    private static final Duration MARGIN = Duration.ofSeconds(1); // that an answer may come after the call's timeout
    private static final Duration MAX_TIMEOUT = Duration.ofHours(1); // the daemon refuses a longer one, in an answer that comes at once
    private static final int MAX_REQUEST_BYTES = 1024 * 1024;
    private static final ZMQ.Context CONTEXT = ZMQ.context(1); // one for the process, as ZeroMQ advises

    private final Path runDir;
    private final AtomicLong lastId = new AtomicLong();
    private final Deque<ZMQ.Socket> idle = new ConcurrentLinkedDeque<>();

    Rpc(Path runDir) {
        this.runDir = runDir;
    }

    /** The result of a call. */
    Object call(String method, Map<String, Object> params, Duration timeout) {
        boolean isValid = timeout.compareTo(Duration.ZERO) > 0 && timeout.compareTo(MAX_TIMEOUT) <= 0;
        Duration limit = (isValid ? timeout : Client.TIMEOUT).plus(MARGIN);
        long id = lastId.incrementAndGet();
        byte[] request = request(id, method, params);
        ZMQ.Socket borrowed = idle.poll();
        ZMQ.Socket socket = borrowed == null ? connect() : borrowed;
        Body reply = null;
        try {
            send(socket, request);
            reply = receive(socket, id, limit);
        } finally {
            if (reply == null) {
                socket.close();
            } else {
                idle.push(socket);
            }
        }
        if (reply == null) {
            String message = "the daemon took " + method + " and gave no answer within " + Client.seconds(limit) + " s: see `amid status`";
            throw new AmidException("timeout", method.equals("action") || method.equals("restart"), message, Body.of(params));
        }
        if (reply.get("error") != null) {
            throw AmidException.of(reply.body("error"));
        }
        return reply.get("result");
    }

    void close() {
        for (ZMQ.Socket socket = idle.poll(); socket != null; socket = idle.poll()) {
            socket.close();
        }
    }

    private static byte[] request(long id, String method, Map<String, Object> params) {
        byte[] request = Wire.pack(Map.of("jsonrpc", "2.0", "id", id, "method", method, "params", params));
        if (request.length > MAX_REQUEST_BYTES) {
            throw new AmidException("invalid_request", method + ": the request has more than " + MAX_REQUEST_BYTES + " bytes");
        }
        return request;
    }

    private ZMQ.Socket connect() {
        String endpoint = endpoint(runDir);
        ZMQ.Socket socket = CONTEXT.socket(ZMQ.DEALER);
        socket.setLinger(0);
        socket.setImmediate(true);
        socket.setSendTimeOut((int) SEND_TIMEOUT.toMillis());
        try {
            socket.connect(endpoint);
        } catch (ZMQException error) {
            socket.close();
            throw AmidException.unreachable("no amid daemon answers at " + endpoint + " (" + error.getMessage() + ")");
        }
        return socket;
    }

    private static void send(ZMQ.Socket socket, byte[] request) {
        try {
            if (socket.send(new byte[0], ZMQ.SNDMORE) && socket.send(request, 0)) {
                return;
            }
        } catch (ZMQException interrupted) { // by a signal, such as a profiler's, as in `receive`
        }
        throw AmidException.unreachable("no amid daemon takes the request");
    }

    /** The reply to a request, or null. A reply without an id can only be to this one: a socket has one call at a time. */
    private static Body receive(ZMQ.Socket socket, long id, Duration limit) {
        long deadline = System.nanoTime() + limit.toNanos();
        for (long left = limit.toNanos(); left > 0; left = deadline - System.nanoTime()) {
            socket.setReceiveTimeOut((int) (left / 1_000_000) + 1);
            try {
                ZMsg message = ZMsg.recvMsg(socket);
                Body reply = Body.of(message == null ? null : Wire.unpack(message.getLast().getData()));
                boolean isOwn = reply.get("id") == null || reply.number("id") == id;
                if (isOwn && (reply.get("result") != null || reply.get("error") != null)) {
                    return reply;
                }
            } catch (ZMQException interrupted) { // by a signal: the rest of the time is left
            }
        }
        return null;
    }

    /** The endpoint of a daemon. A directory that was named is the only one to look in: another could be another PBX's. */
    private static String endpoint(Path runDir) {
        String named = runDir != null ? runDir.toString() : System.getenv().getOrDefault("AMID_RUN_DIR", "");
        String own = System.getenv().getOrDefault("XDG_RUNTIME_DIR", "");
        List<String> usual = own.isEmpty() ? List.of("/run/amid") : List.of("/run/amid", own + "/amid");
        List<Path> paths = (named.isEmpty() ? usual : List.of(named)).stream().map(directory -> Path.of(directory, "rpc")).toList();
        return paths.stream().filter(Rpc::isSocket).findFirst().map(path -> "ipc://" + path).orElseThrow(
                () -> AmidException.unreachable("no amid daemon found: no socket that this user may use at " + paths));
    }

    private static boolean isSocket(Path path) {
        return Files.isWritable(path) && !Files.isRegularFile(path) && !Files.isDirectory(path);
    }
}
