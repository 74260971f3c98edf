"""Which suffixes can be decoded, and what a folder scan takes and leaves out."""

import os

import pytest

from ipet import audio_formats
from ipet.audio_formats import AUDIO_SUFFIXES, decodable_suffixes, scan_recordings
from ipet.input_report import InputReport


@pytest.fixture
def no_fallback(monkeypatch):
    """A machine without ffmpeg and torchcodec."""
    monkeypatch.setattr(audio_formats, "has_ffmpeg", lambda: False)
    monkeypatch.setattr(audio_formats, "has_torchcodec", lambda: False)


@pytest.fixture
def fallback(monkeypatch):
    """A machine with ffmpeg."""
    monkeypatch.setattr(audio_formats, "has_ffmpeg", lambda: True)


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def scan(*paths):
    report = InputReport("here")
    return scan_recordings(paths, report), report


def test_each_suffix_is_listed_once_in_lower_case():
    assert len(set(AUDIO_SUFFIXES)) == len(AUDIO_SUFFIXES)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in AUDIO_SUFFIXES)


def test_ffmpeg_adds_suffixes_to_those_of_libsndfile(no_fallback, monkeypatch):
    alone = decodable_suffixes()
    assert {".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".caf", ".w64", ".au"} <= alone
    assert ".m4a" not in alone
    monkeypatch.setattr(audio_formats, "has_ffmpeg", lambda: True)
    assert {".m4a", ".aac", ".wma", *alone} <= decodable_suffixes()


def test_a_folder_of_mixed_formats_is_used_or_counted_with_its_reason(no_fallback, tmp_path):  # C
    names = ["a.wav", "b.AIFF", "sub/c.opus", "d.m4a", "e.m4a", "f.txt", "g.raw", "._a.wav", ".git/h.wav"]
    touch(tmp_path, *names)
    found, report = scan(tmp_path)
    assert [path.name for path in found] == ["a.wav", "b.AIFF", "c.opus"]
    assert report.num_supplied("recordings") == 6 and report.used["recordings"] == 3
    warnings = "\n".join(report.warnings())
    assert f"2 of 6 recordings left out: libsndfile does not decode .m4a ({tmp_path}/d.m4a" in warnings
    assert "install ffmpeg" in warnings and "torchcodec" in warnings
    assert "1 of 6 recordings left out: .raw has no header" in warnings
    assert "1 of 1 other files left out: not audio by their suffix" in warnings
    assert "1 of 1 hidden files left out" in warnings and "1 of 1 folders left out: hidden" in warnings


def test_every_file_of_a_folder_is_accounted_for(fallback, tmp_path):  # C
    names = [f"{i}{suffix}" for i, suffix in enumerate((*AUDIO_SUFFIXES, ".txt", ".raw", "", ".json"))]
    touch(tmp_path, *names, ".hidden")
    _, report = scan(tmp_path)
    supplied = sum(report.num_supplied(kind) for kind in ("recordings", "other files", "hidden files"))
    assert supplied == len(names) + 1
    assert report.used["recordings"] == len(AUDIO_SUFFIXES)


def test_a_named_file_is_taken_whatever_its_suffix(no_fallback, tmp_path):
    touch(tmp_path, "a.m4a", "b")
    found, report = scan(tmp_path / "b", tmp_path / "a.m4a")
    assert [path.name for path in found] == ["b", "a.m4a"] and not report.warnings()


def test_a_recording_that_is_given_twice_is_used_once_and_counted(tmp_path):
    touch(tmp_path, "a.wav")
    found, report = scan(tmp_path, tmp_path / "a.wav")
    assert len(found) == 1 and report.num_left_out("recordings") == 1


def test_a_folder_without_recordings_is_refused_with_what_it_holds(no_fallback, tmp_path):
    touch(tmp_path, "a.m4a", "b.m4a", "c.txt")
    with pytest.raises(FileNotFoundError) as caught:
        scan(tmp_path)
    assert "2 recordings: libsndfile does not decode .m4a (install ffmpeg" in str(caught.value)
    assert "1 other files: not audio" in str(caught.value)


def test_links_to_folders_are_followed_and_circles_are_not(tmp_path):
    touch(tmp_path, "set/a.wav", "disk/b.wav")
    os.symlink(tmp_path / "disk", tmp_path / "set/linked")
    os.symlink(tmp_path / "set", tmp_path / "set/circle")
    os.symlink(tmp_path / "set", tmp_path / "disk/back")
    found, report = scan(tmp_path / "set")
    assert [path.name for path in found] == ["a.wav", "b.wav"]
    assert report.num_left_out("folders") == 2


def test_names_with_control_characters_are_spelt_out(tmp_path):
    touch(tmp_path, "a.wav", "\x1b[2J.txt")
    _, report = scan(tmp_path)
    assert all(line.isprintable() for line in report.warnings())
