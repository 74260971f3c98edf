"""make torture counts what its tests did, and fails where one of them does."""

import sys

import pytest

import torture

TESTS = """
import pytest

@pytest.mark.parametrize("kills", [2, 3])
def test_kills(record_property, kills):
    record_property("kills", kills)
    record_property("seconds (most)", kills)

def test_of_another_system():
    pytest.skip("not here")

def test_that_fails():
    assert 1 == 2
"""


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A part that holds, one that does not, one that is not there."""
    (tmp_path / "test_these.py").write_text(TESTS)
    command = f"pytest -c /dev/null {tmp_path}/test_these.py -k"
    parts = {name: torture.Part(name, f"{command} '{name} or another'") for name in ("kills", "fails")}
    parts["missing"] = torture.Part("missing", "nothing", needs="no/such/file")
    monkeypatch.setattr(torture, "PARTS", parts)
    monkeypatch.setattr(sys, "argv", ["torture"])
    return parts


def test_a_table_has_counts_and_outcomes_and_a_failure_is_an_exit_status(parts, capsys):
    with pytest.raises(SystemExit, match="error: failed: fails"):
        torture.main()
    out = capsys.readouterr().out
    rows = {row.split(" | ")[0].strip("| "): row.strip("| ").split(" | ") for row in out.splitlines()}
    assert rows["kills"][3] == "2 passed, 1 skipped, 5 kills, 3 seconds (most)" and rows["kills"][5] == "held"
    assert rows["fails"][3] == "0 passed, 1 failure, 1 skipped" and rows["fails"][5] == "FAILED"
    assert "missing" not in rows and "assert 1 == 2" in out


def test_a_command_that_prints_a_table_is_counted_by_its_columns():
    lines = [
        "reading",
        "| reader | files | seconds |",
        "|---|---:|---:|",
        "| lists | 1,250 | 2.5 |",
        "| trials | 50 | 1.0 |",
    ]
    assert torture.summed(lines) == {"files": 1300, "seconds": 3.5}
    assert torture.summed(["no table"]) == {}


def test_an_unknown_part_is_refused(parts, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["torture", "kils"])
    with pytest.raises(SystemExit, match="unknown part 'kils'; accepted: kills, fails"):
        torture.main()
