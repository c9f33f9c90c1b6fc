"""Files and folders that processes share."""

import pytest

from airtune.errors import AirtuneError, InputError
from airtune.files import LOCK, held_alone, made_folder, write_whole


def test_a_folder_is_held_by_one_at_a_time(tmp_path):
    with (
        held_alone(tmp_path, "running"),
        pytest.raises(AirtuneError, match="another process is testing here"),
    ):
        held_alone(tmp_path, "testing")
    with held_alone(tmp_path, "running"):
        pass  # free again


def test_a_lock_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / LOCK).mkdir()
    with pytest.raises(InputError, match=rf"{LOCK}: found .*, expected a file to write to"):
        held_alone(tmp_path, "running")


def test_what_lies_in_a_folder(tmp_path):
    assert made_folder(tmp_path / "new" / "folder") == set()
    write_whole(tmp_path / "new" / "file", "text")
    assert made_folder(tmp_path / "new") == {"folder", "file"}
    with pytest.raises(InputError, match="expected a folder to write to"):
        made_folder(tmp_path / "new" / "file")
