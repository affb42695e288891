"""The admin page in headless Chromium, driven by Playwright; skipped where either is missing."""

from __future__ import annotations

import shutil

import httpx
import pytest

from errata.serve.admin import PAGE, content_policy
from tests.unit.helpers import CAPITAL, OTHER
from tests.unit.serve.test_admin import FILE, PALAU, ROOT, admin  # noqa: F401

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
NEAR = "The capital of Kazakhstan is what?"


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs errata[browser]")
    if CHROMIUM is None:
        pytest.skip("needs Debian's package chromium")
    with api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield made
        made.close()


@pytest.fixture
def opened(browser, admin):  # noqa: F811
    """Return a function that opens the page of a server; errors of its script fail the test."""
    problems, contexts = [], []

    def open_page(width=1100, height=900, scheme="light", **options):
        client = admin(**options)
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console", lambda m: problems.append(m.text) if "Content Security" in m.text else None
        )
        page.goto(f"{client.base_url}/admin#key={ROOT}")
        page.wait_for_selector("#status:not(:empty)")
        return page, client

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


def ask(page, question):
    page.fill("#question", question)
    page.keyboard.press("Enter")
    page.wait_for_selector("#corrected")
    return page.inner_text("#corrected"), page.inner_text("#base")


def test_a_wrong_answer_is_seen_corrected_and_answered_right(opened, admin):  # noqa: F811
    page, client = opened()
    assert "key" not in page.url, "the key does not stay in the address"
    question, neighbour = PALAU["question"], "Tell me about the weather in Oslo."
    before = client.said(neighbour)
    assert ask(page, question) == (f"stub: {question}",) * 2
    page.click("text=Correct this answer")
    assert page.input_value("#scope") == question
    page.fill("#effect", PALAU["answer"])
    page.fill("#file", "places.yaml")
    page.click("#test")
    page.wait_for_selector("#tried .good")
    page.click("#diff")
    page.wait_for_selector("#tried pre")
    assert "+  answer: Ngerulmud" in page.inner_text("#tried pre")
    page.click("#save")
    page.wait_for_selector("#corrected:text-is('Ngerulmud')")
    assert page.inner_text("#base") == f"stub: {question}", "beside it, the model's own"
    page.click("text=Change this patch")
    assert page.input_value("#effect") == "Ngerulmud"
    page.click("#cancel")
    assert f"{admin.file}:6" in page.inner_text(".fired")
    assert client.said(question) == "Ngerulmud" and client.said(neighbour) == before
    assert admin.file.read_text() == (FILE + f"\n- question: {question}\n  answer: Ngerulmud\n")


def test_the_log_is_gone_through_by_keys(opened, admin):  # noqa: F811
    page, client = opened()
    for question in (NEAR, NEAR, OTHER):
        client.said(question)
    page.click("#tab-log")
    page.wait_for_selector(".case")
    assert "asked 2 times" in page.inner_text(".case")
    page.keyboard.press("y")
    page.wait_for_selector("text=Nothing left to decide")
    assert client.said(NEAR) == "Astana" and NEAR in admin.file.read_text()


def test_a_draft_shows_what_it_would_change(opened):
    page, client = opened()
    client.said(PALAU["question"])
    client.said(OTHER)
    page.click("#tab-edits")
    page.click("#new")
    page.fill("#scope", PALAU["question"])
    page.fill("#effect", PALAU["answer"])
    page.click("#preview")
    page.wait_for_selector("#tried .plus")
    assert "1 of 2 decisions" in page.inner_text("#tried")
    page.click("#cancel")
    assert client.said(PALAU["question"]).startswith("stub"), "nothing of it is in force"


def test_edits_are_changed_and_retracted(opened, admin):  # noqa: F811
    page, client = opened()
    page.click("#tab-edits")
    page.click("#edits button:text-is('Change')")
    page.fill("#effect", "Akmola")
    page.click("#save")
    page.wait_for_selector("text=saved, and in force")
    assert client.said(CAPITAL) == "Akmola"
    page.once("dialog", lambda dialog: dialog.accept())
    page.wait_for_selector("article >> text=Akmola")
    page.click("#edits button:text-is('Retract')")
    page.wait_for_selector("text=0 edits")
    assert client.said(CAPITAL).startswith("stub") and admin.file.read_text().startswith("# places")


def test_a_server_that_may_not_write_shows_diffs(opened, admin):  # noqa: F811
    page, _ = opened(writable=False)
    ask(page, NEAR)
    page.click("text=Should have fired")
    page.wait_for_selector("dialog[open] pre")
    assert "fires:" in page.inner_text("dialog[open] pre") and admin.file.read_text() == FILE


def test_a_wrong_key_asks_for_another(opened, browser):
    _, client = opened()
    other = browser.new_context().new_page()
    other.goto(f"{client.base_url}/admin#key=sk-wrong")
    other.wait_for_selector("#login[open]")
    other.fill("#key", ROOT)
    other.keyboard.press("Enter")
    other.wait_for_selector("#status:not(:empty)")
    other.context.close()


def test_keyboard_alone_narrow_screens_and_dark(opened):
    page, _ = opened(width=360, height=740, scheme="dark")
    ask(page, CAPITAL)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360, "nothing sticks out"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark == "rgb(21, 24, 28)" and light == "rgb(251, 250, 247)"
    page.focus("#tab-ask")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-edits"
    page.wait_for_selector("#edits article")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "question"


def test_every_control_has_a_label(opened):
    page, _ = opened()
    ask(page, CAPITAL)
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input, textarea, select, button, dialog, nav")]
        .filter(one => !(one.labels?.length || one.textContent.trim() && one.tagName === "BUTTON"
          || one.getAttribute("aria-label") || one.getAttribute("aria-labelledby")))
        .map(one => one.outerHTML)"""
    )
    assert unnamed == []


def test_the_page_is_one_file_that_loads_nothing_else(admin):  # noqa: F811
    client = admin()
    response = httpx.get(f"{client.base_url}/admin")
    assert response.text == PAGE.read_text(encoding="utf-8")
    policy = response.headers["content-security-policy"]
    assert policy == content_policy(response.text) and "default-src 'none'" in policy
    assert "http://" not in response.text and "https://" not in response.text
    assert "unsafe" not in policy and policy.count("sha256-") == 2
