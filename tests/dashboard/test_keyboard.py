"""Without a mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.dashboard.conftest import Tabs
from tests.dashboard.serving import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page


def focused(page: Page) -> str:
    """What has the focus: its text, or its id."""
    return str(page.evaluate("document.activeElement.innerText || document.activeElement.id"))


def test_the_first_key_leads_past_the_navigation(tabs: Tabs, site: Site) -> None:
    page = tabs.open(site, "/sagas")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to content"
    assert page.locator(".skip").is_visible()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_what_has_the_focus_can_be_seen(tabs: Tabs, site: Site) -> None:
    page = tabs.open(site, "/sagas?status=stuck")
    page.wait_for_selector("#pulse[data-state=live]")
    for _ in range(40):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            """() => {
                const style = getComputedStyle(document.activeElement);
                return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
            }"""
        )
        assert seen, focused(page)


def test_a_slash_leads_to_the_search(tabs: Tabs, site: Site) -> None:
    page = tabs.open(site, "/")
    page.keyboard.press("/")
    page.keyboard.type("transfer-T-1188/")
    assert page.locator("#find").input_value() == "transfer-T-1188/", "a slash in it is a slash"
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    page.wait_for_url("**/sagas?q=transfer-T-1188")
    assert page.locator("tbody tr").count() == 1


def test_rows_are_walked_with_j_and_k_and_opened_with_enter(tabs: Tabs, site: Site) -> None:
    page = tabs.open(site, "/sagas?type=trip")
    rows = page.locator("[data-row]").all_inner_texts()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert focused(page) == rows[1]
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/sagas/{rows[1]}")


def test_one_travels_in_time_with_the_arrow_keys(tabs: Tabs, site: Site) -> None:
    from playwright.sync_api import expect

    page = tabs.open(site, "/sagas?status=stuck&type=order")
    saga_id = page.locator("[data-row]").first.inner_text()
    page.goto(f"/sagas/{saga_id}/travel?at=3")
    page.locator("#at").focus()
    for at in (4, 5, 6):
        page.keyboard.press("ArrowRight")
        expect(page.locator("h2").first).to_have_text(f"Event {at} of 17")
        assert focused(page) == "at", "the slider keeps the focus"
    expect(page).to_have_url(f"{site.url}/sagas/{saga_id}/travel?at=6")
    page.keyboard.press("Home")
    expect(page.locator("h2").first).to_have_text("Event 1 of 17")


def test_the_colours_can_be_chosen_and_are_remembered(tabs: Tabs, site: Site) -> None:
    from playwright.sync_api import expect

    page = tabs.open(site, "/sagas", color_scheme="light")

    def paper() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    def choose(theme: str, chosen: str) -> None:
        """The page is loaded again with the theme: until then it has perhaps no body to ask."""
        page.get_by_role("button", name=f"Theme: {theme}").click()
        expect(page.locator(f"html{chosen}")).to_be_attached()
        page.wait_for_load_state()

    light = paper()
    choose("dark", "[data-theme=dark]")
    dark = paper()
    assert dark != light
    page.goto("/pending")
    assert paper() == dark
    choose("light", "[data-theme=light]")
    assert paper() == light
    assert page.url.endswith("/pending"), "one stays where one was"
    choose("as the system", ":not([data-theme])")


def test_on_paper_there_is_neither_navigation_nor_a_button(tabs: Tabs, site: Site) -> None:
    page = tabs.open(site, "/sagas?status=stuck")
    page.emulate_media(media="print")
    assert not page.locator("nav.side").is_visible()
    assert not page.locator("#find").is_visible()
    assert not page.get_by_role("button", name="Operate").first.is_visible()
    assert page.locator("tbody tr").first.is_visible()
