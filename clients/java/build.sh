#!/bin/sh
# Builds build/amid.jar, the client, and build/harness.jar, which tests/languages drives. The manifest of each names the jars of
# Debian that it needs.
set -eu
cd "$(dirname "$0")"
rm -rf build
mkdir -p build/client build/harness

zmq=/usr/share/java/zmq.jar
msgpack=/usr/share/java/msgpack-core.jar
gson=/usr/share/java/gson.jar

javac -Xlint:all -Werror --release 17 -cp "$zmq:$msgpack" -d build/client amid/*.java
printf 'Class-Path: %s\n' "$zmq $msgpack" >build/client.mf
jar --create --file build/amid.jar --manifest build/client.mf -C build/client .

javac -Xlint:all -Werror --release 17 -cp "build/client:$msgpack:$gson" -d build/harness Harness.java
printf 'Main-Class: Harness\nClass-Path: %s\n' "amid.jar $gson" >build/harness.mf
jar --create --file build/harness.jar --manifest build/harness.mf -C build/harness .
