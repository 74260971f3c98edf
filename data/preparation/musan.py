"""MUSAN: music, noise and speech that training on VoxCeleb mixes in."""

from pathlib import Path

from preparation.checking import check_classes, check_on_disk
from preparation.lists import Clip, Label, Lists, Row
from preparation.reading import check_root, clip_bytes

OFFICIAL = {"music": 660, "noise": 930, "speech": 426}  # recordings


def prepare_musan(root: Path) -> Lists:
    """Lists of MUSAN: ``music``, ``noise`` and ``speech``.

    Raises:
        FileNotFoundError: ``root`` does not hold these three folders.
        ValueError: one of them has no recording, or a recording is an empty file.

    Source: https://www.openslr.org/17 (Snyder et al. 2015).
    """
    check_root(
        root, [f"{kind}/" for kind in OFFICIAL], "MUSAN, the folder that musan.tar.gz was extracted into"
    )
    num_bytes = clip_bytes(root, list(OFFICIAL), nested=True)
    check_on_disk(num_bytes, num_bytes, root, root)

    labels = [Label(f"/m/{kind}", kind) for kind in OFFICIAL]
    lists = {
        kind: [Clip(wav, f"/m/{kind}") for wav in sorted(num_bytes) if wav.startswith(f"{kind}/")]
        for kind in OFFICIAL
    }
    for label in labels:
        check_classes([label], {label.display_name: lists[label.display_name]}, root)
    table = [Row(kind, len(lists[kind]), official) for kind, official in OFFICIAL.items()]
    table += [Row("recordings", len(num_bytes), 2_016)]
    return Lists(labels, lists, table, mixed_in_by="-path_musan")
