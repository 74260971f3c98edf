"""Pages of runs to look at: one a run, and of several runs one that compares them."""

from collections.abc import Sequence
from pathlib import Path

from ipet.compare import Side, shared_protocol, shown_arguments, title_of
from ipet.differences import paired_of
from ipet.page import Figure, Link, Page, Section, Table, Text, drawn, write_page
from ipet.printable import folder_name
from ipet.report import DAMAGE, WORDS, Run, draw_pareto, groups_of, row_of, shown, told
from ipet.run_page import counted, run_page, said


def write_pages(
    folder: Path, num_clips: int, runs: Sequence[Run], notes: Sequence[str], errors: list[str]
) -> None:
    """Write ``index.html`` of a run; of several the comparison, and each run's in a folder beside it.

    Args:
        folder: where.
        num_clips: excerpts of so many recordings lie beside a run's page at most.
        notes: what a reader of the runs' table must know.
        errors: what was damaged; it is told on the pages, and what is found now is added.
    """
    left_out, several = list(errors), len(runs) > 1
    names: list[str] = []
    for run in runs:
        names.append(folder_name(f"{run.experiment}_{run.label}", names))
        here = folder / names[-1] if several else folder
        page = run_page(run, here, num_clips, errors)
        if several:
            page.back = "../index.html"
        else:
            page.told = list(dict.fromkeys([*left_out, *page.told]))
        write_page(here / "index.html", page)
    if several:
        page = comparison(runs, [f"{name}/index.html" for name in names], notes, errors)
        page.told = list(dict.fromkeys([*left_out, *page.told]))
        write_page(folder / "index.html", page)
    print(f"page{'s' * several}: {folder / 'index.html'}")


def comparison(runs: Sequence[Run], hrefs: Sequence[str], notes: Sequence[str], errors: list[str]) -> Page:
    """The page that compares runs; ``hrefs`` are their own pages."""
    page = Page(counted(len(runs), "run"))
    rows = [shown(row_of(run)) for run in runs]
    head = ["run", *(name for name in rows[0] if name != "run")]
    links = [Link(href, run.label) for href, run in zip(hrefs, runs)]
    body = [[link, *(row[name] for name in head[1:])] for link, row in zip(links, rows)]
    table = Table("Every run under its reported protocol", head, body, [n for n in head if n not in WORDS])
    page.sections.append(Section("Runs", [table, *map(Text, notes)]))
    for (experiment, data, metric), group in groups_of(runs).items():
        blocks: list[Text | Figure | Table] = []
        for build in (pareto_blocks, paired_blocks, argument_blocks):
            try:
                blocks += build(group, page.told)
            except DAMAGE as error:
                page.told.append(told(group[0].folder, error))
        page.sections.append(Section(f"{experiment}, {data}: {metric}", blocks))
    errors += page.told
    return page


def pareto_blocks(group: Sequence[Run], problems: list[str]) -> list[Figure]:
    """The metric against what is trained."""
    metric = group[0].summary["metric"]
    points = [f"{run.label} {run.summary['trainable_parameters']:,}" for run in group]
    alt = f"{metric} over the number of trainable parameters: {', '.join(points)}; values in the table."
    return [drawn(alt, f"{metric} against trainable parameters", draw_pareto, group)]


def paired_blocks(group: Sequence[Run], problems: list[str]) -> list[Text | Table]:
    """How much each run is behind the best one on the same clips, with its interval."""
    if len(group) < 2:
        return []
    pick = max if group[0].summary["higher_is_better"] else min
    best = pick(group, key=lambda run: run.summary["protocols"][run.summary["protocol"]]["mean"])
    rows, what = [], "trials" if best.summary["metric"] == "EER" else "clips"
    for run in group:
        if run is best:
            continue
        pair = side_of(run), side_of(best)
        sides = [(side.folder, side.results) for side in pair]
        found = paired_of(*sides, shared_protocol(*pair), problems)
        if "none" in found:
            rows.append([run.label, "-", "-", "-", found["none"]])
            continue
        difference, low, high = (f"{100 * found[name]:+.2f}" for name in ("difference", "low", "high"))
        of = title_of(found["of"]) + ", unpaired: other clips" * (not found["paired"])
        sizes = f"{max(found['items'].values()):,} {what}, {counted(len(found['cells']), 'cell')}"
        rows.append([run.label, difference, f"{low} to {high}", sizes, of])
    head = ["run", "difference", "95 % interval", "of", "protocol"]
    caption = f"{best.summary['metric']} minus that of {best.label}, the best mean, in percentage points"
    note = (
        f"Both are evaluated on the same {what}, which are resampled for both at once; where a row says "
        "unpaired, their evaluation lists differ, and each is resampled by itself. The interval is of "
        "these trained models: other seeds are not in it. The best run was chosen on what is compared, so "
        "its lead is slightly optimistic."
    )
    return [Table(caption, head, rows, head[1:3]), Text(note)]


def side_of(run: Run) -> Side:
    """A run as it is compared."""
    summary = run.summary
    values = {name: protocol["values"] for name, protocol in summary["protocols"].items()}
    results = {"metric": summary["metric"], "protocol": summary["protocol"], "protocols": values}
    return Side(run.folder, {"results": results}, run.folder)


def argument_blocks(group: Sequence[Run], problems: list[str]) -> list[Table]:
    """The arguments that differ."""
    arguments = [shown_arguments(run.arguments) for run in group]
    names = sorted({name for given in arguments for name in given} - {"cells"})
    lines = [[f"-{name}", *(said(given.get(name)) for given in arguments)] for name in names]
    rows = [line for line in lines if len(set(line[1:])) > 1]
    head = ["argument", *(run.label for run in group)]
    return [Table("Arguments that differ", head, rows)] if rows else []
