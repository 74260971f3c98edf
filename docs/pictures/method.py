"""Draws method.svg: a layer with its prompts and its adapter, pre-norm and post-norm.

    python3 docs/pictures/method.py             # writes docs/pictures/method.svg
    python3 docs/pictures/method.py other.png   # the same elsewhere, in the format of the name's ending

The same version of matplotlib writes the same bytes.
"""

import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Polygon

FROZEN, FROZEN_EDGE, LAYER = "#E3E6EA", "#8A9099", "#F6F7F9"
TRAINED, TRAINED_EDGE = "#F5B26B", "#B8600B"
INK, SOFT = "#22262B", "#6B7178"
WIDTH, HEIGHT, PANEL = 10.4, 7.1, 5.2  # inches; PANEL: from one layer to the other
MAIN, SIDE, SKIP = 2.15, 4.0, 0.72  # where data flow: the layer, the adapter, what is added
SETTINGS = {"svg.hashsalt": "ipet", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 12}


class Panel:
    """One layer, data flowing upwards; x is counted from the panel's left side, in inches."""

    def __init__(self, axis, left: float):
        self.axis, self.left = axis, left

    def text(self, x: float, y: float, words: str, **style) -> None:
        """Words around a point."""
        style = {"ha": "center", "va": "center", "color": INK} | style
        self.axis.text(self.left + x, y, words, zorder=5, **style)

    def box(self, y: float, name: str, width: float = 1.75, height: float = 0.44) -> None:
        """A frozen part of the layer."""
        corner = (self.left + MAIN - width / 2, y - height / 2)
        style = {"boxstyle": "round,pad=0,rounding_size=0.07", "fc": FROZEN, "ec": FROZEN_EDGE, "lw": 1.2}
        self.axis.add_patch(FancyBboxPatch(corner, width, height, zorder=3, **style))
        self.text(MAIN, y, name)

    def line(self, *points: tuple[float, float], arrow: bool = True, colour: str = INK) -> None:
        """A line through points, with a head at its end."""
        x, y = zip(*points)
        self.axis.plot([self.left + value for value in x], y, color=colour, lw=1.4, zorder=2)
        if arrow:
            style = {"arrowstyle": "-|>,head_width=0.22,head_length=0.45", "color": colour, "lw": 1.4}
            ends = [(self.left + px, py) for px, py in points[-2:]]
            style |= {"shrinkA": 0, "shrinkB": 0}
            self.axis.annotate("", xy=ends[1], xytext=ends[0], arrowprops=style, zorder=2)

    def circle(self, x: float, y: float, sign: str, colour: str = "white", edge: str = INK) -> None:
        """A sum, or a factor."""
        self.axis.add_patch(Circle((self.left + x, y), 0.16, fc=colour, ec=edge, lw=1.4, zorder=4))
        self.text(x, y, sign, fontsize=13)

    def dot(self, y: float, name: str, above: float = 0.13) -> None:
        """Where a value with a name of its own goes several ways; the name stands right of it."""
        self.axis.add_patch(Circle((self.left + MAIN, y), 0.045, fc=INK, ec=INK, zorder=4))
        self.text(MAIN + 0.12, y + above, name, style="italic", ha="left", fontsize=13)

    def tokens(self, y: float, dropped: bool) -> None:
        """Two prompts and six tokens; behind the layer the prompts' outputs are dropped."""
        side, gap, count = 0.3, 0.08, (2, 6)
        x = MAIN - (sum(count) * (side + gap) - gap) / 2
        for i in range(sum(count)):
            of_prompts = i < count[0]
            style = {"fc": "white", "ec": FROZEN_EDGE, "lw": 1.2}
            if of_prompts:
                style = {"fc": TRAINED, "ec": TRAINED_EDGE, "lw": 1.2}
                if dropped:
                    style = {"fc": "white", "ec": TRAINED_EDGE, "lw": 1.2, "linestyle": (0, (2, 2))}
            corner = (self.left + x, y - side / 2)
            round_ = {"boxstyle": "round,pad=0,rounding_size=0.05"}
            self.axis.add_patch(FancyBboxPatch(corner, side, side, zorder=3, **round_, **style))
            x += side + gap
        middles = [MAIN - (sum(count) - n) * (side + gap) / 2 * sign for n, sign in zip(count, (1, -1))]
        below = y - 0.34
        if dropped:
            self.text(middles[0], y + 0.34, "dropped", color=TRAINED_EDGE, fontsize=11)
            self.text(middles[1], y + 0.34, "y", style="italic", fontsize=13)
        else:
            self.text(middles[0], below, "P", style="italic", color=TRAINED_EDGE, fontsize=13)
            self.text(middles[0], below - 0.26, "n prompts", color=TRAINED_EDGE, fontsize=11)
            self.text(middles[1], below, "x", style="italic", fontsize=13)
            self.text(middles[1], below - 0.26, "T tokens", fontsize=11)

    def frame(self, low: float, high: float, title: str, models: str) -> None:
        """The layer's own ground, and what it is called."""
        style = {"boxstyle": "round,pad=0,rounding_size=0.15", "fc": LAYER, "ec": FROZEN_EDGE, "lw": 1}
        self.axis.add_patch(FancyBboxPatch((self.left + 0.3, low), 4.6, high - low, zorder=0, **style))
        self.text(0.3, HEIGHT - 0.48, title, ha="left", fontsize=14, weight="bold")
        self.text(4.9, HEIGHT - 0.48, models, ha="right", color=SOFT, fontsize=11)

    def adapter(self, start: float, end: float) -> None:
        """A(u) from the height of u to that of the sum: down to r, ReLU, up to D, times s."""
        middle = (start + end) / 2
        self.line((MAIN, start), (SIDE, start), (SIDE, middle - 0.62), colour=TRAINED_EDGE)
        for low, high, bottom, top, name in (
            (middle - 0.62, middle - 0.2, 0.72, 0.34, "down"),
            (middle + 0.2, middle + 0.62, 0.34, 0.72, "up"),
        ):
            corners = [(-bottom, low), (bottom, low), (top, high), (-top, high)]
            corners = [(self.left + SIDE + x, y) for x, y in corners]
            self.axis.add_patch(Polygon(corners, fc=TRAINED, ec=TRAINED_EDGE, lw=1.2, zorder=3))
            self.text(SIDE, (low + high) / 2, name)
        self.line((SIDE, middle - 0.2), (SIDE, middle + 0.2), colour=TRAINED_EDGE)
        self.text(SIDE + 0.12, middle, "ReLU", ha="left", fontsize=11, color=TRAINED_EDGE)
        self.text(SIDE - 0.12, middle, "r", ha="right", style="italic", color=TRAINED_EDGE)
        self.line((SIDE, middle + 0.62), (SIDE, end), (MAIN + 0.16, end), colour=TRAINED_EDGE)
        self.circle((MAIN + SIDE) / 2 + 0.35, end, "s", "white", TRAINED_EDGE)
        self.text(SIDE, start - 0.18, "adapter", color=TRAINED_EDGE, fontsize=11)

    def skip(self, start: float, end: float) -> None:
        """What is added unchanged, from one height to another."""
        self.line((MAIN, start), (SKIP, start), (SKIP, end), (MAIN - 0.16, end))

    def begin(self, title: str, models: str) -> None:
        """The layer's frame, and its input."""
        self.frame(1.35, 5.45, title, models)
        self.tokens(0.92, dropped=False)
        self.line((MAIN, 1.1), (MAIN, 1.78))
        self.dot(1.5, "z")


def pre_norm(panel: Panel) -> None:
    """z = [P ; x], u = z + MHA(LN1(z)), y = u + FFN(LN2(u)) + s A(u)."""
    panel.begin("Pre-norm layer", "AST")
    for y, name in ((2.0, "LN1"), (2.66, "attention"), (4.05, "LN2"), (4.71, "feed-forward")):
        panel.box(y, name)
    panel.line((MAIN, 2.22), (MAIN, 2.44))
    panel.line((MAIN, 2.88), (MAIN, 3.1))
    panel.skip(1.5, 3.26)
    panel.circle(MAIN, 3.26, "+")
    panel.line((MAIN, 3.42), (MAIN, 3.83))
    panel.dot(3.58, "u")
    panel.line((MAIN, 4.27), (MAIN, 4.49))
    panel.line((MAIN, 4.93), (MAIN, 5.06))
    panel.skip(3.58, 5.22)
    panel.adapter(3.58, 5.22)
    panel.circle(MAIN, 5.22, "+")
    panel.line((MAIN, 5.38), (MAIN, 5.62))
    panel.tokens(5.8, dropped=True)


def post_norm(panel: Panel) -> None:
    """z = [P ; x], u = z + MHA(z), v = LN1(u), y = LN2(v + FFN(v) + s A(u))."""
    panel.begin("Post-norm layer", "wav2vec 2.0, HuBERT, WavLM")
    for y, name in ((2.0, "attention"), (3.31, "LN1"), (4.06, "feed-forward"), (5.11, "LN2")):
        panel.box(y, name)
    panel.line((MAIN, 2.22), (MAIN, 2.36))
    panel.skip(1.5, 2.52)
    panel.circle(MAIN, 2.52, "+")
    panel.line((MAIN, 2.68), (MAIN, 3.09))
    panel.dot(2.84, "u")
    panel.line((MAIN, 3.53), (MAIN, 3.84))
    panel.dot(3.68, "v", above=0)
    panel.line((MAIN, 4.28), (MAIN, 4.41))
    panel.skip(3.68, 4.57)
    panel.adapter(2.84, 4.57)
    panel.circle(MAIN, 4.57, "+")
    panel.line((MAIN, 4.73), (MAIN, 4.89))
    panel.line((MAIN, 5.33), (MAIN, 5.62))
    panel.tokens(5.8, dropped=True)


def legend(axis) -> None:
    """What the two colours mean."""
    for x, fill, edge, words in (
        (3.35, FROZEN, FROZEN_EDGE, "frozen"),
        (4.65, TRAINED, TRAINED_EDGE, "trained, in every layer"),
    ):
        style = {"boxstyle": "round,pad=0,rounding_size=0.05", "fc": fill, "ec": edge, "lw": 1.2}
        axis.add_patch(FancyBboxPatch((x, -0.1), 0.24, 0.24, **style))
        axis.text(x + 0.34, 0.02, words, va="center", color=INK, fontsize=11)


def draw(path: Path) -> Path:
    """Write the picture; the same bytes from the same version of matplotlib."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure((WIDTH, HEIGHT), facecolor="white")
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set(xlim=(0, WIDTH), ylim=(-0.25, HEIGHT - 0.15), aspect="equal")
        axis.axis("off")
        pre_norm(Panel(axis, 0.0))
        post_norm(Panel(axis, PANEL))
        legend(axis)
        metadata = {"Creator": None, "Date": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(path, dpi=150, metadata=metadata)
    return path


if __name__ == "__main__":
    print(draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".svg")))
