package amid;

import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A client of amid, the daemon beside an Asterisk PBX: actions, and events without silent loss.
 *
 * <pre>{@code
 * try (Client client = new Client()) {
 *     Answer answer = client.action("QueueStatus", Map.of("Queue", "support"));
 *     answer.events().forEach(packet -> System.out.println(packet.text("Event")));
 * }
 * }</pre>
 *
 * <p>Every method that calls throws {@link AmidException}, which says what happened and whether Asterisk may have seen the
 * action. A call ends by itself within its timeout and two seconds more, with or without a daemon; interrupting its thread does
 * not end it. Many threads may call at once. Nothing is opened before the first call.
 */
public final class Client implements AutoCloseable {
    /** How long a call may take unless its caller says otherwise. */
    public static final Duration TIMEOUT = Duration.ofSeconds(5);

    private final Rpc rpc;
    private final Set<Events> streams = ConcurrentHashMap.newKeySet();

    /** A client of the daemon in {@code $AMID_RUN_DIR}, or without it in {@code /run/amid} or {@code $XDG_RUNTIME_DIR/amid}. */
    public Client() {
        rpc = new Rpc(null);
    }

    /** A client of the daemon in this directory and no other. */
    public Client(Path runDir) {
        rpc = new Rpc(runDir);
    }

    /** Sends an action to the only server: {@link #action(String, Map, Options)} with {@link Options#DEFAULT}. */
    public Answer action(String name, Map<?, ?> fields) {
        return action(name, fields, Options.DEFAULT);
    }

    /**
     * Sends an action, and returns its whole answer.
     *
     * @param fields header name to value. A value is text, {@link Bytes}, a number or a boolean, or a list of them for a header
     *     that is repeated; a name is text or {@link Bytes}
     */
    public Answer action(String name, Map<?, ?> fields, Options options) {
        Map<String, Object> params = new LinkedHashMap<>();
        params.put("action", name);
        params.put("fields", fields);
        params.put("timeout", seconds(options.timeout()));
        putIfKnown(params, "server", options.server());
        putIfKnown(params, "until", options.until());
        return Answer.of(Body.of(call("action", params, options.timeout())));
    }

    /** The output of an Asterisk CLI command on the only server, line by line. */
    public List<Object> command(String text) {
        return command(text, Options.DEFAULT);
    }

    /** The output of an Asterisk CLI command: lines of text, or {@link Bytes} where one is not UTF-8. */
    public List<Object> command(String text, Options options) {
        return action("Command", Map.of("Command", text), options).output();
    }

    /** {@link #servers(Duration)} with {@link #TIMEOUT}. */
    public List<Map<String, Object>> servers() {
        return servers(TIMEOUT);
    }

    /** Each server's name, state, version, epoch, endpoints, lanes and queue. */
    public List<Map<String, Object>> servers(Duration timeout) {
        return maps(call("servers", Map.of(), timeout));
    }

    /** {@link #status(Duration)} with {@link #TIMEOUT}. */
    public Map<String, Object> status() {
        return status(TIMEOUT);
    }

    /** Servers, processes, counters, version and uptime of the daemon. */
    public Map<String, Object> status(Duration timeout) {
        return map(call("status", Map.of(), timeout));
    }

    /** {@link #actions(String, Duration)} with {@link #TIMEOUT}. */
    public List<Map<String, Object>> actions(String server) {
        return actions(server, TIMEOUT);
    }

    /**
     * The actions that a server's Asterisk offers: {@code name}, {@code synopsis}, {@code privilege}. A null is the only server.
     */
    public List<Map<String, Object>> actions(String server, Duration timeout) {
        Map<String, Object> params = new LinkedHashMap<>();
        params.put("timeout", seconds(timeout));
        putIfKnown(params, "server", server);
        return maps(call("actions", params, timeout));
    }

    /**
     * Events behind number {@code after} of an epoch once more, at most {@code limit}. Throws {@link AmidException} of kind
     * {@code gone} when they are no longer held.
     */
    public Page replay(String server, long epoch, long after, int limit, Duration timeout) {
        Map<String, Object> params =
                Map.of("server", server, "epoch", epoch, "after", after, "limit", limit, "timeout", seconds(timeout));
        return Page.of(Body.of(call("replay", params, timeout)));
    }

    /** {@link #restart(String, Duration)} with {@link #TIMEOUT}. */
    public Map<String, Object> restart(String server) {
        return restart(server, TIMEOUT);
    }

    /** Replaces a server's reader. */
    public Map<String, Object> restart(String server, Duration timeout) {
        return map(call("restart", Map.of("server", server), timeout));
    }

    /** {@link #ping(Duration)} with {@link #TIMEOUT}. */
    public void ping() {
        ping(TIMEOUT);
    }

    /** Asks the daemon, not Asterisk, for a sign of life. */
    public void ping(Duration timeout) {
        call("ping", Map.of(), timeout);
    }

    /** Calls any method, such as one that a later daemon has. Its result is as {@link Wire} unpacks it. */
    public Object call(String method, Map<String, Object> params, Duration timeout) {
        return rpc.call(Call.of(method, params, timeout));
    }

    /** Events of every server that the daemon has now: those with these names, or all. See {@link Events}. */
    public Events events(String... names) {
        return eventsOf(null, names);
    }

    /** Events of one server, as they come: those with these names, or all. The subscription is in effect when this returns. */
    public Events eventsOf(String server, String... names) {
        Feed feed = new Feed(servers(), server, Set.copyOf(List.of(names)), System.nanoTime());
        return new Events(this, feed);
    }

    /**
     * Closes every socket, and the streams of {@link #events}, for which it may wait a second. A call that another thread has open
     * still ends by itself; any later one is {@code unreachable}.
     */
    @Override
    public void close() {
        rpc.close();
        streams.forEach(Events::close);
    }

    void opened(Events stream) {
        streams.add(stream);
    }

    void closed(Events stream) {
        streams.remove(stream);
    }

    private static void putIfKnown(Map<String, Object> params, String name, Object value) {
        if (value != null) {
            params.put(name, value);
        }
    }

    private static double seconds(Duration timeout) {
        return timeout.getSeconds() + timeout.getNano() / 1e9;
    }

    @SuppressWarnings("unchecked") // the contract says so
    private static Map<String, Object> map(Object result) {
        return (Map<String, Object>) result;
    }

    @SuppressWarnings("unchecked") // the contract says so
    private static List<Map<String, Object>> maps(Object result) {
        return (List<Map<String, Object>>) result;
    }
}
