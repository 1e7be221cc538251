"""A real HTTP receiver and a real mail server on loopback, and settings that lead to them."""

import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pocketrec_server.notifications.settings import Mail, Notifications, Webhook

KEY = "0123456789abcdef-secret"


@contextmanager
def running(server):
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Receiver(BaseHTTPRequestHandler):
    """Keeps each request, and answers as `server.answers` says; None: not at all."""

    server: "HookServer"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, dict(self.headers), body))
        answers = self.server.answers
        status = answers.pop(0) if len(answers) > 1 else answers[0]
        if status is None:
            self.server.released.wait(30)
            return
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class HookServer(ThreadingHTTPServer):
    webhook: Webhook

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int | None] = [204]
        self.released = threading.Event()


@pytest.fixture
def receiver():
    """An HTTP server: `received` requests, `answers` to give (the last one stays)."""
    with running(HookServer()) as one:
        one.webhook = Webhook(url=f"http://127.0.0.1:{one.server_port}/hook?team=1", secret=KEY)
        yield one


class Post(socketserver.StreamRequestHandler):
    """Speaks as much SMTP (RFC 5321) as a client needs; `server.replies` replaces answers."""

    server: "MailServer"

    def say(self, text):
        self.wfile.write(f"{text}\r\n".encode())

    def handle(self):
        self.say("220 ready")
        for line in self.rfile:
            word = line.decode().strip()
            verb = word.split(":")[0].split(" ")[0].upper()
            self.server.heard.append(word)
            reply = self.server.replies.get(word) or self.server.replies.get(verb)
            if reply:
                self.say(reply)
            elif verb == "EHLO":
                self.say("250-here\r\n250 AUTH PLAIN")
            elif verb == "DATA":
                self.say("354 go on")
                lines = []
                while (part := self.rfile.readline()) != b".\r\n":
                    lines.append(part)
                self.server.mails.append(b"".join(lines))
                self.say("250 taken")
            elif verb == "AUTH":
                self.say("235 welcome")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 fine")


class MailServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    mail: Mail

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Post)
        self.heard: list[str] = []
        self.mails: list[bytes] = []
        self.replies: dict[str, str] = {}
        self.released = threading.Event()


@pytest.fixture
def post():
    """A mail server: `heard` lines, `mails`, and `replies` by line or verb in place of success."""
    with running(MailServer()) as one:
        one.mail = Mail(
            host="127.0.0.1",
            port=one.server_address[1],
            security="none",
            sender="pocketrec@example.org",
            recipients=("oncall@example.org", "bob@example.org"),
        )
        yield one


@pytest.fixture
def both(receiver, post):
    """Settings with both transports."""
    return Notifications(
        webhook=receiver.webhook, mail=post.mail, site="https://rec.example.org/admin/"
    )
