package amid;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Where the daemon is on this machine. */
final class Place {
    private static final int FILE_TYPE = 0170000;
    private static final int SOCKET_TYPE = 0140000;
    private static final String SOCKET = "a socket";

    private Place() {}

    /**
     * The endpoint of a daemon's rpc socket.
     *
     * @param runDir the only directory to look in: another could be another PBX's; null is AMID_RUN_DIR, or the usual ones
     * @throws AmidException of kind {@code unreachable} when there is none
     */
    static String find(Path runDir) {
        List<String> looked = new ArrayList<>();
        for (Path directory : runDir == null ? usual() : List.of(runDir)) {
            Path socket = directory.resolve("rpc");
            String found = whatIsAt(socket);
            if (found.equals(SOCKET)) {
                return "ipc://" + socket;
            }
            looked.add(socket + ": " + found);
        }
        throw AmidException.unreachable("no amid daemon found (" + String.join("; ", looked) + ")");
    }

    private static List<Path> usual() {
        if (isSet("AMID_RUN_DIR")) {
            return List.of(Path.of(System.getenv("AMID_RUN_DIR")));
        }
        List<Path> directories = new ArrayList<>();
        directories.add(Path.of("/run/amid"));
        if (isSet("XDG_RUNTIME_DIR")) {
            directories.add(Path.of(System.getenv("XDG_RUNTIME_DIR"), "amid"));
        }
        return directories;
    }

    private static boolean isSet(String variable) {
        String value = System.getenv(variable);
        return value != null && !value.isEmpty();
    }

    /** In words; connecting to a socket takes the permission to write it. */
    private static String whatIsAt(Path path) {
        try {
            int mode = (Integer) Files.getAttribute(path, "unix:mode");
            if ((mode & FILE_TYPE) != SOCKET_TYPE) {
                return "no socket";
            }
        } catch (AccessDeniedException denied) {
            return "this user may not enter it";
        } catch (IOException none) {
            return "no socket";
        }
        return Files.isWritable(path) ? SOCKET : "this user may not use its socket";
    }
}
