"""What the pretraining voices say: English words, and made-up words of other languages.

None of the 35 words of Speech Commands is among them, nor occurs in a sentence (``FORBIDDEN``): a word
that a downstream model learns to spot was never heard before.
"""

from typing import NamedTuple

from numpy.random import Generator

FORBIDDEN = frozenset(
    "backward bed bird cat dog down eight five follow forward four go happy house learn left marvin nine no "
    "off on one right seven sheila six stop three tree two up visual wow yes zero".split()
)

FUNCTION_WORDS = tuple(
    "the a an and or but with from into over under after before while because if then when where who which "
    "that this these those he she they we you it his her their our your my some any every many much more "
    "most is was are were has had will would can could should may must at by for of in to about".split()
)

WORDS = tuple(
    """
    able about above accept account across action active actor address advice afraid afternoon again age
    agree airport album alive allow almost alone already also always amount ancient anger animal ankle
    answer anyone apple april area argue army around arrive artist asleep aunt autumn average awake away
    baby balance ball banana band bank basket beach bean beard beautiful become bedroom begin behind
    believe belong below bench beside better between beyond bicycle bitter black blanket blood blue board
    boat body bone book border borrow bottle bottom bowl branch brave bread breakfast breath bridge bright
    bring broken brother brown brush bucket budget build business busy butter button cabbage cabin calm
    camera candle capital captain carbon career careful carpet carrot carry castle cause ceiling center
    certain chair chance change chapter charge cheap cheese cherry chicken choice church circle citizen
    city class clean clear clever climb clock close clothes cloud coast coffee collar college colour
    comfort common company complete concert contain control cookie copper corner correct cotton cough
    country couple courage cousin cover crazy cream create credit crowd culture curious curtain custom
    damage dance danger dark daughter decide deep degree deliver desert design detail develop diamond
    dinner direct dirty discover distance divide doctor dollar double doubt dragon drawer dream dress
    drink drive during dusty early earth easy education effort egg either elbow eleven empty enemy energy
    engine enjoy enough enter equal escape evening event exact example except exercise expect explain
    express extra eyebrow fabric factory fail faith family famous farmer fashion father favourite feather
    february feeling fence festival fever fiction field fifteen figure final finger finish fisherman flat
    flavour flight floor flour flower foolish football foreign forest forget forgive formal fortune
    fountain frame free fresh friday friend frozen fruit funny furniture future gallery game garage garden
    gather general gentle giant ginger girl glass glove golden government grain grandfather grass great
    green grocery group guard guess guest guide guitar habit half hammer handle harbour hard harvest heart
    heavy height helmet hero hidden history hobby holiday hollow honest honey hope horse hospital hotel
    hour huge human hundred hungry hunter hurry husband idea image imagine improve include income
    increase industry insect inside instead invite iron island jacket january jealous jelly jewel
    journey judge juice july jump jungle junior kettle kitchen kingdom knee knife knock knowledge ladder
    lake language large laugh laundry lawyer lazy leader leather legal lemon lesson letter library light
    limit liquid listen little lizard local lonely loud lovely lucky luggage lunch machine magic magnet
    manage manner marble market marriage master matter meadow measure meat medicine member memory mention
    message metal method middle midnight million mineral minute mirror mistake mixture modern moment
    monday money monkey month morning mother motor mountain mouth movie muscle museum mushroom music
    mystery narrow nation nature nearly needle neighbour nephew nervous neutral noble noise normal north
    nothing notice november number nurse object ocean october offer office often olive onion open opinion
    orange orchard order ordinary organ origin oven oxygen package page paint palace pancake panic paper
    parade pardon parent parliament partner party passenger patience pattern peace pencil people pepper
    perfect perhaps person photo piano picture pillow pilot pirate planet plastic plate playground
    please pleasure pocket poem police polite pond popular position potato powder power practice
    precious prepare present president pretty price prince prison private prize problem produce promise
    protect proud public pudding purple purpose puzzle quality quarter queen question quick quiet
    rabbit radio railway rainbow raise rather reach reason receive recipe record region regular remain
    remember repair repeat report rescue respect rest result return reward rhythm ribbon rice ring river
    robin rocket roof rough round royal rubber rule sailor salad salt sample sandwich saturday sauce
    scale school science scissors season second secret seldom separate september serious service
    shadow shallow shelter shine shirt shoulder shower silence silver simple sister skill sleep
    slippery slow small smile smooth snow soap social soft soldier solid someone sorry south space
    spare speak special spider spirit spoon square stable stairs station steady stomach story strange
    strawberry street strong student sudden sugar suggest summer sunday supper supply surface surprise
    sweater sweet swim sword symbol table talent teacher temple tender terrible theatre thick thirsty
    thousand thread thunder thursday ticket tidy tiger timber tiny tobacco today together tomato tomorrow
    tongue tooth topic total towel tower traffic treasure triangle trouble trousers trumpet trust tuesday
    tunnel turkey twelve twenty umbrella uncle uniform universe unless useful usual valley valuable
    vegetable vehicle velvet victory village violin visitor voice volcano voyage wagon waist wallet wander
    warm water wealth weather wedding wednesday weekend welcome west whisper wicked wide window winter
    wisdom witness woman wonder wooden worker world worry yellow yesterday young
    """.split()
)  # fmt: skip


class Language(NamedTuple):
    """A family's spelling, enough to make up words that a voice of it pronounces its own way."""

    group: str
    onsets: tuple[str, ...]
    vowels: tuple[str, ...]
    codas: tuple[str, ...]


ROMANCE = Language(
    "romance",
    tuple("b c d f g l m n p r s t v br cr dr fl gr pl pr tr j qu ch z".split()),
    tuple("a e i o u a e o ia io ua ei".split()),
    ("", "", "", "", "n", "r", "s", "l", "m"),
)
GERMANIC = Language(
    "germanic",
    tuple("b d f g h k l m n p r s t v w bl br dr fl gl kl kr pl sl sn st str tr sp".split()),
    tuple("a e i o u aa ee oo ei au e a".split()),
    ("", "", "n", "r", "s", "l", "t", "k", "nd", "ng", "rt", "ls", "st", "m", "p"),
)
SLAVIC = Language(
    "slavic",
    tuple("b c d f h j k l m n p r s t v z br dr kr pl pr sk sl st tr vl zd zn".split()),
    tuple("a e i o u a o i".split()),
    ("", "", "", "k", "l", "m", "n", "r", "s", "t", "v", "st"),
)
CYRILLIC = Language(
    "slavic",
    tuple("б в г д ж з к л м н п р с т ф х ц ч ш бр вл др кр пр ск ст тр".split()),
    tuple("а е и о у я ы а о".split()),
    ("", "", "", "й", "к", "л", "м", "н", "р", "с", "т", "ть", "в"),
)
GREEK = Language(
    "other",
    tuple("β γ δ ζ θ κ λ μ ν ξ π ρ σ τ φ χ ψ κρ πρ στ τρ".split()),
    tuple("α ε η ι ο υ ω ου αι ει".split()),
    ("", "", "", "ν", "ρ"),
)
OPEN = Language(  # most syllables end in their vowel, as in Finnish, Swahili or Indonesian
    "other",
    tuple("b d g h j k l m n p r s t v y w ng mb nd".split()),
    tuple("a e i o u a i u aa ai".split()),
    ("", "", "", "", "n", "s", "t", "k"),
)

LANGUAGES = {  # espeak-ng's name: how its words are made up
    **dict.fromkeys(["es", "es-419", "it", "pt", "pt-br", "ca", "ro", "fr-fr", "fr-be"], ROMANCE),
    **dict.fromkeys(["de", "nl", "sv", "da", "nb", "af", "is", "lb"], GERMANIC),
    **dict.fromkeys(["pl", "cs", "sk", "hr", "sl", "bs"], SLAVIC),
    **dict.fromkeys(["ru", "uk", "bg", "mk"], CYRILLIC),
    "el": GREEK,
    **dict.fromkeys(["fi", "et", "hu", "tr", "sw", "id", "ms", "eu", "cy", "lv", "sq", "eo", "la"], OPEN),
}
ENGLISH = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-029", "en-us-nyc")


def group(language: str) -> str:
    """``english``, ``romance``, ``germanic`` (the others of it), ``slavic`` or ``other``."""
    return "english" if language in ENGLISH else LANGUAGES[language].group


def invent(rng: Generator, language: str, num_syllables: int) -> str:
    """A word of so many syllables that a voice of ``language`` can say; none of ``FORBIDDEN``."""
    spelling = LANGUAGES[language]
    while True:
        syllables = [
            rng.choice(spelling.onsets) + rng.choice(spelling.vowels) + rng.choice(spelling.codas)
            for _ in range(num_syllables)
        ]
        word = "".join(syllables)
        if word not in FORBIDDEN:
            return word


def draw_word(rng: Generator, language: str) -> str:
    """One English word, or an invented one of one to four syllables."""
    if language in ENGLISH:
        return str(rng.choice(WORDS))
    return invent(rng, language, rng.choice([1, 2, 3, 4], p=[0.3, 0.4, 0.2, 0.1]))


def draw_sentence(rng: Generator, language: str, num_words: int) -> str:
    """So many words, with a comma here and there, a stop or a question mark at the end; no meaning."""
    english = language in ENGLISH
    words = []
    for i in range(num_words):
        small = english and rng.random() < 0.35
        word = str(rng.choice(FUNCTION_WORDS)) if small else draw_word(rng, language)
        words.append(word + "," if rng.random() < 0.08 and i < num_words - 1 else word)
    return " ".join(words) + rng.choice([".", ".", ".", "?"])
