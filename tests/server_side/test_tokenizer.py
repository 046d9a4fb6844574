"""The tokenizer that SGLang will use, asked before a server is up: tokens, context and chat template."""

import pytest

from harness.places import cache
from harness.sglang_plugin.tokenizer import answer

MODEL = cache() / "models" / "SmolLM2-135M-Instruct"
ARGUMENTS = ["--model-path", str(MODEL), "--device", "cpu"]


@pytest.fixture(autouse=True)
def _model() -> None:
    if not MODEL.is_dir():
        pytest.skip("the model is not made ready: `nox -s tests` does that")


def test_texts_are_counted_and_the_context_is_sglangs() -> None:
    found = answer({"arguments": ARGUMENTS, "texts": [["word " * 100, True], ["word", False]], "chats": []})
    assert found["context"] == 8192
    assert found["problem"] == ""
    long, short = found["tokens"]
    assert 100 <= long <= 102
    assert short == 1


def test_the_servers_own_arguments_say_the_context() -> None:
    request = {"arguments": [*ARGUMENTS, "--context-length=512"], "texts": [], "chats": []}
    assert answer(request)["context"] == 512


def test_a_conversation_in_the_models_template() -> None:
    chat = {"messages": [{"role": "user", "content": "Is it?"}], "generate": True, "options": {}}
    [text] = answer({"arguments": ARGUMENTS, "texts": [], "chats": [chat]})["rendered"]
    assert text.endswith("<|im_start|>user\nIs it?<|im_end|>\n<|im_start|>assistant\n")
    silent = {**chat, "generate": False}
    [text] = answer({"arguments": ARGUMENTS, "texts": [], "chats": [silent]})["rendered"]
    assert text.endswith("Is it?<|im_end|>\n")
