"""Fetching pinned wheels from a package index made on the spot, and building folders of the cache once."""

import hashlib
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from airtune.assets import Asset, build_once, cache_folder, fetch_wheel
from airtune.errors import AirtuneError

FILE = "airtune_sample-1.0-py3-none-any.whl"


@pytest.fixture
def asset(tmp_path, monkeypatch):
    """A wheel in a local index, the only one pip sees, and an empty cache."""
    index = tmp_path / "index"
    index.mkdir()
    with zipfile.ZipFile(index / FILE, "w") as wheel:
        wheel.writestr("airtune_sample/text.txt", "some text")
        info = "airtune_sample-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: airtune-sample\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("AIRTUNE_CACHE", str(tmp_path / "cache"))
    digest = hashlib.sha256((index / FILE).read_bytes()).hexdigest()
    return Asset("airtune-sample==1.0", FILE, digest)


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRTUNE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("AIRTUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "airtune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "airtune"


def test_a_wheel_is_fetched_once(asset, tmp_path, monkeypatch):
    wheel = fetch_wheel(asset)
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("airtune_sample/text.txt") == b"some text"
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert fetch_wheel(asset) == wheel
    assert [file.name for file in wheel.parent.iterdir()] == [FILE]


def test_a_damaged_wheel_in_the_cache_is_fetched_again(asset):
    wheel = fetch_wheel(asset)
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[:100])
    assert fetch_wheel(asset).read_bytes() == whole


def test_processes_may_fetch_at_once(asset):
    code = f"from airtune.assets import *; fetch_wheel({asset!r})"
    racing = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait() for process in racing] == [0, 0, 0]
    assert hashlib.sha256(fetch_wheel(asset).read_bytes()).hexdigest() == asset.sha256


def test_another_content_is_refused_and_not_kept(asset):
    with pytest.raises(AirtuneError) as error:
        fetch_wheel(Asset(asset.requirement, asset.file, "0" * 64))
    assert asset.sha256 in one_line(error)
    assert list((cache_folder() / "wheels").iterdir()) == []


def test_an_index_without_the_wheel_is_named_in_one_line(asset, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    with pytest.raises(AirtuneError) as error:
        fetch_wheel(asset)
    assert "airtune-sample==1.0" in one_line(error)
    assert str(cache_folder() / "wheels" / FILE) in one_line(error)


def test_a_python_without_pip_is_told_so(asset, tmp_path, monkeypatch):
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(AirtuneError, match="no pip"):
        fetch_wheel(asset)


def test_a_cache_that_cannot_be_written_is_named(asset, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("AIRTUNE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(AirtuneError) as error:
        fetch_wheel(asset)
    assert "AIRTUNE_CACHE" in one_line(error)
    with pytest.raises(AirtuneError, match="AIRTUNE_CACHE"):
        build_once(cache_folder() / "models", lambda folder: None)


def test_a_folder_is_built_once(tmp_path):
    calls = []

    def build(folder: Path) -> None:
        calls.append(folder)
        (folder / "part").write_text("whole")

    for _ in range(2):
        assert (build_once(tmp_path / "deep" / "target", build) / "part").read_text() == "whole"
    assert len(calls) == 1
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["target"]


def test_a_failed_build_leaves_nothing(tmp_path):
    def build(folder: Path) -> None:
        (folder / "part").write_text("half")
        raise ValueError("interrupted")

    with pytest.raises(ValueError, match="interrupted"):
        build_once(tmp_path / "target", build)
    assert list(tmp_path.iterdir()) == []


def test_the_first_of_two_builders_wins(tmp_path):
    def slow(folder: Path) -> None:
        build_once(tmp_path / "target", lambda other: (other / "part").write_text("first") and None)
        (folder / "part").write_text("second")

    assert (build_once(tmp_path / "target", slow) / "part").read_text() == "first"


def test_assets_do_without_torch():
    code = "import sys, airtune.assets; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
