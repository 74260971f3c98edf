"""GTZAN: 1,000 excerpts of 30 s, 10 genres; ten seeded folds, as the release has none."""

from pathlib import Path

from preparation.checking import check_classes
from preparation.contents import unusable
from preparation.lists import Clip, Label, Lists, Row, fold_lists, listing
from preparation.reading import check_root, clip_bytes, subfolders
from preparation.splits import folds_of

GENRES = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"]
NUM_FOLDS = 10
ARTISTS = (
    "GTZAN has several excerpts of one artist or recording (Sturm 2013), which these random folds do "
    "not keep apart: accuracies are optimistic"
)


def prepare_gtzan(root: Path, seed: int = 1234) -> Lists:
    """Lists of GTZAN: ten folds with equal shares of every genre.

    A recording that cannot be opened, as ``jazz.00054.wav`` of a common copy, is left out with a note.

    Args:
        root: holds ``genres_original/<genre>/*.wav``, or ``genres/<genre>/*.au``.
        seed: of the folds.

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
    fold = folds_of(genre_of, None, NUM_FOLDS, seed)
    lists = fold_lists({Clip(wav, mids[genre]): k for wav, genre, k in zip(wavs, genre_of, fold)})

    notes = check_classes(labels, lists, root)
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
