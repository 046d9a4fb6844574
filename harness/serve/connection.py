"""One server's HTTP: a request's answer within a time from its first byte to its last, and a size."""

import json
import time
from collections.abc import Callable
from threading import Event
from typing import Any, Self

import httpx
from pydantic_core import to_json

from harness.safety import harmless
from harness.serve.answers import BatchRefused, Body, RequestFailed
from harness.serve.waiting import Waiting
from harness.serve.within import started, within

CONNECT_TIMEOUT_S = 10.0
# The largest honest answers hold the 20 most likely tokens after each token of a batch of texts: some megabytes.
LARGEST_ANSWER = 64 * 2**20
# For an answer that takes no model: a server that does not even give that hangs.
REACHABLE_TIMEOUT_S = 30.0

# What httpx's transport calls the moment when a request's last byte is written.
SENT = "http11.send_request_body.complete"

# A request that is wrong in itself, one of its prompts being so: SGLang says 400. Not a wrong key, nor a busy server.
REFUSED = frozenset({400, 413, 422})


class Connection:
    """One server's HTTP.

    Attributes:
        waiting: How long it was waited for, so far.
    """

    def __init__(self, url: str, api_key: str, *, timeout_s: float) -> None:
        self.waiting = Waiting()
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            base_url=url,
            # Nothing is compressed on its way: a small answer must not become a large one here.
            headers={"Authorization": f"Bearer {api_key}", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            # A connection each: a server ends one that was idle for some seconds, perhaps just as it is used again.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            # A proxy in the environment must not see, nor answer, requests to our own server.
            trust_env=False,
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what is open."""
        self._http.close()

    def reachable(self) -> bool:
        """Return whether anything answers at all, be it with an error."""
        try:
            within(REACHABLE_TIMEOUT_S, self._reach)
        except (httpx.TransportError, TimeoutError):
            return False
        return True

    def _reach(self) -> None:
        with self._http.stream("GET", "/v1/models"):
            pass

    def ask(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        as_json: bool = True,
        meanwhile: Callable[[], None] | None = None,
    ) -> object:
        """Return an answer's content, read as JSON; None where it need be none; `meanwhile` as for `exchange`.

        Raises:
            RequestFailed: There was no answer, or none of a success.
        """
        status, content = self.exchange(method, path, body, meanwhile=meanwhile)
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's successes
            said = harmless(content.decode(errors="replace")[:500])
            kind = BatchRefused if status in REFUSED else RequestFailed
            raise kind(f"{method} {path}: HTTP {status}: {said}")
        if not as_json:
            return None
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            text = harmless(content.decode(errors="replace")[:200])
            raise BatchRefused(f"{method} {path}: the answer is not JSON: {text}") from error

    def exchange(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        timeout_s: float | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> tuple[int, bytes]:
        """Return an answer's status and content, within a time from the first byte to the last, and a size.

        Args:
            method: HTTP's.
            path: Where to.
            body: What is sent.
            timeout_s: That time; None for the connection's own.
            meanwhile: Called once the request is sent, or has failed, as the server is at work on it.

        Raises:
            RequestFailed: There was none.
        """
        limit = timeout_s or self._timeout_s
        deadline, sent = time.monotonic() + limit, Event()
        try:
            with self.waiting.request() as over:
                answer = started(lambda: self._read(method, path, body, sent))
                # It may be there before what is done meanwhile is.
                answer.add_done_callback(lambda _answer: over())
                if meanwhile is not None:
                    # Not before: this thread and the one that sends would get into each other's way.
                    sent.wait(limit)
                    meanwhile()
                return answer.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError as error:
            raise RequestFailed(f"{method} {path}: the answer was not whole after {limit:g} s") from error

    def _read(self, method: str, path: str, body: Body | None, sent: Event) -> tuple[int, bytes]:
        def trace(event: str, _info: object) -> None:
            if event == SENT:
                sent.set()

        content = bytearray()
        # Some thousand token ids: several times as fast as the standard library's.
        sends: dict[str, Any] = (
            {} if body is None else {"content": to_json(body), "headers": {"Content-Type": "application/json"}}
        )
        try:
            with self._http.stream(method, path, **sends, extensions={"trace": trace}) as response:
                for piece in response.iter_raw():
                    content += piece
                    if len(content) > LARGEST_ANSWER:
                        raise RequestFailed(f"{method} {path}: the answer is larger than {LARGEST_ANSWER} bytes")
                return response.status_code, bytes(content)
        except httpx.HTTPError as error:
            raise RequestFailed(f"{method} {path}: {type(error).__name__}: {error}") from error
        finally:
            sent.set()
