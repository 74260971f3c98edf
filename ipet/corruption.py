"""Noise and reverberation in training: MUSAN's files and simulated room impulse responses.

Each clip becomes one of six versions, drawn with equal probability:

    clean                  the clip itself
    reverberation          the clip in one simulated room
    speech                 babble: the mean of 3 to 8 speech files, 13 to 20 dB below the clip
    music                  one file, 5 to 25 dB below the clip
    noise                  one file, 0 to 15 dB below the clip
    speech and music       babble as above, then music 5 to 25 dB below the clip with the babble

A ratio is uniform in dB. Each file contributes a random part that is as long as the clip; the files of a
babble differ from one another where there are enough of them.

Source: MUSAN (Snyder et al. 2015) and the simulated rooms of Ko et al. 2017, at the levels of the paper's
code. Powers have a floor of -40 dB, as in the public training recipes of VoxCeleb.
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
# Added to every power, as in the public VoxCeleb recipes: a silent file is not amplified without bound.
# A babble, which is quieter than its files, is lowered by it: by 0.7 dB for files and a clip at -26 dB.
FLOOR = 1e-4


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
        for kind in version.split(" and "):
            waveform = waveform + self.draw(kind, waveform, rng)
        return waveform

    def draw(self, kind: str, waveform: Tensor, rng: np.random.Generator) -> Tensor:
        """Return the mean of some files of a kind, [T], at a random level below ``waveform``, [T]."""
        fewest, most = NUM_FILES[kind]
        files, number = self.files[kind], int(rng.integers(fewest, most + 1))
        chosen = rng.choice(len(files), number, replace=number > len(files))
        parts = [self.draw_part(files[i], len(waveform), rng) for i in chosen]
        return at_snr(waveform, torch.stack(parts).mean(dim=0), rng.uniform(*SNR_DB[kind]))

    def draw_part(self, path: Path, num_samples: int, rng: np.random.Generator) -> Tensor:
        """Return a random part of a file, [num_samples]; a shorter file is repeated."""
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
    clips = read_clips(path, root or folder, None, flag)
    parts = [clip for clip in clips if clip.is_segment]
    if parts:
        raise ValueError(
            f"{parts[0].where}: {parts[0].source} is a part of a recording, as {len(parts):,} of "
            f"{len(clips):,} clips; noises and impulse responses are whole recordings: remove start and end"
        )
    return [clip.path for clip in clips]


def at_snr(waveform: Tensor, noise: Tensor, snr_db: float) -> Tensor:
    """Return ``noise``, [T], scaled to a power ``snr_db`` below that of ``waveform``, [T]."""
    ratio = (power(waveform) + FLOOR) / (power(noise) + FLOOR)
    return noise * (ratio / 10 ** (snr_db / 10)) ** 0.5


def power(waveform: Tensor) -> float:
    """[T] -> mean square."""
    return waveform.square().mean().item()


def reverberate(waveform: Tensor, response: Tensor) -> Tensor:
    """[T], [U] -> [T] as heard in a room with that impulse response, of which the norm is made 1."""
    from scipy.signal import fftconvolve  # here: slow to import, and needed by few

    h = (response / response.norm()).numpy()
    return torch.from_numpy(fftconvolve(waveform.numpy(), h)[: len(waveform)])
