"""What holds for any input: lists, crops, segments, masks, shares of processes; and files of any content."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import soundfile
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ipet.audio import ClipError, crop_or_tile, decode, open_audio, read_audio, read_blocks
from ipet.augment import NoiseAndRoll, SpecAugment, mix
from ipet.checkpoint import load_training, read_tensors, save_training
from ipet.corruption import at_snr
from ipet.datasets import Cut, EpochBatches, EvaluationClips, RankShare
from ipet.description import check_description
from ipet.features import segment_rows
from ipet.inference import windows
from ipet.lists import Clip, Labels, below, read_clips, read_labels
from ipet.logbook import read_rows
from ipet.printable import control_character, escaped
from ipet.trials import read_trials

from fuzz import DESCRIPTION, READERS, Reader, bounded, fuzz, readers
from helpers import write_lists, write_wav

settings.register_profile("suite", deadline=None, derandomize=True, max_examples=150)
settings.register_profile("long", deadline=None, max_examples=1_000, print_blob=True)
settings.load_profile(
    os.environ.get("IPET_PROPERTIES", "suite")
)  # long: others in every run, and more of them
FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


# Clips ----------------------------------------------------------------------------------------------


@given(
    st.integers(1, 400), st.integers(1, 500), st.sampled_from(["first", "centre", "random"]), st.integers(0)
)
def test_a_cut_is_a_stretch_of_the_clip_repeated(length, num_samples, crop, seed):
    waveform = torch.arange(length)
    cut = crop_or_tile(waveform, num_samples, crop, np.random.default_rng(seed))
    start = int(cut[0])
    assert torch.equal(cut, (start + torch.arange(num_samples)) % length)
    if length <= num_samples or crop == "first":
        assert start == 0
    if length > num_samples and crop == "centre":
        assert start == (length - num_samples) // 2


@given(st.integers(1, 400), st.integers(1, 300), st.integers(0, 99), st.integers(0, 99))
def test_a_clip_that_is_said_to_be_cut_alike_is(length, num_samples, one, other):
    for cut in (
        Cut(num_samples, crop, repeat) for crop in ("first", "centre", "random") for repeat in (0, 1)
    ):
        cuts = [cut(torch.arange(float(length)), np.random.default_rng(seed)) for seed in (one, other)]
        assert not cut.is_fixed(length) or torch.equal(*cuts)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 12), st.booleans())
def test_segments_begin_with_the_clip_and_end_with_it(length, size, num_segments, whole):
    rows = segment_rows(length, size, num_segments, whole)
    assert rows.shape == (num_segments, size) and rows.min() >= 0 and rows.max() < length
    assert torch.equal((rows[:, 1:] - rows[:, :-1]) % length, torch.ones(num_segments, size - 1) % length)
    assert rows[0, 0] == 0
    if length >= size and num_segments > 1:
        assert rows[-1, -1] == length - 1
        starts = rows[:, 0]
        steps = starts[1:] - starts[:-1]
        assert steps.max() - steps.min() <= 1  # evenly spaced, rounded down


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 70), st.integers(0, 70), st.integers(0, 2**62))
def test_masks_are_one_stretch_of_each_axis_and_no_wider_than_allowed(frames, mels, timem, freqm, seed):
    fbank = torch.ones(1, frames, mels)
    masked = SpecAugment(freqm, timem)(fbank, torch.tensor([seed]))[0] == 0
    for hidden, most in ((masked.all(dim=1), timem), (masked.all(dim=0), freqm)):
        places = hidden.nonzero()[:, 0]
        if masked.all():
            continue  # both axes' masks, or one that is as wide as its axis
        assert len(places) <= most
        assert len(places) == 0 or places[-1] - places[0] == len(places) - 1
    rows, columns = masked.all(dim=1), masked.all(dim=0)
    assert masked.all() or torch.equal(masked, rows[:, None] | columns[None, :])


samples = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=50).map(torch.tensor)


@given(samples, samples, st.floats(0, 1))
def test_a_mix_is_centred_and_as_long_as_its_first_clip(waveform, other, weight):
    mixed = mix(waveform, other, weight)
    assert mixed.shape == waveform.shape and abs(mixed.mean()) < 1e-5


@given(st.integers(1, 50), st.integers(0, 2**32 - 1), st.floats(-20, 40))
def test_noise_is_as_loud_as_its_ratio_says(length, seed, snr_db):
    generator = torch.Generator().manual_seed(seed)
    waveform, noise = 1e4 * torch.randn(2, length, generator=generator, dtype=torch.float64)
    assume(min(waveform.square().mean(), noise.square().mean()) > 1)  # far above FLOOR, which is added
    scaled = at_snr(waveform, noise, snr_db)
    ratio = 10 * torch.log10(waveform.square().mean() / scaled.square().mean())
    assert ratio.item() == pytest.approx(snr_db, abs=1e-3)


@given(st.integers(2, 40), st.integers(1, 20), st.lists(st.integers(0, 2**62), min_size=1, max_size=4))
def test_augmentation_is_each_clip_s_own_whatever_stands_beside_it(frames, mels, seeds):
    """The same clip sounds the same in any batch, on any number of processes."""
    generator = torch.Generator().manual_seed(frames)
    fbank = torch.randn(len(seeds), frames, mels, generator=generator)
    for augment in (SpecAugment(mels, frames), NoiseAndRoll()):
        together = augment(fbank, torch.tensor(seeds))
        alone = [augment(fbank[i : i + 1], torch.tensor([seed])) for i, seed in enumerate(seeds)]
        assert torch.equal(together, torch.cat(alone)) and together.shape == fbank.shape


@given(st.integers(2, 40), st.integers(0, 2**62))
def test_noise_is_a_tenth_at_most_and_a_roll_ten_frames_at_most(frames, seed):
    fbank = torch.arange(float(frames)).expand(3, frames).T  # each frame's number
    noisy = NoiseAndRoll().augment(fbank, seed)
    places = (noisy[:, 0] + 1e-4).floor()  # where each frame came from: noise is below 0.1
    assert ((noisy - places[:, None]).abs() <= 0.1).all()
    rolls = {int(i - place) % frames for i, place in enumerate(places)}
    assert len(rolls) == 1 and rolls <= {roll % frames for roll in range(-10, 10)}


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(1, 50), st.data())
def test_windows_of_any_stream_cover_every_sample(blocks, size, data):
    step = data.draw(st.integers(1, size))
    stream = torch.arange(float(sum(blocks)))
    found = list(windows(stream.split(blocks), size, step))
    assert [start for start, _ in found] == list(range(0, step * len(found), step))
    assert all(torch.equal(window, stream[start : start + len(window)]) for start, window in found)
    assert all(len(window) == size for _, window in found[:-1])
    assert found[-1][0] + len(found[-1][1]) == len(stream)


@FILES
@given(st.integers(1, 2_000), st.integers(1, 3), st.integers(1, 700), st.sampled_from([16_000, 8_000]))
def test_a_recording_is_the_same_in_blocks_of_any_size(lists, length, channels, block, rate):
    path = lists / "blocks.wav"
    soundfile.write(path, np.random.default_rng(length).uniform(-1, 1, (length, channels)), rate)
    with open_audio(path) as file:
        blocks = list(read_blocks(path, file, block))
    assert {len(samples) for samples in blocks[:-1]} <= {block} and len(blocks[-1]) < block
    assert np.array_equal(np.concatenate(blocks), decode(path).samples)


# Processes ------------------------------------------------------------------------------------------


@given(
    st.integers(1, 80), st.integers(1, 40), st.integers(0, 5), st.integers(1, 9), st.integers(1, 6), st.data()
)
def test_an_epoch_holds_every_clip_once_for_any_number_of_processes(n, size, seed, epoch, world, data):
    world = min(world, size)
    ranks = [EpochBatches(n, size, seed, rank, world) for rank in range(world)]
    for batches in ranks:
        batches.epoch = epoch
    shares = [list(batches) for batches in ranks]
    assert {len(share) for share in shares} == {len(ranks[0])}
    for step, batch in enumerate(ranks[0].global_batches()):
        assert np.array_equal(ranks[0].global_batch(step), batch)
        counted = dict.fromkeys(batch.tolist(), 0.0)
        sizes = set()
        for batches, share in zip(ranks, shares):
            weights = batches.weights(step)
            sizes.add(len(share[step]))
            assert len(weights) == len(share[step])
            for (of_epoch, clip), weight in zip(share[step], weights.tolist()):
                assert of_epoch == epoch
                counted[clip] += weight
        assert len(sizes) == 1  # every process takes the same step
        assert np.allclose(list(counted.values()), world / len(batch))  # every clip counts alike
    everything = np.concatenate(list(ranks[0].global_batches()))
    assert sorted(everything.tolist()) == list(range(n))
    first = data.draw(st.integers(0, len(ranks[0])))
    for batches, share in zip(ranks, shares):
        batches.first = first
        assert list(batches) == share[first:]


@given(st.integers(0, 80), st.integers(1, 9))
def test_every_clip_is_evaluated_by_one_process(n, world):
    shares = [list(RankShare(n, rank, world)) for rank in range(world)]
    assert sorted(clip for share in shares for clip in share) == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


# Files of any content: what they say, or an error that names them ---------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
entries = st.fixed_dictionaries(
    {}, optional={"wav": values | st.just("wav/train_0.wav"), "labels": values | st.just("/m/00,/m/01")}
)


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write_lists(tmp_path_factory.mktemp("lists"), train=1)


@FILES
@given(values | st.fixed_dictionaries({"data": values | st.lists(entries | values, max_size=4)}))
def test_a_list_of_any_json_is_read_or_refused_by_its_name(lists, content):
    path = lists / "any.json"
    path.write_text(json.dumps(content))
    try:
        clips = read_clips(path, lists, read_labels(lists / "labels.csv"))
    except (ValueError, FileNotFoundError) as error:
        assert str(path) in str(error)
    else:
        assert len(clips) == len(content["data"]) and all(clip.path.is_file() for clip in clips)


parts = st.sampled_from(["a", "b", "..", ".", "", "...", "..a", "c d", "ä"])
names = st.lists(parts, min_size=1, max_size=6).map("/".join).filter(lambda name: not name.startswith("/"))


@given(names)
def test_a_relative_path_stays_below_its_root_or_is_refused(name):
    root, file = Path("/data/set"), os.path.normpath(f"/data/set/{name}")
    inside = f"{file}/".startswith(f"{root}/")
    try:
        found = below(root, name, "list.json: clip 3")
    except ValueError as error:
        assert not inside and str(error).startswith(f"list.json: clip 3: {name} leaves {root}, ")
    else:
        assert inside and found == Path(file)


@FILES
@given(st.lists(names, min_size=1, max_size=6))
def test_a_list_is_read_in_its_order_or_refused_for_a_clip_that_comes_twice(lists, wavs):
    path = lists / "order.json"
    wavs = [f"sub/{i % 3}/{wav.replace('..', 'up')}" for i, wav in enumerate(wavs)]
    path.write_text(json.dumps({"data": [{"wav": wav, "labels": "/m/00"} for wav in wavs]}))
    files = [Path(os.path.normpath(lists / wav)) for wav in wavs]
    twice = [i for i, file in enumerate(files) if file in files[:i]]
    try:
        clips = read_clips(path, lists, read_labels(lists / "labels.csv"), check_files=False)
    except ValueError as error:
        first = files.index(files[twice[0]])
        assert f"{path}: clips {first} and {twice[0]} are both " in str(error)
    else:
        assert not twice and [clip.path for clip in clips] == files
        assert [clip.where for clip in clips] == [f"{path}: clip {i}" for i in range(len(wavs))]


@given(st.integers(1, 60), st.sets(st.integers(0, 59), max_size=8))
def test_clips_that_are_left_out_leave_the_others_in_their_order(number, out):
    clips = [Clip(Path(f"{i}.wav"), (0,), f"list.json: clip {i}") for i in range(number)]
    left_out = {Path(f"{i}.wav") for i in out if i < number}
    whole = EvaluationClips(clips, Labels(Path("labels.csv"), ("/m/0",), ("a",)), Cut(16))
    try:
        kept = whole.without(left_out)
    except ValueError as error:
        assert len(left_out) > number / 10 and f"{len(left_out)} of the {number} clips" in str(error)
    else:
        assert len(left_out) <= number / 10
        assert kept.clips == [clip for clip in clips if clip.path not in left_out]


@given(st.text() | st.text(st.sampled_from("a\x00\x1b\n\u2028\x9b\ud800ä")))
def test_text_that_is_printed_is_one_line_and_plain_text_stays_as_it_is(text):
    shown = escaped(text)
    assert control_character(shown) is None and len(shown.splitlines()) <= 1
    assert (shown == text) == (control_character(text) is None)


@given(values | st.dictionaries(st.sampled_from([*DESCRIPTION]), values))
def test_a_description_of_any_json_passes_whole_or_is_refused_in_one_line_that_names_it(value):
    description = DESCRIPTION | value if isinstance(value, dict) and value.keys() <= {*DESCRIPTION} else value
    try:
        check_description(description, "a/adapter_config.json")
    except ValueError as error:
        assert str(error).startswith("a/adapter_config.json: ") and escaped(str(error)) == str(error)
    else:
        assert description.keys() == DESCRIPTION.keys() and description["labels"] == DESCRIPTION["labels"]


@FILES
@given(st.binary(max_size=200) | st.integers(1, 3000).map(lambda depth: b"[" * depth))
def test_a_list_of_any_bytes_is_refused_by_its_name(lists, content):
    path = lists / "bytes.json"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_clips(path, lists, None)
    assert str(path) in str(caught.value)


rows_of_text = st.lists(
    st.lists(
        st.text(max_size=8) | st.sampled_from(["0", "1", "index", "mid", "display_name"]), max_size=4
    ).map(",".join),
    max_size=5,
)


@FILES
@given(rows_of_text.map("\n".join) | rows_of_text.map(lambda r: "\n".join(["index,mid,display_name", *r])))
def test_a_label_table_of_any_text_is_read_or_refused_by_its_name(lists, text):
    path = lists / "any.csv"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        labels = read_labels(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert len(set(labels.mids)) == len(labels) > 0 and all(labels.names)


words = st.sampled_from(["1", "0", "target", "nontarget", "a/b/c.wav", "d/e/f.wav", "2", ""]) | st.text(
    max_size=6
)


@FILES
@given(st.lists(st.lists(words, max_size=4).map(" ".join), max_size=6).map("\n".join))
def test_trials_of_any_text_are_read_or_refused_by_their_name(lists, text):
    path = lists / "any_trials.txt"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        pairs, targets = read_trials(path, {"a/b/c.wav": 0, "d/e/f.wav": 1})
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert pairs.shape == (len(targets), 2) and 0 < targets.sum() < len(targets)


@FILES
@given(st.data())
def test_a_damaged_recording_is_heard_or_refused_by_its_name(lists, data):
    path = lists / "damaged.wav"
    write_wav(path, 0.02)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, min(60, len(content) - 1)))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        waveform = read_audio(path)
    except ClipError as error:
        assert str(path) in str(error)
    else:
        assert waveform.ndim == 1 and len(waveform) and waveform.isfinite().all()


STATE = {"epoch": 3, "now": {"head.fc.bias": torch.arange(5.0)}, "history": [{"loss": 0.5}]}


def damage(content: bytes, data) -> bytes:
    """Some bytes of a file changed, its end cut off, or something behind it."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place] ^= data.draw(st.integers(1, 255))
    stop = data.draw(st.just(len(changed)) | st.integers(0, len(changed)))
    return bytes(changed[:stop]) + data.draw(st.just(b"") | st.binary(max_size=5))


@given(st.data())
def test_a_damaged_training_state_is_refused_and_never_another_one(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.pt")
        save_training(path, STATE)
        whole = path.read_bytes()
        damaged = damage(whole, data)
        assume(damaged != whole)  # two changes may undo each other
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"state\.pt: damaged"):
            load_training(path)


@given(st.data() | st.just(None), st.binary(max_size=100))
def test_a_damaged_adapter_is_read_or_refused_by_its_name(data, other):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "adapter_model.safetensors")
        whole = safetensors.torch.save({"prompts.0": torch.ones(1, 2, 3), "head.fc.bias": torch.zeros(4)})
        path.write_bytes(other if data is None else damage(whole, data))
        try:
            tensors = read_tensors(path)
        except ValueError as error:
            assert str(path) in str(error)
        else:  # a changed number is a number: the file has no checksum of them
            assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    return readers(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("name", READERS)
def test_a_reader_reads_damaged_files_or_refuses_them_in_one_line_that_names_them(fuzzed, name):
    """As many as the profile says; ``python3 -m tests.fuzz`` goes on for as long as it is told."""
    with bounded():
        tally = fuzz(fuzzed[name], seed=0, most=settings().max_examples)
    assert not tally.findings
    assert tally.read > 0 and tally.refused > tally.read / 2  # the damage is neither hopeless nor harmless


def test_the_fuzzer_finds_what_a_reader_should_not_do(tmp_path):
    sound = tmp_path / "a.txt"
    sound.write_text("12345678")

    def careless(path):
        content = path.read_bytes()
        if content[:1] != b"1":
            raise KeyError("first")  # another kind
        if b"\n" in content:
            raise ValueError("no path")
        if len(content) > 20:
            bytearray(8 << 30)

    with bounded():
        found = fuzz(Reader(careless, [sound]), seed=0, most=400).findings
    for words in ("KeyError", "does not name the file", "MemoryError"):
        assert any(words in text for text in found), words


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(), min_size=1), max_size=5),
    st.integers(0, 200),
)
def test_a_log_that_was_cut_off_keeps_its_whole_rows(rows, stop):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "metrics.jsonl")
        text = "".join(json.dumps(row) + "\n" for row in rows)
        path.write_text(text[:stop])
        found = read_rows(path)
        assert found == rows[: len(found)] and len(found) >= text[:stop].count("\n")
