/* What the theme leaves out for readers who use a keyboard or a screen reader. Runs again after each instant navigation. */
document$.subscribe(() => {
  /* Labels that work as buttons: the drawer and the search on a phone. */
  for (const label of document.querySelectorAll(".md-header label[for=__drawer], .md-header label[for=__search]")) {
    label.tabIndex = 0;
    label.role = "button";
    label.ariaLabel = label.htmlFor === "__drawer" ? "Navigation" : "Search";
  }
});

addEventListener("keydown", (event) => {
  if (!["Enter", " "].includes(event.key) || !event.target.matches?.("label[role=button], label[tabindex]")) return;
  event.preventDefault();
  event.target.click();
});

/* A page that isn't there: search for the words of its address. */
if (document.querySelector("h1")?.textContent === "There is no such page" && !location.search) {
  const words = decodeURIComponent(location.pathname).replace(/\.html?$/, "").match(/[\p{L}\p{N}]+/gu) ?? [];
  location.replace(`${location.pathname}?q=${encodeURIComponent(words.join(" "))}`);
}

/* "Copied to clipboard" is said, not only shown. */
document.querySelector(".md-dialog__inner").role = "status";
document.querySelector(".md-search").ariaLabel = "Search";
