"""Pace, proxies, own CAs and redirects of a sync's requests, against real sockets."""

import io
import socket
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pocketrec_edge.errors import SyncError
from pocketrec_edge.sync.http import (
    MAX_HEAD_BYTES,
    MAX_REPLY_BYTES,
    PACE,
    Bucket,
    Network,
    Pace,
    _Paced,
    retry_after_s,
)

BODY = b"0123456789" * 100


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


class Clock:
    """Time that passes when somebody sleeps or waits."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Slow(io.RawIOBase):
    """A socket that gives `size` bytes after each `wait` seconds."""

    def __init__(self, clock, size, wait):
        self.clock, self.size, self.wait = clock, size, wait

    def readable(self):
        return True

    def readinto(self, buffer):
        self.clock.sleep(self.wait)
        n = min(len(buffer), self.size)
        buffer[:n] = bytes(n)
        return n


def paced(clock, size, wait, **limits):
    pace = Pace(clock=clock, sleep=clock.sleep, **limits)
    made = _Paced(Slow(clock, size, wait), pace, Bucket(pace))
    made.head_left = None
    return made


def test_a_cap_holds_on_average_and_allows_a_quarter_of_a_second_at_once():
    clock = Clock()
    pace = Pace(most=1000, clock=clock, sleep=clock.sleep)
    bucket = Bucket(pace)
    assert bucket.most_now(8192) == 250
    bucket.take(250)
    assert clock.now == 100.0
    for _ in range(8):
        bucket.take(250)
    assert clock.now == pytest.approx(102.0)
    clock.sleep(60)
    bucket.take(500)  # a quarter of a second's worth has gathered, no more
    assert clock.now == pytest.approx(162.25)


def test_a_drip_is_cut_off_and_a_slow_link_is_not():
    clock = Clock()
    drip = paced(clock, 1, 0.1, least=100, within_s=30.0)
    with pytest.raises(TimeoutError, match="100 bytes a second"):
        for _ in range(10_000):
            drip.readinto(bytearray(10))
    assert clock.now == pytest.approx(130.0, abs=0.2)
    slow = paced(clock, 12, 0.1, least=100, within_s=30.0)
    for _ in range(10_000):
        assert slow.readinto(bytearray(100)) == 12


def test_waiting_for_the_cap_is_not_the_servers_slowness():
    clock = Clock()
    capped = paced(clock, 100, 0.001, most=10, least=100, within_s=5.0)
    for _ in range(100):
        assert 0 < capped.readinto(bytearray(100)) <= 10
    assert clock.now > 110


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("", 0.0),
        ("-5", 0.0),
        ("soon", 0.0),
        ("\u0661", 0.0),
        ("Thu, 01 Jan 1970 00:16:40 GMT", 900.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after(told, seconds):
    assert retry_after_s({"Retry-After": told}, 100.0) == seconds


class Recorder(ThreadingHTTPServer):
    """Notes what was asked; clients that refuse its certificate hang up without a trace."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.answers: dict[str, bytes | str] = {}
        self.url = ""

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    """Answers what its server says, by path; a proxy's absolute URL is a path like any other."""

    protocol_version = "HTTP/1.1"
    server: Recorder

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        answer = self.server.answers.get(self.path, BODY)
        if isinstance(answer, str):
            self.send_response(302)
            self.send_header("Location", answer)
            answer = b""
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_CONNECT(self):
        """Tunnel to wherever, until one side ends."""
        self.server.asked.append((self.path, None))
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as far:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=pump, args=(far, self.connection))
            back.start()
            pump(self.connection, far)
            back.join()
        self.close_connection = True


def pump(source, to):
    with suppress(OSError):
        while data := source.recv(4096):
            to.sendall(data)
    for each in (source, to):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def serve():
    """Return a function that starts a server; `tls` is the context of one that speaks TLS."""
    running = []

    def start(tls=None):
        server = Recorder()
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        server.url = f"{scheme}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server(serve):
    return serve()


def get(url, pace=PACE):
    response = Network(pace).ask("GET", url, {})
    with response:
        return response.read(decode_content=False)


def test_redirects_are_followed_to_a_limit(server, serve):
    other = serve()
    server.answers |= {"/a": "/b", "/b": f"{other.url}/c", "/loop": "/loop"}
    assert get(f"{server.url}/a") == BODY
    assert other.asked == [("/c", None)]
    with pytest.raises(urllib3.exceptions.HTTPError, match="more than 3 redirects"):
        get(f"{server.url}/loop")
    server.answers["/nowhere"] = "http://["
    with pytest.raises(urllib3.exceptions.HTTPError, match="redirects to an invalid address"):
        get(f"{server.url}/nowhere")


def test_a_post_is_sent_once_and_its_answer_is_bounded(server):
    server.answers |= {"/moved": "/b", "/long": bytes(3 * MAX_REPLY_BYTES)}
    network = Network()
    assert network.post(f"{server.url}/moved", {}, b"x").status == 302
    reply = network.post(f"{server.url}/long", {}, b"x")
    assert (reply.status, len(reply.data)) == (200, MAX_REPLY_BYTES)
    assert [path for path, _ in server.asked] == ["/moved", "/long"]


def test_headers_without_end_are_refused():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def answer():
            with listener.accept()[0] as peer:
                peer.recv(4096)
                interim = b"HTTP/1.1 100 Continue\r\n\r\n" * 1000
                try:
                    for _ in range(10 * MAX_HEAD_BYTES // len(interim)):
                        peer.sendall(interim)
                except OSError:
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(urllib3.exceptions.HTTPError, match="headers of more than"):
            get(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()


def test_a_proxy_is_taken_from_the_environment_and_left_out_for_no_proxy(
    server, serve, monkeypatch
):
    proxy = serve()
    monkeypatch.setenv("http_proxy", proxy.url)
    assert get(f"{server.url}/x") == BODY
    assert (proxy.asked, server.asked) == ([(f"{server.url}/x", None)], [])
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert get(f"{server.url}/x") == BODY
    assert (len(proxy.asked), len(server.asked)) == (1, 1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """(PEM file of an own CA, TLS context of a server with a certificate by it)."""
    folder = tmp_path_factory.mktemp("ca")
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Own CA")])
    constraint = (x509.BasicConstraints(ca=True, path_length=None), True)
    usage = x509.KeyUsage(*[n in (5, 6) for n in range(9)])  # signs certificates and lists
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = certificate(
        name, ca_key.public_key(), name, ca_key, constraint, (usage, True), (identifier, False)
    )
    there = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    by = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    served = certificate(x509.Name([]), key.public_key(), name, ca_key, (there, True), (by, False))
    (folder / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.pem").write_bytes(pem + served.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return folder / "ca.pem", context


def certificate(subject, key, issuer, signer, *extensions):
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, SHA256())


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_an_own_ca_is_named_by_the_environment(serve, authority, monkeypatch, name):
    ca, context = authority
    server = serve(context)
    with pytest.raises(urllib3.exceptions.SSLError, match="certificate verify failed"):
        get(f"{server.url}/x")
    monkeypatch.setenv(name, str(ca))
    assert get(f"{server.url}/x", Pace(most=1 << 20)) == BODY
    assert [path for path, _ in server.asked] == ["/x"]


def test_an_own_ca_behind_a_proxy(serve, authority, monkeypatch):
    ca, context = authority
    server, proxy = serve(context), serve()
    monkeypatch.setenv("https_proxy", proxy.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    assert get(f"{server.url}/x") == BODY
    assert proxy.asked == [(f"127.0.0.1:{server.server_port}", None)]


def test_a_ca_file_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "no.pem"))
    with pytest.raises(SyncError, match=r"SSL_CERT_FILE: .*no\.pem does not exist"):
        Network()
