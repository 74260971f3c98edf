"""Noise and reverberation in training: MUSAN's files and simulated room impulse responses.

Of every clip one of six versions is drawn, all equally probable:

    clean                  the clip as it is
    reverberation          one room
    speech                 babble: 3 to 8 speech files, each 13 to 20 dB below the clip
    music                  one file, 5 to 25 dB below
    noise                  one file, 0 to 15 dB below
    speech and music       both of the above, each file's level relative to the clip alone

Every file has its own ratio, uniform in dB, and its own random part as long as the clip.

Source: MUSAN (Snyder et al. 2015) and the simulated rooms of Ko et al. 2017, as VoxCeleb's public
training recipes use them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ipet.audio import ClipError, Recordings, tile
from ipet.lists import read_clips
from ipet.noise_releases import find_recordings

VERSIONS = ("clean", "reverberation", "speech", "music", "noise", "speech and music")
NUM_FILES = {"speech": (3, 8), "music": (1, 1), "noise": (1, 1)}  # fewest, most
SNR_DB = {"speech": (13.0, 20.0), "music": (5.0, 25.0), "noise": (0.0, 15.0)}  # lowest, highest
TINY = 1e-10  # power of 16-bit rounding: of a silent clip or file no ratio is infinite


class Corruption:
    """Draws one of ``VERSIONS`` of a clip.

    Args:
        noise, speech, music: MUSAN's files.
        rirs: files that hold one impulse response each.
        recordings: reads them; files, or a ``Cache`` of them.

    Attributes:
        paths: of all the files above.

    Raises:
        ValueError: one of the four holds no file.
    """

    def __init__(
        self,
        noise: Sequence[Path],
        speech: Sequence[Path],
        music: Sequence[Path],
        rirs: Sequence[Path],
        recordings=None,
    ):
        self.files = {"noise": noise, "speech": speech, "music": music, "rirs": rirs}
        for kind, files in self.files.items():
            if not len(files):
                raise ValueError(f"no file of {kind}; expected noise, speech, music and impulse responses")
        self.recordings = recordings or Recordings()

    @classmethod
    def from_lists(
        cls,
        folder_musan: Path,
        root_musan: Path | None,
        folder_rir: Path,
        root_rir: Path | None,
        recordings=None,
    ) -> "Corruption":
        """The files of ``music.json``, ``noise.json`` and ``speech.json``, and of ``simulated.json``.

        Args:
            folder_musan, folder_rir: of the lists.
            root_musan, root_rir: where the lists' paths start; None for the lists' folder.

        Raises:
            FileNotFoundError: a list, or a file that it names, is not there.
            ValueError: see ``read_clips``.
        """
        musan = {
            kind: listed(folder_musan, kind, root_musan, "musan", "-path_musan")
            for kind in ("noise", "speech", "music")
        }
        rirs = listed(folder_rir, "simulated", root_rir, "rirs", "-path_rir")
        return cls(**musan, rirs=rirs, recordings=recordings)

    @property
    def paths(self) -> list[Path]:
        """Every file that a clip may be mixed or convolved with."""
        return [path for files in self.files.values() for path in files]

    def __call__(self, waveform: Tensor, rng: np.random.Generator) -> Tensor:
        """[T] -> [T]; every draw comes from ``rng``."""
        version = VERSIONS[rng.integers(len(VERSIONS))]
        if version == "clean":
            return waveform
        if version == "reverberation":
            return reverberate(waveform, self.draw_response(rng))
        kinds = version.split(" and ")
        return waveform + sum(self.draw(kind, waveform, rng) for kind in kinds)

    def draw(self, kind: str, waveform: Tensor, rng: np.random.Generator) -> Tensor:
        """The sum of some files of a kind, [T], each at its own level below ``waveform``."""
        fewest, most = NUM_FILES[kind]
        added = torch.zeros_like(waveform)
        for _ in range(rng.integers(fewest, most + 1)):
            part = self.draw_part(self.files[kind], len(waveform), rng)
            added += at_snr(waveform, part, rng.uniform(*SNR_DB[kind]))
        return added

    def draw_part(self, files: Sequence[Path], num_samples: int, rng: np.random.Generator) -> Tensor:
        """[num_samples], a random part of a random file; the whole of a shorter one, repeated."""
        path = files[rng.integers(len(files))]
        spare = max(0, self.recordings.length(path) - num_samples)
        part = self.recordings.read(path, int(rng.integers(spare + 1)), num_samples)
        return tile(part, num_samples)

    def draw_response(self, rng: np.random.Generator) -> Tensor:
        """A random impulse response that is not silent."""
        path = self.files["rirs"][rng.integers(len(self.files["rirs"]))]
        response = self.recordings.read(path)
        if not response.any():
            raise ClipError(f"{path}: holds zeros alone; expected an impulse response")
        return response


def listed(folder: Path, name: str, root: Path | None, release: str, flag: str) -> list[Path]:
    """Return the files of one list; those of the release itself where ``folder`` holds no list of it."""
    path = Path(folder) / f"{name}.json"
    if root is not None and not any(Path(folder).glob("*.json")):
        found = find_recordings(root, name)
        if found:
            return found
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such list; {flag} DIR takes the recordings of the extracted release, python3 "
            f"data/prepare.py {release} PATH writes the list, and -add_musan_rir False trains without noise "
            "and reverberation"
        )
    return [clip.path for clip in read_clips(path, root or folder, None, flag)]


def at_snr(waveform: Tensor, noise: Tensor, snr_db: float) -> Tensor:
    """``noise``, [T], scaled to a power ``snr_db`` below that of ``waveform``, [T]."""
    ratio = (power(waveform) + TINY) / (power(noise) + TINY)
    return noise * (ratio / 10 ** (snr_db / 10)) ** 0.5


def power(waveform: Tensor) -> float:
    """[T] -> mean square."""
    return waveform.square().mean().item()


def reverberate(waveform: Tensor, response: Tensor) -> Tensor:
    """[T], [U] -> [T] as heard in a room with that impulse response, of which the norm is made 1."""
    from scipy.signal import fftconvolve  # here: slow to import, and needed by few

    h = (response / response.norm()).numpy()
    return torch.from_numpy(fftconvolve(waveform.numpy(), h)[: len(waveform)])
