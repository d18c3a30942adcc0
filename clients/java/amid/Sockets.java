package amid;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.zeromq.ZMQ;
import org.zeromq.ZMQException;

/**
 * ZeroMQ sockets, of libzmq itself.
 *
 * <p>The library is jzmq, Debian's libzmq-java: JNI over libzmq, with every option that is needed here, and nothing of our own to
 * map, as JNA would want it. JeroMQ has the same classes in pure Java, but Debian's puts TCP under {@code ipc://}, which
 * reaches no libzmq.
 */
final class Sockets {
    /** One for the process, as ZeroMQ advises; it holds a thread and ends with the process. */
    private static final ZMQ.Context CONTEXT = ZMQ.context(1);

    /** A signal came to this thread while it waited; profilers send them. The same number on every Unix. */
    private static final int EINTR = 4;

    private Sockets() {}

    /** A socket to ask with. With IMMEDIATE nothing is queued for a broker that is not there: what is not taken is not sent. */
    static ZMQ.Socket dealer() {
        ZMQ.Socket socket = socket(ZMQ.DEALER);
        socket.setImmediate(true);
        return socket;
    }

    static ZMQ.Socket subscriber() {
        return socket(ZMQ.SUB);
    }

    /** With LINGER 0 nobody waits for a broker that is gone when he leaves. */
    private static ZMQ.Socket socket(int type) {
        ZMQ.Socket socket = CONTEXT.socket(type);
        socket.setLinger(0);
        return socket;
    }

    /** Sends a body behind the empty frame that a DEALER has to send itself. False: nobody took it over within {@code wait}. */
    static boolean send(ZMQ.Socket socket, byte[] body, Duration wait) {
        socket.setSendTimeOut(millis(wait));
        try {
            return socket.send(new byte[0], ZMQ.SNDMORE) && socket.send(body, 0);
        } catch (ZMQException error) {
            return unlessInterrupted(error, false);
        }
    }

    /** The frames of the next message. None: no message came within {@code wait}. */
    static List<byte[]> receive(ZMQ.Socket socket, Duration wait) {
        socket.setReceiveTimeOut(millis(wait));
        try {
            byte[] first = socket.recv(0);
            return first == null ? List.of() : withTheRest(socket, first);
        } catch (ZMQException error) {
            return unlessInterrupted(error, List.of());
        }
    }

    /** The frames of a message come together. */
    private static List<byte[]> withTheRest(ZMQ.Socket socket, byte[] first) {
        List<byte[]> frames = new ArrayList<>(List.of(first));
        while (socket.hasReceiveMore()) {
            frames.add(socket.recv(0));
        }
        return frames;
    }

    private static <T> T unlessInterrupted(ZMQException error, T otherwise) {
        if (error.getErrorCode() == EINTR) {
            return otherwise;
        }
        throw error;
    }

    /** Rounded up: a wait that is nearly over must not become many that do not wait. */
    private static int millis(Duration wait) {
        return (int) wait.toMillis() + 1;
    }
}
