/* What the theme leaves out for readers who use a keyboard or a screen reader. */
const search = document.querySelector(".md-search");
const toggle = { drawer: document.getElementById("__drawer"), search: document.getElementById("__search") };

/* "Copied to clipboard" is said, not only shown. */
document.querySelector(".md-dialog__inner").role = "status";
search.ariaLabel = "Search";

/* The header's labels become buttons. */
function buttonFor(name, of) {
  const label = document.querySelector(`.md-header__button[for=__${of}]`);
  const button = document.createElement("button");
  for (const { name, value } of label.attributes) button.setAttribute(name, value); /* `for` too: the theme's CSS asks for it */
  button.type = "button";
  button.ariaLabel = name;
  button.append(...label.childNodes);
  button.addEventListener("click", () => toggle[of].click());
  label.replaceWith(button);
  return button;
}
const toDrawer = buttonFor("Navigation", "drawer");
buttonFor("Search", "search").addEventListener("click", () => search.querySelector("input").focus());

/* Labels of the drawer that work as buttons: the theme lets Enter press them. */
function asButton(label) {
  label.tabIndex = 0;
  label.role = "button";
}

/* The drawer takes the focus, and closes when it leaves. */
toggle.drawer.addEventListener("change", () => {
  toDrawer.ariaExpanded = toggle.drawer.checked;
  if (!toggle.drawer.checked) return;
  const drawer = document.querySelector(".md-sidebar--primary");
  drawer.querySelectorAll("label:not([for=__drawer])").forEach(asButton);
  [...drawer.querySelectorAll("a, label[tabindex]")].find((link) => link.checkVisibility({ visibilityProperty: true })).focus();
});
document.addEventListener("change", ({ target }) => {
  if (!toggle.drawer.checked || !target.matches(".md-nav__toggle")) return;
  target.parentElement.querySelector(target.checked ? ".md-nav__title" : "label.md-nav__link").focus();
});
addEventListener("focusin", ({ target }) => {
  if (toggle.drawer.checked && !target.closest(".md-sidebar--primary")) toggle.drawer.click();
});

/* From search, Escape leads back to where the reader was. */
let before;
search.addEventListener("focusin", ({ relatedTarget }) => {
  if (!search.contains(relatedTarget)) before = relatedTarget;
});
addEventListener("keydown", (event) => {
  if (event.key === " " && event.target.matches?.("label[role=button]")) {
    event.preventDefault();
    event.target.click();
  }
  if (event.key !== "Escape") return;
  if (toggle.search.checked) setTimeout(() => before?.focus());
  if (toggle.drawer.checked) toDrawer.focus();
}, true);

/* What scrolls sideways can be scrolled by keyboard. After the theme has had its say, which is for a mouse only. */
const scrolling = new ResizeObserver((entries) => setTimeout(() => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
}));
document$.subscribe(() => {
  const wide = document.querySelectorAll(".md-typeset :is(pre > code, .formula, .plot, .md-typeset__scrollwrap)");
  wide.forEach((element) => scrolling.observe(element));
  document.querySelector(".md-option:has(+ label:not([hidden]))").checked = true; /* or Tab stops at one that isn't shown */
});

/* A page that isn't there: search for the words of its address. */
if (document.querySelector("h1")?.textContent === "There is no such page" && !location.search) {
  const words = decodeURIComponent(location.pathname).replace(/\.html?$/, "").match(/[\p{L}\p{N}]+/gu) ?? [];
  location.replace(`${location.pathname}?q=${encodeURIComponent(words.join(" "))}`);
}
