package amid;

/**
 * Events that this subscriber did not get.
 *
 * @param server the server that they came from
 * @param epoch the session with Asterisk that they lie in
 * @param after they lie behind this number
 * @param until and not behind this one; null at the end of an old epoch, where it cannot be known
 * @param missed how many they are; null where {@code until} is
 * @param event their name, when only some names are subscribed; else null
 */
public record Gap(String server, long epoch, long after, Long until, Long missed, String event) implements Item {
    /** What came behind {@code after} in an epoch that is over. */
    static Gap atEnd(String server, long epoch, long after) {
        return new Gap(server, epoch, after, null, null, null);
    }

    Gap from(long number) {
        return new Gap(server, epoch, number, until, missed, event);
    }
}
