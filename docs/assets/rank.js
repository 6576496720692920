/* The search engine, fetched when search is first touched. It answers with sections, the one that answers first:
   a heading that says what was asked counts more than a text that mentions it, and a rare word more than a common one.

   What a section is found by stands in four places: its heading, the phrases that its source has in a comment
   `<!-- search: … -->`, the title of its page, and its text. */

/* --- words ---------------------------------------------------------------------------------------------------------- */

const IRREGULAR = new Map(Object.entries({
  freeze: "froze frozen freezing unfreeze unfroze unfrozen unfreezing", write: "wrote written", build: "built rebuild rebuilt",
  lost: "lose losing loses", keep: "kept", give: "gave given", take: "took taken", make: "made", draw: "drew drawn",
  hide: "hid hidden", run: "ran", learn: "learnt", know: "known", shrink: "shrank shrunk", slow: "slower slowly slowest",
  fast: "faster fastest", matrix: "matrices", axis: "axes", index: "indices", child: "children", functional: "functional", register: "registration",
  operation: "op ops operator operators", parameter: "param params", dimension: "dim dims", argument: "arg args",
  configuration: "config configs", function: "func fn", normalization: "norm", initialization: "init",
  tensorflow: "tf", raise: "throw thrown throws", error: "exception", retrace: "retracing retraced",
}).flatMap(([word, forms]) => forms.split(" ").map((form) => [form, word])));

/* Longest first. What is left of a word has to keep as many letters as the number says. */
const ENDINGS = [
  [/i[sz](?:ation|able|ability|e[rdn]?|ing|or)$/, "iz", 3], [/if(?:ication|ier|ied|y)$/, "ifi", 3],
  [/(?:ability|ibility|able|ible)$/, "", 4], [/at(?:ion|ing|ive|or|ed|e)$/, "", 3], [/(?:ement|ment)$/, "", 5],
  [/(?<=ion)al$/, "", 4], [/(?<=[st])ion$/, "", 3], [/ity$/, "", 4], [/ence$/, "", 4], [/ies$/, "i", 3],
  [/(?<=[aeiouy].*)ing$/, "", 2], [/(?<!e)ed$/, "", 3], [/(?:er|or)$/, "", 4], [/ly$/, "", 4], [/(?<=[^su])s$/, "", 3],
  [/e$/, "", 3], [/(?<=[^aeiou])y$/, "i", 2], [/([^aeious])\1$/, "$1", 1],
];

/* One stem for the forms of a word: regularize, regularizer, regularization. */
const stems = new Map();
function stem(word) {
  if (!stems.has(word)) {
    let [left, before] = [IRREGULAR.get(word) ?? word];
    while (left !== before && left.length > 3 && IRREGULAR.get(left) !== left) {
      before = left;
      const ending = ENDINGS.find(([end, to, least]) => end.test(left) && left.replace(end, "").length >= least);
      if (ending) left = left.replace(ending[0], ending[1]);
    }
    stems.set(word, left);
  }
  return stems.get(word);
}

/* A name is found by its parts too, which end at underscores and before capitals: add_weight, GradientTape. */
const WORD = /\d+(?:\.\d+)+|[\p{L}_][\p{L}\p{N}_]*|\d+/gu;
const names = new Map(); // each is taken apart once
function taken(name) {
  if (!names.has(name)) {
    const parts = name.split(/_+|(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/).filter(Boolean).map((part) => part.toLowerCase());
    const whole = parts.length > 1 ? parts.join("") : "";
    names.set(name, { name: name.toLowerCase(), parts, whole, terms: [...parts.map(stem), ...(whole ? [whole] : [])] });
  }
  return names.get(name);
}
const wordsOf = (text) => (text.match(WORD) ?? []).map(taken).filter(({ parts }) => parts.length);
const termsOf = (text) => wordsOf(text).flatMap(({ terms }) => terms);

const COMMON = new Set(("a about after all also am an and any anyone are as at be been being but by can cannot come could did do " +
  "does doesn doing don during each easiest every example for from get gets getting give good guide had has have help here " +
  "how i in instead into is isn it its just keep keeps let like make me my need not of on one only or our own please " +
  "possible problem proper properly question really right same should simple so some something still tell than that the " +
  "their them then there these they thing things this those to too tutorial up use used using want was way ways we were " +
  "what when where whether which while who why will with within without won work working works would wrong you your").split(" "));

/* --- what a reader pastes ------------------------------------------------------------------------------------------- */

/* Of a traceback, what counts is its message: what stands behind the last frame and the last name of an exception.
   A field has one line, so that nothing tells the lines apart. */
const FRAME = /File\s+"?[^\s",]*"?,? line \d+(?:, in [\w<>.]+)?|File [~/][^\s,]*:\d+, in [\w<>.]+(?:\(.*?\))?|-{2,}> ?\d+/g;
const NAMED = /\b(?:[A-Z]\w*(?:Error|Exception|Warning|Interrupt)|Exception encountered|Error):\s/g;

const QUOTED = /(?<!\w)(['"`])[^'"`]+\1|\b\w+\.__init__|<class [^>]+>/g;

function messageIn(text) {
  const plain = text.replace(/<class '[^>]*>/g, " ").replace(/\bconfig=\{.*\}/g, " ").replace(/\b(?:Call arguments|Arguments) received by.*/s, " ")
    .replace(/Exception encountered when calling [\w.'"() ]+?\.(?= |$|\p{Lu})/gu, " ");
  const starts = [FRAME, NAMED].flatMap((mark) => [...plain.matchAll(mark)].map((match) => match.index + match[0].length));
  for (const start of starts.sort((one, other) => other - one)) {
    const message = plain.slice(start);
    if (wordsOf(message).length > 2) return message;
  }
  return starts.length ? plain : text;
}

/* --- the index ------------------------------------------------------------------------------------------------------ */

const textOf = (html) => html.replace(/<[^>]+>/g, " ").replace(/&(?:lt|gt|amp|quot|#39);/g, " ");

const phraseOf = (text) => ({ terms: termsOf(text), forms: new Set(wordsOf(text).flatMap(({ name, parts }) => [name, ...parts])) });

class Section {
  constructor(doc, page) {
    const phrases = [textOf(doc.title), ...(doc.search ?? [])];
    this.doc = doc;
    this.page = page;
    this.words = wordsOf(textOf(doc.text));
    this.phrases = phrases.map(phraseOf);
    this.head = new Set(this.phrases.flatMap(({ terms }) => terms));
    this.title = new Set(termsOf(textOf(page.title)));
    this.text = this.words.flatMap(({ terms }) => terms);
    this.places = new Map(); // of a term in the text
    this.text.forEach((term, i) => this.places.has(term) ? this.places.get(term).push(i) : this.places.set(term, [i]));
  }

  has(term) {
    return this.places.has(term) || this.head.has(term) || this.title.has(term);
  }

  /* Whether two words stand side by side. */
  pairs(first, second) {
    return this.phrases.some(({ terms }) => terms.some((term, i) => term === first && terms[i + 1] === second)) ||
      (this.places.has(second) && (this.places.get(first) ?? []).some((i) => this.text[i + 1] === second));
  }
}

class Ranking {
  constructor({ docs }) {
    const pages = new Map(docs.map((doc) => [doc.location, doc]));
    this.sections = docs.map((doc) => new Section(doc, pages.get(doc.location.split("#")[0])));
    this.length = this.sections.reduce((sum, { text }) => sum + text.length, 0) / docs.length;
    this.lacks = docs.flatMap((doc) => (doc.lacks ?? []).map((phrases) => ({ doc, phrases: phrases.map(phraseOf), topic: phrases[0] })));
    this.within = new Map(); // in how many sections a term occurs
    this.names = new Map(); // names of several words, by these written as one
    this.forms = new Map(); // words as they are written, and how much headings have of each
    for (const { doc, head, places, words } of this.sections) {
      for (const term of new Set([...head, ...places.keys()])) this.within.set(term, (this.within.get(term) ?? 0) + 1);
      const spoken = [[wordsOf(textOf(doc.title)), 3], [wordsOf((doc.search ?? []).join(" ")), 1], [words, 0.01]];
      for (const [said, weight] of spoken) {
        for (const { name, parts, whole } of said) {
          if (whole) this.names.set(whole, parts);
          for (const form of parts.length > 1 ? [name, ...parts] : parts) this.forms.set(form, (this.forms.get(form) ?? 0) + weight);
        }
      }
    }
    for (const term of this.lacks.flatMap(({ phrases }) => phrases.flatMap(({ terms }) => terms))) {
      if (!this.within.has(term)) this.within.set(term, 1);
    }
  }

  rarity(term) {
    return Math.log(1 + (this.sections.length + 0.5) / ((this.within.get(term) ?? 0) + 0.5));
  }

  /* --- a query ------------------------------------------------------------------------------------------------------ */

  /* What is looked for: each word with the terms that stand for it, how well each does, and how much the word weighs. */
  asked(query, own) {
    const names = new Set(wordsOf(own).flatMap(({ parts }) => parts)); // a reader's own, if the site doesn't know them
    const words = wordsOf(query).map((word) => {
      const parts = this.names.get(word.name);
      return parts ? { ...word, parts, whole: word.name } : word;
    });
    const last = /[\p{L}\p{N}_]$/u.test(query) ? words.at(-1) : undefined;
    const asked = words.flatMap((word) => {
      const parts = word.parts.map((part) => this.standsFor(part, word === last && part === word.parts.at(-1)));
      return word.whole && this.within.has(word.whole) ? [...parts, { word: word.name, terms: new Map([[word.whole, 1]]), whole: true }] : parts;
    });
    words.slice(1).forEach(({ parts }, i) => { // "add weight" is add_weight
      const joined = words[i].parts.at(-1) + parts[0];
      if (this.within.has(joined) && !words.some(({ whole }) => whole === joined)) asked.push({ word: joined, terms: new Map([[joined, 1]]), joined: true });
    });
    const met = new Set();
    return asked.filter(({ word }) => !met.has(word) && met.add(word)).map((one) => {
      const known = [...one.terms.keys()].filter((term) => this.within.has(term));
      const rarity = known.length ? Math.min(...known.map((term) => this.rarity(term))) : this.rarity("");
      const share = one.whole ? 1.2 : one.joined ? 0.6 : COMMON.has(one.word) ? 0.1 : /^\d/.test(one.word) ? 0.4 : 1;
      return { ...one, known: known.length > 0, weight: names.has(one.word) && !known.length ? 0 : rarity * share };
    });
  }

  standsFor(word, typing) {
    const terms = new Map();
    const put = (term, quality) => this.within.has(term) && terms.set(term, Math.max(quality, terms.get(term) ?? 0));
    put(stem(word), 1);
    put(word, 1);
    const known = terms.size > 0;
    if (!COMMON.has(word) && (typing ? word.length > 1 : !known && word.length > 3)) { // what it begins
      for (const form of this.forms.keys()) if (form.startsWith(word)) for (const { terms: [term] } of [taken(form)]) put(term, known ? 0.2 : 0.8);
      for (const term of this.within.keys()) if (term.startsWith(word)) put(term, known ? 0.2 : 0.8);
    }
    if (!terms.size) { // two words written as one
      for (let i = 3; i < word.length - 2; i++) {
        const halves = [word.slice(0, i), word.slice(i)].map(stem);
        if (halves.every((half) => this.within.has(half))) halves.forEach((half) => put(half, 0.7));
      }
    }
    if (!terms.size && word.length > 4) { // a slip of the finger
      const slips = [...this.forms.keys()].filter((form) => form[0] === word[0] && isSlip(word, form));
      for (const form of slips) put(stem(form), 0.7);
    }
    return { word, terms };
  }

  /* How well a section answers: what of the question it has and where, how its words stand, and whether a phrase says it. */
  score(section, asked, pairs, total) {
    let covered = 0;
    for (const { terms, weight } of asked) {
      let best = 0;
      for (const [term, quality] of terms) {
        const times = section.places.get(term)?.length ?? 0;
        const mentioned = (0.5 * times) / (times + 0.4 + (0.6 * section.text.length) / this.length);
        const headed = section.head.has(term) ? 0.8 : section.title.has(term) ? 0.45 : 0;
        best = Math.max(best, quality * (Math.max(headed, mentioned) + 0.2 * Math.min(headed, mentioned)));
      }
      covered += weight * best;
    }
    if (!covered) return { section, score: 0 };
    const paired = pairs.filter(({ firsts, seconds }) => firsts.some((one) => seconds.some((two) => section.pairs(one, two))));
    const said = Math.max(...section.phrases.map((phrase) => this.said(phrase, asked, section.title, total)));
    return { section, said, score: covered / total + 0.9 * said + 0.5 * share(paired, pairs) };
  }

  /* How far a phrase, under its title, says what was asked and nothing else. */
  said(phrase, asked, title, total) {
    const matched = new Map();
    let covered = 0;
    for (const { word, terms, weight } of asked) {
      let best = 0;
      for (const [term, found] of terms) {
        const quality = phrase.forms.has(word) ? found : 0.9 * found; // another form of the word
        if (phrase.terms.includes(term)) matched.set(term, Math.max(quality, matched.get(term) ?? 0));
        best = Math.max(best, phrase.terms.includes(term) ? quality : title.has(term) ? 0.5 * quality : 0);
      }
      covered += weight * best;
    }
    if (!matched.size) return 0;
    const mass = (term) => this.rarity(term) * (COMMON.has(term) ? 0.1 : 1);
    const own = [...new Set(phrase.terms)].reduce((sum, term) => sum + mass(term), 0);
    const hit = [...matched].reduce((sum, [term, quality]) => sum + quality * mass(term), 0);
    return (covered / total) * (0.3 + 0.7 * Math.min(1, hit / own));
  }

  /* The sections that answer, the best one first, and what the site doesn't have, the likeliest first. */
  ranked(query) {
    const message = messageIn(query);
    const isMessage = message !== query || wordsOf(query).length > 12;
    const asked = this.asked(message, isMessage ? message : [...query.matchAll(QUOTED)].join(" "));
    const total = sum(asked);
    if (!total) return { asked, isMessage, found: [], lacking: [] };
    const words = asked.filter(({ whole, joined, weight }) => !whole && !joined && weight);
    const pairs = words.slice(1).map((one, i) => ({
      firsts: exact(words[i]),
      seconds: exact(one),
      weight: Math.min(words[i].weight, one.weight),
    }));
    const byScore = (one, other) => other.score - one.score;
    const found = this.sections.map((section) => this.score(section, asked, pairs, total)).filter(({ score }) => score);
    const lacking = this.lacks.map((row) => {
      const topic = new Set(row.phrases.flatMap((phrase) => phrase.terms));
      return { ...row, score: Math.max(...row.phrases.map((phrase) => this.said(phrase, asked, topic, total))) };
    });
    return { asked, isMessage, found: found.sort(byScore), lacking: lacking.sort(byScore) };
  }

  /* --- an answer, as the theme shows it ------------------------------------------------------------------------------ */

  answer(query) {
    const { asked, isMessage, found, lacking } = this.ranked(query);
    const answers = found.filter(({ score }) => score > found[0].score / 4).slice(0, 20).map(({ section }) => section);
    const groups = [];
    for (const section of answers) {
      const last = groups.at(-1);
      if (last && !last.whole && last.page === section.page && section.doc !== section.page) last.sections.push(section);
      else groups.push({ page: section.page, sections: [section], whole: section.doc === section.page });
    }
    const [lack, best] = [lacking[0], found.toSorted((one, other) => other.said - one.said)[0]];
    const unknown = asked.filter(({ known, word }) => !known && !COMMON.has(word));
    if (!isMessage && lack?.score > Math.max(0.45, best?.said ?? 0)) {
      const near = lacking.filter(({ topic, score }) => topic === lack.topic && score > 0.3).map(({ doc }) => doc);
      const sections = this.sections.filter(({ doc }) => near.includes(doc));
      groups.unshift({ told: `This site doesn’t have ${lack.topic} yet. Near it:`, sections });
    } else if (!isMessage && sum(unknown) > sum(asked) / 2) {
      const words = unknown.map(({ word }) => `“${word}”`).join(" ");
      const sections = answers.length ? answers.slice(0, 3) : this.sections.filter(({ doc }) => START.includes(doc.location));
      groups.splice(0, 3, { told: `Nothing on this site is about ${words} yet. ${answers.length ? "Near it" : "Start from"}:`, sections });
    }
    const items = groups.map(({ page, sections, told, whole }, i) => {
      const shown = sections.map((section) => ({ ...this.shown(section, asked, isMessage), score: groups.length - i }));
      return whole ? shown : [{ ...(page ?? sections[0].page), text: "", terms: {}, score: groups.length - i, ...(told && { title: told }) }, ...shown];
    });
    return { items, suggest: this.completed(query) };
  }

  /* A section with what was asked marked, and the pieces of its text that have most of it. */
  shown({ doc, words, has, ...section }, asked, isMessage) {
    const wanted = new Map(asked.flatMap(({ terms, word, weight }) => [...terms].filter(([, quality]) => quality > 0.5 && !COMMON.has(word)).map(([term]) => [term, weight])));
    const marked = (html) => html.replace(/<[^>]*>|&#?\w+;|[\p{L}\p{N}_]+/gu, (part) =>
      /^[<&]/.test(part) || !taken(part).terms.some((term) => wanted.has(term)) ? part : `<mark>${part}</mark>`);
    const weigh = (html) => [...new Set(termsOf(textOf(html)))].reduce((total, term) => total + (wanted.get(term) ?? 0), 0);
    const pieces = (doc.text.match(/<pre>.*?<\/pre>|<(p|li)>.*?<\/\1>|<[^>]*>|[^<]+/gs) ?? []).filter((html) => /^(?:<pre|<p|<li|[^<].{20})/s.test(html)).map((html, i) => ({ i, html: clipped(html, weigh) }));
    const best = pieces.map((piece) => ({ ...piece, weight: weigh(piece.html) })).sort((one, other) => other.weight - one.weight || one.i - other.i);
    const text = best.slice(0, best[0]?.weight ? 2 : 1).filter(({ weight }, i) => !i || weight > best[0].weight / 2).sort((one, other) => one.i - other.i);
    return { ...doc, title: marked(doc.title), text: text.map(({ html }) => marked(html)).join(""), terms: this.told({ doc, words, ...section }, asked, isMessage) };
  }

  /* Words that were asked for, as the section writes them, and those that it doesn't have. */
  told(section, asked, isMessage) {
    const told = {};
    for (const { word, terms, whole, joined } of asked) {
      if (whole || joined || COMMON.has(word)) continue;
      const has = [...terms.keys()].some((term) => section.places.has(term) || section.head.has(term) || section.title.has(term));
      if (!has && !isMessage) told[word] = false;
      const names = new Set(section.words.flatMap(({ parts }) => parts.filter((part) => terms.has(stem(part)))));
      const forms = [...names].sort((one, other) => one.length - other.length);
      for (const form of forms.filter((form, i) => !forms.slice(0, i).some((start) => form.startsWith(start))).slice(0, 3)) told[form] = true;
      if (has && !names.size) told[word] = true;
    }
    return Object.fromEntries(Object.entries(told).slice(0, 12));
  }

  /* The word that is being typed, completed by one that headings have. */
  completed(query) {
    const typed = query.match(/[\p{L}\p{N}_]+$/u)?.[0].toLowerCase();
    if (!typed) return [];
    const forms = [...this.forms].filter(([form]) => form.startsWith(typed)).sort(([, one], [, other]) => other - one);
    return forms.slice(0, 1).map(([form]) => form);
  }
}

const START = ["index.html#what-you-find-here", "errors/index.html"];
const sum = (words) => words.reduce((total, { weight }) => total + weight, 0);
const share = (some, all) => (all.length ? sum(some) / (sum(all) || 1) : 0);
const exact = ({ terms }) => [...terms].filter(([, quality]) => quality > 0.5).map(([term]) => term).slice(0, 8);

/* A long piece, cut to where most of what was asked stands: five lines of code, or some lines of a table. */
function clipped(html, weigh) {
  const code = html.startsWith("<pre>");
  const plain = code ? html.replace(/<[^>]*>/g, "") : html.replace(/<(?!\/?code\b)[^>]*>/g, " ");
  const units = code ? plain.replace(/^\n+|\n+$/g, "").split("\n") : plain.trim().split(/(?<=[.:;?]) /);
  const many = code ? 5 : 3;
  const weights = units.map((_, i) => weigh(units.slice(i, i + many).join("\n")));
  const start = Math.max(0, Math.min(weights.indexOf(Math.max(...weights)), units.length - many));
  const kept = units.slice(start, start + many);
  return code ? `<pre><code>${kept.join("\n")}</code></pre>` : `<p>${kept.join(" ").slice(0, 600)}</p>`;
}

/* Whether one letter too many, too few, another, or two exchanged make one word of another. */
function isSlip(word, other) {
  if (Math.abs(word.length - other.length) > 1) return false;
  let [start, end] = [0, 0];
  while (start < word.length && word[start] === other[start]) start++;
  while (end < Math.min(word.length, other.length) - start && word.at(-1 - end) === other.at(-1 - end)) end++;
  const [one, two] = [word.slice(start, word.length - end), other.slice(start, other.length - end)];
  return Math.max(one.length, two.length) < 2 || (one.length === 2 && one === [...two].reverse().join(""));
}
