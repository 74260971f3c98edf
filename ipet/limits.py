"""The largest sizes that a command line, or an adapter_config.json that may come from anybody, can ask for.

Far above what was ever trained: what exceeds them is a slip or a forgery, which would otherwise end hours
later, or in exhausted memory, without a word about why.
"""

WHOLE_NUMBER = 1_000_000_000  # of any count
PROMPTS = 10_000  # prompts or prefixes a layer; a clip of 10 s has 1,212 tokens
BOTTLENECK = 16_384  # of an adapter, and the rank of LoRA; the layers are 768 wide
FRAMES = 360_000  # that the backbone hears at once: an hour in frames of 10 ms
SAMPLES = 16_000 * 3_600  # the same, at 16 kHz
MELS = 1_024
WINDOW_MS = 10_000
SEGMENTS = 10_000  # of a clip in evaluation
PATCHES = 65_536  # of AST's input, of 200 MB of positions; each attends to each
FOLDS = 1_000
PROCESSES = 1_024  # on one machine, and readers of each
SEED = 2**63 - 1
MINUTES = 100_000  # of waiting: ten weeks
NUMBERS = 1 << 30  # of a clip on its way to the backbone: 4 GiB
PARAMETERS = 100_000_000_000  # of a budget
