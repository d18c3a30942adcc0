package amid;

import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A client of amid, the daemon beside an Asterisk PBX: actions, and events without silent loss.
 *
 * <pre>{@code
 * try (Client client = new Client()) {
 *     Body answer = client.action("QueueStatus", Map.of("Queue", "support"));
 *     answer.bodies("events").forEach(packet -> System.out.println(packet.text("Event")));
 * }
 * }</pre>
 *
 * <p>Every method that calls throws {@link AmidException}. A call ends within its timeout and two seconds more, with or without a
 * daemon; interrupting its thread does not end it. Many threads may call at once. Nothing is opened before the first call.
 */
public final class Client implements AutoCloseable {
    /** How long a call may take unless {@link #withTimeout} says otherwise. */
    public static final Duration TIMEOUT = Duration.ofSeconds(5);

    private final Rpc rpc;
    private final Duration timeout;

    /** A client of the daemon in {@code $AMID_RUN_DIR}, or without it in {@code /run/amid} or {@code $XDG_RUNTIME_DIR/amid}. */
    public Client() { this(null); }

    /** A client of the daemon in this directory and no other. */
    public Client(Path runDir) { this(new Rpc(runDir), TIMEOUT); }

    private Client(Rpc rpc, Duration timeout) {
        this.rpc = rpc;
        this.timeout = timeout;
    }

    /** The same client, on the same sockets, with another timeout of its calls; an hour at most. */
    public Client withTimeout(Duration timeout) { return new Client(rpc, timeout); }

    /** The same to the only server. */
    public Body action(String name, Map<?, ?> fields) { return action(name, fields, Map.of()); }

    /**
     * Sends an action, and returns its whole answer: {@code server}, {@code action_id}, {@code response}, {@code events}, {@code
     * complete}, {@code output}, {@code until}, {@code elapsed}.
     *
     * @param fields header name to value. A value is text, {@code byte[]} where it is not UTF-8, a number or a boolean, or a list of
     *     them for a header that is repeated; a name is text or {@code byte[]}
     * @param options {@code server}; {@code until}, the name of a later event with this ActionID to wait for as well; {@code raw}, to
     *     have the bytes of each packet, {@code packets}, in place of maps
     */
    public Body action(String name, Map<?, ?> fields, Map<String, ?> options) {
        return Body.of(call("action", with(options, "action", name, "fields", fields, "timeout", seconds(timeout))));
    }

    /** The output of an Asterisk CLI command: lines of text, or {@code byte[]} where one is not UTF-8. */
    public List<?> command(String text, Map<String, ?> options) {
        return action("Command", Map.of("Command", text), options).get("output") instanceof List<?> lines ? lines : List.of();
    }

    /** Each server's name, state, version, epoch, endpoints, lanes and queue. */
    public List<Body> servers() { return Body.listOf(call("servers", Map.of())); }

    /** Servers, processes, counters, version and uptime of the daemon. */
    public Body status() { return Body.of(call("status", Map.of())); }

    /** What a server's Asterisk offers: {@code name}, {@code synopsis}, {@code privilege}. A null is the only server. */
    public List<Body> actions(String server) {
        return Body.listOf(call("actions", with(Map.of(), "server", server, "timeout", seconds(timeout))));
    }

    /** The live state of a PBX, with a list for each kind. params: {@code server}, {@code kinds}, {@code where}; none is required. */
    public Body state(Map<String, ?> params) { return Body.of(call("state", with(params, "timeout", seconds(timeout)))); }

    /** Replaces a server's reader. */
    public Body restart(String server) { return Body.of(call("restart", Map.of("server", server))); }

    /** Asks the daemon, not Asterisk, for a sign of life. */
    public void ping() { call("ping", Map.of()); }

    /** Calls any method, such as one that a later daemon has. Its result is as {@link Body} has values. */
    public Object call(String method, Map<String, Object> params) { return rpc.call(method, params, timeout); }

    /** Events of a server, null for the only one, as they come: those with these names, or all. Every event from now on is given. */
    public Events events(String server, String... names) {
        return new Events(rpc, with(Map.of(), "server", server, "names", names.length == 0 ? null : List.of(names)));
    }

    /** The live state of these kinds as it changes: each {@link Item} is an {@link Item.Change}. A null server is the only one. */
    public Events changes(String server, String... kinds) {
        return new Events(rpc, with(Map.of(), "server", server, "kinds", List.of(kinds)));
    }

    /** Closes every socket that no call uses; calls under way end by themselves, and {@link Events} are closed on their own. */
    @Override
    public void close() { rpc.close(); }

    /** Params, and what is set of more names and values in turn. */
    static Map<String, Object> with(Map<String, ?> params, Object... namesAndValues) {
        Map<String, Object> all = new HashMap<>(params);
        for (int i = 0; i < namesAndValues.length; i += 2) {
            all.put((String) namesAndValues[i], namesAndValues[i + 1]);
        }
        all.values().removeIf(value -> value == null);
        return all;
    }

    static double seconds(Duration timeout) { return timeout.toNanos() / 1e9; }
}
