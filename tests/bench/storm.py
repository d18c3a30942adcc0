"""`python -m tests.bench.storm PORT COUNT [RATE]`: asks the load generator for a storm."""

import socket
import sys

if __name__ == "__main__":
    port, count, rate = (*sys.argv[1:], "0")[:3]
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        login = b"Action: Login\r\nActionID: 1\r\nEvents: off\r\n\r\n"
        connection.sendall(login + f"Action: Storm\r\nActionID: 2\r\nCount: {count}\r\nRate: {rate}\r\n\r\n".encode())
        answer = b""
        while b"Events follow" not in answer:
            answer += connection.recv(4096)
