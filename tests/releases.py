"""Every dataset as its release looks on disk, with a few short clips: official names, tables and rates."""

import csv

import numpy as np
import soundfile

from helpers import write_wav

SPEECH_WORDS = ("bed", "right", "zero")
FSD50K_CLASSES = (
    ("Accordion", "/m/0mkg"),
    ("Musical_instrument", "/m/04szw"),
    ("Wind_chime", "/m/026fgl"),
)
# Of each set, the classes of its clips.
FSD50K_DEV = ((0, 1), (1,), (2,), (1, 2), (0, 1), (2,), (0, 1, 2), (1,), (0, 1), (1, 2), (2,))
FSD50K_EVAL = ((0, 1), (2,), (1,), (1, 2))
NUM_VALID = 3  # the last of FSD50K_DEV
GENRES = ("blues", "jazz")
MUSAN = {"music": "fma", "noise": "free-sound", "speech": "librivox"}
ROOMS = ("smallroom", "mediumroom", "largeroom")


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines))


def make_esc50(root):
    """Two classes, five folds, two clips of each; 44.1 kHz."""
    rows = [["filename", "fold", "target", "category", "esc10", "src_file", "take"]]
    for target, category in ((0, "dog"), (10, "rain")):
        for fold in range(1, 6):
            for i in range(2):
                source = 100_000 + 100 * target + 10 * fold + i
                name = f"{fold}-{source}-A-{target}.wav"
                write_wav(root / "audio" / name, 0.5, seed=source, rate=44_100)
                rows.append([name, fold, target, category, "True", source, "A"])
    write_table(root / "meta/esc50.csv", rows)
    return root


def make_speech_commands(root):
    """Three words of four clips: of each two to train, one to validate, one to test; 16 kHz."""
    held_out = {"validation_list.txt": [], "testing_list.txt": []}
    for n, word in enumerate(SPEECH_WORDS):
        names = [f"{word}/{speaker:08x}_nohash_0.wav" for speaker in range(4)]
        for speaker, name in enumerate(names):
            write_wav(root / name, 0.6, seed=10 * n + speaker)
        held_out["validation_list.txt"].append(names[2])
        held_out["testing_list.txt"].append(names[3])
    write_wav(root / "_background_noise_/white_noise.wav", 1.0, seed=99)
    for name, lines in held_out.items():
        write_lines(root / name, lines)
    return root


def make_fsd50k(root):
    """Three classes, eight clips to train, three to validate and four to test; 44.1 kHz."""
    truth = root / "FSD50K.ground_truth"
    write_table(truth / "vocabulary.csv", [[i, *labels] for i, labels in enumerate(FSD50K_CLASSES)])
    tables = {"dev": [["fname", "labels", "mids", "split"]], "eval": [["fname", "labels", "mids"]]}
    for part, clips in (("dev", FSD50K_DEV), ("eval", FSD50K_EVAL)):
        for i, classes in enumerate(clips):
            fname = (64_760 if part == "dev" else 37_199) + 13 * i
            names, mids = zip(*(FSD50K_CLASSES[c] for c in classes))
            split = ["val" if i >= len(clips) - NUM_VALID else "train"] if part == "dev" else []
            tables[part].append([fname, ",".join(names), ",".join(mids), *split])
            write_wav(root / f"FSD50K.{part}_audio/{fname}.wav", 0.3 + 0.1 * (i % 4), seed=fname, rate=44_100)
        write_table(truth / f"{part}.csv", tables[part])
    return root


def make_gtzan(root, clips=10):
    """Two genres of ten excerpts, 22.05 kHz mono, and a jazz.00054.wav that is no audio."""
    for n, genre in enumerate(GENRES):
        for i in range(clips):
            path = root / f"genres_original/{genre}/{genre}.{i:05d}.wav"
            write_wav(path, 0.5, seed=100 * n + i, rate=22_050)
    (root / "genres_original/jazz/jazz.00054.wav").write_bytes(bytes(range(256)) * 4)
    return root


def make_voxceleb1(root):
    """Four speakers to train on and two to test, of three utterances in two videos; 15 trials; 16 kHz."""
    tested = []
    for part, speakers in (("dev", range(10_001, 10_005)), ("test", (10_270, 10_271))):
        for speaker in speakers:
            for i, video in enumerate(("1zcIwhmdeo4", "1zcIwhmdeo4", "7gWzIy6yIIk")):
                utterance = f"id{speaker}/{video}/{i % 2 + 1:05d}.wav"
                write_wav(root / f"{part}/wav/{utterance}", 0.8, seed=10 * speaker + i)
                tested += [utterance] if part == "test" else []
    pairs = [(a, b) for i, a in enumerate(tested) for b in tested[i + 1 :]]
    trials = [f"{int(a[:7] == b[:7])} {a} {b}" for a, b in pairs]
    write_lines(root / "veri_test.txt", trials)
    write_lines(root / "veri_test2.txt", trials[1:])
    return root


def make_musan(root):
    """Two recordings of music, of noise and of speech; 16 kHz."""
    for n, (kind, source) in enumerate(MUSAN.items()):
        for i in range(2):
            write_wav(root / f"{kind}/{source}/{kind}-{source}-{i:04d}.wav", 1.0, seed=10 * n + i)
        write_lines(root / f"{kind}/{source}/ANNOTATIONS", [f"{kind}-{source}-0000 -"])
    return root


def make_rirs(root):
    """One simulated response a size of room: a direct path and decaying noise; 16 kHz."""
    for n, size in enumerate(ROOMS):
        path = root / f"simulated_rirs/{size}/Room001/Room001-00001.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        t = np.arange(4_800) / 16_000
        tail = np.random.default_rng(n).standard_normal(len(t)) * np.exp(-t / (0.02 * (n + 1)))
        tail[0] = 4.0
        soundfile.write(path, 0.2 * tail, 16_000)
    return root
