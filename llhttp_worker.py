"""gunicorn's gevent worker, with llhttp (Node's parser, by way of httptools) for the requests that are plain and whole.

A head that llhttp takes, that has come in one piece and is small is not parsed again in Python; everything else, and all
that llhttp refuses, goes to gunicorn's own parser, so that what is refused is refused as before, in the same words.
gunicorn's rules for single fields, for the body and for the connection hold on both ways (docs/adr/0020).

An application may have answers ready (`bittrade/api/ready.py`): they are written before an environment is made.

It is imported in gunicorn's master, where nothing of ours may be: it knows the application as gunicorn does.
"""

import errno
from functools import lru_cache
from typing import Any

import gevent
import httptools
from gunicorn import util
from gunicorn.http.errors import NoMoreData
from gunicorn.http.message import METHOD_BADCHAR_RE, RFC9112_TARGET_INVALID, Request
from gunicorn.http.parser import RequestParser
from gunicorn.util import split_request_uri
from gunicorn.workers.ggevent import GeventWorker

MAX_HEAD_BYTES = 4096  # at most: never more than gunicorn allows the first line or one field
VERSIONS = {"1.1": (1, 1), "1.0": (1, 0)}
METHODS = range(3, 21)  # how long gunicorn lets a method's name be
TURNS = 32  # ready answers that one connection gets before others have theirs


class Head:
    """The first line and the fields of a request, as llhttp reads them."""

    __slots__ = ("fields", "is_whole", "method", "target", "version")
    method: str
    version: tuple[int, int]

    def __init__(self) -> None:
        self.fields: list[tuple[str, str]] = []
        self.is_whole = False
        self.target = b""

    def on_url(self, target: bytes) -> None:
        self.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.decode("latin-1").upper(), value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        self.is_whole = True


def read_head(data: bytes, *, most_bytes: int, most_fields: int) -> tuple[Head, bytes] | None:
    """A head and what follows it; None where gunicorn's own parser has to look."""
    end = data.find(b"\r\n\r\n", 0, most_bytes)
    if end < 0 or data.startswith(b"\r\n"):
        return None
    head = Head()
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(data[: end + 4])
    except httptools.HttpParserUpgrade:
        pass  # a WebSocket's handshake: it is whole
    except httptools.HttpParserError:
        return None
    method, version = parser.get_method(), parser.get_http_version()
    if not head.is_whole or version not in VERSIONS or len(head.fields) > most_fields:
        return None
    # llhttp takes more than one space between them, gunicorn does not.
    if not data.startswith(b"%b %b HTTP/%b\r\n" % (method, head.target, version.encode())):
        return None
    head.method, head.version = method.decode("latin-1"), VERSIONS[version]
    return head, data[end + 4 :]


class LlhttpRequest(Request):
    """A request whose head llhttp has read where it could."""

    def _parse_python(self, unreader: Any, buf: bytearray) -> bytes:
        data = bytes(buf)
        limits = (self.limit_request_line or MAX_HEAD_BYTES, self.limit_request_field_size, MAX_HEAD_BYTES)
        found = read_head(data, most_bytes=min(limits), most_fields=self.limit_request_fields)
        if found is None or not self._take_first_line(found[0]):
            rest: bytes = super()._parse_python(unreader, buf)
            return rest
        head, rest = found
        state: list[bool] = [False]
        seen: set[str] = set()
        secure, forwarders = self._peer_trusted_for_forwarded()
        for name, value in head.fields:
            kept = self._apply_header_policy(name, value, state, seen, secure, forwarders)
            if kept is not None:
                self.headers.append(kept)
        return rest

    def _take_first_line(self, head: Head) -> bool:
        """False where it is anything but a usual method and a path."""
        target = head.target.decode("latin-1")
        if (
            len(head.method) not in METHODS
            or METHOD_BADCHAR_RE.search(head.method)
            or not target.startswith("/")
            or RFC9112_TARGET_INVALID.search(target)
        ):
            return False
        self.method, self.uri, self.version = head.method, target, head.version
        parts = split_request_uri(target)
        self.path, self.query, self.fragment = parts.path or "", parts.query or "", parts.fragment or ""
        return True

    def _peer_is_trusted_proxy(self) -> bool:
        return _is_trusted(self.cfg, self.peer_addr[0]) if isinstance(self.peer_addr, tuple) else True


@lru_cache(maxsize=4096)
def _is_trusted(cfg: Any, address: str) -> bool:
    """Whether gunicorn believes what a proxy at this address says of its client's connection."""
    request = Request.__new__(Request)
    request.cfg, request.peer_addr = cfg, (address, 0)
    return bool(Request._peer_is_trusted_proxy(request))


class LlhttpParser(RequestParser):
    """A connection's requests, one after another."""

    mesg_class = LlhttpRequest

    def has_buffered(self) -> bool:
        return bool(self.unreader.buf.tell())


class LlhttpWorker(GeventWorker):
    """Serves each connection in a greenlet of its own. HTTP/1 only, and no TLS: that is the proxy's work."""

    _ready: Any = None

    def load_wsgi(self) -> None:
        super().load_wsgi()
        # The access log has a line for each answer: with one, gunicorn gives them all.
        if not self.log.access_log_enabled:
            self._ready = getattr(self.wsgi, "extensions", {}).get("bittrade_ready")

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        request = None
        client.setblocking(1)
        try:
            parser, name = LlhttpParser(self.cfg, client, addr), listener.getsockname()
            turns = 0
            while True:
                request = None
                with self.timeout_ctx():
                    request = next(parser)
                if request is None:
                    return
                is_last = request.should_close()
                answer = self._find_ready(request, addr, is_last)
                if answer is None:
                    self.handle_request(name, request, client, addr)
                    continue
                client.sendall(answer)
                if is_last:
                    return
                turns += 1
                if turns % TURNS == 0:
                    gevent.sleep(0)
        except (NoMoreData, StopIteration):
            pass
        except (BrokenPipeError, ConnectionResetError):
            self.log.debug("Ignoring a client that has gone")
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                self.log.exception("Socket error processing request.")
        except BaseException as error:
            self.handle_error(request, client, addr, error)
        finally:
            util.close(client)

    def _find_ready(self, request: Request, addr: Any, is_last: bool) -> bytes | None:
        """The bytes of an answer that is ready, or None. A worker that ends closes each connection: gunicorn does that."""
        if self._ready is None or not self.alive or request.version != (1, 1) or not isinstance(addr, tuple):
            return None
        answer: bytes | None = self._ready.find(
            request.method, request.uri, request.headers, addr[0], is_last=is_last
        )
        return answer
