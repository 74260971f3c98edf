"""RIRS_NOISES: simulated room impulse responses, for reverberation in training on VoxCeleb."""

from pathlib import Path

from preparation.checking import check_classes, check_on_disk
from preparation.lists import Clip, Label, Lists, Row
from preparation.reading import check_root, clip_bytes, subfolders

ROOMS = ("smallroom", "mediumroom", "largeroom")


def prepare_rirs(root: Path) -> Lists:
    """The list ``simulated`` of the simulated responses; real and isotropic ones are not used.

    Raises:
        FileNotFoundError: ``root`` holds no ``simulated_rirs/`` with three sizes of rooms.
        ValueError: a size has no response, or a response is an empty file.

    Source: https://www.openslr.org/28 (Ko et al. 2017).
    """
    tops = [f"simulated_rirs/{size}" for size in ROOMS]
    check_root(root, [f"{top}/" for top in tops], "RIRS_NOISES, which rirs_noises.zip holds")
    num_bytes = clip_bytes(root, [f"{top}/{room}" for top in tops for room in subfolders(root / top)])
    check_on_disk(num_bytes, num_bytes, root, root)

    labels = [Label(f"/m/{size}", size) for size in ROOMS]
    clips = [Clip(wav, f"/m/{wav.split('/')[1]}") for wav in sorted(num_bytes)]
    absent = check_classes(labels, {"simulated": clips}, root)
    if absent:
        raise ValueError(f"{root}: {absent[0]}")
    count = {size: sum(clip.labels == f"/m/{size}" for clip in clips) for size in ROOMS}
    table = [*(Row(size, count[size], 20_000) for size in ROOMS), Row("responses", len(clips), 60_000)]
    return Lists(labels, {"simulated": clips}, table, mixed_in_by="-path_rir")
