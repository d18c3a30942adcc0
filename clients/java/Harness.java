import amid.AmidException;
import amid.Body;
import amid.Client;
import amid.Events;
import amid.Item;
import amid.Wire;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.ToNumberPolicy;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Collection;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;

/** The harness of the Java client; clients/CONFORMANCE.md says what it does. */
final class Harness {
    private static final String MARK = "$bin";
    private static final HexFormat HEX = HexFormat.of();

    /** Numbers without a point are integers, and a null is a member like any other. */
    private static final Gson JSON = new GsonBuilder()
            .setObjectToNumberStrategy(ToNumberPolicy.LONG_OR_DOUBLE)
            .serializeNulls()
            .disableHtmlEscaping()
            .create();

    private final Client client;
    private final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private Harness(Client client) {
        this.client = client;
    }

    public static void main(String[] arguments) throws Exception {
        try (Client client = arguments.length > 0 ? new Client(Path.of(arguments[0])) : new Client()) {
            new Harness(client).run(new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)));
        }
    }

    private void run(BufferedReader lines) throws Exception {
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            answer(new Asked((Map<?, ?>) meant(JSON.fromJson(line, Object.class))));
        }
    }

    private void answer(Asked asked) throws Exception {
        switch (asked.text("do")) {
            case "decode" -> say(members("value", Wire.unpack(HEX.parseHex(asked.text("hex")))));
            case "encode" -> say(members("hex", HEX.formatHex(Wire.pack(asked.get("value")))));
            case "call" -> say(call(asked.text("method"), asked.inner("params")));
            case "calls" -> say(calls((int) asked.number("count"), (int) asked.number("at_once")));
            case "events" -> events(asked);
            case "changes" -> changes(asked);
            default -> throw new IllegalArgumentException(asked.toString());
        }
    }

    private void say(Map<String, Object> answer) {
        out.println(JSON.toJson(shown(answer)));
    }

    // ── calls ──

    private Map<String, Object> call(String method, Asked params) {
        try {
            return members("result", result(method, params));
        } catch (AmidException error) {
            return members("error", map(error));
        }
    }

    private Object result(String method, Asked params) {
        Client timed = client.withTimeout(params.duration("timeout", Client.TIMEOUT));
        return switch (method) {
            case "action" -> {
                Map<String, Object> options = params.named();
                options.keySet().removeAll(List.of("action", "fields", "timeout"));
                yield timed.action(params.text("action"), params.inner("fields").members, options).members();
            }
            case "servers" -> timed.servers().stream().map(Body::members).toList();
            case "status" -> timed.status().members();
            case "actions" -> timed.actions(params.text("server")).stream().map(Body::members).toList();
            case "state" -> timed.state(params.named()).members();
            case "restart" -> timed.restart(params.text("server")).members();
            case "ping" -> {
                timed.ping();
                yield Map.of();
            }
            default -> timed.call(method, params.named());
        };
    }

    private Map<String, Object> calls(int count, int atOnce) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(atOnce);
        long right = 0;
        try {
            List<Callable<Boolean>> pings = IntStream.range(0, count).mapToObj(this::ping).toList();
            for (Future<Boolean> ping : threads.invokeAll(pings)) {
                right += ping.get() ? 1 : 0;
            }
        } finally {
            threads.shutdown();
        }
        return members("right", right, "wrong", count - right, "at_once", atOnce);
    }

    private Callable<Boolean> ping(int number) {
        Map<String, String> fields = Map.of("ActionID", "own-" + number);
        return () -> client.action("Ping", fields, Map.of("server", "pbx1")).body("response").text("ActionID").equals(fields.get("ActionID"));
    }

    // ── events ──

    private void events(Asked asked) {
        try (Events events = client.events(asked.text("server"), asked.strings("names"))) {
            say(members("listening", true));
            long missed = sayItems(events, asked.number("count"), asked.duration("timeout", Client.TIMEOUT));
            say(members("end", true, "missed", missed));
        }
    }

    /** How many events are missing. */
    private long sayItems(Events events, long count, Duration timeout) {
        long missed = 0;
        try {
            for (long left = count; left > 0; ) {
                Item item = events.next(timeout);
                say(item instanceof Item.Event event ? members("event", map(event)) : members("gap", map((Item.Gap) item)));
                left -= item instanceof Item.Event ? 1 : 0;
                missed += item instanceof Item.Gap gap && gap.missed() != null ? gap.missed() : 0;
            }
        } catch (AmidException quiet) {
            // nothing came in time
        }
        return missed;
    }

    private void changes(Asked asked) {
        try (Events changes = client.changes(asked.text("server"), asked.strings("kinds"))) {
            for (long left = asked.number("resets"); left > 0; ) {
                Item.Change change = (Item.Change) changes.next(asked.duration("timeout", Client.TIMEOUT));
                left -= change.kind().equals("reset") ? 1 : 0;
                say(members("change", map(change)));
            }
            say(members("end", true));
        } catch (AmidException error) {
            say(members("error", map(error)));
        }
    }

    // ── the client's records as the wire has them ──

    private static Map<String, Object> map(Item.Change change) {
        return members(
                "server", change.server(),
                "kind", change.kind(),
                "id", change.id(),
                "set", change.set().members(),
                "gone", change.gone(),
                "state", change.state().members());
    }

    private static Map<String, Object> map(AmidException error) {
        Map<String, Object> map = members("kind", error.getKind(), "sent", error.wasSent(), "message", error.getMessage());
        for (String name : List.of("server", "action_id", "response")) {
            if (error.getData().get(name) != null) {
                map.put(name, error.getData().get(name));
            }
        }
        return map;
    }

    private static Map<String, Object> map(Item.Event event) {
        return members(
                "server", event.server(),
                "epoch", event.epoch(),
                "seq", event.seq(),
                "prev", event.prev(),
                "time", event.time(),
                "event", event.event(),
                "fields", event.fields().members());
    }

    private static Map<String, Object> map(Item.Gap gap) {
        return members(
                "server", gap.server(),
                "epoch", gap.epoch(),
                "after", gap.after(),
                "missed", gap.missed());
    }

    /** A map of names and values in turn; unlike {@code Map.of} it takes null. */
    private static Map<String, Object> members(Object... namesAndValues) {
        Map<String, Object> members = new LinkedHashMap<>();
        for (int i = 0; i < namesAndValues.length; i += 2) {
            members.put((String) namesAndValues[i], namesAndValues[i + 1]);
        }
        return members;
    }

    // ── lines ──

    /** What a line asks for. */
    private record Asked(Map<?, ?> members) {
        Object get(String name) {
            return members.get(name);
        }

        String text(String name) {
            return (String) members.get(name);
        }

        long number(String name) {
            return (Long) members.get(name);
        }

        List<?> list(String name) {
            return (List<?>) members.get(name);
        }

        /** A map in it; an empty one when it is not there. */
        Asked inner(String name) {
            return new Asked(members.get(name) instanceof Map<?, ?> map ? map : Map.of());
        }

        /** A list of texts; an empty one for null. */
        String[] strings(String name) {
            return members.get(name) instanceof List<?> texts ? texts.toArray(String[]::new) : new String[0];
        }

        Duration duration(String name, Duration otherwise) {
            Object seconds = members.get(name);
            return seconds == null ? otherwise : Duration.ofNanos(Math.round(((Number) seconds).doubleValue() * 1e9));
        }

        Map<String, Object> named() {
            Map<String, Object> named = new LinkedHashMap<>();
            members.forEach((name, value) -> named.put((String) name, value));
            return named;
        }
    }

    /** The value that a line means. */
    private static Object meant(Object line) {
        if (line instanceof Map<?, ?> map) {
            return map.keySet().equals(Set.of(MARK)) ? bytes((String) map.get(MARK)) : meantMap(map);
        }
        return line instanceof List<?> list ? list.stream().map(Harness::meant).toList() : line;
    }

    private static Map<Object, Object> meantMap(Map<?, ?> map) {
        Map<Object, Object> meant = new LinkedHashMap<>();
        map.forEach((key, value) -> meant.put(meantKey((String) key), meant(value)));
        return meant;
    }

    private static Object meantKey(String key) {
        return key.startsWith(MARK + ":") ? bytes(key.substring(MARK.length() + 1)) : key;
    }

    private static byte[] bytes(String hex) {
        return HEX.parseHex(hex);
    }

    /** A value as a line has it. */
    private static Object shown(Object value) {
        if (value instanceof byte[] bytes) {
            return Map.of(MARK, HEX.formatHex(bytes));
        }
        if (value instanceof Map<?, ?> map) {
            return shownMap(map);
        }
        return value instanceof Collection<?> items ? items.stream().map(Harness::shown).toList() : value;
    }

    private static Map<String, Object> shownMap(Map<?, ?> map) {
        Map<String, Object> shown = new LinkedHashMap<>();
        map.forEach((key, value) -> shown.put(shownKey(key), shown(value)));
        return shown;
    }

    private static String shownKey(Object key) {
        return key instanceof byte[] bytes ? MARK + ":" + HEX.formatHex(bytes) : (String) key;
    }
}
