/* Loaded before the theme's script: a reader's words find what the pages say, and nothing is fetched before they are typed. */

/* Opened from a folder, a page may not start a worker: its script runs in a frame instead. */
const here = document.currentScript.src;
if (location.protocol === "file:") {
  self.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.src = `${new URL("worker.html", here)}#${encodeURIComponent(url)}`;
      const ready = new Promise((resolve) => {
        addEventListener("message", ({ data, source }) => {
          if (source !== frame.contentWindow) return;
          if (data === "ready") resolve();
          else this.dispatchEvent(new MessageEvent("message", { data }));
        });
      });
      this.send = (message) => ready.then(() => frame.contentWindow.postMessage(message, "*"));
      document.body.append(frame);
    }
    postMessage(message) {
      this.send(message);
    }
  };
}

/* The index waits until search is touched, or a link asks for it (?q=, ?h=). */
const wanted = new Promise((resolve) => {
  if (/[?&][qh]=/.test(location.search)) resolve();
  const isSearch = (event) =>
    event.target instanceof Element && event.target.closest("[for=__search], [data-md-component=search]");
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

/* A query is a reader's words: no operator of the search engine's, and names also as one word (addweight). */
const SETUP = 0;
const QUERY = 2;
const names = new Map();
const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message, ...rest) {
  if (message?.type === SETUP) learnNames(message.data);
  if (message?.type === QUERY) message = { ...message, data: asWords(message.data) };
  return post.call(this, message, ...rest);
};

function learnNames({ config, docs }) {
  const separator = new RegExp(config.separator, "g");
  const split = (name) => name.split(separator).filter(Boolean);
  for (const { text, title } of docs) {
    for (const [name] of `${title} ${text}`.replace(/<[^>]+>/g, " ").matchAll(/[A-Za-z][\w.]*\w/g)) {
      const parts = split(name);
      if (parts.length > 1) names.set(parts.join("").toLowerCase(), parts.join(" "));
    }
  }
}

function asWords(query) {
  const words = query.replace(/[^\p{L}\p{N}_.]+/gu, " ").trim().split(" ");
  return words.map((word) => names.get(word.toLowerCase()) ?? word).join(" ");
}
