"""Figures of results, as PNG files: each function draws one, writes it atomically, returns its path."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.special import ndtri as normal_quantile

from ipet.checkpoint import write_atomically
from ipet.printable import escaped
from ipet.verification_metrics import equal_error

# Okabe and Ito's colours, told apart by every kind of colour vision; the styles repeat them.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", ":", "-.")
GREY = "#666666"
DPI = 150
DET_PERCENT = (0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 90)  # ticks
BARS = 50  # in a column of plot_per_class
MANY = 10  # curves, more than which cannot be told apart
LONGEST = 60  # letters of a name
BESIDE = ((8, 4), (-8, 4), (8, -4), (-8, -4), (8, 16), (-8, 16), (8, -16), (-8, -16))  # points, of a label
NUMBERED = 20  # up to so many classes a confusion matrix shows its numbers
LOUDEST_DB = 80  # of a spectrogram that are told apart


def new_figure(width: float, height: float, num_columns: int = 1):
    """A figure of so many inches and its axes, [num_columns]."""
    # Not pyplot: it keeps every figure and looks for a display.
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=DPI, layout="constrained")
    axes = figure.subplots(1, num_columns, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#DDDDDD", linewidth=0.6)
        axis.set_axisbelow(True)
    return figure, axes


def save(figure, path: str | Path) -> Path:
    """Write a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})  # the same bytes in any version
    write_atomically(path, buffer.getvalue())
    return Path(path)


def as_is(text: str) -> str:
    """A name as it is drawn letter by letter: between two dollar signs matplotlib reads a formula."""
    text = escaped(text)
    return (text if len(text) <= LONGEST else text[: LONGEST - 3] + "...").replace("$", r"\$")


def colour_of(i: int) -> str:
    """Of the i-th thing that is drawn."""
    return COLOURS[i % len(COLOURS)]


def line_style(i: int) -> dict:
    """How the i-th curve is drawn."""
    return {"color": colour_of(i), "linestyle": STYLES[i // len(COLOURS) % len(STYLES)]}


def plot_det(path: str | Path, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Path:
    """Miss rate over false alarm rate, on normal-deviate axes, with the EER of each system.

    Args:
        curves: [K] false alarm and [K] miss rates by system, of ``metrics.det_curve``.

    Source: DET curves (Martin et al. 1997).
    """
    figure, [axis] = new_figure(6, 5.6)
    smallest = 1.0
    largest = 0.4
    for i, (name, (false_alarm, miss)) in enumerate(curves.items()):
        rates = np.clip([false_alarm, miss], 1e-6, 1 - 1e-6)  # 0 and 1 lie at infinity
        equal = equal_error(false_alarm, miss)
        axis.plot(
            *normal_quantile(rates),
            **line_style(i),
            linewidth=1.6,
            label=f"{as_is(name)}: EER {100 * equal:.2f} %",
        )
        if equal > 0:
            axis.plot(*normal_quantile([[equal], [equal]]), "o", color=line_style(i)["color"], markersize=5)
        smallest = min(smallest, *(rate[rate > 0].min() for rate in (false_alarm, miss)))
        largest = max(largest, 1.5 * equal)
    limits = normal_quantile([np.clip(smallest, 1e-4, 0.05), min(largest, 0.95)])
    axis.plot(limits, limits, color=GREY, linewidth=0.8, linestyle=":")
    ticks = normal_quantile(np.array(DET_PERCENT) / 100)
    names = [f"{percent:g}" for percent in DET_PERCENT]
    axis.set_xticks(ticks, names)
    axis.set_yticks(ticks, names)
    axis.set(xlim=limits, ylim=limits, xlabel="false alarms (%)", ylabel="misses (%)", aspect="equal")
    axis.legend(frameon=False)
    return save(figure, path)


def plot_scores(path: str | Path, scores: np.ndarray, targets: np.ndarray, num_bins: int = 80) -> Path:
    """Histograms of the target and the nontarget scores, each of area 1.

    Args:
        scores: [N].
        targets: [N], 1 or True for a target trial.
    """
    figure, [axis] = new_figure(6.4, 4)
    targets = np.asarray(targets, dtype=bool)
    bins = np.histogram_bin_edges(scores, num_bins)
    for i, (name, chosen) in enumerate([("nontargets", ~targets), ("targets", targets)]):
        label = f"{chosen.sum():,} {name}"
        style = {"histtype": "stepfilled", "alpha": 0.45, "edgecolor": COLOURS[i], "facecolor": COLOURS[i]}
        axis.hist(scores[chosen], bins, density=bool(chosen.any()), label=label, **style)
    axis.set(xlabel="score", ylabel="density")
    axis.legend(frameon=False)
    return save(figure, path)


def plot_pareto(
    path: str | Path,
    points: Sequence[tuple[str, int, float, tuple[float, float] | None]],
    metric_name: str,
    higher_is_better: bool = True,
) -> Path:
    """What trained parameters buy: the metric over their number, and the line of the best.

    Args:
        points: label, trainable parameters, metric and its interval, if there is one.

    Raises:
        ValueError: a point without parameters, which a logarithmic axis cannot show.
    """
    empty = [label for label, parameters, *_ in points if parameters < 1]
    if empty:
        raise ValueError(f"{empty[0]!r} has no trainable parameters; expected at least 1")
    figure, [axis] = new_figure(7, 4.6)
    best = pareto_front(points, higher_is_better)
    axis.step(*zip(*best), where="post", color=GREY, linewidth=1, linestyle="--", zorder=1)
    for i, (_, parameters, value, interval) in enumerate(points):
        errors = None if interval is None else [[max(0, value - interval[0])], [max(0, interval[1] - value)]]
        axis.errorbar(parameters, value, errors, fmt="o", color=colour_of(i), capsize=3, markersize=7)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.margins(x=0.18, y=0.12)
    axis.set(xlabel="trainable parameters", ylabel=metric_name)
    name_points(figure, axis, points)
    return save(figure, path)


def name_points(figure, axis, points: Sequence[tuple]) -> None:
    """Write each label beside its point, where no point, interval or other label is, if there is a place."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # afterwards places are known in pixels
    taken = []
    for _, parameters, value, interval in points:
        low, high = interval or (value, value)
        bounds = axis.transData.transform([(parameters, min(low, value)), (parameters, max(high, value))])
        taken.append(Bbox(bounds + np.array([[-14, -6], [14, 6]])))
    for i, (label, parameters, value, _) in sorted(enumerate(points), key=lambda point: point[1][1]):
        places = []
        for x, y in BESIDE:
            style = {"ha": "left" if x > 0 else "right", "va": "bottom" if y > 0 else "top", "fontsize": 10}
            style |= {"color": colour_of(i), "textcoords": "offset points"}
            text = axis.annotate(as_is(label), (parameters, value), (x, y), **style)
            box = text.get_window_extent()
            places.append((sum(box.overlaps(other) for other in taken), len(places), box, text))
        _, best, box, _ = min(places, key=lambda place: place[:2])
        taken.append(box)
        for _, k, _, text in places:
            if k != best:
                text.remove()


def pareto_front(points: Sequence[tuple], higher_is_better: bool) -> list[tuple[int, float]]:
    """The (parameters, metric) that no point of as few parameters beats, from few to many."""
    sign = 1 if higher_is_better else -1
    front: list[tuple[int, float]] = []
    for _, parameters, value, _ in sorted(points, key=lambda point: (point[1], -sign * point[2])):
        if not front or sign * value > sign * front[-1][1]:
            front.append((parameters, value))
    return front


def plot_curves(
    path: str | Path, curves: Mapping[str, Sequence[tuple[int, float]]], metric_name: str
) -> Path:
    """A metric over the epochs, one line a label; values that are not numbers leave a gap.

    Of more than ``MANY`` lines only the mean is named and stands out.
    """
    figure, [axis] = new_figure(6.4, 4)
    points = {label: np.array(values, dtype=float).reshape(-1, 2).T for label, values in curves.items()}
    for i, (label, (epochs, metric)) in enumerate(points.items()):
        if len(points) > MANY:
            axis.plot(epochs, metric, color="0.75", linewidth=0.7)
        else:
            axis.plot(epochs, metric, **line_style(i), marker=".", linewidth=1.4, label=as_is(label))
    if len(points) > MANY:
        every = np.concatenate(list(points.values()), axis=1)  # [2, all points]
        epochs = np.unique(every[0])
        means = [np.nanmean(every[1, every[0] == epoch]) for epoch in epochs]
        axis.plot(epochs, means, **line_style(0), marker=".", label=f"mean of {len(points)}")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set(xlabel="epoch", ylabel=metric_name)
    if curves:
        axis.legend(frameon=False, fontsize=8, ncols=1 + min(len(curves), MANY) // 8)
    return save(figure, path)


def plot_grid(
    path: str | Path,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    setting_name: str,
    metric_name: str,
) -> Path:
    """Draw a metric over the values of a setting, one line a label, the values on a logarithmic axis."""
    figure, [axis] = new_figure(6.4, 4)
    values = sorted({value for points in curves.values() for value, _ in points})
    for i, (label, points) in enumerate(curves.items()):
        x, y = zip(*sorted(points))
        axis.plot(x, y, **line_style(i), marker=".", linewidth=1.4, label=as_is(label))
    axis.set_xscale("log")
    axis.set_xticks(values, [f"{value:g}" for value in values], minor=False)
    axis.minorticks_off()
    axis.set(xlabel=as_is(setting_name), ylabel=metric_name)
    axis.legend(frameon=False, fontsize=8, ncols=1 + min(len(curves), MANY) // 8)
    return save(figure, path)


def plot_confusion(path: str | Path, matrix: np.ndarray, names: Sequence[str]) -> Path:
    """The share, in percent, of a class's clips (row) that were answered as each class (column).

    Args:
        matrix: [C, C] numbers of clips; the row of a class without clips stays white.
        names: [C] display names.

    Raises:
        ValueError: not as many names as rows and columns.
    """
    matrix = np.asarray(matrix)
    if matrix.shape != (len(names), len(names)):
        raise ValueError(f"a matrix of shape {list(matrix.shape)} and {len(names)} names; expected [C, C], C")
    totals = matrix.sum(axis=1, keepdims=True)
    percent = 100 * matrix / np.maximum(totals, 1)
    side = 2.4 + 0.26 * max(len(names), 10)
    figure, [axis] = new_figure(side + 0.6, side)
    image = axis.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    size = 8 if len(names) <= NUMBERED else 6.5
    shown = [as_is(name) for name in names]
    axis.set_xticks(range(len(names)), shown, rotation=90, fontsize=size)
    axis.set_yticks(range(len(names)), shown, fontsize=size)
    axis.grid(False)
    if len(names) <= NUMBERED:
        for (row, column), value in np.ndenumerate(percent):
            if value >= 0.5:
                colour = "white" if value > 60 else "black"
                axis.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=7)
    axis.set(xlabel="answered", ylabel="true class")
    figure.colorbar(image, ax=axis, label="% of the true class", shrink=0.7, fraction=0.05)
    return save(figure, path)


def plot_per_class(path: str | Path, values: np.ndarray, names: Sequence[str], metric_name: str) -> Path:
    """A metric of every class, the best first, in columns of bars.

    Args:
        values: [C], at least 0; NaN, for a class without clips, comes last and has no bar.
        names: [C] display names.

    Raises:
        ValueError: not as many names as values, or none.
    """
    values = np.asarray(values, dtype=float)
    if values.shape != (len(names),) or not len(names):
        raise ValueError(f"values of shape {list(values.shape)} and {len(names)} names; expected [C] and C")
    order = np.argsort(-values, kind="stable")  # NaN sorts last
    num_columns = -(-len(names) // BARS)
    rows = -(-len(names) // num_columns)
    figure, axes = new_figure(4.2 * num_columns, 1.0 + 0.17 * max(rows, 5), num_columns)
    top = max(np.nanmax(values, initial=0.0), 1e-9)
    for axis, chosen in zip(axes, np.split(order, range(rows, len(names), rows))):
        axis.barh(range(len(chosen)), np.nan_to_num(values[chosen]), color=COLOURS[0], height=0.75)
        for row, value in enumerate(values[chosen]):
            text = "no clips" if np.isnan(value) else f"{value:.2f}"
            axis.text(np.nan_to_num(value), row, f" {text}", va="center", fontsize=6)
        axis.set_yticks(range(len(chosen)), [as_is(names[i]) for i in chosen], fontsize=7)
        axis.set(xlim=(0, 1.12 * top), ylim=(rows - 0.4, -0.6), xlabel=metric_name)
        axis.grid(False, axis="y")
    return save(figure, path)


def plot_by_layer(
    path: str | Path,
    series: Mapping[str, Sequence[float | None]],
    value_name: str,
    bounds: Mapping[str, Sequence[tuple[float, float] | None]] | None = None,
    factor: float = 1.0,
) -> Path:
    """Values of a network's layers, a line a name, beside each other where they have bounds.

    Args:
        series: [L] by name, from the first layer on; None leaves a gap.
        value_name: of the axis.
        bounds: low and high of each value, for some of the names.
        factor: of what is drawn, 100 for percent.
    """
    figure, [axis] = new_figure(6.4, 4)
    bounds = bounds or {}
    sideways = {name: 0.12 * (i - (len(bounds) - 1) / 2) for i, name in enumerate(bounds)}
    for i, (name, values) in enumerate(series.items()):
        y = factor * np.array([np.nan if value is None else value for value in values])
        x = np.arange(1, len(y) + 1) + sideways.get(name, 0)
        axis.plot(x, y, **line_style(i), marker="o", markersize=4, linewidth=1.4, label=name)
        limits = [pair or (np.nan, np.nan) for pair in bounds.get(name, ())]
        if limits:
            axis.vlines(
                x, *(factor * np.array(limits, dtype=float).T), color=line_style(i)["color"], linewidth=1
            )
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set(xlabel="layer", ylabel=value_name)
    if any(series):
        axis.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(series))
    return save(figure, path)


def plot_spectrogram(
    path: str | Path, log_mel: np.ndarray, seconds: float, ticks: Mapping[str, float]
) -> Path:
    """Log-mels over time, the loudest 80 dB of them.

    Args:
        log_mel: [T, M] dB, from a recording's beginning to its end.
        ticks: where a frequency lies, from 0 to M, by its name.
    """
    figure, [axis] = new_figure(7, 2.4)
    figure.set_layout_engine(None)  # a tenth of a second, for margins that are known
    figure.subplots_adjust(left=0.09, right=1.05, bottom=0.19, top=0.97)
    top = float(log_mel.max())
    image = axis.imshow(
        log_mel.T,
        aspect="auto",
        origin="lower",
        extent=(0, seconds, 0, log_mel.shape[1]),
        vmin=top - LOUDEST_DB,
        vmax=top,
        cmap="magma",
    )
    axis.grid(False)
    axis.set_yticks(list(ticks.values()), list(ticks), fontsize=8)
    axis.set(xlabel="seconds", ylabel="Hz (mel scale)")
    figure.colorbar(image, pad=0.01).set_label("dB", fontsize=8)
    return save(figure, path)


def plot_timeline(
    path: str | Path, seconds: np.ndarray, curves: Mapping[str, np.ndarray], end: float
) -> Path:
    """Probabilities of classes over a recording.

    Args:
        seconds: [W] the middle of each window.
        curves: [W] probabilities by class, at most ``MANY``.
        end: seconds of the recording.
    """
    figure, [axis] = new_figure(9, 2.4)
    for i, (name, values) in enumerate(curves.items()):
        axis.plot(seconds, values, **line_style(i), linewidth=1.6, label=as_is(name))
    axis.set(xlim=(0, end), ylim=(-0.02, 1.02), xlabel="seconds", ylabel="probability")
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1.03))
    return save(figure, path)
