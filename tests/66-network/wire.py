"""Servers and clients in namespaces: sockets are made inside, their threads may be anywhere."""
import socket
import threading

from conftest import SLOWER, Inside

PATIENCE = 10 * SLOWER  # with who answers; that nobody does is believed after BRIEF
BRIEF = 0.5


class Tcp:
    """Says "NAME PEER\\n" to each, then sends back what comes until the peer ends, then says how much that was."""

    def __init__(self, path, name, port, family=socket.AF_INET):
        with Inside(path):
            self.sock = socket.socket(family, socket.SOCK_STREAM)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self.sock.bind(("" if family == socket.AF_INET else "::", port))
            self.sock.listen(64)
        self.name = name
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                s, peer = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(s, peer), daemon=True).start()

    def talk(self, s, peer):
        total = 0
        with s:
            s.settimeout(20)
            try:
                s.sendall(f"{self.name} {peer[0]}\n".encode())
                while data := s.recv(65536):
                    total += len(data)
                    s.sendall(data)
                s.sendall(f"\n{total}".encode())
            except OSError:
                pass

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class Udp:
    def __init__(self, path, name, port, family=socket.AF_INET):
        with Inside(path):
            self.sock = socket.socket(family, socket.SOCK_DGRAM)
            self.sock.bind(("" if family == socket.AF_INET else "::", port))
        self.name = name
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(65536)
                self.sock.sendto(f"{self.name} {peer[0]} ".encode() + data, peer)
            except OSError:
                return


def tcp(path, to, port, send=b"", timeout=PATIENCE):
    """What a client in that namespace gets; None when nobody answers."""
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with Inside(path):
        s = socket.socket(family, socket.SOCK_STREAM)
    with s:
        s.settimeout(timeout)
        try:
            s.connect((to, port))
            s.settimeout(20)
            answer = b""
            sender = threading.Thread(target=lambda: (s.sendall(send), s.shutdown(socket.SHUT_WR)), daemon=True)
            sender.start()
            while data := s.recv(65536):
                answer += data
            sender.join(20)
            return answer
        except OSError:
            return None


def who(path, to, port, timeout=PATIENCE):
    """("web", "172.17.0.1"): who answered, and as whom the client appeared; None when nobody did."""
    answer = tcp(path, to, port, timeout=timeout)
    return tuple(answer.decode().split("\n")[0].split()) if answer else None


def udp(path, to, port, data=b"x", timeout=PATIENCE):
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with Inside(path):
        s = socket.socket(family, socket.SOCK_DGRAM)
    with s:
        s.settimeout(timeout)
        try:
            s.connect((to, port))
            s.send(data)
            return s.recv(65536).decode().split(" ", 2)
        except OSError:
            return None
