"""The plugin's settings travel through the environment whole."""

from pathlib import Path

import pytest

from harness.sglang_plugin.policy import Choice
from harness.sglang_plugin.settings import Settings

ALL = Settings(
    dir=Path("/logs"),
    codec="my.kernels:sum",
    algorithm="two_shot",
    claims="int8_token",
    check_every=97,
    capture=Path("/kept.pt"),
    study=Path("/study"),
    virtual_ranks=3,
    one_gpu=True,
    go=Path("/go"),
)


@pytest.mark.parametrize("settings", [ALL, Settings(dir=Path("/logs"))])
def test_what_is_sent_arrives(settings: Settings) -> None:
    assert Settings.from_env({"PATH": "/bin", **settings.env()}) == settings


def test_a_server_that_is_not_ours_has_none() -> None:
    assert Settings.from_env({"HARNESS_PLUGIN_CODEC": "int8_token"}) is None


def test_what_is_no_number_is_refused_all_at_once() -> None:
    env = {"HARNESS_PLUGIN_DIR": "/logs", "HARNESS_PLUGIN_CHECK_EVERY": "-1", "HARNESS_PLUGIN_VIRTUAL_RANKS": "two"}
    with pytest.raises(ValueError, match=r"HARNESS_PLUGIN_CHECK_EVERY='-1'.*HARNESS_PLUGIN_VIRTUAL_RANKS='two'"):
        Settings.from_env(env)
    with pytest.raises(ValueError, match="VIRTUAL_RANKS=1 cuts nothing"):
        Settings.from_env({"HARNESS_PLUGIN_DIR": "/logs", "HARNESS_PLUGIN_VIRTUAL_RANKS": "1"})


def test_codec_and_algorithm_are_a_policy_of_one_rule() -> None:
    choice = Choice(codec="my.kernels:sum", algorithm="two_shot", claims="int8_token")
    assert ALL.policy().choice("ffn", 5) == choice
    assert Settings(dir=Path("/logs"), codec="plain").policy().choice("ffn", 5) is None
