/* Loaded before the theme's script: a reader's words find what the pages say, and nothing is fetched before they are typed. */

/* Opened from a folder, a page may not start a worker: its script runs in a frame instead. */
const here = document.currentScript.src;
class Frame extends EventTarget {
  constructor(url) {
    super();
    const frame = document.createElement("iframe");
    frame.hidden = true;
    frame.src = `${new URL("worker.html", here)}#${encodeURIComponent(url)}`;
    this.window = new Promise((resolve) => {
      addEventListener("message", ({ data, source }) => {
        if (source !== frame.contentWindow) return;
        if (data === "ready") resolve(source);
        else this.dispatchEvent(new MessageEvent("message", { data }));
      });
    });
    document.body.append(frame);
  }
  postMessage(message) {
    this.window.then((frame) => frame.postMessage(message, "*"));
  }
}

/* The search engine and its index wait until search is touched, or a link asks for it (?q=, ?h=). */
const isSearch = ({ target }) => target instanceof Element && target.closest("[for=__search], [data-md-component=search]");
const wanted = new Promise((resolve) => {
  if (/[?&][qh]=/.test(location.search)) resolve();
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

/* A query is what a reader types or pastes: never an operator of the search engine's. The engine adds up single words, so
   on its way there the index gets the pairs of words that stand side by side (`add_weight` is one), and the query too. */
const [SETUP, QUERY, RESULT] = [0, 2, 3];
const Engine = location.protocol === "file:" ? Frame : Worker;
self.Worker = class extends EventTarget {
  typed = new Set();
  constructor(url) {
    super();
    const script = new URL(url, location); // now: relative to the first page, and not to one that a link led to
    this.engine = wanted.then(() => {
      const engine = new Engine(script);
      engine.addEventListener("message", ({ data }) => {
        for (const { terms } of data.type === RESULT ? data.data.items.flat() : []) {
          for (const term in terms) if (!this.typed.has(term)) delete terms[term]; // no pair is told to be missing
        }
        this.dispatchEvent(new MessageEvent("message", { data }));
      });
      return engine;
    });
  }
  postMessage(message) {
    if (message.type === SETUP) addPairs(message.data);
    if (message.type === QUERY) {
      const words = wordsOf(message.data);
      this.typed = new Set(words.map(singular));
      message = { ...message, data: asQuery(words) };
    }
    this.engine.then((engine) => engine.postMessage(message));
  }
};

let separator;
const names = new Map(); // addweight: add, weight
const known = new Set(); // the pairs that occur
const singular = (word) => (word.length > 3 ? word.replace(/([^s])s$/, "$1") : word);
const pairs = (words) => words.map(singular).flatMap((word, i, all) => (i ? [all[i - 1] + word] : []));
const split = (text) =>
  text.split(separator).flatMap((word) => (/[\p{L}\p{N}]/u.test(word) ? [word.toLowerCase()] : []));

function addPairs({ config, docs }) {
  separator = new RegExp(config.separator);
  Object.assign(config.fields, { title: { boost: 10 }, titlePairs: { boost: 20 }, textPairs: { boost: 4 } });
  for (const doc of docs) {
    const [title, text] = [doc.title, doc.text].map((html) => html.replace(/<[^>]+>|&#?\w+;/g, " "));
    const [inTitle, inText] = [title, text].map((words) => pairs(split(words)));
    Object.assign(doc, { titlePairs: inTitle.join(" "), textPairs: inText.join(" ") });
    for (const pair of [...inTitle, ...inText]) known.add(pair);
    for (const [name] of `${title} ${text}`.matchAll(/[A-Za-z]\w+/g)) {
      const parts = split(name);
      if (parts.length > 1) names.set(parts.join(""), parts);
    }
  }
}

const wordsOf = (query) => split(query.replace(/[^\p{L}\p{N}_.]+/gu, " ")).flatMap((word) => names.get(word) ?? word);

/* A whole word counts ten times its beginning; a short one has to be whole, if it isn't still being typed. */
function asQuery(words) {
  const terms = words.map(singular).flatMap((word, i, { length }) =>
    word.length > 3 || i === length - 1 ? [`${word}^10`, `${word}*`] : [`${word}^10`],
  );
  return [...new Set([...terms, ...pairs(words).filter((pair) => known.has(pair)).map((pair) => `${pair}^10`)])].join(" ");
}
