"""Audio formats: which suffixes can be decoded on this machine, and the recordings of files and folders.

libsndfile decodes most formats. The others need the ``ffmpeg`` program or the package torchcodec. A file that
is named itself is always tried, whatever its suffix; the suffixes decide what is taken from a folder.
"""

import functools
import importlib.util
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from ipet.input_report import InputReport
from ipet.printable import escaped

# Suffixes of what libsndfile decodes, by its own name of the format.
LIBSNDFILE_FORMATS = {
    "WAV": (".wav", ".wave"),
    "RF64": (".rf64", ".bw64", ".bwf"),
    "W64": (".w64",),
    "AIFF": (".aiff", ".aif", ".aifc"),
    "CAF": (".caf",),
    "AU": (".au", ".snd"),
    "FLAC": (".flac",),
    "OGG": (".ogg", ".oga", ".opus"),
    "MP3": (".mp3", ".mp2", ".mpga"),
    "NIST": (".sph", ".nist"),
    "VOC": (".voc",),
    "SVX": (".8svx", ".svx", ".16sv"),
    "IRCAM": (".sf", ".ircam"),
    "PAF": (".paf",),
    "PVF": (".pvf",),
    "AVR": (".avr",),
    "WVE": (".wve",),
    "HTK": (".htk",),
    "SDS": (".sds",),
    "XI": (".xi",),
}
# Suffixes that need FFmpeg, of audio formats and of video containers with an audio track.
FFMPEG_SUFFIXES = (
    *(".m4a", ".m4b", ".m4r", ".aac", ".adts", ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".3ga"),
    *(".wma", ".asf", ".wmv", ".webm", ".weba", ".mka", ".mkv", ".avi", ".flv", ".ogv", ".ogx", ".spx"),
    *(".ac3", ".eac3", ".ec3", ".dts", ".dtshd", ".mlp", ".thd", ".truehd", ".amr", ".awb"),
    *(".ape", ".wv", ".tta", ".tak", ".mpc", ".shn", ".dsf", ".dff", ".oma", ".aa3", ".ra", ".rm"),
    *(".adx", ".qcp", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".mp1", ".m2a", ".mpa"),
)
# Raw samples: a file of these says nothing about its rate, channels and coding.
RAW_SUFFIXES = (".raw", ".pcm", ".gsm", ".vox", ".g722", ".g723", ".g726", ".g729", ".sln", ".ul", ".al")
AUDIO_SUFFIXES = (*(s for group in LIBSNDFILE_FORMATS.values() for s in group), *FFMPEG_SUFFIXES)
RECORDINGS, OTHER_FILES, HIDDEN_FILES, FOLDERS = "recordings", "other files", "hidden files", "folders"
INSTALL = "install ffmpeg (https://ffmpeg.org) or python3 -m pip install torchcodec"


class ClipError(ValueError):
    """A recording that cannot be used; the message says which, what was found and what is accepted.

    A DataLoader worker raises it again with its own traceback as the message: only the text after the last
    ``ClipError: `` is kept, so that the error stays one line.
    """

    def __init__(self, message: str):
        super().__init__(escaped(message.rsplit("ClipError: ", 1)[-1].strip()))


def has_ffmpeg() -> bool:
    """Return whether the ``ffmpeg`` program is on the path."""
    return shutil.which("ffmpeg") is not None


@functools.cache
def has_torchcodec() -> bool:
    """Return whether torchcodec is installed and finds the FFmpeg libraries that it needs."""
    if importlib.util.find_spec("torchcodec") is None:
        return False
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        return False
    return True


def has_fallback() -> bool:
    """Return whether formats that libsndfile lacks can be decoded."""
    return has_ffmpeg() or has_torchcodec()


@functools.cache
def libsndfile_suffixes() -> frozenset[str]:
    """Return the suffixes that the installed libsndfile decodes; releases before 1.1 lack MP3."""
    import soundfile

    known = soundfile.available_formats()
    return frozenset(s for name, suffixes in LIBSNDFILE_FORMATS.items() if name in known for s in suffixes)


def decodable_suffixes() -> frozenset[str]:
    """Return the suffixes of all formats that can be decoded on this machine, in lower case with a dot."""
    return libsndfile_suffixes() | (frozenset(AUDIO_SUFFIXES) if has_fallback() else frozenset())


def reason_left_out(suffix: str) -> tuple[str, str, str]:
    """Return why files of a suffix are not taken from a folder: the kind of item, the reason, the remedy."""
    if suffix in RAW_SUFFIXES:
        remedy = "convert them to WAV with their sample rate and coding"
        return RECORDINGS, f"{suffix} has no header that states its format", remedy
    if suffix in AUDIO_SUFFIXES:
        return RECORDINGS, f"libsndfile does not decode {suffix}", INSTALL
    return OTHER_FILES, "not audio by their suffix", ""


def scan_recordings(paths: Iterable[Path], report: InputReport) -> list[Path]:
    """Return the recordings among files and folders, and account for everything else.

    Args:
        paths: Recordings, taken whatever their suffix, and folders, searched at any depth for files with a
            decodable suffix. Links to folders are followed.
        report: Receives the counts of the recordings that are used and of all files that are not: audio that
            cannot be decoded on this machine, other files, hidden files, and folders that cannot be read.

    Returns:
        Each recording once, in the order of ``paths`` and sorted within a folder.

    Raises:
        FileNotFoundError: A path does not exist, or a folder holds no recording that can be decoded.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(recordings_below(path, report))
            if not inside:
                raise FileNotFoundError(no_recording(path, report))
        elif os.path.lexists(path):
            inside = [path]
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
        for recording in inside:
            if recording in found:
                report.leave_out(RECORDINGS, shown(recording), "given more than once")
            else:
                report.use(RECORDINGS)
                found[recording] = None
    return list(found)


def recordings_below(folder: Path, report: InputReport) -> Iterator[Path]:
    """Yield the files with a decodable suffix below a folder; see ``scan_recordings``."""
    decodable = decodable_suffixes()

    def unreadable(error: OSError) -> None:
        """Account for a folder that cannot be listed."""
        report.leave_out(FOLDERS, shown(error.filename), f"cannot be read: {error.strerror}")

    for top, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        for name in [name for name in folders if not is_walked(Path(top, name), report)]:
            folders.remove(name)
        for name in files:
            path = Path(top, name)
            suffix = path.suffix.lower()
            if name.startswith("."):  # such as ._a.wav, which macOS writes next to a.wav
                report.leave_out(HIDDEN_FILES, shown(path), "hidden: the name starts with a dot")
            elif suffix not in decodable:
                kind, reason, remedy = reason_left_out(suffix)
                report.leave_out(kind, shown(path), reason, remedy)
            elif path.exists() and not path.is_file():
                report.leave_out(RECORDINGS, shown(path), "not a regular file")
            else:
                yield path  # also a link to nowhere, which reading it reports


def is_walked(folder: Path, report: InputReport) -> bool:
    """Return whether a folder is searched: not if it is hidden, or a link to a folder that holds it."""
    if folder.name.startswith("."):
        report.leave_out(FOLDERS, shown(folder), "hidden: the name starts with a dot")
        return False
    if folder.is_symlink() and any(os.path.samefile(folder, parent) for parent in folder.absolute().parents):
        report.leave_out(FOLDERS, shown(folder), "a link to a folder that contains it")
        return False
    return True


def no_recording(folder: Path, report: InputReport) -> str:
    """Return the error for a folder without recordings, with the reasons of what was left out."""
    reasons = [
        f"{len(items):,} {kind}: {reason}" + (f" ({remedy})" if remedy else "")
        for (kind, reason, remedy), items in report.left_out.items()
    ]
    common = (".flac", ".wav", ".mp3", ".ogg", ".aiff", ".m4a")
    examples = [suffix for suffix in common if suffix in decodable_suffixes()]
    return (
        f"{folder}: holds no recording, by the suffixes of audio, such as {', '.join(examples)}"
        f"{'; left out: ' if reasons else ''}{'; '.join(reasons)}"
    )


def shown(path: str | Path) -> str:
    """Return a path that is safe to print."""
    return escaped(os.fspath(path))
