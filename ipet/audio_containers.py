"""Structure of audio containers: where the audio ends, whatever the header's length field says.

Recorders that are interrupted, streams and careless tools leave lengths in headers that are not those of the
audio: 0, a placeholder, too small, too large. ``examine_container`` compares the length field with the file
itself and returns how the file has to be read; a file that ends before its audio does is refused.
"""

from pathlib import Path

from ipet.audio_chunks import (
    W64_RIFF,
    examine_aiff,
    examine_au,
    examine_caf,
    examine_nist,
    examine_riff,
    examine_voc,
    examine_w64,
)
from ipet.audio_streams import examine_flac, examine_ogg
from ipet.audio_structure import HEAD_BYTES, Container, skip_id3

EXAMINERS = (
    (b"RIFF", examine_riff),
    (b"RF64", examine_riff),
    (b"BW64", examine_riff),
    (b"RIFX", examine_riff),
    (b"FORM", examine_aiff),
    (b"fLaC", examine_flac),
    (b"OggS", examine_ogg),
    (b"caff", examine_caf),
    (b".snd", examine_au),
    (b"dns.", examine_au),
    (b"NIST_1A", examine_nist),
    (b"Creative Voice", examine_voc),
    (W64_RIFF, examine_w64),
)


def examine_container(path: Path, size: int) -> Container:
    """Return how a file has to be read; see ``Container``.

    Args:
        path: Path of the file.
        size: Number of its bytes.

    Raises:
        ClipError: The file is truncated, or two recordings one after another.
        Unreadable: libsndfile would misread it.
    """
    with open(path, "rb", buffering=HEAD_BYTES) as file:
        start = skip_id3(file)
        head = file.read(16)
        for magic, examine in EXAMINERS:
            if head.startswith(magic):
                return examine(path, file, size, start)
    return Container()
