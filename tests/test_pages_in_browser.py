"""The pages of ``report -html`` in a real browser, from the disk: seen, heard, and without a network."""

import numpy as np
import pytest

from ipet.__main__ import main

from browser import hosts
from helpers import long, one_hot, result, write_lists, write_run

pytestmark = long
pytest.importorskip("matplotlib", reason="the figures need matplotlib")
pytest.importorskip("jinja2", reason="the pages need jinja2")

WIDTHS = {"desk": 1280, "phone": 375}  # pixels
LEGIBLE = 4.5  # the least contrast of text (WCAG 2.1, AA)
COLOURS = """() => {
  const opaque = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (colour !== 'rgba(0, 0, 0, 0)') return colour;
    }
  };
  const texts = document.querySelectorAll('h1, h2, p, a, td, th, caption, figcaption, li, footer, code');
  return [...texts].map(e => [e.tagName, getComputedStyle(e).color, opaque(e)]);
}"""
PLAYED = """async (sound) => {
  await sound.play();
  await new Promise(heard => sound.addEventListener('timeupdate', () => sound.currentTime > 0 && heard()));
  sound.pause();
  return [sound.duration, sound.currentTime];
}"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of two runs, and below it one of each; of four clips two are heard as what they are not."""
    folder = tmp_path_factory.mktemp("pages")
    lists = write_lists(folder / "lists", num_classes=2, eval_1=4)
    predictions = {"scores": one_hot(1, 1, 0, 0), "targets": one_hot(0, 1, 0, 1).astype(np.uint8)}
    names = ("door, wood creaks and a bird in the distance", "dog")
    for name, size in (("first", 1_000), ("second_with_a_name_that_is_long_enough_for_two_lines", 90_000)):
        cells = {"seed_7/fold_1": result(0.25, 0.75, 0.5, trainable_parameters=size)}
        places = {"path_list": str(lists), "path_data": str(lists), "fold": 1}
        write_run(folder / "runs" / name, "ast_esc50", cells, names, predictions, **places)
    assert main(["report", str(folder / "runs"), "-html", str(folder / "page")]) == 0
    paths = {"all": folder / "page/index.html", "one": next((folder / "page").glob("*first/index.html"))}
    return {name: path.as_uri() for name, path in paths.items()}


def contrast(one, other):
    """Of two colours of CSS, from 1 to 21 (WCAG 2.1)."""
    luminances = []
    for colour in (one, other):
        values = np.array(colour[colour.index("(") + 1 : -1].split(","), dtype=float)[:3] / 255
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        luminances.append(linear @ [0.2126, 0.7152, 0.0722])
    low, high = sorted(luminances)
    return (high + 0.05) / (low + 0.05)


def test_contrast_worked_out_by_hand():
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)  # 1.05 / 0.05


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["all", "one"])
def test_a_page_is_whole_and_asks_no_network(browser_page, pages, name, width):
    browser_page.set_viewport_size({"width": WIDTHS[width], "height": 800})
    browser_page.goto(pages[name])
    wide = browser_page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1] == WIDTHS[width]
    images = browser_page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert images and min(images) > 0
    assert not browser_page.errors and not hosts(browser_page)


def test_a_recording_is_played(browser_page, pages):
    browser_page.goto(pages["one"])
    browser_page.get_by_role("heading", level=1).click()  # browsers play nothing before they are touched
    sounds = browser_page.locator("audio")
    assert sounds.count() == 2
    for i in range(2):
        duration, at = sounds.nth(i).evaluate(PLAYED)
        assert 0 < at <= duration == pytest.approx([0.3, 0.6][i], abs=0.01)  # of the clips in lists
    assert not browser_page.errors and not hosts(browser_page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["all", "one"])
def test_text_is_legible(browser_page, pages, name, scheme):
    browser_page.emulate_media(color_scheme=scheme)
    browser_page.goto(pages[name])
    texts = browser_page.evaluate(COLOURS)
    weak = [text for text in texts if contrast(*text[1:]) < LEGIBLE]
    assert len(texts) > 20 and not weak
    paper = texts[0][2]
    assert (contrast(paper, "rgb(255, 255, 255)") > LEGIBLE) == (scheme == "dark")


def test_links_lead_to_a_run_and_back(browser_page, pages):
    browser_page.goto(pages["all"])
    browser_page.get_by_role("link", name="first", exact=False).first.click()
    assert browser_page.url == pages["one"]
    for link in browser_page.locator("nav a[href^='#']").all():
        link.click()
        assert browser_page.locator(":target").is_visible()
    browser_page.get_by_role("link", name="All runs").click()
    assert browser_page.url == pages["all"] and not browser_page.errors
