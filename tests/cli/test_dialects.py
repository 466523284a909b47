"""The command backnorm dialects."""

from __future__ import annotations

from click.testing import CliRunner

from backnorm.cli import main
from backnorm.report.dialects import to_details, to_table


def test_without_a_name_the_table_is_shown() -> None:
    """To stdout, and nothing else."""
    result = CliRunner().invoke(main, ["dialects"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, to_table(), "")


def test_with_names_all_about_them_is_shown() -> None:
    """One after the other."""
    result = CliRunner().invoke(main, ["dialects", "torch", "onnx-15"])
    assert result.exit_code == 0
    pages = [to_details(name, width=120) for name in ("torch", "onnx-15")]
    assert result.stdout == "\n".join(pages)


def test_a_wrong_name_is_wrong_use() -> None:
    """Exit status 2, and what it could have been."""
    result = CliRunner().invoke(main, ["dialects", "pytroch"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "dialect must be one of 'caffe'" in result.stderr
    result = CliRunner().invoke(main, ["dialects", "mxnet-cuda"])
    assert "Did you mean 'mxnet-cudnn'?" in result.stderr
