"""Speech of many voices: eSpeak NG, from the package ``espeakng-loader``, an optional dependency.

A voice is a language, one of eSpeak's variants (settings of the larynx and the formants), pitch, how far the
pitch moves, tempo, and the length of the vocal tract. What is said depends on the text and the voice alone.

Source: https://github.com/espeak-ng/espeak-ng.
"""

import json
import os
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.signal import resample_poly

ESPEAK_RATE = 22_050  # samples a second
ESPEAK_TEMPI = (80, 450)  # words a minute
MISSING = (
    "generated speech needs eSpeak NG, an optional dependency that is not installed: "
    "python3 -m pip install espeakng-loader"
)


class Voice(NamedTuple):
    """Who speaks, and how."""

    language: str = "en-us"  # of eSpeak's, with its accent: en-us, en-gb, en-gb-scotland, de, fr, ...
    variant: str = "m3"  # of eSpeak's, see below
    pitch: int = 50  # 0 to 99, about the variant's own
    range: int = 50  # of the pitch, 0 (monotonous) to 99
    rate: int = 175  # words a minute
    formant: float = 1.0  # spectrum and pitch times this: above 1 a shorter vocal tract, below 1 a longer one


# No variant speaks in two sets, and neither do two that sound alike (as Alex, john and m3 do): nobody is
# heard in pretraining and in a task.
PRETRAINING_VARIANTS = (
    "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Gene2", "Henrique", "Hugo", "Jacky",
    "Lee", "Marco", "Mario", "Michael", "Mr serious", "Reed", "adam", "anika", "antonio", "benjamin", "boris",
    "ed", "edward", "edward2", "gustave", "ian", "iven", "iven2", "iven3", "iven4", "klatt3", "klatt4",
    "marcelo", "michel", "miguel", "mike2", "victor",
)  # fmt: skip
COMMANDS_VARIANTS = (
    "Alex", "Mike", "Nguyen", "aunty", "f1", "f2", "f3", "f4", "f5", "grandpa", "john", "m1", "m2", "m3",
    "m4", "m5", "m6", "m7", "m8", "max", "pedro",
)  # fmt: skip
VOXCELEB_TRAIN_VARIANTS = (
    "Storm", "Tweaky", "belinda", "caleb", "grandma", "klatt", "klatt2", "norbert", "pablo", "paul", "shelby",
)  # fmt: skip
VOXCELEB_TEST_VARIANTS = (
    "kaukovalta", "linda", "quincy", "rob", "robert", "sandro", "steph", "travis", "zac",
)  # fmt: skip
MUSAN_VARIANTS = ("announcer", "david")


def espeak_paths() -> tuple[str, str]:
    """Where eSpeak NG's library and its data are.

    Raises:
        ImportError: ``espeakng-loader`` is not installed; the system has no fork.
    """
    try:
        from espeakng_loader import get_data_path, get_library_path
    except ImportError as error:
        raise ImportError(MISSING) from error
    if not hasattr(os, "fork"):
        raise ImportError("generated speech forks a process for every utterance: expected Linux or macOS")
    return str(get_library_path()), str(get_data_path())


class Espeak:
    """A process of ``espeak.py``, asked by this process alone."""

    def __init__(self):
        script = Path(__file__).with_name("espeak.py")
        self.asker = os.getpid()
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            # -I -S: no module but the standard library's own, for a quick start and quick forks.
            [sys.executable, "-I", "-S", str(script), *espeak_paths()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, request: dict) -> bytes:
        """The answer to a request.

        Raises:
            ValueError: there is no such voice, or nothing came out of it.
            RuntimeError: the process ended.
        """
        with self.lock:
            try:
                self.process.stdin.write(json.dumps(request).encode() + b"\n")
                self.process.stdin.flush()
                head = self.process.stdout.read(9)
                content = self.process.stdout.read(int.from_bytes(head[1:], "little"))
            except BrokenPipeError:
                head = b""
            except BaseException:  # interrupted: the answer must not be taken for the next one's
                self.process.kill()
                raise
        if not head:
            raise RuntimeError(f"eSpeak NG ended with status {self.process.wait()} at {request}")
        if head[:1] == b"-":
            raise ValueError(content.decode())
        return content


_espeak: Espeak | None = None


def espeak() -> Espeak:
    """This process's own: one that was forked from another starts another, as one whose own has ended does.

    Raises:
        ImportError: ``espeakng-loader`` is not installed.
    """
    global _espeak
    if _espeak is None or _espeak.asker != os.getpid() or _espeak.process.poll() is not None:
        _espeak = Espeak()
    return _espeak


def check_voice(voice: Voice) -> None:
    """Raise unless every number of a voice is within its range."""
    ranges = {"pitch": (0, 99), "range": (0, 99), "rate": ESPEAK_TEMPI, "formant": (0.7, 1.4)}
    for name, (low, high) in ranges.items():
        value = getattr(voice, name)
        if not low <= value <= high:
            raise ValueError(f"{voice}: {name} is {value}; expected a number from {low} to {high}")


def say(text: str, voice: Voice, sample_rate: int = 16_000) -> np.ndarray:
    """[T] samples in [-1, 1] of a text, without silence before and after it.

    Raises:
        ValueError: there is no such voice, one of its numbers is out of range, or the text has no sound.
        ImportError: ``espeakng-loader`` is not installed.
    """
    check_voice(voice)
    # Played ``formant`` times as fast below, so spoken that much more slowly here.
    tempo = np.clip(round(voice.rate / voice.formant), *ESPEAK_TEMPI)
    request = voice._asdict() | {"text": text, "rate": int(tempo)}
    samples = np.frombuffer(espeak().ask(request), "<i2") / 2**15
    heard = np.flatnonzero(np.abs(samples) > 1e-3)
    if not len(heard):
        raise ValueError(f"{text!r} has no sound in {voice}")
    samples = samples[heard[0] : heard[-1] + 1]
    ratio = Fraction(sample_rate / (ESPEAK_RATE * voice.formant)).limit_denominator(100)
    return np.clip(resample_poly(samples, ratio.numerator, ratio.denominator), -1, 1)


def phonemes(text: str, language: str = "en-us") -> list[str]:
    """The phonemes of a text, in the International Phonetic Alphabet, stress marks with them.

    Raises:
        ValueError: there is no such language.
        ImportError: ``espeakng-loader`` is not installed.
    """
    return espeak().ask({"text": text, "language": language}).decode().split()
