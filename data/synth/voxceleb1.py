"""A set in the layout of VoxCeleb1: sentences of many speakers, a recording condition a video, a trial list.

A speaker is a language, a setting of the larynx and the formants, a pitch, how far it moves, and the length
of a vocal tract; test speakers have none of the training speakers' settings. A video is a room, a microphone,
a background and a mood. Target trials compare two videos, so that the recording does not tell.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from .acoustics import Scene, draw_scene, filtered, record
from .speech import VOXCELEB_TEST_VARIANTS, VOXCELEB_TRAIN_VARIANTS, Voice, espeak_paths, say
from .writing import Plan, check_size, wav_bytes

SAMPLE_RATE = 16_000
TENTHS = (40, 81)  # of a second, an utterance's length
NUM_WORDS = 34  # more than 8 s at the fastest
PARTS = ("dev", "test")
VARIANTS = {"dev": VOXCELEB_TRAIN_VARIANTS, "test": VOXCELEB_TEST_VARIANTS}
FIRST_ID = {"dev": 10_001, "test": 20_001}  # id10001, ...
ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
WORDS = {  # everyday words, by language
    "cs": "a ale bez chleba dnes domu hora jablko kniha krásný kůň les malý město mléko most nebo okno "
    "práce přítel řeka ráno slunce strom škola voda večer vlak zahrada zima",
    "de": "abend apfel baum berg blau brot brücke buch der die das fenster fluss freund garten gestern "
    "haus heute jahr kind langsam milch morgen oder schule sonne stadt und wasser zug",
    "es": "agua alegre amigo árbol ayer azul bajo barco calle ciudad cuando el la escuela fuego hermano "
    "hoy jardín leche libro luna mañana mesa mujer noche pero puente río tiempo verde",
    "fi": "aamu aurinko hevonen ilta järvi joki juna kala kaunis kirja koulu kaupunki leipä lintu maito "
    "metsä mutta mökki pieni poika puu silta suuri talo talvi vesi vuori ystävä ja kanssa",
    "fr": "ami arbre avec bateau beau bleu bonjour chemin cheval demain école enfant et fenêtre fleur "
    "hier jardin jour lait le la livre maison matin montagne nuit pain petit pluie rivière",
    "it": "acqua albero amico ancora bello cane casa cavallo città con domani fiume fiore fuoco "
    "giardino giorno ieri il la latte libro luce madre mare montagna notte pane piccolo scuola "
    "strada",
    "nl": "avond appel bloem blauw boek boom brood brug de het dorp fiets gisteren groot huis jaar kind "
    "klein langzaam melk morgen rivier school stad trein tuin vandaag venster vriend water",
    "pl": "ale brat chleb dom drzewo dzień dzisiaj góra jabłko jutro koń książka las miasto mleko most "
    "noc ogród okno pociąg praca przyjaciel rzeka słońce szkoła wczoraj wieczór woda zima żona",
    "pt": "água alegre amigo árvore azul barco bonito cavalo cidade com dia escola fogo hoje irmão "
    "jardim leite livro lua manhã mesa noite ontem pão pequeno ponte rio sol tempo verde",
    "sv": "afton äpple bok bro bröd båt dag fågel flod fönster grön gård häst igår idag imorgon liten "
    "mjölk natt och skog skola sol stad stor träd tåg vatten vän vinter",
    "tr": "ağaç akşam araba arkadaş at bahçe bugün büyük çiçek dağ deniz dün ekmek ev gece güneş güzel "
    "kedi kitap köprü küçük mavi nehir okul sabah süt şehir yeşil yol",
    "hu": "alma barát bicikli bor csillag csend erdő este fa falu folyó hal ház híd holnap és iskola "
    "kenyér kert kicsi könyv ló ma madár nagy nap reggel szép tegnap tenger víz",
}
LANGUAGES = tuple(WORDS)


class Size(NamedTuple):
    """How much of everything."""

    speakers: dict[str, int]
    videos: int  # of a speaker
    utterances: int  # of a video
    trials: int


SIZES = {
    "tiny": Size({"dev": 6, "test": 3}, videos=2, utterances=2, trials=20),
    "demo": Size({"dev": 40, "test": 16}, videos=4, utterances=4, trials=2_000),
    "large": Size({"dev": 400, "test": 40}, videos=6, utterances=6, trials=20_000),
}


class Utterance(NamedTuple):
    """One file; what seeds its generator."""

    seed: int
    part: int  # of PARTS
    speaker: int
    video: int
    number: int

    @property
    def path(self) -> str:
        """SPEAKER/VIDEO/UTTERANCE.wav."""
        identity = FIRST_ID[PARTS[self.part]] + self.speaker
        rng = np.random.default_rng([0, self.part, self.speaker, self.video])
        video = "".join(rng.choice(list(ID_LETTERS), 11))
        return f"id{identity}/{video}/{self.number + 1:05d}.wav"


class Video(NamedTuple):
    """What the utterances of a video share."""

    scene: Scene
    band_hz: tuple[float, float]  # that passes
    voice: Voice  # the speaker's, that day


def draw_speaker(seed: int, part: int, speaker: int) -> Voice:
    """The voice of a speaker."""
    rng = np.random.default_rng([seed, 1, part, speaker])
    variants = VARIANTS[PARTS[part]]
    return Voice(
        language=LANGUAGES[rng.integers(len(LANGUAGES))],
        variant=variants[speaker % len(variants)],
        pitch=int(rng.integers(20, 81)),
        range=int(rng.integers(15, 86)),
        rate=int(rng.integers(130, 201)),
        formant=float(rng.uniform(0.84, 1.18)),
    )


def draw_video(utterance: Utterance) -> Video:
    """The room, the microphone and the mood of an utterance's video."""
    rng = np.random.default_rng([*utterance[:2], 2, *utterance[2:4]])
    voice = draw_speaker(*utterance[:3])
    voice = voice._replace(
        pitch=int(np.clip(voice.pitch + rng.integers(-7, 8), 0, 99)),
        range=int(np.clip(voice.range + rng.integers(-10, 11), 0, 99)),
        rate=int(voice.rate * rng.uniform(0.88, 1.12)),
    )
    scene = draw_scene(rng)._replace(snr_db=rng.uniform(5, 25))
    return Video(scene, (rng.uniform(50, 300), rng.uniform(3_000, 7_500)), voice)


def draw_text(rng: Generator, language: str, num_words: int) -> str:
    """Sentences of everyday words, in random order."""
    words = rng.choice(WORDS[language].split(), num_words)
    ends = rng.choice(["", "", "", "", ",", ".", "?"], num_words)
    return " ".join(f"{word}{end}" for word, end in zip(words, ends, strict=True)) + "."


def render(utterance: Utterance) -> bytes:
    """The bytes of an utterance's file."""
    rng = np.random.default_rng([*utterance[:2], 3, *utterance[2:]])
    video = draw_video(utterance)
    spoken = say(draw_text(rng, video.voice.language, NUM_WORDS), video.voice, SAMPLE_RATE)
    spoken = filtered(spoken, *video.band_hz, SAMPLE_RATE)

    def sound(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
        return spoken[: round(seconds * sample_rate)]

    return wav_bytes(record(sound, rng, rng.integers(*TENTHS) / 10, SAMPLE_RATE, video.scene), SAMPLE_RATE)


def draw_trials(tested: list[Utterance], num_trials: int, seed: int) -> bytes:
    """The bytes of ``veri_test.txt``: half of the trials of one speaker, half of two, all of two videos."""
    rng = np.random.default_rng([seed, 4])
    pairs = {0: [], 1: []}
    for a, b in combinations(tested, 2):
        if a.speaker != b.speaker or a.video != b.video:
            pairs[int(a.speaker == b.speaker)].append((a, b))
    lines = []
    for target, candidates in pairs.items():
        for i in rng.permutation(len(candidates))[: num_trials // 2]:
            a, b = (candidates[i][side].path for side in rng.permutation(2))
            lines.append(f"{target} {a} {b}\n")
    return "".join(lines[i] for i in rng.permutation(len(lines))).encode()


def plan(size: str, seed: int) -> Plan:
    """The training and the test speakers of a size, and their trials."""
    check_size(size)
    espeak_paths()  # a set that cannot be spoken is not begun
    sizes = SIZES[size]
    clips = [
        Utterance(seed, part, speaker, video, number)
        for part, name in enumerate(PARTS)
        for speaker in range(sizes.speakers[name])
        for video in range(sizes.videos)
        for number in range(sizes.utterances)
    ]
    tested = [clip for clip in clips if PARTS[clip.part] == "test"]
    trials = draw_trials(tested, sizes.trials, seed)
    return Plan(
        {f"{PARTS[clip.part]}/wav/{clip.path}": clip for clip in clips}, render, {"veri_test.txt": trials}
    )
