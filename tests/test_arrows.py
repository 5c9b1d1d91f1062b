"""The folders import each other one way only, as the README draws it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Folder → those of ours that it may import from, besides itself.
ARROWS = {
    "bitstream": set(),
    "models": set(),
    "codec": {"bitstream", "models"},
    "benchmarks": {"bitstream", "codec", "models"},
    "cli": {"benchmarks", "bitstream", "codec", "models"},
}


def imported(path):
    """Dotted names of the modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(folder):
    """Files of a folder, without those of studies."""
    files = (ROOT / folder).rglob("*.py")
    return [path for path in files if "studies" not in path.relative_to(ROOT).parts]


@pytest.mark.parametrize("folder", ARROWS)
def test_a_folder_imports_only_what_is_below_it(folder):
    for path in modules(folder):
        for name in imported(path):
            top = name.split(".")[0]
            assert top not in ARROWS or top == folder or top in ARROWS[folder], (path, name)
            assert not name.startswith("models.studies"), (path, name)


def test_the_engine_of_benchmarks_does_not_import_its_commands():
    for path in modules("benchmarks/bench"):
        for name in imported(path):
            assert not name.startswith("benchmarks") or name.startswith("benchmarks.bench"), path
