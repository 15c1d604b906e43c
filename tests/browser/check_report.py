"""The report page in a real browser: `make report-check`, by hand, for it needs one.

Installing Chromium takes longer than all of these checks, so they are not among the
tests that run on every change; those hold the page's markup, its caps and its escaping.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import Browser

LEAST_CONTRAST = 4.5
PHONE = 360

# The contrast of each piece of text on what is painted behind it, by WCAG's formula.
CONTRASTS = """
(() => {
  const numbers = (color) => (color.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const part = (c) =>
      (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = (element) => {
    for (let up = element; up; up = up.parentElement) {
      const box = up.tagName === "g" && up.querySelector(":scope > rect");
      const color = numbers(box ? getComputedStyle(box).fill
                                : getComputedStyle(up).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return numbers(getComputedStyle(document.body).backgroundColor);
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
    if (element.closest("script, style, title, desc, .unseen, .narrow")) continue;
    const style = getComputedStyle(element);
    const inSvg = element.namespaceURI.endsWith("svg");
    const front = light(numbers(inSvg ? style.fill : style.color));
    const back = light(behind(element));
    const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    if (ratio < LEAST) poor.push(`${ratio.toFixed(2)} ${walker.currentNode.data}`);
  }
  return poor;
})()
""".replace("LEAST", str(LEAST_CONTRAST))

BOX = "document.querySelector('#table-types').closest('.sortable')"
COLUMN = """
Array.from(document.querySelectorAll("#table-types tbody tr:not([hidden])"))
  .map((row) => row.cells[%d].dataset.v ?? row.cells[%d].textContent)
"""


@pytest.fixture(autouse=True)
def as_usual(browser: Browser) -> Iterator[None]:
    """Undo what a check emulates."""
    yield
    browser.call("Emulation.setEmulatedMedia", media="", features=[])
    browser.call("Emulation.clearDeviceMetricsOverride")
    browser.call("Emulation.setScriptExecutionDisabled", value=False)


def column(browser: Browser, number: int) -> list[Any]:
    values: list[Any] = browser.evaluate(COLUMN % (number, number))
    return values


def focused(browser: Browser) -> str:
    return str(browser.evaluate("document.activeElement.textContent"))


def tab_until(browser: Browser, text: str, *, most: int = 60) -> None:
    for _ in range(most):
        browser.press("Tab")
        if focused(browser) == text:
            return
    pytest.fail(f"{text!r} is not reached by {most} times Tab")


def test_the_page_opens_without_a_word_and_asks_nobody(
    browser: Browser, plain: Path
) -> None:
    browser.open(plain)

    assert browser.complaints() == []
    assert browser.requests() == [plain.as_uri()]


def test_a_table_is_sorted_by_keyboard(browser: Browser, plain: Path) -> None:
    browser.open(plain)
    browser.evaluate("document.querySelector('#table-types').closest('.wide').focus()")
    tab_until(browser, "Last")
    browser.press("Enter")
    falling = [int(value) for value in column(browser, 2)]
    browser.press(" ")
    rising = [int(value) for value in column(browser, 2)]
    state = "document.querySelector('#table-types [aria-sort]')"

    assert falling == sorted(falling, reverse=True)
    assert rising == sorted(rising)
    assert falling != rising
    assert browser.evaluate(f"{state}.textContent") == "Last"
    assert browser.evaluate(f"{state}.getAttribute('aria-sort')") == "ascending"
    assert browser.complaints() == []


def test_what_has_the_focus_is_seen(browser: Browser, plain: Path) -> None:
    browser.open(plain)
    n_stops = 0
    browser.press("Tab")
    while not browser.evaluate("document.activeElement === document.body"):
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert browser.evaluate(outline) == "solid", focused(browser)
        n_stops += 1
        browser.press("Tab")

    assert n_stops > 20


def test_text_sorts_and_filters(browser: Browser, plain: Path) -> None:
    browser.open(plain)
    browser.evaluate("document.querySelector('#table-types th button').click()")
    names = column(browser, 0)
    browser.evaluate(f"{BOX}.querySelector('input').focus()")
    browser.write("app.T5")

    assert names == sorted(names)
    found = column(browser, 0)
    assert found == sorted(found)
    assert set(found) == {"app.T5", *(f"app.T{number}" for number in range(50, 60))}


def test_all_rows_are_shown_when_asked_for(browser: Browser, plain: Path) -> None:
    browser.open(plain)
    few = len(column(browser, 0))
    browser.evaluate(f"{BOX}.querySelector('button.all').click()")

    assert few == 15
    assert len(column(browser, 0)) > 60


def test_the_icicle_is_walked_by_keyboard(browser: Browser, plain: Path) -> None:
    browser.open(plain)
    browser.evaluate("document.querySelector('.cell').focus()")
    told = "document.querySelector('.told').textContent"
    width = "document.activeElement.getBoundingClientRect().width"
    seen = []
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "ArrowDown", "ArrowDown"):
        browser.press(key)
        seen.append(focused(browser))
    before = browser.evaluate(width)
    browser.press("Enter")
    after = browser.evaluate(width)

    assert seen == ["app", ".CACHE", "app", ".CACHE", ".rows"]
    assert after > before
    assert "app.CACHE" in browser.evaluate(told)
    for _ in range(3):
        browser.press("Escape")
    assert focused(browser) == "heap"
    assert browser.complaints() == []


def test_hostile_names_are_seen_and_execute_nothing(
    browser: Browser, hostile: list[Path]
) -> None:
    for path in hostile:
        browser.open(path)
        text = browser.evaluate("document.body.innerText")
        assert browser.evaluate("window.harmed") is None, path
        assert browser.evaluate("document.querySelectorAll('img, iframe').length") == 0
        assert browser.complaints() == [], path
        assert browser.requests() == [path.as_uri()]
        assert "\u202e" not in text
    browser.open(hostile[0])
    assert "</script><script>window.harmed = 1</script>" in browser.evaluate(
        "document.body.innerText"
    )


def test_a_script_that_got_in_would_not_run(browser: Browser, plain: Path) -> None:
    browser.open(plain)
    browser.evaluate("""
        document.body.insertAdjacentHTML("beforeend",
          "<img src='https://liveheap.invalid/x' onerror='window.harmed = 1'>");
        const script = document.createElement("script");
        script.textContent = "window.harmed = 2";
        document.body.append(script);
    """)

    assert browser.evaluate("window.harmed") is None
    refused = browser.named("Network.loadingFailed")
    assert [one["blockedReason"] for one in refused] == ["csp"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("media", ["screen", "print"])
def test_text_stands_out(
    scheme: str, media: str, browser: Browser, plain: Path
) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.call("Emulation.setEmulatedMedia", media=media, features=[feature])
    browser.open(plain)

    assert browser.evaluate(CONTRASTS) == []


def test_on_a_phone_nothing_is_wider_than_the_screen(
    browser: Browser, plain: Path
) -> None:
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=PHONE,
        height=740,
        deviceScaleFactor=2,
        mobile=True,
    )
    browser.open(plain)

    assert browser.evaluate("document.documentElement.scrollWidth") <= PHONE


def test_it_prints(browser: Browser, plain: Path) -> None:
    browser.open(plain)

    assert len(browser.call("Page.printToPDF")["data"]) > 20_000


def test_without_a_script_everything_is_there(browser: Browser, plain: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(plain)
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    text = browser.evaluate("document.body.innerText")

    assert "app.T59" in text
    assert "Leak" in text
    assert "Without JavaScript" in text


def test_five_hundred_rows_are_sorted_at_once(browser: Browser, tmp_path: Path) -> None:
    from test_report_page import heap, material

    from liveheap_client.report.page import page

    path = tmp_path / "large.html"
    path.write_text(page(material([heap(5, n_types=2000)])), encoding="utf-8")
    browser.open(path)
    before = time.perf_counter()
    browser.evaluate("document.querySelectorAll('#table-types th button')[1].click()")

    assert time.perf_counter() - before < 0.5
