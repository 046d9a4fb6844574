"""Who may import what, compared with the tables of docs/architecture.md: they are the only place that says it."""

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import takewhile
from pathlib import Path

import pytest

from harness.places import ROOT

PACKAGE = ROOT / "harness"
# Run in the server's interpreter, which has nothing of the harness's environment.
SERVER_SIDE = ("collective", "sglang_plugin")
Table = dict[str, list[str]]


def tables() -> list[Table]:
    """Return the section's tables, each as what stands beside a name."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split("## Who may import what\n")[1].split("\n## ")[0].splitlines()
    starts = [index for index, line in enumerate(section) if line.startswith("|---")]
    found = []
    for start in starts:
        rows = takewhile(lambda line: line.startswith("|"), section[start + 1 :])
        cells = [[re.findall("`([^`]+)`", cell) for cell in row.strip("|").split("|")] for row in rows]
        found.append({name: allowed for names, allowed in cells for name in names})
    return found


MAY_IMPORT, ALONE_IN = tables()
# Of these, the plugin's part is what it and the harness tell each other: both sides import it.
EVERYBODYS = [
    name
    for name in MAY_IMPORT
    if name.startswith("sglang_plugin.") or name in ("errors", "strict", "places", "safety", "malloc")
]


def module_of(file: Path) -> str:
    """Return a file's name within the package: `judge.drop`; a package's own file is the package."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_of(file): file for file in PACKAGE.rglob("*.py") if file.parent != PACKAGE or file.stem != "__init__"
}


def imported(file: Path) -> Iterator[tuple[int, str]]:
    """Yield each import's line and whole name, wherever in the file it stands."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: name the package: relative imports are not read here"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def own(name: str) -> str | None:
    """Return the module of the harness that an import is of, None for an import of something else."""
    if not f"{name}.".startswith("harness."):
        return None
    parts = name.split(".")[1:]
    ends = (len(parts), len(parts) - 1)
    return next((found for end in ends if (found := ".".join(parts[:end])) in MODULES), parts[0] if parts else "")


def below(module: str, names: list[str]) -> bool:
    return any(f"{module}.".startswith(f"{name}.") for name in names)


def unit(module: str) -> str:
    """Return the row that a module is of: its own, or its package's."""
    return module if module in MAY_IMPORT else module.split(".", maxsplit=1)[0]


def wrong_imports() -> Iterator[str]:
    for module, file in sorted(MODULES.items()):
        package = unit(module)
        if package == "__main__":
            continue
        for line, name in imported(file):
            where = f"harness/{file.relative_to(PACKAGE)}:{line}"
            if (its := own(name)) is not None:
                if unit(its) not in (package, *EVERYBODYS, *MAY_IMPORT.get(package, ())):
                    yield f"{where}: {package} may not import {name}"
                continue
            library = name.split(".")[0]
            if package.startswith("sglang_plugin.") and library not in sys.stdlib_module_names:
                yield f"{where}: {package} imports the standard library alone, not {library}"
            elif library in ALONE_IN:
                if not below(module, ALONE_IN[library]):
                    yield f"{where}: {library} is imported by {', '.join(ALONE_IN[library])} alone"
            elif package in SERVER_SIDE and library not in sys.stdlib_module_names:
                yield f"{where}: {library} is neither the standard library nor one of {', '.join(ALONE_IN)}"


def test_every_import_is_one_that_the_tables_allow() -> None:
    assert list(wrong_imports()) == []


def test_the_tables_name_what_there_is() -> None:
    assert set(MAY_IMPORT) == {unit(module) for module in MODULES} - {"__main__"}
    assert [
        name
        for names in ALONE_IN.values()
        for name in names
        if not (PACKAGE / name.replace(".", "/")).exists() and name not in MODULES
    ] == []


def test_every_package_imports_only_what_stands_above_it() -> None:
    above: set[str] = set()
    for package, others in MAY_IMPORT.items():
        assert set(others) <= above, f"{package}'s row names what stands below it or is no package"
        above.add(package)


def test_no_file_imports_itself_by_way_of_others() -> None:
    graph = {
        module: {its for _line, name in imported(file) if (its := own(name)) and its != module}
        for module, file in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")


def test_the_package_itself_imports_nothing() -> None:
    assert list(imported(PACKAGE / "__init__.py")) == []


@pytest.mark.parametrize(
    ("package", "line", "says"),
    [
        ("stats/extra.py", "from harness.judge.drop import Drop", "stats may not import harness.judge.drop.Drop"),
        ("report/extra.py", "import httpx", "httpx is imported by serve alone"),
        ("sglang_plugin/policy.py", "import torch", "sglang_plugin.policy imports the standard library alone"),
        ("judge/extra.py", "def f():\n    import lm_eval.api", "lm_eval is imported by ask alone"),
        ("collective/extra.py", "import numpy", "numpy is neither the standard library nor one of torch, "),
        ("collective/extra.py", "from harness.stats import ALPHA", "collective may not import harness.stats.ALPHA"),
    ],
)
def test_a_wrong_import_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, line: str, says: str
) -> None:
    file = tmp_path / package
    file.parent.mkdir()
    file.write_text(line)
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "MODULES", {module_of(file): file})
    [found] = wrong_imports()
    assert says in found
