"""Figures: each is a PNG of the size its content needs; what they compute is checked as numbers."""

import re
import struct
import warnings

import numpy as np
import pytest

from ipet import plots
from ipet.plots import (
    pareto_front,
    plot_by_layer,
    plot_confusion,
    plot_curves,
    plot_det,
    plot_pareto,
    plot_per_class,
    plot_scores,
)
from ipet.verification_metrics import det_curve

RNG = np.random.default_rng(0)
TARGETS = np.arange(400) % 2
SCORES = RNG.standard_normal(400) + 2 * TARGETS
POINTS = [
    ("head", 40_000, 0.80, (0.79, 0.81)),
    ("IPET", 676_274, 0.93, None),
    ("all", 87_000_000, 0.92, None),
]
EPOCHS = {f"fold {k}": [(epoch, epoch / 30) for epoch in range(1, 31)] for k in range(1, 11)}

FIGURES = {
    "det": lambda path: plot_det(path, {"cosine": det_curve(SCORES, TARGETS)}),
    "scores": lambda path: plot_scores(path, SCORES, TARGETS),
    "pareto": lambda path: plot_pareto(path, POINTS, "accuracy"),
    "curves": lambda path: plot_curves(path, EPOCHS, "accuracy"),
    "confusion": lambda path: plot_confusion(path, np.eye(10) + 1, [f"class {i}" for i in range(10)]),
    "by_layer": lambda path: plot_by_layer(
        path, {"a": [0.1, None, 0.3]}, "x", {"a": [(0, 0.2), None, (0, 1)]}
    ),
    "per_class": lambda path: plot_per_class(
        path, np.arange(12) / 12, [f"class {i}" for i in range(12)], "AP"
    ),
}


def size(path):
    """(width, height) in pixels, as a PNG's header tells."""
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", header[16:24])


@pytest.fixture
def drawn(monkeypatch):
    """The axes of what is drawn, of the last figure first."""
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.insert(0, figure))
    return lambda: figures[0].axes


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_a_png_alone_in_its_folder_and_draws_without_a_warning(name, tmp_path):
    path = tmp_path / "plots" / f"{name}.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert FIGURES[name](path) == path
    width, height = size(path)
    assert 500 <= width <= 1500 and 300 <= height <= 1500
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_same_figure_is_the_same_file(tmp_path):
    a, b = (FIGURES["scores"](tmp_path / f"{name}.png") for name in "ab")
    assert a.read_bytes() == b.read_bytes()


def test_a_figure_does_not_touch_the_reader_s_own_plots(tmp_path):
    from matplotlib import pyplot

    before = pyplot.get_fignums(), dict(pyplot.rcParams)
    FIGURES["curves"](tmp_path / "a.png")
    assert (pyplot.get_fignums(), dict(pyplot.rcParams)) == before


def test_a_det_curve_of_gaussians_is_a_straight_line_with_its_equal_error_rate(drawn):
    rng = np.random.default_rng(0)
    targets = np.arange(100_000) % 2
    false_alarm, miss = det_curve(rng.standard_normal(100_000) + 2 * targets, targets)
    plot_det("x.png", {"two deviations": (false_alarm, miss)})
    [axis] = drawn()
    curve, equal = axis.lines[:2]
    x, y = curve.get_data()
    inner = (x > -2) & (x < 0)
    np.testing.assert_allclose(x[inner] + y[inner], -2, atol=0.06)  # normal deviates sum to the distance
    assert equal.get_xydata()[0] == pytest.approx([-1, -1], abs=0.03)
    assert re.fullmatch(r"two deviations: EER 15\.\d\d %|two deviations: EER 16\.\d\d %", curve.get_label())


@pytest.mark.parametrize("scores", [TARGETS * 1.0, -TARGETS * 1.0, np.zeros(400)])
def test_det_curves_of_perfect_reversed_and_constant_scores_can_be_drawn(scores, tmp_path):
    assert size(plot_det(tmp_path / "a.png", {"system": det_curve(scores, TARGETS)}))


def test_histograms_of_scores_have_area_one_and_share_their_bins(drawn):
    plot_scores("x.png", SCORES, TARGETS)
    [axis] = drawn()
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["200 nontargets", "200 targets"]
    for patch in axis.patches:
        x, y = patch.get_xy()[:-1].T
        assert abs(np.trapezoid(y, x)) == pytest.approx(1)


def test_the_pareto_front_keeps_what_no_cheaper_point_beats():
    points = [("a", 10, 0.5, None), ("b", 100, 0.9, None), ("c", 100, 0.8, None), ("d", 1000, 0.7, None)]
    assert pareto_front(points, higher_is_better=True) == [(10, 0.5), (100, 0.9)]
    assert pareto_front(points, higher_is_better=False) == [(10, 0.5)]
    errors = [("a", 10, 0.3, None), ("b", 100, 0.1, None), ("c", 1000, 0.2, None)]
    assert pareto_front(errors, higher_is_better=False) == [(10, 0.3), (100, 0.1)]


def test_the_names_of_points_at_one_place_do_not_lie_on_each_other():
    figure, [axis] = plots.new_figure(7, 4.6)
    points = [
        ("adapter", 80_474, 76.2, (70, 81)),
        ("ipet", 85_082, 76.5, (71, 81)),
        ("lora", 85_000, 76.4, None),
    ]
    axis.set(xscale="log", xlim=(1e3, 1e7), ylim=(60, 85))
    plots.name_points(figure, axis, points)
    boxes = [text.get_window_extent() for text in axis.texts]
    assert [text.get_text() for text in axis.texts] == ["adapter", "lora", "ipet"]  # by parameters
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_point_without_parameters_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'guess' has no trainable parameters; expected at least 1"):
        plot_pareto(tmp_path / "a.png", [("guess", 0, 0.1, None)], "accuracy")


def test_curves_with_a_gap_or_without_a_value_can_be_drawn(drawn):
    plot_curves("x.png", {"a": [(1, 0.5), (2, float("nan")), (3, 0.7)], "b": []}, "accuracy")
    [axis] = drawn()
    np.testing.assert_array_equal(axis.lines[0].get_ydata(), [0.5, np.nan, 0.7])
    assert len(axis.lines[1].get_ydata()) == 0


def test_values_of_layers_lie_beside_each_other_with_their_bounds(drawn):
    bounds = {"a": [(0.0, 0.2), None], "b": [(0.1, 0.3), (0.2, 0.4)]}
    plot_by_layer("x.png", {"a": [0.1, None], "b": [0.2, 0.3]}, "share (%)", bounds, factor=100)
    [axis] = drawn()
    np.testing.assert_allclose(axis.lines[0].get_data(), [[0.94, 1.94], [10, np.nan]])
    np.testing.assert_allclose(axis.lines[1].get_data(), [[1.06, 2.06], [20, 30]])
    spans = [
        [segment[:, 1].tolist() for segment in lines.get_segments() if len(segment)]
        for lines in axis.collections
    ]
    assert spans == [[pytest.approx([0, 20])], [pytest.approx([10, 30]), pytest.approx([20, 40])]]


def test_a_confusion_matrix_shows_shares_of_the_true_class(drawn):
    plot_confusion("x.png", np.array([[3, 1, 0], [0, 0, 0], [2, 0, 2]]), ["dog", "cat", "owl"])
    axis, _ = drawn()
    np.testing.assert_allclose(axis.images[0].get_array(), [[75, 25, 0], [0, 0, 0], [50, 0, 50]])
    assert [text.get_text() for text in axis.texts] == ["75", "25", "50", "50"]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["dog", "cat", "owl"]


def test_large_figures_grow_with_their_classes(tmp_path):
    names = [f"class {i}" for i in range(200)]
    width, height = size(plot_confusion(tmp_path / "a.png", np.eye(50), names[:50]))
    assert width >= 2000 and height >= 2000  # 40 pixels a class
    width, height = size(plot_per_class(tmp_path / "b.png", RNG.random(200), names, "AP"))
    assert width >= 2400 and height >= 1300  # four columns of 50 rows


def test_classes_are_sorted_and_those_without_clips_come_last(drawn):
    plot_per_class("x.png", np.array([0.2, np.nan, 0.9]), ["dog", "cat", "owl"], "AP")
    [axis] = drawn()
    assert [text.get_text() for text in axis.get_yticklabels()] == ["owl", "dog", "cat"]
    assert [text.get_text().strip() for text in axis.texts] == ["0.90", "0.20", "no clips"]
    assert [bar.get_width() for bar in axis.patches] == [0.9, 0.2, 0]


def test_every_class_is_in_one_column(drawn):
    names = [f"class {i}" for i in range(101)]
    plot_per_class("x.png", np.linspace(1, 0, 101), names, "AP")
    labels = [[text.get_text() for text in axis.get_yticklabels()] for axis in drawn()]
    assert [len(column) for column in labels] == [34, 34, 33]
    assert [name for column in labels for name in column] == names


def test_names_that_are_not_as_many_as_classes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=re.escape("a matrix of shape [2, 2] and 3 names")):
        plot_confusion(tmp_path / "a.png", np.eye(2), ["a", "b", "c"])
    with pytest.raises(ValueError, match=re.escape("values of shape [2] and 3 names")):
        plot_per_class(tmp_path / "a.png", np.ones(2), ["a", "b", "c"], "AP")
    assert list(tmp_path.iterdir()) == []


def test_of_many_curves_the_mean_stands_out(tmp_path):
    curves = {f"seed_1/fold_{k}": [(1, float(k)), (2, 2.0 * k)] for k in range(30)}
    path = plot_curves(tmp_path / "curves.png", curves, "accuracy (%)")
    assert 1_000 < path.stat().st_size < 200_000
