"""The bytes of encoded messages."""

import pytest
import torch

from harness.collective import codec_names, get_codec
from harness.collective.messages import MessageFormat

SHAPES = [(1, 1), (3, 5), (2, 67), (4, 130)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", codec_names())
def test_what_is_written_to_a_message_is_read_from_it(name: str, shape: tuple[int, int]) -> None:
    """Also where the scales lie at odd addresses, which torch has no view of."""
    codec = get_codec(name)
    message = MessageFormat(codec, *shape, torch.bfloat16)
    messages = message.empty(3, torch.device("cpu"))
    assert messages.shape == (3, shape[0] * codec.row_bytes(shape[1], torch.bfloat16))
    encoded = [codec.encode(torch.randn(shape).bfloat16(), torch.bfloat16) for _ in messages]
    for target, parts in zip(messages, encoded, strict=True):
        with message.writing(target) as own:
            for place, part in zip(own, parts, strict=True):
                place.copy_(part)
    for index, gathered in enumerate(message.parts(messages)):
        assert torch.equal(gathered, torch.stack([parts[index] for parts in encoded]))


def test_parts_lie_one_after_the_other() -> None:
    message = MessageFormat(get_codec("int8_token"), 2, 4, torch.bfloat16)
    messages = message.empty(1, torch.device("cpu"))
    with message.writing(messages[0]) as (stored, scale):
        stored.copy_(torch.arange(8).view(2, 4))
        scale.copy_(torch.tensor([[1.0], [-2.0]]))
    assert messages[0, :8].tolist() == list(range(8))
    assert messages[0, 8:].clone().view(torch.float32).tolist() == [1.0, -2.0]


def test_aligned_messages_are_read_where_they_are() -> None:
    message = MessageFormat(get_codec("int8_token"), 2, 4, torch.bfloat16)
    messages = message.empty(2, torch.device("cpu"))
    storage = messages.untyped_storage().data_ptr()
    assert all(part.untyped_storage().data_ptr() == storage for part in message.parts(messages))
