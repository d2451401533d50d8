// Brings the page up to date every few seconds. Without it the page is the same, and is reloaded by hand.
"use strict";

const every = 5000;

// replace puts in what has changed, and the reader back to where they were.
function replace(fresh) {
  const old = document.querySelector("main");
  if (old.innerHTML === fresh.innerHTML) {
    return;
  }
  const focused = document.activeElement?.getAttribute?.("href");
  const scrolled = [...old.querySelectorAll(".scroll")].map((e) => [e.scrollLeft, e.scrollTop]);
  const open = [...old.querySelectorAll("details")].map((e) => e.open);
  old.replaceChildren(...fresh.childNodes);
  old.querySelectorAll(".scroll").forEach((e, i) => [e.scrollLeft, e.scrollTop] = scrolled[i] ?? [0, 0]);
  old.querySelectorAll("details").forEach((e, i) => e.open = open[i] ?? false);
  if (focused) {
    [...old.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused)?.focus({ preventScroll: true });
  }
}

async function refresh() {
  if (!document.hidden) {
    const at = document.getElementById("at");
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!answer.ok || !page.querySelector("main")) {
        throw new Error(String(answer.status));
      }
      replace(page.querySelector("main"));
      at.textContent = page.getElementById("at").textContent;
    } catch {
      at.textContent = at.textContent.replace(/( \(no answer\))?$/, " (no answer)");
    }
  }
  setTimeout(refresh, every);
}

setTimeout(refresh, every);
