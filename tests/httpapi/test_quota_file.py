"""The file of quotas: what can be said in it, and sentences for what cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.model.quota import NAMES, UNLIMITED, Quota
from catalog.quota_ports import Said
from httpapi.bootstrap import identity_of
from httpapi.checks import check
from httpapi.quota_file import MOST, load_quotas, quota_value, shown_quota
from httpapi.settings import Settings, SettingsRefused, load

README = Path(__file__).parents[2] / "httpapi" / "README.md"


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "quotas.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_nothing_is_said() -> None:
    assert load_quotas(None) == Said()


def test_the_file_of_the_page_says_what_it_says(tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8").split("## Quotas\n")[1].split("```toml\n")[1].split("```")[0]
    assert load_quotas(file(tmp_path, text)) == Said(
        Quota(images=1000, bytes=2 << 40),
        {
            "lab": Quota(bytes=10 << 40, uploads=20, staged_bytes=1 << 40),
            "operators": Quota(images=UNLIMITED, bytes=UNLIMITED),
        },
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("images = 3\n", r"has \[images\]; it has \[default\] and a \[projects.NAME\]"),
        ("default = 3\n", r"default in .* is 3; it is a table, \[default\]"),
        ("[projects]\nlab = 3\n", r"projects.lab in .* is 3; it is a table"),
        ("[default]\nbyte = 3\n", r"byte in \[default\] .* is no quota: it is one of images, bytes, uploads"),
        ('[default]\nbytes = "3 GB"\n', r'bytes in \[default\] .*: expected bytes, .*"64KiB".* Or write "unlimited"'),
        ("[projects.lab]\nimages = true\n", r"images in \[projects.lab\] .*: expected a whole number"),
        ("[projects.lab]\nuploads = -2\n", "expected a whole number"),
        ("[default]\nbytes = 1.5\n", "expected bytes"),
        ("[default]\nbytes = 9999999999999999999\n", "expected"),
        ('[projects.""]\nimages = 1\n', "no project can be called so"),
        ('[projects."a\\u0000"]\nimages = 1\n', "no project can be called so"),
        ("[default\n", "is not TOML"),
        ("x = " + "[" * 9999, "is not TOML"),
        ("#" * (1 << 20) + "\n", "larger than 1048576 bytes"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingsRefused, match=sentence):
        load_quotas(file(tmp_path, text))


def test_a_file_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match="cannot be read: No such file"):
        load_quotas(tmp_path / "none.toml")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bound", [UNLIMITED, 0, 1, 1023, 1024, 3 << 20, 5 << 40, 999_999_999])
def test_a_bound_is_shown_as_it_can_be_written(name: str, bound: int) -> None:
    if name.endswith("bytes") or bound < 1_000_000_000:
        assert quota_value(name, shown_quota(name, bound)) == bound
    assert quota_value("bytes", MOST) == MOST


def test_checks_tell_what_the_file_says_and_what_goes_before_it(tmp_path: Path) -> None:
    path = file(tmp_path, '[default]\nimages = 5\nbytes = "3GiB"\n[projects.lab]\n')
    settings = load(environment={"DRYSTONE_QUOTA_FILE": str(path), "DRYSTONE_DATA": str(tmp_path / "data")})
    told = check(settings, identity_of).plan["quotas"]
    assert told.startswith("for a project: `drystone admin quota set`, then the file, which names 1; for others:")
    assert told.endswith("then the file: images 5, bytes 3GiB")
    usual = check(Settings(data=tmp_path / "data"), identity_of).plan["quotas"]
    assert usual == "those that `drystone admin quota set` gives; else none"
    path.write_text("nonsense", encoding="utf-8")
    assert any("is not TOML" in problem for problem in check(settings, identity_of).problems)
