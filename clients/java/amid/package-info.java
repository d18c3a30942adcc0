/**
 * The Java client of amid. It needs Java 17, jzmq (Debian's libzmq-java) and msgpack-core (libmsgpack-java); clients/java/build.sh
 * builds it. Begin with {@link amid.Client}.
 */
package amid;
