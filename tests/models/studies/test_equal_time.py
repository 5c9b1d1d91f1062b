"""What comparisons at equal time share."""

import argparse

import pytest

from models.studies.equal_time import kept_seconds


def test_step_times_are_measured_once_and_only_for_the_same_settings(tmp_path):
    options = argparse.Namespace(out=tmp_path, data=tmp_path, batch=4, minutes=1.0)
    assert kept_seconds(options, lambda: {"ssvae": 0.5}) == {"ssvae": 0.5}
    options.minutes = 2.0  # another number of the same steps
    assert kept_seconds(options, lambda: {"ssvae": 9.0}) == {"ssvae": 0.5}
    options.batch = 8
    with pytest.raises(SystemExit, match=r"'batch': '4'.*name another folder"):
        kept_seconds(options, lambda: {"ssvae": 9.0})
