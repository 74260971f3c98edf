"""Checkpoints in several files: an index in Hugging Face's layout names the file of each tensor."""

from pathlib import Path

INDEX = ".index.json"  # end of an index's name, as in model.safetensors.index.json


def shard_names(index: object, path: Path) -> list[str]:
    """Return the names of the files that an index names.

    Args:
        index: Content of the index.
        path: File that it was read from, for errors.

    Raises:
        ValueError: The index has no ``weight_map``, or it names a file of another folder.
    """
    weights = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weights, dict) or not weights:
        raise ValueError(
            f"{path}: holds no weight_map; expected an index of shards, as Hugging Face writes it"
        )
    names = list(dict.fromkeys(map(str, weights.values())))
    for name in names:
        if Path(name).name != name or name.endswith(INDEX) or "\\" in name:
            raise ValueError(
                f"{path}: {name[:80]!r} is no file next to the index; expected the name of a shard"
            )
    return names
