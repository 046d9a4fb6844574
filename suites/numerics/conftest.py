"""The suite's options, its pool of processes, and its table of subject x promise x case."""

import math
import pickle
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from harness.collective import UnknownCodecError, get_codec
from harness.collective.candidate import ALGORITHMS
from harness.collective.implementation import load_implementation
from suites.numerics.cases.case import DTYPES, Case, in_dtypes
from suites.numerics.figures import Figures, measure
from suites.numerics.promises import PROMISES
from suites.numerics.table import ROUNDS, report
from suites.numerics.trial.subject import Subject, choose_subjects
from suites.ranks.pool import COMPILING_TIMEOUT_S, JOB_TIMEOUT_S, Pool

RANKS = {"cpu": "2,3,4,8", "cuda": "2,3"}
"""The rank counts by device. Ranks on a GPU are processes that share it. Two would hide an order of addition."""

ABOUT_ANY_IMPLEMENTATION = ("test_conformance.py", "test_properties.py", "test_table.py")
"""What is left of the suite under --impl: the other files test this library and the suite itself."""


STARTED = pytest.StashKey[float]()

FIGURES = pytest.StashKey[Figures]()
"""What was measured for the table at the session's end."""


def pytest_addoption(parser: pytest.Parser) -> None:
    options = parser.getgroup("numerics", "conformance of a quantized all-reduce")
    options.addoption("--impl", help="test package.module:function, called as f(x, group), not the library")
    options.addoption("--codec", help="the claimed codec (default: int8_token for --impl, else all)")
    options.addoption(
        "--algorithm", choices=ALGORITHMS, help="the claimed algorithm (default: one_shot for --impl, else both)"
    )
    options.addoption("--dtypes", default="bf16,fp16,fp32", help="what the implementation takes (default: all)")
    options.addoption("--ranks", help="rank counts (default: 2,3,4,8; on a GPU 2,3)")
    options.addoption("--device", default="cpu", choices=tuple(RANKS), help="where the tensors are (default: cpu)")
    options.addoption(
        "--backend", default="gloo", choices=("gloo", "nccl"), help="nccl: with --device cuda, a GPU a rank"
    )
    options.addoption("--check", choices=sorted(PROMISES), help="this promise only")
    options.addoption("--case", help="this case only, as a failure prints it; with --check")
    options.addoption("--keep-going", action="store_true", help="with --impl: don't stop at the first failure")
    options.addoption(
        "--limit-s",
        type=float,
        help="end after so many seconds, with exit code 2 (default: 120 for --impl, else none)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.option.ranks = config.option.ranks or RANKS[config.option.device]
    if config.option.impl and not config.option.keep_going:
        config.option.maxfail = 1
    if config.option.case and not config.option.check:
        raise pytest.UsageError("--case needs the --check that judges it")
    _refuse_mistakes(config)
    if hasattr(config, "workerinput"):
        # pytest-xdist's processes, with torch's threads in each, wait for each other's cores: six times as long.
        torch.set_num_threads(1)


def _refuse_mistakes(config: pytest.Config) -> None:
    """Says what is wrong with the options, before anything starts."""
    option = config.option
    if option.device == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda needs an NVIDIA GPU and a CUDA build of torch; torch sees no GPU here")
    if unknown := set(option.dtypes.split(",")) - DTYPES.keys():
        raise pytest.UsageError(f"--dtypes takes {', '.join(DTYPES)}, not {', '.join(sorted(unknown))}")
    if any(not count.isdigit() or int(count) < 2 for count in option.ranks.split(",")):
        raise pytest.UsageError(f"--ranks takes numbers from 2 on, such as 2,4, not {option.ranks!r}")
    largest = max(chosen_ranks(config))
    if option.backend == "nccl" and (option.device != "cuda" or torch.cuda.device_count() < largest):
        raise pytest.UsageError(
            f"--backend nccl needs --device cuda and {largest} GPUs, one a rank; torch sees "
            f"{torch.cuda.device_count()}: choose fewer ranks with --ranks"
        )
    try:
        if option.case:
            Case.parse(option.case)
        if option.codec:
            get_codec(option.codec)
        if option.impl:
            load_implementation(option.impl)
    except UnknownCodecError as error:
        raise pytest.UsageError(f"--codec: {error}") from error
    except (ValueError, TypeError, ImportError) as error:
        raise pytest.UsageError(f"--impl or --case: {error}") from error


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.option.impl and not config.option.check:
        if hasattr(config, "workerinput"):
            # By far the longest: the last to begin, all other processes would wait for it.
            items.sort(key=lambda item: item.path.name != "test_table.py")
        return
    wanted = ("test_conformance.py",) if config.option.check else ABOUT_ANY_IMPLEMENTATION
    kept = [item for item in items if item.path.name in wanted]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_sessionstart(session: pytest.Session) -> None:
    """Notes when the session began."""
    session.config.stash[STARTED] = time.monotonic()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Ends the session in time, with pytest's exit code 2: what wasn't tried is neither right nor wrong."""
    option = item.config.option
    limit = option.limit_s if option.limit_s is not None else 120.0 if option.impl else math.inf
    if nextitem and time.monotonic() - item.config.stash[STARTED] > limit:
        items = item.session.items
        left = items[items.index(nextitem) :]
        item.session.shouldstop = (
            f"{limit:.0f} seconds are up, and {len(left)} of {len(items)} tests were not run: {_named(left)} "
            "(--limit-s allows more, --ranks 2 takes less)"
        )


def _named(items: Sequence[pytest.Item]) -> str:
    """How many of which promise, or else of which test."""
    names = Counter(
        str(item.callspec.params.get("promise", item.originalname)) if hasattr(item, "callspec") else item.name
        for item in items
        if isinstance(item, pytest.Function)
    )
    return ", ".join(f"{name} {count}" for name, count in names.items())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Lets a failure count for more than what was not run after it, and hands the figures to who shows them."""
    if session.shouldstop and session.testsfailed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if figures := session.config.stash.get(FIGURES, None):
        # Of pytest-xdist's processes; there is no such attribute in a session of one.
        getattr(session.config, "workeroutput", {})["figures"] = pickle.dumps(figures)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes the figures of the process that measured them."""
    if figures := getattr(node, "workeroutput", {}).get("figures"):
        node.config.stash[FIGURES] = pickle.loads(figures)  # noqa: S301 - of a process of ours


def pytest_terminal_summary(config: pytest.Config) -> None:
    """Prints the table people read, and writes it to reports/."""
    if figures := config.stash.get(FIGURES, None):
        report(figures, config.option.impl or "the bundled quant_all_reduce")


def chosen_ranks(config: pytest.Config) -> list[int]:
    """The rank counts to run: those of --ranks, or the one of --case."""
    if config.option.case:
        return [Case.parse(config.option.case).ranks]
    return [int(count) for count in config.option.ranks.split(",")]


def chosen_dtypes(config: pytest.Config) -> list[str]:
    """The dtypes that the implementation takes."""
    return [str(name) for name in config.option.dtypes.split(",")]


def chosen_subjects(config: pytest.Config) -> list[Subject]:
    """The subjects that the options name."""
    option = config.option
    return choose_subjects(option.impl, option.codec, option.algorithm)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    subjects = chosen_subjects(metafunc.config)
    if {"subject", "promise", "case"} <= set(metafunc.fixturenames):
        table = [
            pytest.param(subject, name, case, id=f"{subject}-{name}-{case}".replace(" ", ","))
            for subject in subjects
            for name in ([metafunc.config.option.check] if metafunc.config.option.check else PROMISES)
            for case in cases(metafunc.config, subject, name)
        ]
        metafunc.parametrize(("subject", "promise", "case"), table)
    elif "subject" in metafunc.fixturenames:
        metafunc.parametrize("subject", subjects, ids=str)


def cases(config: pytest.Config, subject: Subject, promise: str) -> Iterator[Case]:
    """One promise's cases for one subject, over all rank counts."""
    if config.option.case:
        yield Case.parse(config.option.case)
        return
    for ranks in chosen_ranks(config):
        for case in in_dtypes(PROMISES[promise].cases(subject, ranks), chosen_dtypes(config)):
            if subject.takes(case.shape[-1]):
                yield case


@pytest.fixture(scope="session")
def pool(pytestconfig: pytest.Config) -> Iterator[Pool]:
    """The pool, started with the first case that needs it."""
    option = pytestconfig.option
    timeout_s = COMPILING_TIMEOUT_S if option.backend == "nccl" else JOB_TIMEOUT_S
    with Pool(chosen_ranks(pytestconfig), option.device, option.backend, timeout_s) as started:
        yield started


@pytest.fixture(scope="session")
def rank_counts(pytestconfig: pytest.Config) -> list[int]:
    """The rank counts to run."""
    return chosen_ranks(pytestconfig)


@pytest.fixture(scope="session")
def dtypes(pytestconfig: pytest.Config) -> list[str]:
    """The dtypes that the implementation takes."""
    return chosen_dtypes(pytestconfig)


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config, pool: Pool, rank_counts: list[int], dtypes: list[str]) -> Figures:
    """Everything in the table, in bf16 where the implementation takes it: timings are of bf16 alone.

    Beside other processes' tests times would say nothing: there none is taken.
    """
    dtype = "bf16" if "bf16" in dtypes else dtypes[0]
    rounds = ROUNDS if dtype == "bf16" and not hasattr(pytestconfig, "workerinput") else 0
    measured = measure(pool, chosen_subjects(pytestconfig), rank_counts, rounds=rounds, dtype=dtype)
    pytestconfig.stash[FIGURES] = measured
    return measured
