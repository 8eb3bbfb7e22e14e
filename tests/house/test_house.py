from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("chunker", "blockstore", "catalog", "httpapi")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LONGEST = 300


def test_imports_go_down_and_libraries_stay_at_home() -> None:
    tool = Path(sys.executable).parent / "lint-imports"
    run = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_one_room(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST, "split it by responsibility"
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "the first line says what it is for"
    if path.name == "__init__.py":
        assert len(tree.body) == 1, "import from the module that defines"


def test_no_room_is_called_after_nothing() -> None:
    bad = [path for path in MODULES if re.search(r"util|helper|manager|misc|common", path.stem)]
    assert not bad


def test_each_package_has_a_readme() -> None:
    assert not [name for name in (*PACKAGES, "bench") if not (ROOT / name / "README.md").exists()]


def test_every_make_target_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    told = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert set(phony[1].split()) <= told


def codes(errors: Path) -> set[str]:
    return set(
        re.findall(r'^    code(?:: ClassVar\[str\])? = "([a-z-]+)"', errors.read_text(encoding="utf-8"), re.MULTILINE)
    )


def test_every_error_code_is_documented() -> None:
    told = (ROOT / "httpapi" / "README.md").read_text(encoding="utf-8")
    known = codes(ROOT / "blockstore" / "errors.py") | codes(ROOT / "catalog" / "model" / "errors.py")
    assert len(known) > 12
    assert not [code for code in sorted(known) if f"`{code}`" not in told]


def test_third_party_libraries_have_one_home() -> None:
    homes = {
        "lmdb": {"blockstore/index/lmdb_env.py"},
        "blake3": {"blockstore/digest.py"},
        # The second is no part of the service: a program that it starts, and that decompresses in a cage.
        "zstandard": {"blockstore/frames.py", "catalog/conversion/unpack/streams.py"},
        "xxhash": {"blockstore/checksum.py"},
    }
    for library, home in homes.items():
        users = {
            str(path.relative_to(ROOT))
            for path in MODULES
            if re.search(rf"^(import {library}\b|from {library}\b)", path.read_text(encoding="utf-8"), re.MULTILINE)
        }
        assert users <= home, library
