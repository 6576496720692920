/* Loaded before the theme's script: nothing of the search is fetched before a reader touches it, and rank.js answers. */
const here = document.currentScript.src;

/* Until search is touched, or a link asks for it (?q=). */
const isSearch = ({ target }) => target instanceof Element && target.closest("[for=__search], [data-md-component=search]");
const wanted = new Promise((resolve) => {
  if (/[?&]q=/.test(location.search)) resolve();
  for (const name of ["focusin", "pointerdown", "mouseover"]) {
    addEventListener(name, (event) => isSearch(event) && resolve(), { passive: true });
  }
});
const send = XMLHttpRequest.prototype.send;
const open = XMLHttpRequest.prototype.open;
XMLHttpRequest.prototype.open = function (method, url, ...rest) {
  this.waits = String(url).endsWith("/search/search_index.json");
  return open.call(this, method, url, ...rest);
};
XMLHttpRequest.prototype.send = function (...args) {
  if (this.waits) wanted.then(() => send.apply(this, args));
  else send.apply(this, args);
};

/* The theme looks at keys: what comes without one, pasted from a menu, dropped, spoken or cleared, is told to it as one. */
for (const name of ["input", "reset"]) {
  addEventListener(name, (event) => isSearch(event) && setTimeout(() => {
    for (const key of ["keydown", "keyup"]) document.forms.search.query.dispatchEvent(new KeyboardEvent(key));
  }));
}

/* The theme asks a worker, which this stands for. A page that was opened from a folder may start none, and an answer
   takes less than a frame. */
const [SETUP, READY, QUERY, RESULT] = [0, 1, 2, 3];
self.Worker = class extends EventTarget {
  ranking = wanted.then(() => new Promise((resolve) => {
    const script = document.createElement("script");
    script.src = new URL("rank.js", here);
    script.onload = resolve;
    document.head.append(script);
  }));
  postMessage({ type, data }) {
    this.ranking = this.ranking.then(async (made) => {
      const ranking = type === SETUP ? await Ranking.of(data) : made;
      const message = type === SETUP ? { type: READY } : { type: RESULT, data: ranking.answer(data) };
      this.dispatchEvent(new MessageEvent("message", { data: message }));
      return ranking;
    });
  }
};

/* The theme puts the page above its sections, as a link of its own. The first link is to be the section that answers. */
document.addEventListener("DOMContentLoaded", () => {
  const list = document.querySelector(".md-search-result__list");
  new MutationObserver(() => {
    for (const page of list.querySelectorAll(":scope > li > a:first-child:not(:last-child)")) page.replaceWith(...page.childNodes);
  }).observe(list, { childList: true });
});
