"""A server that answers at once, or at a speed that is given, for timing what asks it. It knows nothing of models.

    python -m suites.clients.stand_in --port PORT --config KEY_FILE [--speed QUESTIONS_A_SECOND]

Its answers have SGLang's form (`suites.faults.sglang_answers`), its prompts as many tokens as a model's would have
and its generated texts are as long as GSM8K's, and its ranks write a line for each of the passes that SGLang would
make: one over a request's prompts, then one of decode for each token.
"""

import argparse
import time
from typing import Any

from suites.faults.server import Handler, Mode, Server, bodies_of, key_of
from suites.faults.sglang_answers import Answer, answer, is_known, is_question, tokenize

# English text has about as many letters a token.
LETTERS = 4
WORD = 8
"""Letters of what has a token for each of them: the known answers."""
WORKING = " She has 16 eggs, eats 3, bakes with 4, and sells the 9 that are left for 2 each, which makes 18." * 3
GENERATED = 100


class Words(Handler):
    """Gives a token to every few letters, but to the known answer's prompt, which is read letter by letter."""

    server: "StandIn"

    def tokens(self, text: str) -> list[int]:
        """Return a text's tokens: the ordinals of every fourth letter will do."""
        whole = tokenize(text)
        if is_known(whole) or len(whole) <= WORD:
            return whole
        return [*whole[:-1:LETTERS], whole[-1]]

    def generate(self, body: Answer) -> None:
        """Answer all prompts of a request as one pass over them, and one for each token of the longest answer."""
        began, bodies, several = time.monotonic(), *bodies_of(body)
        asked = sum(map(is_question, bodies))
        found: list[Any] = [answer(each, mode="good") for each in bodies]
        decoded = 1
        if asked and bodies[0]["sampling_params"]["max_new_tokens"] >= GENERATED:
            decoded = GENERATED
            for each in found:
                each["text"] = WORKING + each["text"]
                each["meta_info"]["completion_tokens"] = GENERATED
        if self.server.ranks:
            self.server.ranks.answered(sum(len(each["input_ids"]) for each in bodies), decoded)
        if self.server.speed and asked:
            time.sleep(max(0.0, began + asked / self.server.speed - time.monotonic()))
        self.reply(found if several else found[0])


class StandIn(Server):
    """The server.

    Attributes:
        speed: Questions that it answers in a second; 0 for as many as it can.
    """

    def __init__(self, port: int, speed: float, *, key: str | None) -> None:
        self.speed = speed
        super().__init__(port, Mode("good"), key=key, compressed=False)
        self.RequestHandlerClass = Words


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--config")
    parser.add_argument("--speed", type=float, default=0.0)
    arguments = parser.parse_args()
    StandIn(arguments.port, arguments.speed, key=key_of(arguments.config)).serve_forever()


if __name__ == "__main__":
    main()
