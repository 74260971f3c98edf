"""A process that speaks for another: eSpeak NG, each utterance in a fresh copy of a voice that never spoke.

eSpeak NG keeps phases and random numbers from one utterance to the next. This process loads the library
once and forks for every request, so that an utterance is its request alone. It holds nothing but
the library, and one thread: forking it is quick and safe, where forking the process that asks might
be neither.

    python3 espeak.py LIBRARY DATA

A request is a line of JSON on the standard input. The answer on the standard output is one byte, ``+`` or
``-``, the length of what follows, in 8 bytes, and 16-bit samples, UTF-8 text, or the reason of a ``-``.
"""

import ctypes
import json
import os
import signal
import sys

SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: samples go to the callback, before espeak_Synth returns
UTF8 = 1  # espeakCHARS_UTF8
CHARACTERS = 1  # espeak_POSITION_TYPE
PARAMETERS = {"rate": 1, "pitch": 3, "range": 4}  # espeak_PARAMETER
PHONEMES_AS_IPA = 0x02 | ord(" ") << 8  # espeak_TextToPhonemes: a space between two phonemes
ALIASES = {"en-gb": "en", "fr-fr": "fr"}  # languages whose file of voices has another name
SEED = 1

Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def set_voice(library: ctypes.CDLL, language: str, variant: str | None = None) -> None:
    """Speak as a language, in a variant of its voice."""
    name = ALIASES.get(language, language)
    name = f"{name}+{variant}" if variant else name
    if library.espeak_SetVoiceByName(name.encode()):
        raise ValueError(f"eSpeak NG has no voice {language!r}; see the folder lang/ of its data")


def speak(library: ctypes.CDLL, request: dict) -> bytes:
    """The 16-bit samples of a text."""
    pieces = []

    def keep(samples, num_samples, events) -> int:
        if samples and num_samples:
            pieces.append(ctypes.string_at(samples, 2 * num_samples))
        return 0

    callback = Callback(keep)
    library.espeak_SetSynthCallback(callback)
    set_voice(library, request["language"], request["variant"])
    for name, number in PARAMETERS.items():
        library.espeak_SetParameter(number, request[name], 0)
    text = request["text"].encode()
    library.espeak_Synth(text, len(text) + 1, 0, CHARACTERS, 0, UTF8, None, None)
    library.espeak_Synchronize()
    return b"".join(pieces)


def transcribe(library: ctypes.CDLL, request: dict) -> bytes:
    """The phonemes of a text, a space between two, a line a clause."""
    set_voice(library, request["language"])
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    rest = ctypes.c_char_p(request["text"].encode())
    clauses = []
    while rest.value is not None:  # it moves to the next clause, and to NULL after the last
        clauses.append(library.espeak_TextToPhonemes(ctypes.byref(rest), UTF8, PHONEMES_AS_IPA) or b"")
    return b"\n".join(clauses)


def answer(library: ctypes.CDLL, data: str, request: dict) -> tuple[bytes, bytes]:
    """Whether a request went well, and the samples, the text or the reason."""
    try:
        variant = request.get("variant")
        if variant and not os.path.isfile(os.path.join(data, "voices", "!v", variant)):
            raise ValueError(f"eSpeak NG has no variant {variant!r}; see the folder voices/!v/ of its data")
        # It seeds both with the time of day when it starts.
        library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
        ctypes.CDLL(None).srand(SEED)
        return b"+", (speak if "variant" in request else transcribe)(library, request)
    except ValueError as error:
        return b"-", str(error).encode()


def send(sign: bytes, content: bytes) -> None:
    """Write an answer."""
    sys.stdout.buffer.write(sign + len(content).to_bytes(8, "little") + content)
    sys.stdout.buffer.flush()


def main(library_path: str, data: str) -> None:
    """Answer requests until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends when the process that asks does
    library = ctypes.CDLL(library_path)
    if library.espeak_Initialize(SYNCHRONOUS, 0, data.encode(), 0) <= 0:
        raise SystemExit(f"espeak.py: eSpeak NG did not start with the data in {data}")
    for line in sys.stdin.buffer:
        child = os.fork()
        if child == 0:
            send(*answer(library, data, json.loads(line)))
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            send(b"-", b"eSpeak NG ended without an answer to " + line.strip())


if __name__ == "__main__":
    main(*sys.argv[1:])
