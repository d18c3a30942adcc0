import amid.Client;
import amid.Events;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;

/** Makes one action, then prints three events: {@code java -cp clients/java/build/amid.jar clients/java/Example.java [RUN_DIR]}. */
class Example {
    public static void main(String[] arguments) {
        try (Client client = arguments.length > 0 ? new Client(Path.of(arguments[0])) : new Client();
                Events events = client.events(null)) {
            System.out.println(client.action("Ping", Map.of()).body("response").members());
            for (int i = 0; i < 3; i++) {
                System.out.println(events.next(Duration.ofSeconds(10)));
            }
        }
    }
}
