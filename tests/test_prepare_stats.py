"""Mean and standard deviation of log-mels: streamed and in parallel, as if all frames lay in one tensor."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ipet.audio import ClipError, read_audio
from ipet.features import LogMel
from ipet.moments import moments

from helpers import load_script, write_wav
from releases import make_esc50, make_fsd50k, make_musan

ROOT = Path(__file__).resolve().parents[1]

prepare = load_script(ROOT / "data" / "prepare.py", "prepare_stats_script")
stats = importlib.import_module("preparation.stats")


def recordings(root, seconds):
    """Recordings of these lengths, at 16, 22.05 and 44.1 kHz in turn; their names."""
    names = []
    for i, length in enumerate(seconds):
        names.append(f"{i}.wav")
        write_wav(root / names[-1], length, seed=i, rate=(16_000, 22_050, 44_100)[i % 3])
    return names


def all_log_mels(root, wavs, num_frames=None):
    """[F, 128] the frames of all recordings, in one tensor."""
    front_end = LogMel(num_mels=128, num_frames=1, mean=0.0, std=1.0)
    waveforms = (read_audio(root / wav) for wav in wavs)
    fbanks = [front_end.log_mel((x - x.mean())[None])[0, :num_frames] for x in waveforms]
    return torch.cat(fbanks).double()


@pytest.mark.parametrize("num_frames", [None, 20])
def test_streamed_statistics_are_those_of_all_frames_at_once(tmp_path, num_frames):
    wavs = recordings(tmp_path, (0.3, 0.7, 1.1, 0.45, 0.125))
    found = stats.log_mel_stats(tmp_path, wavs, num_frames=num_frames)
    x = all_log_mels(tmp_path, wavs, num_frames)
    assert found["num_frames"] == len(x) and found["num_clips"] == 5
    assert found["mean"] == pytest.approx(x.mean().item(), abs=1e-9)
    assert found["std"] == pytest.approx(x.std(unbiased=False).item(), abs=1e-9)


def test_a_long_recording_is_computed_in_blocks_without_a_seam(tmp_path, monkeypatch):
    wavs = recordings(tmp_path, (1.37,))
    at_once = stats.log_mel_stats(tmp_path, wavs)
    monkeypatch.setattr("ipet.moments.BLOCK_FRAMES", 10)
    in_blocks = stats.log_mel_stats(tmp_path, wavs)
    assert in_blocks["num_frames"] == at_once["num_frames"] == 135  # 1 + (21920 - 400) // 160
    assert in_blocks["mean"] == pytest.approx(at_once["mean"], abs=1e-6)
    assert in_blocks["std"] == pytest.approx(at_once["std"], abs=1e-6)


def test_the_number_of_workers_changes_nothing(tmp_path):
    wavs = recordings(tmp_path, np.linspace(0.1, 0.9, 12))
    one, two, five = (stats.log_mel_stats(tmp_path, wavs, workers=n) for n in (1, 2, 5))
    for name in ("mean", "std"):
        assert two[name] == pytest.approx(one[name], abs=1e-9)
        assert five[name] == pytest.approx(one[name], abs=1e-9)


def test_moments_do_not_cancel_far_from_zero():
    # Variance of (0, 1, 2) is 2/3; the sum of squares minus the squared mean would have lost it all.
    parts = [torch.tensor([1e9 + i], dtype=torch.float64) for i in range(3)]
    total = stats.Moments()
    for part in parts:
        total = stats.merge(total, moments(part))
    assert total == stats.Moments(3, 1e9 + 1, 2.0)


def test_torch_keeps_its_number_of_threads(tmp_path):
    before = torch.get_num_threads()
    wavs = recordings(tmp_path, (0.1,))
    stats.log_mel_stats(tmp_path, wavs, workers=2)
    (tmp_path / "0.wav").write_bytes(b"")
    with pytest.raises(ClipError):
        stats.log_mel_stats(tmp_path, wavs, workers=2)
    assert torch.get_num_threads() == before


def test_a_broken_clip_is_named(tmp_path, capsys):
    root = make_fsd50k(tmp_path / "FSD50K")
    broken = root / "FSD50K.dev_audio/64786.wav"
    broken.write_bytes(b"x" * 100)
    status = prepare.main(["fsd50k", str(root), "-out", str(tmp_path / "lists"), "-stats"])
    out, error = capsys.readouterr()
    assert (status, out) == (1, "") and not (tmp_path / "lists").exists()
    assert error.splitlines()[-1].startswith(f"prepare.py fsd50k: {broken}: not readable as audio")


@pytest.mark.parametrize("samples, expected", [(200, "no frame of 25 ms"), (0, "no two different log-mels")])
def test_what_has_no_statistics_is_refused(tmp_path, samples, expected):
    soundfile.write(tmp_path / "0.wav", np.zeros(samples or 16_000), 16_000)
    with pytest.raises(ValueError, match=f"found {expected} in 1 training clips"):
        stats.log_mel_stats(tmp_path, ["0.wav"])


def test_a_clip_shorter_than_a_frame_counts_for_nothing(tmp_path):
    wavs = recordings(tmp_path, (0.3, 0.01))
    found = stats.log_mel_stats(tmp_path, wavs)
    assert found["mean"] == stats.log_mel_stats(tmp_path, wavs[:1])["mean"]


def test_stats_are_written_beside_the_lists_and_printed_as_flags(tmp_path, capsys):
    root, out = make_fsd50k(tmp_path / "FSD50K"), tmp_path / "lists"
    assert prepare.main(["fsd50k", str(root), "-out", str(out), "-stats", "-workers", "2"]) == 0
    written = json.loads((out / "stats.json").read_text())
    train = [clip["wav"] for clip in json.loads((out / "train.json").read_text())["data"]]
    x = all_log_mels(root, train)  # and not of valid or test
    assert written["mean"] == pytest.approx(x.mean().item(), abs=1e-9)
    assert written["std"] == pytest.approx(x.std(unbiased=False).item(), abs=1e-9)
    assert (written["num_clips"], written["num_frames"], written["num_mels"]) == (8, len(x), 128)
    flags = f"-norm_mean {x.mean():.7f} -norm_std {x.std(unbiased=False):.7f}"
    printed = capsys.readouterr().out
    assert f"\n  {flags}\n" in printed and printed.splitlines()[-1].endswith(flags)


def test_the_printed_flags_are_those_that_an_experiment_reads(tmp_path):
    from ipet.arguments import ast_arguments

    wavs = recordings(tmp_path, (0.3,))
    found = stats.log_mel_stats(tmp_path, wavs)
    args = ast_arguments(["-name", "a", "-path_list", str(tmp_path), *stats.norm_flags(found)])
    assert args.norm_mean == pytest.approx(found["mean"], abs=1e-7)
    assert args.norm_std == pytest.approx(found["std"], abs=1e-7)


def test_stats_of_folds_are_those_of_every_training_clip_once(tmp_path):
    root, out = make_esc50(tmp_path / "ESC-50"), tmp_path / "lists"
    assert prepare.main(["esc50", str(root), "-out", str(out), "-stats", "-frames", "30"]) == 0
    x = all_log_mels(root, sorted(f"audio/{path.name}" for path in (root / "audio").iterdir()), 30)
    written = json.loads((out / "stats.json").read_text())
    assert (written["num_clips"], written["num_frames"], written["first_frames"]) == (20, 600, 30)
    assert written["mean"] == pytest.approx(x.mean().item(), abs=1e-9)


def test_stats_that_need_what_is_not_there_are_refused(tmp_path, capsys):
    root, out = make_musan(tmp_path / "musan"), tmp_path / "lists"
    assert prepare.main(["musan", str(root), "-out", str(out), "-stats"]) == 1
    assert capsys.readouterr().err == "prepare.py musan: has no training list that -stats could be of\n"
    assert not out.exists()
    with pytest.raises(SystemExit):
        prepare.main(["musan", str(root), "-frames", "9"])
    assert "-frames and -workers are for -stats, which is missing" in capsys.readouterr().err
