"""Files that hold tensors: published weights, the trainable state, and a training to go on with.

Nothing read here can run code: safetensors, or ``torch.load(weights_only=True)``. Every write is
atomic, so that a file is either the old one or the new one, whole.
"""

import hashlib
import io
import json
import os
import re
import secrets
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

try:
    import fcntl
except ModuleNotFoundError:  # Windows: what a killed write left stays there
    fcntl = None

from ipet.description import CONFIG, FORMER_CONFIG, shown
from ipet.sharded import INDEX, shard_names
from ipet.tuning import trainable_parameters

UNFINISHED = ".unfinished"  # ends the name of a file that is being written
TEMPORARY = re.compile(rf"\..+\.[0-9a-f]{{8}}{re.escape(UNFINISHED)}", re.DOTALL)  # of write_atomically
HERE = Path(__file__).resolve().parent
INSTALLED = HERE / "pretrained_models"  # of a wheel; the repository has them beside the package
PRETRAINED_MODELS = INSTALLED if INSTALLED.is_dir() else HERE.parent / "pretrained_models"
CHECKSUM = b"\nSHA-256 "  # stands before it, behind a training state
SHARED = 4  # times a file's bytes that its tensors may have: tied weights are one storage
MODEL_FILES = (  # of a folder in Hugging Face's layout
    *("model.safetensors", "pytorch_model.bin"),
    *("model.safetensors.index.json", "pytorch_model.bin.index.json"),
)
EMBEDDED = ("ast_small", "wav2vec2_small")  # folders there, which the repository ships with


def write_atomically(path: str | Path, data: bytes | memoryview) -> None:
    """Write a file so that a crash leaves either the old content or the new one.

    Raises:
        OSError: the disk is full, or not to be written; the message names the file.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as file:  # who may read it, the umask says
                hold(file)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                if fcntl is None:
                    file.close()  # Windows replaces no file by an open one
                os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an ``OSError`` inside the block name ``path``: that of a full disk names no file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def hold(file) -> bool:
    """Lock an open file until it is closed, or its process ends; False where that cannot be had.

    Another process holds it, or the system or the file system has no such locks.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or of a file system without locks
        return False
    return True


def remove_unfinished(folder: str | Path) -> int:
    """Remove what writes that were killed have left below a folder; how many files these were.

    What a living process writes is held by it, and stays.
    """
    removed = 0
    for path in Path(folder).rglob(f".*{UNFINISHED}"):
        if not TEMPORARY.fullmatch(path.name):
            continue
        with suppress(OSError), open(path, "ab") as file:
            if hold(file):
                path.unlink()
                removed += 1
    return removed


def write_json(path: str | Path, value) -> None:
    """Write ``value`` as readable JSON, atomically."""
    write_atomically(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def tell(values: dict, text: str, json_file: str | Path | None, indent: int | None = 2) -> None:
    """Print a text, and write its values as JSON; ``-`` prints these in its place, None on one line."""
    if json_file == "-":
        print(json.dumps(values, indent=indent, ensure_ascii=False))
        return
    print(text)
    if json_file is not None:
        write_json(json_file, values)


def save_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as a compressed ``.npz``, atomically."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, buffer.getbuffer())


def read_json(path: str | Path):
    """The value of a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # the latter: a hostile depth
        raise ValueError(f"{path}: not JSON: {error}") from None


def read_settings(path: str | Path) -> dict:
    """The settings of a ``config.json``; see ``read_json``.

    Raises:
        ValueError: it holds something else.
    """
    settings = read_json(path)
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: holds {shown(settings)}; expected the settings of a model")
    return settings


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a ``.safetensors`` file, or a pickle without code (``.pth``, ``.bin``, ``.pt``).

    Of an index of shards (``model.safetensors.index.json``) the tensors of all shards are returned. Of a
    training checkpoint the ``model`` or ``state_dict`` entry is taken, and the ``module.`` that DataParallel
    puts before every name is dropped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, would run code, holds something other than tensors, or tensors that
            are larger than the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.name.endswith(INDEX):
        return read_shards(path)
    if path.suffix != ".safetensors":
        check_archive(path, path, path.stat().st_size)
    try:
        if path.suffix == ".safetensors":
            tensors = safetensors.torch.load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        # Not torch's own text: it advises to load the file with its code.
        raise ValueError(
            f"{path}: damaged, or no file of tensors alone ({type(error).__name__}); expected safetensors, "
            "or a torch pickle that holds nothing but tensors"
        ) from None
    for key in ("model", "state_dict"):
        if isinstance(tensors, Mapping) and isinstance(tensors.get(key), Mapping):
            tensors = tensors[key]
    if not isinstance(tensors, Mapping):
        raise ValueError(f"{path}: expected a dictionary of tensors, found {type(tensors).__name__}")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(
                f"{path}: expected a dictionary of tensors by name, found {name!r}: {type(tensor).__name__}"
            )
    check_extent(path, tensors)
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def read_shards(path: Path) -> dict[str, Tensor]:
    """Return the tensors of an index of shards.

    Raises:
        FileNotFoundError: A shard is missing.
        ValueError: The index or a shard is damaged, or the shards do not hold the tensors of the index.
    """
    index, tensors = read_json(path), {}
    for name in shard_names(index, path):
        if not path.with_name(name).is_file():
            raise FileNotFoundError(f"{path}: the shard {name} is not next to it; expected every shard of it")
        tensors |= read_tensors(path.with_name(name))
    names = index["weight_map"].keys()
    if tensors.keys() != names:
        missing, unexpected = sorted(names - tensors.keys()), sorted(tensors.keys() - names)
        raise ValueError(
            f"{path}: of its tensors {name_some(missing)} missing, {name_some(unexpected)} unexpected"
        )
    return tensors


def check_archive(path: Path, file: Path | io.BytesIO, size: int) -> None:
    """Raise ValueError where an archive of ``size`` bytes would unpack to more; torch.save packs nothing."""
    try:
        if not zipfile.is_zipfile(file):
            return  # torch's older format, or nothing that torch reads
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(record.file_size for record in archive.infolist())
    except Exception as error:  # a damaged archive can raise anything
        raise ValueError(f"{path}: damaged, no archive of torch ({type(error).__name__})") from None
    if unpacked > size:
        raise ValueError(
            f"{path}: {size:,} bytes would unpack to {unpacked:,}; expected what torch.save writes, which "
            "packs nothing"
        )


def check_extent(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError where a tensor claims more values than the file holds bytes of.

    An expanded tensor is a few bytes until somebody copies it, a sparse or a meta one none.
    """
    total, room = 0, SHARED * path.stat().st_size
    for name, tensor in tensors.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        size = tensor.numel() * tensor.element_size()
        if not plain or tensor.is_nested or size > tensor.untyped_storage().nbytes():
            raise ValueError(
                f"{path}: {name[:80]!r} has shape {str(list(tensor.shape))[:80]}, and the file not every "
                "value of it; expected tensors as they are: save them with .contiguous()"
            )
        total += size
    if total > room:
        raise ValueError(
            f"{path}: its tensors have {total:,} bytes, the file {path.stat().st_size:,}; expected tensors "
            "of their own, not many of the same bytes"
        )


def published_file(pretrained: str, accepted: str) -> Path:
    """Where the tensors of published weights lie, after fetching them where that is needed.

    Args:
        pretrained: a name from ``EMBEDDED``, a file, a folder in Hugging Face's layout, or a hub id
            ``owner/name``, maybe with ``@`` and a revision (a commit, tag or branch; its main one if not
            given). A name means the same from everywhere; a folder of that name is ``./name``.
        accepted: what the error says would do.

    Raises:
        FileNotFoundError: none of these is there, or the hub cannot be reached.
    """
    path = PRETRAINED_MODELS / pretrained if pretrained in EMBEDDED else Path(pretrained).expanduser()
    if pretrained in EMBEDDED and not path.is_dir():
        raise FileNotFoundError(
            f"{path}: no such folder; {pretrained} lies in pretrained_models/ of the repository and in "
            f"its wheel: clone the repository, or give the path of a copy; accepted: {accepted}"
        )
    if path.is_file():
        if (path.parent / CONFIG).is_file() and path.stem.startswith("adapter"):
            check_no_adapter(path.parent, accepted)
        return path
    if path.is_dir():
        found = next((path / name for name in MODEL_FILES if (path / name).is_file()), None)
        if found is None:
            check_no_adapter(path, accepted)
            raise FileNotFoundError(f"{path}: holds neither {MODEL_FILES[0]} nor {MODEL_FILES[1]}")
        return found
    for name in MODEL_FILES:
        folder = fetch(pretrained, ["config.json", name], accepted)
        if (folder / name).is_file():
            if name.endswith(INDEX):
                fetch(pretrained, shard_names(read_json(folder / name), folder / name), accepted)
            return folder / name
    raise FileNotFoundError(f"{pretrained}: holds neither {MODEL_FILES[0]} nor {MODEL_FILES[1]}")


def check_no_adapter(folder: Path, accepted: str) -> None:
    """Raise ValueError where a folder holds adapters and no backbone: one adapter, or a run or cell of them.

    Args:
        folder: Folder that ``-pretrained`` names.
        accepted: What ``-pretrained`` accepts.
    """
    depths = ("", "best/", "last/", *("*/" * depth + "best/" for depth in (1, 2, 3)))
    names = (CONFIG, FORMER_CONFIG)
    places = (path.parent for depth in depths for name in names for path in sorted(folder.glob(depth + name)))
    found = next(places, None)
    if found is not None:
        held = "is an adapter" if found == folder else f"holds adapters such as {found.relative_to(folder)}"
        raise ValueError(
            f"{folder}: {held}, not a backbone; -init_adapter {found} trains on from it, and -pretrained "
            f"takes the weights below it: {accepted}"
        )


def fetch(name: str, files: Sequence[str], accepted: str) -> Path:
    """The folder of these files of a hub's repository, downloaded if they have not been.

    Args:
        name: ``owner/name``, maybe with ``@`` and a revision.
        accepted: what the error says would do.

    Raises:
        FileNotFoundError: it is no hub id, or the hub did not give it.
        ValueError: see ``check_download``.
    """
    hub_id, _, revision = name.partition("@")
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w-][\w./-]*)?", name):
        raise FileNotFoundError(f"{name}: no such file or folder; accepted: {accepted}")
    from huggingface_hub import snapshot_download  # slow to import, and seldom needed

    try:
        folder = Path(snapshot_download(hub_id, revision=revision or None, allow_patterns=list(files)))
    except Exception as error:  # the hub's client raises a dozen kinds, of four libraries
        raise FileNotFoundError(
            f"{name}: no such folder here, and the Hugging Face hub did not give it "
            f"({type(error).__name__}); download it where there is a network, and name its folder with "
            f"-pretrained; accepted: {accepted}"
        ) from error
    for file in files:
        check_download(folder / file)
    return folder


def check_download(path: Path) -> None:
    """Raise ValueError where a large file of the hub's cache is not what the hub says that it is.

    The client names the file behind the link after the SHA-256 that the hub tells, and compares sizes only.
    """
    digest = path.resolve().name
    if path.is_symlink() and re.fullmatch("[0-9a-f]{64}", digest) and path.is_file():
        found = file_sha256(path)
        if found != digest:
            raise ValueError(
                f"{path}: SHA-256 {found[:12]}..., the hub says {digest[:12]}...; delete {path.resolve()}, "
                "and it is fetched again"
            )


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def pinned(path: Path) -> dict[str, str]:
    """``revision``, the commit that a file of the hub's cache is of; nothing of another file."""
    of_hub = path.parent.parent.name == "snapshots" and re.fullmatch("[0-9a-f]{40}", path.parent.name)
    return {"revision": path.parent.name} if of_hub else {}


def save_published(
    folder: str | Path, tensors: Mapping[str, Tensor], config: dict, half: bool = True
) -> None:
    """Write weights as a folder that ``published_file`` finds: ``model.safetensors``, ``config.json``.

    Args:
        half: floats become float16; whoever reads them gets float32 all the same.

    Raises:
        ValueError: a tensor is not finite, or too large for float16.
    """
    folder, kept = Path(folder), {}
    for name, tensor in tensors.items():
        kept[name] = tensor.detach().cpu().to(torch.float16 if half else torch.float32).contiguous()
        if not kept[name].isfinite().all():
            raise ValueError(f"{folder}: {name} is not finite in {kept[name].dtype}; nothing was written")
    data = safetensors.torch.save(kept, metadata={"format": "pt"})  # without it transformers reads nothing
    write_atomically(folder / "model.safetensors", data)
    write_json(folder / "config.json", config)


def load_exactly(target: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy ``tensors`` into ``target``, which must have the same names and shapes.

    Raises:
        ValueError: a missing or unexpected tensor, or another shape; the message names them.
    """
    # An inserted or frozen tensor left out would be random numbers, silently.
    check_shapes(target, tensors, source)
    with torch.no_grad():
        for name, tensor in tensors.items():
            target[name].copy_(tensor)


def check_shapes(target: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise ValueError where ``tensors`` have other names or shapes than ``target``; see ``load_exactly``."""
    missing, unexpected = sorted(target.keys() - tensors.keys()), sorted(tensors.keys() - target.keys())
    if missing or unexpected:
        raise ValueError(f"{source}: {name_some(missing)} missing, {name_some(unexpected)} unexpected")
    for name, tensor in tensors.items():
        if tensor.shape != target[name].shape:
            raise ValueError(
                f"{source}: {name} has shape {list(tensor.shape)}, this model's is {list(target[name].shape)}"
            )


def name_some(names: Iterable[str], most: int = 4) -> str:
    """``none``, or how many and the first few."""
    names = list(names)
    if not names:
        return "none"
    shown = ", ".join(names[:most]) + (", ..." if len(names) > most else "")
    return f"{len(names)} ({shown})"


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the shapes and values of tensors, whatever they are called and in any order.

    Libraries rename their modules; a backbone stays the same.
    """
    digests = []
    for tensor in tensors.values():
        digest = hashlib.sha256(f"{list(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        digests.append(digest.digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def trainable_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of what is trained, on the CPU, under names of our own."""
    return {n: p.detach().cpu().clone() for n, p in trainable_parameters(model).items()}


def load_trainable_state(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Put a trainable state back; see ``load_exactly`` for its errors."""
    load_exactly(trainable_parameters(model), tensors, source)


def save_training(path: str | Path, state: dict) -> None:
    """Write a training state, tensors, numbers, strings, lists and dictionaries, and its checksum."""
    path = Path(path)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.write(CHECKSUM + hashlib.sha256(buffer.getbuffer()).digest())
    write_atomically(path, buffer.getbuffer())


def earlier(path: Path) -> Path:
    """Where the state before the last one lies."""
    return path.with_name(f"{path.stem}_before{path.suffix}")


def save_next_training(path: str | Path, state: dict) -> None:
    """Write a training state as ``save_training`` does; the one that was there is kept beside it."""
    path = Path(path)
    if path.is_file():
        path.replace(earlier(path))
    save_training(path, state)


def load_latest_training(path: str | Path) -> tuple[dict | None, str | None]:
    """What ``save_next_training`` wrote last, or before where that is damaged or was never finished.

    A damaged one is set aside, or the next one would be written in the place of the one before, the last
    that is whole.

    Returns:
        The state, None where there is none; and what should be told of a damaged one.

    Raises:
        OSError: one of them cannot be read.
        ValueError: both are damaged.
    """
    path = Path(path)
    if not path.is_file() and not earlier(path).is_file():
        return None, None
    if not path.is_file():  # the end came between moving the last one away and writing the next
        return load_training(earlier(path)), None
    try:
        return load_training(path), None
    except ValueError as error:
        if not earlier(path).is_file():
            raise
        state, aside = load_training(earlier(path)), path.with_name(f"{path.stem}_damaged{path.suffix}")
        path.replace(aside)
        return state, f"{error}: going on from {earlier(path).name}, which is whole; see {aside.name}"


def load_training(path: str | Path) -> dict:
    """Read what ``save_training`` wrote.

    Raises:
        OSError: the file cannot be read; it may be whole.
        ValueError: the file is damaged or would run code.
    """
    data = Path(path).read_bytes()
    try:
        whole, mark, digest = data[: -len(CHECKSUM) - 32], data[-len(CHECKSUM) - 32 : -32], data[-32:]
        if mark != CHECKSUM or hashlib.sha256(whole).digest() != digest:
            raise ValueError("its checksum is another")
        check_archive(Path(path), io.BytesIO(whole), len(whole))
        return torch.load(io.BytesIO(whole), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(
            f"{path}: damaged, or no training state ({type(error).__name__}); without it the fold's training "
            "begins anew"
        ) from None
