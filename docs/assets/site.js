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

/* The drawer takes the focus, at the page that is open, and closes when it leaves. */
toggle.drawer.addEventListener("change", () => {
  toDrawer.ariaExpanded = toggle.drawer.checked;
  const tree = document.querySelector(".md-sidebar--primary");
  if (toggle.drawer.checked) (tree.querySelector(".md-nav__link--active") ?? tree.querySelector("a")).focus();
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
  if (event.key !== "Escape") return;
  if (toggle.search.checked) setTimeout(() => before?.focus());
  if (toggle.drawer.checked) toDrawer.focus();
}, true);

/* On a small screen the theme locks the page below the search, and gives it its old place back after a result has been
   opened. Once it has, and the page is there, it is moved to the section that was asked for. */
addEventListener("click", ({ target }) => {
  const link = target.closest?.(".md-search-result__link");
  if (!link) return;
  let left = 60;
  const wait = setInterval(() => {
    const isThere = !link.hash || document.getElementById(decodeURIComponent(link.hash.slice(1)));
    const isSettled = link.pathname === location.pathname && !document.body.hasAttribute("data-md-scrolllock");
    if (left-- > 0 && !(isThere && isSettled)) return;
    clearInterval(wait);
    if (left > 0) setTimeout(() => link.hash ? location.replace(link.hash) : scrollTo(0, 0), 100);
  }, 50);
}, true);

/* The badge opens to the page's tests, which are fetched then. From a folder nothing can be: there the link leads to them. */
document.addEventListener("toggle", async ({ target }) => {
  const link = target.querySelector?.("a[data-proof]");
  if (!target.open || !link) return;
  const answer = await fetch(link.href).catch(() => null);
  if (!answer?.ok || !link.isConnected) return;
  const tests = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
  link.parentElement.replaceWith(...tests.childNodes);
}, true);
addEventListener("click", ({ target }) => {
  for (const open of document.querySelectorAll(".proof[open]")) open.open = open.contains(target);
});

/* The first screen shows a program in two blocks, and its button copies both. */
addEventListener("click", ({ target }) => {
  const button = target.closest?.(".first .md-code__button");
  if (!button) return;
  const blocks = [...document.querySelectorAll(".first .language-python code")];
  button.dataset.clipboardText = blocks.map((block) => block.textContent.trim()).join("\n\n\n") + "\n";
}, true);

/* On the home page, what is pasted or typed into the place for a message is searched for. */
document$.subscribe(() => {
  const link = document.querySelector("a.paste");
  if (!link) return;
  const field = document.createElement("input");
  field.className = "paste";
  field.placeholder = field.ariaLabel = link.textContent;
  field.addEventListener("input", () => {
    const query = search.querySelector("input");
    if (!toggle.search.checked) toggle.search.click();
    query.value = field.value;
    field.value = "";
    query.focus();
    query.dispatchEvent(new Event("input", { bubbles: true }));
  });
  link.replaceWith(field);
});

/* On a phone a row of a table is a card, in which each cell but the first tells its column. */
document$.subscribe(() => {
  for (const table of document.querySelectorAll(".md-typeset table:not([class])")) {
    const columns = [...table.querySelectorAll("th")].map((heading) => heading.textContent);
    if (columns.length < 3) continue;
    for (const cell of table.querySelectorAll("td + td")) cell.dataset.label = columns[cell.cellIndex];
  }
});

/* What scrolls sideways can be scrolled by keyboard. After the theme has had its say, which is for a mouse only. */
const scrolling = new ResizeObserver((entries) => setTimeout(() => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
}));
document$.subscribe(() => {
  const wide = document.querySelectorAll(".md-typeset :is(pre > code, .lines, .formula, .plot, .md-typeset__scrollwrap)");
  wide.forEach((element) => scrolling.observe(element));
  document.querySelector(".md-option:has(+ label:not([hidden]))").checked = true; /* or Tab stops at one that isn't shown */
});

/* A page that isn't there: the words of its address can be searched for. */
const missing = document.querySelector("a.missing");
if (missing) {
  const words = decodeURIComponent(location.pathname).replace(/\.html?$/, "").match(/[\p{L}\p{N}]+/gu) ?? [];
  missing.textContent = `Search for “${words.join(" ")}”`;
  missing.href = `${location.pathname}?q=${encodeURIComponent(words.join(" "))}`;
  missing.hidden = false;
}
