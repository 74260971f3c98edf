"""Lists that were made on another machine, with its absolute paths: the recordings are looked for here.

AST's, SSAST's and IPET's own published lists are such files; ``ipet.published_lists`` reads them.
"""

from pathlib import Path

from ipet.published_lists import read_published, read_text
from ipet.recording_search import find_recordings
from preparation.checking import check_classes, check_on_disk
from preparation.lists import Label, Lists, Row, listing
from preparation.reading import check_root, clip_bytes
from preparation.recordings import SUFFIXES


def prepare_lists(root: Path, lists: Path | None = None) -> Lists:
    """Return the same lists and labels, with paths relative to ``root``.

    A recording is the file under ``root`` whose path ends like the listed one for the most parts.

    Args:
        root: Holds the recordings, at any depth.
        lists: Folder of the lists (``.json``) and of one label table (``.csv``).

    Raises:
        FileNotFoundError: A folder, the lists, the table or a recording is missing.
        ValueError: See ``read_published``; or a recording could be two files.
    """
    if lists is None:
        raise ValueError("-lists is missing: the folder of the lists, with their label table")
    check_root(root, [], "the recordings")
    check_root(lists, [], "lists of clips")
    published = read_published(lists)
    labels = [Label(*label) for label in published.labels]
    found_here = clip_bytes(root, ["."], SUFFIXES, nested=True)
    sizes = {wav.removeprefix("./"): size for wav, size in found_here.items()}
    source = {wav: published.sources[name] for name, clips in published.lists.items() for wav, *_ in clips}
    places = find_recordings(source, sizes, str(root))
    missing = [wav for wav in source if wav not in places]
    if missing:
        raise FileNotFoundError(
            f"{source[missing[0]]}: {len(missing):,} of {len(source):,} recordings are not in {root}, in no "
            f"folder of it: {listing(missing)}"
        )
    clips_of = {}
    for name, clips in published.lists.items():
        clips_of[name] = [clip._replace(wav=places[clip.wav]) for clip in clips]
        check_on_disk((clip.wav for clip in clips_of[name]), sizes, root, published.sources[name])
    trials = {name: read_text(path) for name, path in published.trials.items()}
    heard = {name: clips for name, clips in clips_of.items() if not (trials and name == "test")}
    notes = [*published.report.warnings(), *check_classes(labels, heard, root)]
    table = [Row("classes", len(labels)), *(Row(name, len(clips)) for name, clips in clips_of.items())]
    return Lists(labels, clips_of, table, notes, trials)
