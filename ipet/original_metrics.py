"""The metrics that the original code reports, from the rows of a cell's history.

They are of the mean over segments of sigmoids, on the list that is evaluated, after each evaluated epoch;
``cum_acc``, ``cum_mAP`` and ``cum_mAUC`` are of these predictions averaged over the epochs so far. The
original reports the maximum of each metric over the epochs.
"""

from collections.abc import Mapping, Sequence

PREFIX = "original_"  # of their names in a row
NAMES = ("acc", "mAP", "mAUC", "d_prime", "cum_acc", "cum_mAP", "cum_mAUC")
NAME_OF = {"accuracy": "acc", "mAP": "mAP"}  # the original's name of a run's metric
SHARES = tuple(name for name in NAMES if name != "d_prime")  # in percent
EVALUATED = {"eval": "eval", "valid": "test"}  # list that they are of, by the watched list


def curve_of(result: Mapping, name: str) -> list[float]:
    """Return a metric's values over the evaluated epochs; empty where an epoch has none."""
    key = PREFIX + name
    values = [row[key] for row in result["history"] if key in row]
    return values if len(values) == len(result["history"]) else []


def best_of_curve(curve: Sequence[float]) -> float:
    """Return the highest value of a curve; NaN is no value."""
    known = [value for value in curve if value == value]
    return max(known, default=float("nan"))


def best_epoch_on_test(result: Mapping) -> int | None:
    """Return the epoch that is best on the test list by the run's metric; None where it is not known."""
    curve = curve_of(result, NAME_OF.get(result["metric"], "")) if result["watched"] == "valid" else []
    if not curve or best_of_curve(curve) not in curve:
        return None
    return result["history"][curve.index(best_of_curve(curve))]["epoch"]


def original_values(results: Mapping[str, Mapping]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the values of every cell at its last and its best epoch, by metric.

    Args:
        results: Results of the cells, by name.

    Returns:
        ``{metric: {"last": {cell: value}, "best_epoch": {cell: value}}}``, of metrics that all cells have.
    """
    found = {}
    for name in NAMES:
        curves = {cell: curve_of(result, name) for cell, result in results.items()}
        if curves and all(curves.values()):
            found[name] = {
                "last": {cell: curve[-1] for cell, curve in curves.items()},
                "best_epoch": {cell: best_of_curve(curve) for cell, curve in curves.items()},
            }
    return found


def shown(name: str, value: float) -> str:
    """Return a value in percent, or d' as it is."""
    return f"{100 * value:.2f} %" if name in SHARES else f"{value:.4f}"
