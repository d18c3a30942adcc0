package amid;

import java.util.List;

/**
 * What {@code replay} gives.
 *
 * @param events as they were published
 * @param more whether there are more behind them
 */
public record Page(List<Event> events, boolean more) {
    static Page of(Body result) {
        return new Page(result.bodies("events").map(Event::of).toList(), result.flag("more"));
    }
}
