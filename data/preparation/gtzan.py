"""GTZAN: 1,000 excerpts of 30 s, 10 genres; the ten published folds, or seeded ones."""

import json
from pathlib import Path

from preparation.checking import check_classes
from preparation.contents import unusable
from preparation.lists import Clip, Label, Lists, Row, fold_lists, listing
from preparation.reading import check_root, clip_bytes, subfolders
from preparation.splits import folds_of

GENRES = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"]
NUM_FOLDS = 10
SHIPPED = Path(__file__).resolve().parents[1] / "gtzan"  # its lists hold the published folds
ENOUGH = 500  # recordings of the release for its folds to be those of a smaller set, too
DEFAULT_SEED = 1234
ARTISTS = (
    "GTZAN has several excerpts of one artist or recording (Sturm 2013), which the folds do not "
    "keep apart: accuracies are optimistic"
)


def published_folds() -> dict[str, int]:
    """Return the fold, from 1, of every recording of the release: ``blues.00000`` -> 1."""
    folds = {}
    for fold in range(1, NUM_FOLDS + 1):
        path = SHIPPED / f"eval_{fold}.json"
        if path.is_file():
            clips = json.loads(path.read_text(encoding="utf-8"))["data"]
            folds |= {Path(clip["wav"]).stem: fold for clip in clips}
    return folds


def choose_folds(wavs: list[str], seed: int | None) -> tuple[list[int], str]:
    """Return the fold of every recording, from 1, and a note on where it comes from.

    Args:
        wavs: All recordings that were found; those that cannot be opened count, so that folds do not depend
            on them.
        seed: Seed of a draw; default: the published folds, where the recordings are those of the release.
    """
    published = published_folds()
    stems = [Path(wav).stem for wav in wavs]
    if seed is None and len(wavs) >= ENOUGH and all(stem in published for stem in stems):
        return [published[stem] for stem in stems], ""
    genres = [wav.split("/")[1] for wav in wavs]
    why = "-seed was given" if seed is not None else "these are not the recordings of the release"
    return folds_of(genres, None, NUM_FOLDS, DEFAULT_SEED if seed is None else seed), (
        f"the folds were drawn, since {why}; they are not the published ones"
    )


def prepare_gtzan(root: Path, seed: int | None = None) -> Lists:
    """Return lists of GTZAN: ten folds with equal shares of every genre.

    A recording that cannot be opened, as ``jazz.00054.wav`` of a common copy, is left out with a note; the
    folds of the others do not depend on it.

    Args:
        root: Holds ``genres_original/<genre>/*.wav``, or ``genres/<genre>/*.au``.
        seed: Seed of drawn folds; default: the published folds.

    Raises:
        FileNotFoundError: ``root`` is not such a folder.
        ValueError: a genre has fewer sound recordings than there are folds.

    Source: Tzanetakis and Cook 2002; its faults: Sturm 2013 (https://arxiv.org/abs/1306.1461).
    """
    top = "genres" if (root / "genres").is_dir() else "genres_original"
    check_root(root, [f"{top}/"], "GTZAN (or genres/)")
    genres = subfolders(root / top)
    if len(genres) < 2:
        raise FileNotFoundError(
            f"{root / top}: holds {len(genres)} folders of genres; expected {', '.join(GENRES)}"
        )

    found = sorted(clip_bytes(root, [f"{top}/{genre}" for genre in genres], suffixes=(".wav", ".au")))
    broken = unusable(root, found)
    wavs = [wav for wav in found if wav not in broken]
    genre_of = [wav.split("/")[1] for wav in wavs]
    few = {genre: genre_of.count(genre) for genre in genres if genre_of.count(genre) < NUM_FOLDS}
    if few:
        counts = listing(f"{genre} has {count}" for genre, count in few.items())
        raise ValueError(
            f"{root / top}: {NUM_FOLDS} folds need at least {NUM_FOLDS} sound recordings of a genre; {counts}"
        )

    labels = [Label(f"/m/gtzan{index:02d}", genre) for index, genre in enumerate(genres)]
    mids = {label.display_name: label.mid for label in labels}
    folds, drawn = choose_folds(found, seed)
    lists = fold_lists(
        {Clip(wav, mids[wav.split("/")[1]]): k for wav, k in zip(found, folds) if wav not in broken}
    )

    notes = [*check_classes(labels, lists, root), *([drawn] if drawn else [])]
    if broken:
        reasons = listing(f"{wav} ({reason})" for wav, reason in broken.items())
        notes.append(
            f"{len(broken)} of {len(found):,} recordings cannot be opened and are left out: {reasons}"
        )
    absent = [genre for genre in GENRES if genre not in genres]
    if absent:
        notes.append(f"{top}/ lacks {listing(absent)}")
    table = [Row("genres", len(genres), 10), Row("recordings", len(found), 1000), Row("usable", len(wavs))]
    return Lists(labels, lists, table, [*notes, ARTISTS], experiment="ast_gtzan")
