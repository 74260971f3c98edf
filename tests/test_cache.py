"""The decoded cache: the samples of ``read_audio``, decoded once, whatever happens in between."""

import errno
import multiprocessing
import os
import pickle
import re
import resource
import signal
import time

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader, Dataset

from ipet import cache as module
from ipet.audio import ClipError, read_audio
from ipet.cache import Cache, build_cache, quantise

from parity import SHARED

HALF_STEP = 2.0**-16
FORK = multiprocessing.get_context("fork")


def write(path, samples, rate=16_000, subtype="PCM_16"):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def noise(length, seed=0, peak=0.5, channels=1):
    samples = np.random.default_rng(seed).uniform(-peak, peak, (length, channels))
    return samples[:, 0] if channels == 1 else samples


@pytest.fixture
def sources(tmp_path):
    """Eight 16-bit recordings of 1,000 to 1,700 samples at 16 kHz: two fill a shard of 4,000 bytes."""
    return [write(tmp_path / f"wav/{i}.wav", noise(1_000 + 100 * i, seed=i)) for i in range(8)]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch):
    """The names of the recordings that were decoded, in order."""
    names = []

    def read(path):
        names.append(os.path.basename(path))
        return read_audio(path)

    monkeypatch.setattr(module, "read_audio", read)
    return names


def build(folder, sources, num_workers=1, shard_bytes=4_000, **more):
    return build_cache(folder, sources, num_workers, progress=False, shard_bytes=shard_bytes, **more)


def assert_holds(cache, sources):
    """Every source, bit for bit: they are 16-bit at 16 kHz."""
    for source in sources:
        assert torch.equal(cache.read(source), read_audio(source))
        assert cache.length(source) == len(read_audio(source))


def shards(folder):
    return sorted(folder.glob("*.int16"))


def flip(path, place):
    """Change one byte of a file, and neither its size nor its time."""
    found, data = path.stat(), bytearray(path.read_bytes())
    data[place] ^= 0x04
    path.write_bytes(data)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


# Samples ------------------------------------------------------------------------------------------


def test_16_bit_audio_at_16_khz_comes_back_bit_for_bit(tmp_path, folder):
    every = np.arange(-(2**15), 2**15).astype(np.int16)  # every value that there is
    source = write(tmp_path / "a.wav", every)
    waveform = build(folder, [source]).read(source)
    assert waveform.dtype == torch.float32
    assert torch.equal(waveform, torch.from_numpy(soundfile.read(source, dtype="float32")[0]))


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (22_050, 1), (8_000, 1), (16_000, 2)])
def test_other_audio_comes_back_within_half_a_step(tmp_path, folder, rate, channels):
    source = write(tmp_path / "a.wav", noise(rate, channels=channels), rate)
    waveform, want = build(folder, [source]).read(source), read_audio(source)
    assert waveform.shape == want.shape
    assert (waveform - want).abs().max() <= HALF_STEP


@pytest.mark.parametrize("peak", [1.0, 1.05, 30.0])
def test_audio_beyond_full_scale_is_not_clipped(tmp_path, folder, peak):
    samples = noise(2_000, peak=peak)
    samples[7], samples[8] = peak, -peak
    source = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    waveform, want = build(folder, [source]).read(source), read_audio(source)
    half_step = peak / 32_767 / 2  # the largest integer is the peak
    assert (waveform - want).abs().max() <= half_step * 1.01  # and float32's own rounding
    assert waveform.max() == pytest.approx(peak)


def test_the_step_is_that_of_16_bit_audio_up_to_full_scale():
    quiet = np.array([0, 2**-15, -1, 32_767 / 32_768], dtype=np.float32)
    integers, step = quantise(quiet)
    assert (integers.tolist(), step) == ([0, 1, -32_768, 32_767], 2**-15)
    # 1.5 is above it: 32,767 steps of 1.5 / 32,767, and -1 is -2/3 of that
    integers, step = quantise(np.array([1.5, -1], dtype=np.float32))
    assert (integers.tolist(), step) == ([32_767, -21_845], 1.5 / 32_767)


@pytest.mark.skipif(
    not (SHARED / "real_audio").is_dir(), reason="the recordings (shared/real_audio) are missing"
)
def test_real_recordings_come_back_within_half_a_step(folder):
    found = sorted(p for p in (SHARED / "real_audio").rglob("*") if p.suffix in (".wav", ".flac", ".ogg"))
    sources = found[:: max(1, len(found) // 20)]
    assert sources
    cache = build(folder, sources, shard_bytes=100_000)
    for source in sources:
        want = read_audio(source)
        allowed = HALF_STEP * max(1, want.abs().max().item() * 32_768 / 32_767) * 1.01
        assert (cache.read(source) - want).abs().max() <= allowed


def test_a_part_is_that_part_of_the_whole(folder, sources):
    cache = build(folder, sources)
    for i in (2, 3):  # the two of a shard
        whole, length = read_audio(sources[i]), 1_000 + 100 * i
        assert torch.equal(cache.read(sources[i], 200), whole[200:])
        assert torch.equal(cache.read(sources[i], 200, 50), whole[200:250])
        assert torch.equal(cache.read(sources[i], 0, 2_000), whole)  # and nothing of its neighbour
        assert torch.equal(cache.read(sources[i], length - 10, 100), whole[-10:])
        assert torch.equal(cache.read(sources[i], length - 1), whole[-1:])


def test_what_is_read_may_be_written_to(folder, sources):
    cache = build(folder, sources)
    cache.read(sources[0]).zero_()
    assert_holds(cache, sources)


@pytest.mark.parametrize(("start", "num_samples"), [(-1, None), (1_000, None), (1_200, 5), (0, 0), (3, -2)])
def test_a_part_outside_a_recording_is_refused(folder, sources, start, num_samples):
    cache = build(folder, sources)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(sources[0]))}: .*expected") as caught:
        cache.read(sources[0], start, num_samples)
    assert str(start if num_samples is None or num_samples > 0 else num_samples) in str(caught.value)


def test_a_recording_that_is_not_there_is_named(tmp_path, folder, sources):
    cache = build(folder, sources[:2])
    for ask in (cache.read, cache.length):
        with pytest.raises(
            ClipError, match=rf"^{re.escape(str(sources[2]))}: not in the cache .*build_cache"
        ):
            ask(sources[2])
    with pytest.raises(FileNotFoundError, match="no such cache"):
        Cache(tmp_path / "elsewhere")


def test_a_recording_is_one_however_its_path_is_written(folder, sources, decoded, monkeypatch):
    monkeypatch.chdir(sources[0].parent)
    cache = build(folder, ["0.wav", sources[0], sources[0].parent / "../wav/0.wav"])
    assert decoded == ["0.wav"]
    assert torch.equal(cache.read("0.wav"), read_audio(sources[0]))


def test_any_file_name_can_be_cached(tmp_path, folder):
    names = ["ein Bär.wav", 'a "b", c.wav', "line\nbreak.wav", "  .wav", "犬\u2028.wav"]
    sources = [write(tmp_path / name, noise(100, seed=i)) for i, name in enumerate(names)]
    build(folder, sources)
    assert_holds(Cache(folder), sources)


# What is decoded again ----------------------------------------------------------------------------


def test_a_second_build_does_nothing(folder, sources, decoded):
    build(folder, sources, num_workers=3)
    assert decoded and len(shards(folder)) == 4
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    decoded.clear()
    assert_holds(build(folder, sources), sources)
    assert decoded == []
    before.pop(folder / "lock")
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert set(folder.iterdir()) == {*before, folder / "lock"}


def test_another_list_is_added(folder, sources, decoded):
    build(folder, sources[:3])
    cache = build(folder, sources[2:])
    assert sorted(decoded) == [f"{i}.wav" for i in range(8)]  # each once
    assert_holds(cache, sources)


@pytest.mark.parametrize("change", ["samples", "time"])
def test_a_changed_source_is_decoded_again_and_no_other(folder, sources, decoded, change):
    build(folder, sources)
    kept = {path: path.read_bytes() for path in shards(folder)}
    decoded.clear()
    found = sources[2].stat()
    if change == "samples":
        write(sources[2], noise(500, seed=99))
        os.utime(sources[2], ns=(found.st_atime_ns, found.st_mtime_ns))  # its size tells
    else:
        write(sources[2], noise(1_200, seed=99))  # as long as before
        os.utime(sources[2], ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    assert_holds(build(folder, sources), sources)
    assert decoded == ["2.wav"]
    assert all(path.read_bytes() == data for path, data in kept.items())
    assert_holds(Cache(folder), sources)  # the later entry is the one that counts


def test_a_shard_that_nothing_needs_is_deleted_and_its_name_not_used_again(folder, sources):
    build(folder, sources[:2])
    [old] = shards(folder)
    for seed, source in enumerate(sources[:2]):
        write(source, noise(900, seed=50 + seed))
    stale = Cache(folder)
    assert_holds(build(folder, sources[:2]), sources[:2])
    assert_holds(build(folder, sources[:2]), sources[:2])
    [new] = shards(folder)
    assert new != old and new.name > old.name
    # A run that knows the old shard alone does not get other samples.
    with pytest.raises(ClipError, match="gone or cut off; start the run again"):
        stale.read(sources[0])


def test_a_shard_that_was_lost_leaves_its_name_to_no_other(folder, sources):
    build(folder, sources[:2])
    stale, [old] = Cache(folder), shards(folder)
    old.unlink()
    assert_holds(build(folder, sources[1::-1]), sources[:2])  # in the other order
    with pytest.raises(ClipError, match="gone or cut off"):
        stale.read(sources[0])


def test_files_of_others_are_left_alone(folder, sources):
    folder.mkdir()
    others = [folder / name for name in ("shard_000000.int16", "notes.txt", ".ipet", "x.index")]
    for path in others:
        path.write_text("mine")
    build(folder, sources)
    assert all(path.read_text() == "mine" for path in others)


# Damage -------------------------------------------------------------------------------------------


def test_a_cut_shard_costs_what_was_cut_off(folder, sources, decoded):
    build(folder, sources)  # recordings 2 and 3 are the second shard's
    shard = shards(folder)[1]
    os.truncate(shard, shard.stat().st_size - 1)
    decoded.clear()
    assert_holds(build(folder, sources), sources)
    assert decoded == ["3.wav"]
    build(folder, sources)
    assert decoded == ["3.wav"]  # and once only


def test_a_shard_that_was_cut_and_filled_up_is_not_believed(folder, sources, decoded):
    build(folder, sources)
    shard = shards(folder)[1]
    size = shard.stat().st_size
    os.truncate(shard, 3_000)
    os.truncate(shard, size + 100)  # zeros
    decoded.clear()
    assert_holds(build(folder, sources), sources)
    assert decoded == ["3.wav"]


@pytest.mark.parametrize("suffix", [".int16", ".index"])
@pytest.mark.parametrize("how", ["missing", "empty", "garbage"])
def test_a_lost_file_costs_its_recordings(folder, sources, decoded, suffix, how):
    build(folder, sources)
    path = shards(folder)[1].with_suffix(suffix)
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(b"" if how == "empty" else np.random.default_rng(0).bytes(path.stat().st_size))
    decoded.clear()
    cache = Cache(folder)
    assert_holds(cache, [sources[i] for i in (0, 1, 4, 5, 6, 7)])
    if (suffix, how) != (".int16", "garbage"):  # of the same size: see verify
        for source in sources[2:4]:
            with pytest.raises(ClipError, match="not in the cache"):
                cache.read(source)
        assert_holds(build(folder, sources), sources)
        assert decoded == ["2.wav", "3.wav"]
    assert_holds(build(folder, sources, verify=True), sources)
    assert decoded == ["2.wav", "3.wav"]


@pytest.mark.parametrize(
    ("line", "lost"),  # with the line's end, which joins it to the next one
    [(0, ["2.wav"]), (1, ["2.wav", "3.wav"]), (2, ["3.wav"])],
)
def test_every_byte_of_an_index_is_checked(folder, sources, decoded, line, lost):
    build(folder, sources)
    index = shards(folder)[1].with_suffix(".index")
    data = index.read_bytes()
    lines = data.splitlines(keepends=True)
    begin = sum(map(len, lines[:line]))
    for place in range(begin, begin + len(lines[line])):
        index.write_bytes(data)
        flip(index, place)
        held = Cache(folder)
        for i, source in enumerate(sources):  # what is left is right
            if i not in (2, 3) or os.fspath(source) in held.index:
                assert torch.equal(held.read(source), read_audio(source))
    decoded.clear()
    assert_holds(build(folder, sources), sources)
    assert decoded == lost


def test_a_damaged_line_costs_one_recording(folder, sources, decoded):
    build(folder, sources)
    index = shards(folder)[1].with_suffix(".index")
    flip(index, index.read_bytes().index(b"3.wav"))
    decoded.clear()
    for _ in range(2):  # the second time nothing is amiss
        assert_holds(build(folder, sources), sources)
        assert decoded == ["3.wav"]


def test_verify_finds_a_flipped_bit(folder, sources, decoded):
    build(folder, sources)
    flip(shards(folder)[1], 100)  # in recording 2
    decoded.clear()
    assert not torch.equal(build(folder, sources).read(sources[2]), read_audio(sources[2]))
    assert decoded == []  # sizes are what a build looks at
    assert_holds(build(folder, sources, verify=True), sources)
    assert decoded == ["2.wav"]
    build(folder, sources, verify=True)
    assert decoded == ["2.wav"]


def test_what_is_damaged_is_told(folder, sources, capsys):
    build(folder, sources)
    shard = shards(folder)[1]
    os.truncate(shard, 10)
    build(folder, sources)
    assert capsys.readouterr().err == f"{shard}: damaged, 0 recordings in it are sound\n"


@pytest.mark.parametrize("harm", ["cut", "deleted"])
def test_a_shard_that_is_lost_while_a_run_goes_on_is_named(folder, sources, harm):
    cache = build(folder, sources)
    shard = shards(folder)[0]
    os.truncate(shard, 2_100) if harm == "cut" else shard.unlink()
    with pytest.raises(
        ClipError, match=rf"^{re.escape(str(sources[1]))}: .*{shard.name}.* start the run again"
    ):
        cache.read(sources[1])


def test_a_cache_of_another_version_is_refused_and_left_alone(folder, sources, monkeypatch):
    monkeypatch.setattr(module, "SCHEMA", 7)
    build(folder, sources)
    monkeypatch.undo()
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for use in (Cache, lambda folder: build(folder, sources)):
        with pytest.raises(
            ValueError, match=r"\.index: schema 7; this version reads 1: choose another folder"
        ):
            use(folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


# Errors while decoding ----------------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", [1, 4])
def test_a_recording_that_cannot_be_decoded_is_named_and_what_was_decoded_is_kept(
    folder, sources, decoded, num_workers
):
    whole = sources[5].read_bytes()
    sources[5].write_bytes(b"no audio at all")
    sources[7].unlink()
    with pytest.raises(ClipError, match=rf"^{re.escape(str(sources[5]))}: not readable as audio"):
        build(folder, sources, num_workers)
    assert_holds(Cache(folder), sources[:5])

    decoded.clear()
    sources[5].write_bytes(whole)
    with pytest.raises(FileNotFoundError, match=rf"^{re.escape(str(sources[7]))}: no such file$"):
        build(folder, sources, num_workers)
    assert set(decoded) == {"5.wav", "6.wav"}
    assert_holds(Cache(folder), sources[:7])


def test_a_full_disk_is_one_line_and_nothing_half_written_counts(folder, sources):
    build(folder, sources[:2], shard_bytes=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_700, limits[1]))  # the write stops there, as on a full disk
    try:
        # recordings 2 and 3 have 2,400 and 2,600 bytes, 4 has 2,800
        with pytest.raises(OSError, match=rf"^{re.escape(str(folder))}: .*2800 bytes.*make room") as caught:
            build(folder, sources, shard_bytes=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.__cause__.errno == errno.EFBIG
    assert not list(folder.glob(".*"))  # what was half written is gone
    assert list(Cache(folder).index) == [str(source) for source in sources[:4]]
    assert_holds(build(folder, sources), sources)


def test_a_file_in_place_of_the_folder_is_refused(folder, sources):
    folder.write_text("")
    with pytest.raises(NotADirectoryError, match=rf"^{re.escape(str(folder))}: a file; expected the folder"):
        build(folder, sources)


# Processes ----------------------------------------------------------------------------------------


def die_at(call, number):
    """SIGKILL this process in place of the ``number``-th call (from 0) of a function of ``os``."""
    original, calls = getattr(os, call), iter(range(1_000))

    def deadly(*args, **kwargs):
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(os, call, deadly)


def build_and_die(folder, sources, call, number):
    die_at(call, number)
    build(folder, sources)


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", range(8))
def test_a_killed_build_goes_on_where_it_was(folder, sources, decoded, call, number):
    # four shards: index, samples, index, samples, ...; a write is an fsync and then a replace
    child = FORK.Process(target=build_and_die, args=(folder, sources, call, number))
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    done = 2 * (number // 2)  # recordings of the shards that were there already
    assert_holds(Cache(folder), sources[:done])
    assert len(Cache(folder).index) == done
    assert list(folder.glob(".ipet_*"))  # what was being written

    assert_holds(build(folder, sources), sources)
    assert decoded == [f"{i}.wav" for i in range(done, 8)]
    assert not list(folder.glob(".ipet_*"))
    assert {p.stem for p in folder.glob("*.index")} == {p.stem for p in shards(folder)}


def build_slowly(folder, sources, log):
    def read(path):
        time.sleep(0.02)
        with open(log, "a") as file:
            file.write(f"{os.path.basename(path)}\n")
        return read_audio(path)

    module.read_audio = read
    assert_holds(build(folder, sources), sources)


def test_two_builds_at_once_decode_everything_once(folder, sources, tmp_path, capfd):
    builds = [FORK.Process(target=build_slowly, args=(folder, sources, tmp_path / "log")) for _ in range(2)]
    for process in builds:
        process.start()
    for process in builds:
        process.join(30)
    assert [process.exitcode for process in builds] == [0, 0]
    assert sorted((tmp_path / "log").read_text().split()) == [f"{i}.wav" for i in range(8)]
    told = f"{folder}: another process builds this cache; waiting for it\n"
    assert capfd.readouterr().err == told  # by the one that waits


def test_a_pickled_cache_is_its_folder(folder, sources):
    cache = build(folder, sources)
    assert_holds(cache, sources)  # which maps every shard
    data = pickle.dumps(cache)
    assert len(data) < 200 + len(str(folder))
    assert_holds(pickle.loads(data), sources)


class Waveforms(Dataset):
    def __init__(self, cache, sources):
        self.cache, self.sources = cache, sources

    def __len__(self):
        return len(self.sources)

    def __getitem__(self, i):
        return self.cache.read(self.sources[i], 100, 800)


@pytest.mark.parametrize(("start_method", "num_workers"), [("fork", 2), ("spawn", 1)])
def test_workers_of_a_loader_read_the_same(folder, sources, start_method, num_workers):
    cache = build(folder, sources)
    cache.read(sources[0])
    loader = DataLoader(
        Waveforms(cache, sources), 4, num_workers=num_workers, multiprocessing_context=start_method
    )
    want = torch.stack([read_audio(source)[100:900] for source in sources])
    assert torch.equal(torch.cat(list(loader)), want)


def test_more_shards_than_maps_are_read_all_the_same(folder, sources, monkeypatch):
    monkeypatch.setattr(module, "MAX_MAPS", 2)
    cache = build(folder, sources, shard_bytes=1)
    assert len(shards(folder)) == 8
    assert_holds(cache, [*sources, *sources])
    assert len(cache.maps) == 2


@pytest.mark.parametrize("num_workers", [0, 1, 5])
def test_shards_do_not_depend_on_the_number_of_threads(folder, sources, num_workers):
    build(folder, sources, num_workers)
    data = b"".join(path.read_bytes() for path in shards(folder))
    want = b"".join(soundfile.read(source, dtype="int16")[0].tobytes() for source in sources)
    assert data == want


def test_a_few_recordings_are_decoded_ahead_and_not_all(monkeypatch):
    begun = []
    monkeypatch.setattr(module, "decode", lambda source: begun.append(source) or source)
    results = module.decode_in_order([str(i) for i in range(100)], num_workers=2)
    assert next(results) == "0"
    time.sleep(0.05)  # for the threads to do what they have
    assert len(begun) <= 2 * module.AHEAD + 1
    assert [next(results) for _ in range(99)] == [str(i) for i in range(1, 100)]
