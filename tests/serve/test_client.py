"""The client against a server that answers on demand: what it sends, what it reads, and what it calls a failure."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from harness.records.run import Traffic
from harness.serve import connection
from harness.serve.answers import Generation, RequestFailed, Scores
from harness.serve.client import SHARED_PREFIX, Client
from harness.serve.ports import free_port
from tests.serve.asked import KEY, Asked, Body, generated


def test_every_request_carries_the_key_and_no_proxy_sees_it(
    asked: Asked, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with Client(f"http://127.0.0.1:{asked.http.server_port}", KEY, timeout_s=20) as beside_a_proxy:
        assert beside_a_proxy.healthy()
    assert client.healthy()
    assert set(asked.keys) == {f"Bearer {KEY}"}


def test_a_server_that_fails_is_reachable_and_not_healthy_and_one_that_is_not_there_neither(
    asked: Asked, client: Client
) -> None:
    asked.answer = lambda _body: 503
    assert (client.healthy(), client.reachable()) == (False, True)
    with Client(f"http://127.0.0.1:{free_port()}", KEY, timeout_s=20) as alone:
        assert (alone.healthy(), alone.reachable()) == (False, False)
        with pytest.raises(RequestFailed, match=r"^GET /get_server_info: ConnectError: "):
            alone.server_info()


def test_an_error_of_the_server_is_told_once_and_not_asked_again(asked: Asked, client: Client) -> None:
    asked.answer = lambda _body: 500
    with pytest.raises(RequestFailed, match=r'^POST /v1/tokenize: HTTP 500: \{"why": "told to fail"\}$'):
        client.tokenize("a text")
    assert len(asked.requests) == 1


class EndsIdleConnections(BaseHTTPRequestHandler):
    """Keeps a connection open, and ends it just as the next request comes, as a server may end an idle one."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        return

    def handle(self) -> None:
        self.handle_one_request()
        self.rfile.readline()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        content = b'{"tokens": [1]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def test_no_request_is_lost_to_a_connection_that_was_idle_for_too_long() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), EndsIdleConnections) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        try:
            with Client(f"http://127.0.0.1:{http.server_port}", KEY, timeout_s=20) as client:
                assert [client.tokenize("a text") for _ in range(3)] == [[1]] * 3
        finally:
            http.shutdown()


def test_an_answer_that_is_no_json_is_a_failure_but_for_what_needs_none(asked: Asked, client: Client) -> None:
    asked.answer = lambda _body: "Cache flushed."
    client.flush_cache()
    with pytest.raises(RequestFailed, match=r"^GET /get_server_info: the answer is not JSON: Cache flushed\.$"):
        client.server_info()


def test_a_server_that_says_nothing_in_time_is_a_failure(asked: Asked) -> None:
    silent = threading.Event()
    asked.answer = lambda _body: silent.wait(60) and {}
    with (
        Client(f"http://127.0.0.1:{asked.http.server_port}", KEY, timeout_s=0.1) as hurried,
        pytest.raises(RequestFailed, match=r"^GET /get_server_info: (ReadTimeout: |the answer was not whole)"),
    ):
        hurried.server_info()
    silent.set()


def test_what_is_done_meanwhile_is_done_as_the_server_is_at_work(asked: Asked, client: Client) -> None:
    done, seen = threading.Event(), []

    def answer(_body: Body) -> object:
        seen.append(done.wait(20))
        return [generated(" one"), generated(" two")]

    asked.answer = answer
    found = client.generate_many([[1], [2]], max_new_tokens=3, stop=[], meanwhile=done.set)
    assert seen == [True]
    assert [answer.text for answer in found if isinstance(answer, Generation)] == [" one", " two"]


def test_what_is_done_meanwhile_is_done_once_though_the_request_fails(client: Client, asked: Asked) -> None:
    calls: list[int] = []
    with Client(f"http://127.0.0.1:{free_port()}", KEY, timeout_s=20) as alone:
        (failed,) = alone.generate_many([[1]], max_new_tokens=3, stop=[], meanwhile=lambda: calls.append(1))
    assert isinstance(failed, RequestFailed)
    # Refused as a whole and then asked one by one; choices of one token and of two are two requests.
    asked.answer = lambda _body: 400
    client.score_many([([1], [[2], [3]]), ([1], [[2, 2], [3]])], meanwhile=lambda: calls.append(2))
    assert calls == [1, 2]


def test_nothing_is_waited_for_once_the_answer_is_there_though_something_is_done_still(
    asked: Asked, client: Client
) -> None:
    asked.answer = lambda _body: generated(" one")
    stands_still = []

    def meanwhile() -> None:
        for _ in range(200):
            seconds = client.waiting.seconds
            time.sleep(0.05)
            stands_still.append(client.waiting.seconds == seconds)
            if stands_still[-1]:
                return

    client.generate_many([[1]], max_new_tokens=3, stop=[], meanwhile=meanwhile)
    assert stands_still[-1]


def test_prompts_are_continued_greedily_in_one_request(asked: Asked, client: Client) -> None:
    asked.answer = lambda _body: [
        generated(" one"),
        generated(" two", finish_reason={"type": "length"}, completion_tokens=3),
    ]
    assert client.generate_many([[1], [2, 3]], max_new_tokens=3, stop=["Q"]) == [
        Generation(text=" one", finish_reason="stop", tokens=2),
        Generation(text=" two", finish_reason="length", tokens=3),
    ]
    sampling = {"temperature": 0.0, "max_new_tokens": 3, "stop": ["Q"]}
    [body] = asked.bodies
    assert len(set(body.pop("rid"))) == 2
    assert body == {"input_ids": [[1], [2, 3]], "sampling_params": [sampling, sampling]}


def test_an_abort_is_of_one_prompt_and_an_error_of_all(asked: Asked, client: Client) -> None:
    too_long = {"type": "abort", "message": "the prompt is too long"}
    asked.answer = lambda _body: [generated("", finish_reason=too_long), generated(" two")]
    first, second = client.generate_many([[1], [2]], max_new_tokens=3, stop=[])
    assert str(first) == "the server aborted the request: the prompt is too long"
    assert isinstance(second, Generation)
    asked.answer = lambda _body: 500
    answers = client.generate_many([[1], [2]], max_new_tokens=3, stop=[])
    assert ["HTTP 500" in str(answer) for answer in answers] == [True, True]


@pytest.mark.parametrize("refusal", [400, "half an ans", [generated(" one")]])
def test_a_prompt_for_which_a_request_is_refused_is_blamed_alone(
    asked: Asked, client: Client, refusal: object
) -> None:
    bad = [2, 2]

    def answer(body: Body) -> Any:
        prompts = body.get("input_ids", [])
        return refusal if bad in (prompts, *prompts) else generated(" fine")

    asked.answer = answer
    answers = client.generate_many([[1], bad, [3]], max_new_tokens=3, stop=[])
    assert [isinstance(answer, Generation) for answer in answers] == [True, False, True]
    # Together, then from an empty cache each by itself, once, in the same order.
    assert [path.partition("?")[0] for _method, path, _body in asked.requests] == [
        "/generate",
        "/flush_cache",
        *["/generate"] * 3,
    ]
    prompts = [body["input_ids"] for body in asked.bodies if body]
    assert prompts == [[[1], bad, [3]], [1], bad, [3]]
    assert client.traffic == Traffic(answers=2, prompt=2, uncertain=6, alone=3)


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_what_is_no_fault_of_a_prompt_is_not_asked_again(asked: Asked, client: Client, status: int) -> None:
    asked.answer = lambda _body: status
    answers = client.generate_many([[1], [2]], max_new_tokens=3, stop=[])
    assert [f"HTTP {status}" in str(answer) for answer in answers] == [True, True]
    assert len(asked.requests) == 1


def test_fewer_answers_than_prompts_are_none(asked: Asked, client: Client) -> None:
    asked.answer = lambda body: 503 if body == {} else [generated(" one")]
    answers = client.generate_many([[1], [2]], max_new_tokens=3, stop=[])
    # The cache could not be emptied: nothing is asked in another state.
    assert [str(answer) for answer in answers] == ["2 prompts were sent as one request, 1 answers came"] * 2


def test_what_all_prompts_of_a_request_begin_with_is_prefilled_once_before_them(asked: Asked, client: Client) -> None:
    """Ten questions behind the same examples: the examples cost one prefill, not ten."""
    examples = list(range(1000, 1000 + SHARED_PREFIX))
    prompts = [[*examples, question] for question in range(10)]
    asked.answer = lambda body: generated("") if isinstance(body["rid"], str) else [generated(" a")] * len(prompts)
    answers = client.generate_many(prompts, max_new_tokens=3, stop=[])
    assert all(isinstance(answer, Generation) for answer in answers)
    assert [body["input_ids"] for body in asked.bodies] == [examples, prompts]
    assert asked.bodies[0]["sampling_params"]["max_new_tokens"] == 0
    # What the ranks prefill is held to what was asked: the examples were.
    assert client.traffic.answers == 1 + len(prompts)


def test_that_their_common_beginning_could_not_be_prefilled_is_told_by_the_prompts_alone(
    asked: Asked, client: Client
) -> None:
    prompts = [[*range(SHARED_PREFIX), question] for question in (1, 2)]
    asked.answer = lambda body: 503 if isinstance(body["rid"], str) else [generated(" a"), generated(" b")]
    answers = client.generate_many(prompts, max_new_tokens=3, stop=[])
    assert [isinstance(answer, Generation) for answer in answers] == [True, True]
    assert client.traffic.uncertain == SHARED_PREFIX


def test_what_is_short_or_alone_is_not_prefilled_before(asked: Asked, client: Client) -> None:
    asked.answer = lambda _body: 503
    client.generate_many(
        [[*range(SHARED_PREFIX - 1), question] for question in (10**6, 10**6 + 1)], max_new_tokens=3, stop=[]
    )
    client.generate_many([list(range(SHARED_PREFIX))], max_new_tokens=3, stop=[])
    assert len(asked.requests) == 2


def test_one_prompt_is_sent_as_one_and_its_failure_raised(asked: Asked, client: Client) -> None:
    asked.answer = lambda _body: generated(" one")
    assert client.generate([7], max_new_tokens=1, stop=()).text == " one"
    assert asked.bodies[0]["input_ids"] == [7]
    asked.answer = lambda _body: 500
    with pytest.raises(RequestFailed, match="HTTP 500"):
        client.generate([7], max_new_tokens=1, stop=())


def test_choices_of_one_token_are_read_from_one_pass(asked: Asked, client: Client) -> None:
    asked.answer = lambda _body: generated(
        "", output_token_ids_logprobs=[[[-0.5, 20, None], [-1.5, 10, None]]], output_token_logprobs=[[-0.5, 20, None]]
    )
    scores = client.score([1, 2], [[10], [20]])
    # In the order asked, whatever order the server names them in.
    assert scores == Scores(logprobs=(-1.5, -0.5), greedy=(False, True), tokens=(1, 1))
    [body] = asked.bodies
    assert (body["input_ids"], body["token_ids_logprob"], body["logprob_start_len"]) == ([1, 2], [10, 20], -1)


def continued(body: Body, logprob: float = -0.25) -> list[Body]:
    """Score each choice token with the same log-probability; greedy decoding always gives token 10."""
    return [
        generated(
            "",
            input_token_logprobs=[
                [None, tokens[start], None],
                *([logprob, token, None] for token in tokens[start + 1 :]),
            ],
            input_top_logprobs=[None, *([[logprob, 10, None]] for _ in tokens[start + 1 :])],
        )
        for tokens, start in zip(body["input_ids"], body["logprob_start_len"], strict=True)
    ]


def test_a_longer_choices_score_is_the_sum_of_its_tokens(asked: Asked, client: Client) -> None:
    asked.answer = continued
    assert client.score([1, 2], [[10], [10, 30]]) == Scores(
        logprobs=(-0.25, -0.5), greedy=(True, False), tokens=(1, 2)
    )
    [body] = asked.bodies
    assert (body["input_ids"], body["logprob_start_len"]) == ([[1, 2, 10], [1, 2, 10, 30]], [1, 1])


def test_scores_of_other_tokens_are_a_failure(asked: Asked, client: Client) -> None:
    def others(body: Body) -> list[Body]:
        answers = continued(body)
        answers[1]["meta_info"]["input_token_logprobs"][-1][1] += 1
        return answers

    asked.answer = others
    with pytest.raises(RequestFailed, match=r"^asked for the log-probabilities of \[10, 30\], got those of "):
        client.score([1, 2], [[10], [10, 30]])


def test_questions_of_both_forms_keep_their_places(asked: Asked, client: Client) -> None:
    """Each form is a request of its own; the answers come back in the order of the questions."""

    def answer(body: Body) -> Any:
        if "token_ids_logprob" in body:
            first = generated(
                "", output_token_ids_logprobs=[[[-3.0, 5, None]]], output_token_logprobs=[[-3.0, 5, None]]
            )
            second = generated(
                "", output_token_ids_logprobs=[[[-4.0, 6, None]]], output_token_logprobs=[[-4.0, 6, None]]
            )
            return [first, second]
        return continued({name: [value] for name, value in body.items()})[0]

    asked.answer = answer
    scores = client.score_many([([1], [[5]]), ([1], [[10, 10]]), ([1], [[6]])])
    assert [score.logprobs for score in scores if isinstance(score, Scores)] == [(-3.0,), (-0.5,), (-4.0,)]
    assert len(asked.requests) == 2


def test_texts_are_prefilled_whole_from_an_empty_cache(asked: Asked, client: Client) -> None:
    asked.answer = lambda _body: [generated("a"), generated("b")]
    shared = list(range(SHARED_PREFIX))
    answers = client.prefill_many([[*shared, 10**6], [*shared, 10**6 + 1]])
    assert not any(isinstance(answer, RequestFailed) for answer in answers)
    assert [path.partition("?")[0] for _, path, _ in asked.requests] == ["/flush_cache", "/generate"]
    assert asked.bodies[1]["input_ids"] == [[*shared, 10**6], [*shared, 10**6 + 1]]
    asked.answer = lambda _body: 500
    assert all(isinstance(answer, RequestFailed) for answer in client.prefill_many([[1], [2]]))
    # Where the cache cannot be emptied, nothing is asked.
    assert len(asked.requests) == 3
    assert client.prefill_many([]) == []
    assert len(asked.requests) == 3


def test_an_answer_without_end_is_cut_off(asked: Asked, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LARGEST_ANSWER", 10_000)
    asked.answer = lambda _body: generated("x" * 20_000)
    with pytest.raises(RequestFailed, match="the answer is larger than 10000 bytes"):
        client.generate([1, 2], max_new_tokens=4, stop=())


def test_an_answer_that_only_drips_is_given_up(asked: Asked) -> None:
    """Each piece comes in time, the whole does not."""
    asked.pause_s = 0.05
    asked.answer = lambda _body: generated("x" * 200)
    with (
        Client(f"http://127.0.0.1:{asked.http.server_port}", KEY, timeout_s=0.5) as patient,
        pytest.raises(RequestFailed, match=r"the answer was not whole after 0\.5 s"),
    ):
        patient.generate([1, 2], max_new_tokens=4, stop=())


def test_traffic_counts_what_was_prefilled_for_certain_and_what_may_have_been(asked: Asked, client: Client) -> None:
    asked.answer = lambda _body: [generated("a", cached_tokens=1), generated("b", num_retractions=2)]
    client.generate_many([[1, 2, 3], [4, 5]], max_new_tokens=4, stop=())
    asked.answer = lambda _body: 500
    client.generate_many([[1, 2, 3, 4]], max_new_tokens=4, stop=())
    # Taken back twice: its prompt of 2 and the 2 generated tokens may have been prefilled again each time.
    assert client.traffic == Traffic(answers=2, prompt=5, cached=1, uncertain=2 * (2 + 2) + 4)
