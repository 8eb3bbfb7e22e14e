"""FORMAT.md against the code and the golden files: a page about bytes is only worth something if it is right."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from blockstore import block, data_dir, features, frames, journal, manifest_format, manifest_leaf, places, verified_at
from blockstore.index import pack_rows
from blockstore.manifest import SECOND
from blockstore.manifest_copies import HALF_MADE
from blockstore.packs import pack_format
from chunker import content_defined
from tests.golden import make

TEXT = (Path(manifest_format.__file__).parent / "FORMAT.md").read_text(encoding="utf-8")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
ROW = re.compile(r"^\| (\d+) \| (\d+|…) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)


def section(title: str) -> str:
    """The text between a heading that begins so and the next heading."""
    (found,) = (match for match in HEADING.finditer(TEXT) if match[1].startswith(title))
    after = HEADING.search(TEXT, found.end())
    return TEXT[found.start() : after.start() if after else len(TEXT)]


def sizes(layout: str) -> list[int]:
    """The sizes of a struct's fields, one after another."""
    return [
        struct.calcsize("<" + field)
        for count, code in re.findall(r"(\d*)([A-Za-z])", layout)
        for field in ([count + code] if code == "s" or not count else [code] * int(count))
    ]


def dtype_sizes(dtype: object) -> list[int]:
    fields = getattr(dtype, "fields")  # noqa: B009 - numpy's stubs make it a union
    return [field[0].itemsize for field in sorted(fields.values(), key=lambda field: field[1])]


LAYOUTS = {
    "The version rule": (sizes(features.STRUCT.format), 12),
    "format (": ([*sizes(data_dir._FORMAT.format), 8], data_dir.FORMAT_SIZE),
    "The start frame": ([*sizes(pack_format._START.format), 8], pack_format.START_SIZE),
    "An entry's header": ([*sizes(pack_format._ENTRY.format), 8], block.HEADER_SIZE),
    "The table": (sizes(pack_format._FRAME.format), 8),
    "A row": (dtype_sizes(pack_format.TABLE_ROW), pack_format.TABLE_ROW.itemsize),
    "The sum and the trailer": ([8, *sizes(pack_format._TRAILER.format)], pack_format.TRAILER_SIZE),
    "A manifest's header": ([*sizes(manifest_format._HEADER.format), 8], manifest_format.HEADER_SIZE),
    "A leaf's row, blocks": (dtype_sizes(manifest_leaf.LEAF_ROW), manifest_leaf.LEAF_ROW.itemsize),
    "A leaf's row, content": (dtype_sizes(manifest_leaf.CONTENT_ROW), manifest_leaf.CONTENT_ROW.itemsize),
    "A directory's row": (dtype_sizes(manifest_format.DIRECTORY_ROW), manifest_format.DIRECTORY_ROW.itemsize),
    "The places of a leaf, a row": ([4] * places.COLUMNS, places.ROW),
    "A journal's header": ([*sizes(journal._HEADER.format), 8], journal.HEADER_SIZE),
    "A journal's record": ([*sizes(journal._RECORD.format), 8], journal.RECORD_SIZE),
    "The head of what was verified": ([*sizes(verified_at._HEAD.format), 8], verified_at.HEAD_SIZE),
    "What was verified, a row": (sizes(verified_at._ROW.format), verified_at.ROW_SIZE),
    "A place": (sizes(block.PLACE.format), block.PLACE.size),
    "A register record": (sizes(pack_rows._RECORD.format), pack_rows._RECORD.size),
}


@pytest.mark.parametrize("title", LAYOUTS)
def test_a_table_of_fields_has_the_sizes_of_the_code(title: str) -> None:
    fields, total = LAYOUTS[title]
    rows = [(int(at), int(size)) for at, size, _, _ in ROW.findall(section(title)) if size != "…"]
    assert [size for _, size in rows] == fields
    assert [at for at, _ in rows] == [sum(fields[:n]) for n in range(len(fields))], "no byte is left out"
    assert sum(fields) == total


@pytest.mark.parametrize("title", LAYOUTS)
def test_a_size_in_a_heading_is_the_size_of_the_code(title: str) -> None:
    heading = section(title).splitlines()[0]
    for said in re.findall(r"(\d+) bytes", heading):
        assert int(said) == LAYOUTS[title][1]


@pytest.mark.parametrize(
    ("title", "magic"),
    [
        ("format (", data_dir.MAGIC),
        ("The start frame", pack_format.PACK_MAGIC),
        ("An entry's header", pack_format.ENTRY_MARK),
        ("The sum and the trailer", pack_format.TABLE_MAGIC),
        ("A manifest's header", manifest_format.MAGIC),
        ("A journal's header", journal.MAGIC),
        ("The head of what was verified", verified_at.MAGIC),
    ],
)
def test_the_magic_numbers_are_those_of_the_code(title: str, magic: bytes) -> None:
    assert f"| `{magic.decode()}` |" in section(title)


def meaning(title: str, field: str) -> str:
    (found,) = (said for _, _, name, said in ROW.findall(section(title)) if name.strip() == field)
    return str(found).strip()


def test_the_numbers_in_the_meanings_are_those_of_the_code() -> None:
    for title in ("The start frame", "An entry's header", "The table"):
        assert int(meaning(title, "skippable"), 16) == pack_format.SKIPPABLE
    assert meaning("The start frame", "length").startswith(f"{pack_format.START_SIZE - 8}:")
    assert meaning("An entry's header", "length").startswith(f"{block.HEADER_SIZE - 8}:")
    assert meaning("An entry's header", "version") == str(pack_format.ENTRY_VERSION)
    assert meaning("An entry's header", "codec").startswith(f"{frames.CODEC_ZSTD}: zstd")
    assert meaning("The table", "length") == f"{pack_format.TABLE_ROW.itemsize} · count + {pack_format.TRAILER_SIZE}"
    assert meaning("A manifest's header", "kind").startswith(f"{manifest_format.KIND_FIXED}: blocks of one size")
    assert f"{manifest_format.KIND_CONTENT_DEFINED}: content-defined" in meaning("A manifest's header", "kind")
    assert f"from {manifest_format.LEAF_BLOCKS:,} · k" in section("A leaf's row, blocks")
    content = section("A leaf's row, content")
    assert f"{content_defined.ALGORITHM} is FastCDC" in content
    assert f"Every leaf but the last has {manifest_format.LEAF_BLOCKS:,} rows" in content
    assert f"| incompat | {features.CONTENT_DEFINED:#x} |" in section("The version rule")
    assert f"`{pack_format.ENTRY_BEGINS.hex(' ')}`" in section("Packs that were not finished")
    assert f"always the last {pack_format._TRAILER.size} bytes" in section("The table")
    assert f"offset + {block.HEADER_SIZE} + frame" in section("A place")
    assert f"`{places.MAGIC.hex(' ')}`" in section("Places")
    assert f"fewer than {places.WORTH_IT} blocks" in section("Places")
    assert f"offset + {block.HEADER_SIZE} + its frame" in section("The places of a leaf, a row")


def test_the_tree_has_every_folder_and_ending() -> None:
    tree = section("The data directory")
    for folder in (*data_dir.FOLDERS, verified_at.FOLDER):
        assert re.search(rf"^  {folder}/", tree, re.MULTILINE), folder
    for ending in (".zst", ".manifest", SECOND, places.SUFFIX, HALF_MADE, ".journal"):
        assert ending in tree


def test_every_command_on_the_page_prints_what_the_page_says(tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("the zstd program is not installed")
    for name in make.files():
        shutil.copy(make.HERE / name, tmp_path / name)
    examples = CONSOLE.findall(TEXT)
    assert examples
    for example in examples:
        commands = [line[2:] for line in example.splitlines() if line.startswith("$ ")]
        said = [line for line in example.splitlines() if not line.startswith("$ ")]
        script = "\n".join(f"{command}; echo" if " head -c " in command else command for command in commands)
        ran = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
        )
        printed = [line for line in ran.stdout.splitlines() if line]
        assert printed == said, ran.stderr
