"""Studies may use production; production knows nothing of them, and neither does the wheel."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("models", "codec", "cli", "bitstream", "benchmarks")


def test_no_production_file_imports_a_study():
    files = [f for name in PACKAGES for f in (ROOT / name).rglob("*.py")]
    production = [f for f in files if not f.is_relative_to(ROOT / "models" / "studies")]
    importing = re.compile(r"^\s*(from|import)\s.*\bstudies\b", re.MULTILINE)
    assert len(production) > 100
    assert [f for f in production if importing.search(f.read_text())] == []


def test_the_wheel_leaves_studies_out():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["packages"]["find"]["exclude"] == ["models.studies*"]
