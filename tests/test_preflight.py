import json
import os
import sys
from pathlib import Path

import pytest

from harness import preflight
from harness.config import ROOT
from harness.errors import HarnessError
from harness.plan import Plan
from harness.preflight import Sglang, check_sglang
from tests.support import make, write_interpreter


def planned(folder: Path, script: str) -> Plan:
    """Plan a run whose server's interpreter is a shell script."""
    write_interpreter(folder / "bin", script)
    return make(folder)


def refused(plan: Plan) -> str:
    with pytest.raises(HarnessError) as caught:
        check_sglang(plan)
    return str(caught.value).removeprefix(f"{plan.server_python} ")


def test_all_is_well(tmp_path: Path) -> None:
    script = """echo '{"sglang": "0.5.23", "problems": [], "settings": ["tp_size", "port"], "packages": "torch 2"}'"""
    assert check_sglang(planned(tmp_path, script)) == Sglang(
        version="0.5.23", settings=frozenset({"tp_size", "port"}), packages="torch 2"
    )


def test_it_is_asked_with_both_arms_arguments_in_the_servers_environment(tmp_path: Path) -> None:
    script = f"""cat > {tmp_path}/request; env > {tmp_path}/env; echo "$@" > {tmp_path}/arguments
echo '{{"sglang": "1", "problems": [], "settings": [], "packages": ""}}'"""
    plan = planned(tmp_path, script)
    check_sglang(plan)
    request = json.loads((tmp_path / "request").read_text())
    assert request["codec"] == "int8_token"
    assert request["arms"].keys() == {"baseline", "compressed"}
    for arm in plan.arms:
        asked = request["arms"][arm.name]
        assert asked[0] == "--model-path"
        assert asked[asked.index("--port") + 1] == "1"
        assert len(asked) == len(arm.argv) - 2
    assert request["arms"]["compressed"] == [*request["arms"]["baseline"], "--enable-quant-communications"]
    environment = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line)
    assert environment["PYTHONPATH"] == plan.arms[0].env["PYTHONPATH"]
    assert (tmp_path / "arguments").read_text() == "-m harness.sglang_probe\n"


def test_all_problems_at_once(tmp_path: Path) -> None:
    problems = ["one is wrong", "two is wrong", "three is wrong"]
    script = f"""echo '{json.dumps({"sglang": "1", "problems": problems, "settings": [], "packages": ""})}'"""
    assert refused(planned(tmp_path, script)).splitlines() == problems


@pytest.mark.parametrize(
    "output",
    [
        "",
        "warning: something",
        '{"sglang": ',
        "null",
        "[]",
        "3",
        "{}",
        '{"sglang": "1", "problems": []}',
        '{"problems": []}',
        '{"sglang": "1"}',
    ],
)
def test_garbage_in_place_of_an_answer(tmp_path: Path, output: str) -> None:
    assert refused(planned(tmp_path, f"echo '{output}'")).startswith("cannot examine its SGLang: ")


def test_bytes_in_place_of_an_answer(tmp_path: Path) -> None:
    assert refused(planned(tmp_path, r"printf '\377\376\000'")).startswith("cannot examine its SGLang: ")


def test_a_failure_shows_the_end_of_what_was_said(tmp_path: Path) -> None:
    script = "i=0; while [ $i -lt 500 ]; do echo line $i >&2; i=$((i+1)); done; echo the cause >&2; exit 1"
    said = refused(planned(tmp_path, script))
    assert said.startswith("cannot examine its SGLang (exit code 1):\n")
    assert said.rstrip().endswith("the cause")
    assert "line 0\n" not in said
    assert len(said) < preflight.SHOWN_STDERR + 100


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", -9)])
def test_a_silent_end_is_told_by_its_code(tmp_path: Path, script: str, code: int) -> None:
    assert refused(planned(tmp_path, script)) == f"cannot examine its SGLang (exit code {code}):\n"


def test_it_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "TIMEOUT_S", 0.2)
    assert refused(planned(tmp_path, "exec sleep 60")) == "did not import SGLang within 0.2 s"


def test_a_file_that_cannot_be_run(tmp_path: Path) -> None:
    plan = planned(tmp_path, "")
    Path(plan.server_python).chmod(0o644)
    if os.access(plan.server_python, os.X_OK):
        pytest.skip("this user may run any file")
    assert "Permission denied" in refused(plan)


def test_an_interpreter_that_vanished(tmp_path: Path) -> None:
    plan = planned(tmp_path, "")
    Path(plan.server_python).unlink()
    assert refused(plan).startswith("cannot examine its SGLang: ")


def probed(folder: Path, *paths: Path) -> Plan:
    """Plan a run in which this interpreter, with `paths`, runs the probe itself."""
    plan = planned(folder, f'exec "{sys.executable}" "$@"')
    for arm in plan.arms:
        arm.env["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, *paths)))
    return plan


def test_an_interpreter_without_sglang_says_so(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=f"^SGLang is not installed for {sys.executable}$"):
        check_sglang(probed(tmp_path))


def test_every_problem_of_an_installed_sglang_at_once(tmp_path: Path) -> None:
    """A stand-in for an SGLang without plugins, whose parser knows some of the arguments."""
    site = tmp_path / "site"
    (site / "sglang-9.9.dist-info").mkdir(parents=True)
    (site / "sglang-9.9.dist-info" / "METADATA").write_text("Name: sglang\nVersion: 9.9\n")
    (site / "sglang" / "srt").mkdir(parents=True)
    (site / "sglang" / "srt" / "server_args.py").write_text(
        "class ServerArgs:\n    @staticmethod\n    def add_cli_args(parser):\n"
        "        parser.add_argument('--known')\n        print('noise on standard output')\n"
    )
    plan = probed(tmp_path, site)
    plan.arms[0].argv[2:] = ["--known", "1"]
    plan.arms[1].argv[2:] = ["--known", "1", "--enable-quant-communications"]
    plan.arms[0].env["HARNESS_PLUGIN_CODEC"] = "no such codec"
    with pytest.raises(HarnessError) as caught:
        check_sglang(plan)
    mechanism, plugin, codec, arguments = str(caught.value).splitlines()
    assert mechanism.startswith("SGLang 9.9 has no plugin mechanism")
    assert plugin.startswith("the plugin tp_compression_harness is not visible to ")
    assert codec.startswith("the codec 'no such codec' cannot be used: ")
    assert arguments == (
        "SGLang 9.9 refuses the compressed arm's arguments: unrecognized arguments: --enable-quant-communications"
    )
