// What the pages do beyond links and forms. Everything here is a convenience: without it all works.
"use strict";

(() => {
  const $ = (selector, from = document) => from.querySelector(selector);
  const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];

  // ── the reader's time zone, told to the server once ────────────────────────────────────────────

  const zone = encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone || "");
  const known = `es_saga_zone=${zone}`;
  if (zone && !document.cookie.split("; ").includes(known)) {
    document.cookie = `${known}; path=/; max-age=31536000; samesite=strict`;
    if (document.cookie.split("; ").includes(known) && !$("form [data-unsaved]")) location.reload();
  }

  // ── how long ago, as time goes by ──────────────────────────────────────────────────────────────

  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  function age(seconds) {
    if (seconds > -1 && seconds < 1) return "now";
    const rough = Math.abs(seconds);
    const [size, unit] = UNITS.find(([size]) => rough >= size);
    const text = `${Math.floor(rough / size)} ${unit}`;
    return seconds < 0 ? `in ${text}` : `${text} ago`;
  }

  // The server's clock is the one that counts.
  const skew = Date.now() / 1000 - Number(document.body.dataset.now);

  function tick() {
    const now = Date.now() / 1000 - skew;
    for (const time of $$("time[data-at]")) {
      const text = age(now - Number(time.dataset.at));
      if (time.textContent !== text) time.textContent = text;
    }
  }
  setInterval(() => { if (!document.hidden) tick(); }, 1000);

  // ── whether the page is live ───────────────────────────────────────────────────────────────────

  const WORDS = { live: "live", paused: "paused", lost: "connection lost" };

  function pulse(state) {
    const shown = $("#pulse");
    if (!shown) return;
    shown.dataset.state = state;
    $(".word", shown).textContent = WORDS[state];
  }

  // htmx looks for streams once, and may do so before its extension for them is there.
  const connect = () => {
    const stream = $("#stream[data-live]");
    if (!stream) return;
    stream.setAttribute("hx-sse:connect", stream.dataset.live);
    htmx.process(stream);
  };
  document.addEventListener("DOMContentLoaded", () => setTimeout(connect));

  document.addEventListener("htmx:sse:after:connection", () => pulse("live"));
  document.addEventListener("htmx:sse:error", () => pulse("lost"));
  document.addEventListener("visibilitychange", () => {
    if ($("#stream") && $("#pulse")?.dataset.state !== "lost") pulse(document.hidden ? "paused" : "live");
  });
  document.addEventListener("htmx:after:swap", () => { tick(); count(); });

  if (matchMedia("(max-width: 40rem)").matches) {
    for (const details of $$("details[data-narrow-closed]")) details.open = false;
  }

  // Where one is stands in sight, in rows of links that are wider than the window.
  for (const here of $$(".tabs [aria-current], .side [aria-current], .strip [aria-current]")) {
    const row = here.closest(".tabs, .side, .strip");
    const middle = here.offsetLeft - row.offsetLeft - (row.clientWidth - here.clientWidth) / 2;
    if (row.scrollWidth > row.clientWidth) row.scrollLeft = middle;
  }

  // ── ticking rows ───────────────────────────────────────────────────────────────────────────────

  function count() {
    for (const form of $$("form[data-rows]")) {
      const boxes = $$("input[name=id]", form);
      const chosen = boxes.filter((box) => box.checked).length;
      const all = $("input[data-all]", form);
      if (all) {
        all.checked = chosen > 0 && chosen === boxes.length;
        all.indeterminate = chosen > 0 && chosen < boxes.length;
      }
      for (const shown of $$("[data-chosen]", form)) shown.textContent = String(chosen);
      for (const button of $$("button[data-needs-rows]", form)) button.disabled = chosen === 0;
      for (const box of boxes) box.closest("tr")?.classList.toggle("on", box.checked);
    }
  }

  document.addEventListener("change", (event) => {
    const box = event.target;
    if (box.matches?.("input[data-all]")) {
      for (const other of $$("input[name=id]", box.form)) other.checked = box.checked;
    }
    if (box.form?.matches("form[data-rows]")) count();
  });
  count();

  // ── copying ────────────────────────────────────────────────────────────────────────────────────

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button[data-copy]");
    if (!button) return;
    const said = $("[data-said]", button) ?? button;
    const before = said.textContent;
    try {
      await navigator.clipboard.writeText($(button.dataset.copy).textContent);
      said.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren($(button.dataset.copy));
      said.textContent = "Selected";
    }
    setTimeout(() => { said.textContent = before; }, 1500);
  });
  for (const button of $$("button[data-copy]")) button.hidden = false;

  // ── keys ───────────────────────────────────────────────────────────────────────────────────────

  const typing = (node) => node.matches?.("input, select, textarea, [contenteditable]");

  function move(step) {
    const rows = $$("[data-row]").filter((row) => row.offsetParent !== null);
    if (!rows.length) return;
    const at = rows.findIndex((row) => row === document.activeElement);
    rows[Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + step))].focus();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && event.target.id === "find") event.target.blur();
    if (typing(event.target)) return;
    if (event.key === "/") { event.preventDefault(); $("#find")?.focus(); }
    if (event.key === "j") move(1);
    if (event.key === "k") move(-1);
    if (event.key === "[" || event.key === "]") $(event.key === "[" ? "a[rel=prev]" : "a[rel=next]")?.click();
  });
})();
