"""What a sweep says while it goes on."""

import pytest

from airtune.sweeping.terminal import SweepProgress


def test_what_never_begins_says_nothing(capsys):
    with pytest.raises(KeyboardInterrupt), SweepProgress():
        raise KeyboardInterrupt
    assert capsys.readouterr().out == ""
