"""What documents refer to exists, and decisions have their three parts."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "models" / "weights").glob("*.md")),
]
#: A file of the repository, as a document names it, from the root or from docs/ or benchmarks/.
_FILE = re.compile(r"(?:[\w-]+/)+[\w.-]+\.(?:md|py|json|webp|png|jpg)\b")
_COMMAND = re.compile(r"python -m ((?:models|benchmarks|tests)[\w.]*\w)")


@pytest.mark.parametrize("path", DECISIONS, ids=lambda p: p.name)
def test_a_decision_says_context_what_was_measured_and_the_choice(path):
    for part in ("Context", "Measured", "Choice"):
        assert f"**{part}" in path.read_text()


def test_the_index_lists_every_decision():
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    assert re.findall(r"\]\((0[\w-]+\.md)\)", index) == [path.name for path in DECISIONS]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_commands_that_a_document_names_exist(path):
    text = path.read_text()
    for name in _FILE.findall(text):
        places = (ROOT, ROOT / "docs", ROOT / "benchmarks", path.parent)
        if name.split("/")[0] in {p.name for base in places for p in base.iterdir() if p.is_dir()}:
            assert any((base / name).exists() for base in places), name
    for module in _COMMAND.findall(text):
        file = ROOT / module.replace(".", "/")
        assert file.with_suffix(".py").exists() or (file / "__main__.py").exists(), module
