/* The search engine of the site, fetched when search is first touched. It answers with sections, the one that answers first:
   a heading that says what was asked counts more than a text that mentions it, and a rare word more than a common one.

   What a section is found by stands in four places: its heading, the phrases that its source has in a comment
   `<!-- search: … -->`, the title of its page, and its text. How much each counts was tried out on half of the searches
   that the tests know, and measured on the other half. */

/* --- words ---------------------------------------------------------------------------------------------------------- */

const IRREGULAR = new Map(Object.entries({
  freeze: "froze frozen freezing unfreeze unfroze unfrozen unfreezing", write: "wrote written", build: "built rebuild rebuilt",
  lost: "lose losing loses", keep: "kept", give: "gave given", take: "took taken", make: "made", draw: "drew drawn",
  hide: "hid hidden", run: "ran", learn: "learnt", know: "known", shrink: "shrank shrunk", slow: "slower slowly slowest",
  fast: "faster fastest", matrix: "matrices", axis: "axes", index: "indices", child: "children",
  functional: "functional", register: "registration", explode: "explosion explosions",
  operation: "op ops operator operators", parameter: "param params", dimension: "dim dims", argument: "arg args",
  configuration: "config configs", function: "func fn", normalization: "norm", initialization: "init",
  tensorflow: "tf", raise: "throw thrown throws", error: "exception", retrace: "retracing retraced",
}).flatMap(([word, forms]) => forms.split(" ").map((form) => [form, word])));

/* Longest first. What is left of a word has to keep as many letters as the number says. */
const ENDINGS = [
  [/i[sz](?:ation|able|ability|e[rdn]?|ing|or)$/, "iz", 3], [/if(?:ication|ier|ied|y)$/, "ifi", 3],
  [/(?:ability|ibility|able|ible)$/, "", 4], [/at(?:ion|ing|ive|or|ed|e)$/, "", 3], [/(?:ement|ment)$/, "", 5],
  [/(?<=ion)al$/, "", 4], [/(?<=[st])ion$/, "", 3], [/ity$/, "", 4], [/ence$/, "", 4], [/ies$/, "i", 3],
  [/(?<=[aeiouy].*)ing$/, "", 2], [/(?<!e)ed$/, "", 3], [/(?:er|or)$/, "", 4], [/(?:ness|ly)$/, "", 4], [/(?<=[^su])s$/, "", 3],
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

/* What every page is about; one word each. */
const SUBJECT = new Set(["tensorflow", "tf", "keras", "python"]);

/* A name is found by its parts too, which end at underscores and before capitals: add_weight, GradientTape. */
const WORD = /\d+(?:\.\d+)+|[\p{L}_][\p{L}\p{N}_]*|\d+/gu;
const names = new Map(); // each is taken apart once
function taken(name) {
  if (!names.has(name)) {
    const written = name.toLowerCase();
    const split = name.split(/_+|(?!\b)(?=[A-Z][a-z])/).filter(Boolean).map((part) => part.toLowerCase());
    const parts = SUBJECT.has(written) ? [written] : split;
    const whole = parts.length > 1 ? parts.join("") : "";
    names.set(name, { name: written, parts, whole, terms: [...parts.map(stem), ...(whole ? [whole] : [])] });
  }
  return names.get(name);
}
const wordsOf = (text) => (text.match(WORD) ?? []).map(taken).filter(({ parts }) => parts.length);
const termsOf = (text) => wordsOf(text).flatMap(({ terms }) => terms);

/* Words of a question that tell nothing of what is asked. */
const COMMON = new Set(("a about after all also am an and any anyone are as at be been being but by can cannot come could did do " +
  "does doesn doing don during each easiest every example for from get gets getting give good guide had has have help here " +
  "how i in instead into is isn it its just keep keeps let like make me my need not of on one only or our own please " +
  "possible problem proper properly question really right same should simple so some something still tell than that the " +
  "their them then there these they thing things this those to too tutorial up use used using want was way ways we were " +
  "what when where whether which while who why will with within without won work working works would wrong you your s t ve re ll d").split(" "));

/* --- what a reader pastes ------------------------------------------------------------------------------------------- */

/* Of a traceback, what counts is its message: what stands behind the last frame and the last name of an exception.
   A field has one line, so that nothing tells the lines apart. */
const FRAME = /File\s+"?[^\s",]*"?,? line \d+(?:, in [\w<>.]+)?|File [~/][^\s,]*:\d+, in [\w<>.]+(?:\(.*?\))?|-{2,}> ?\d+/g;
const NAMED = /\b(?:[A-Z]\w*(?:Error|Exception|Warning|Interrupt)|(?:Exception|Error) encountered|Error):\s|WARNING:\w+:/g;

/* What a reader's own names stand in. */
const QUOTED = /(?<!\w)(['"`])[^'"`]+\1|\b\w+\.__init__|<class [^>]+>/g;

function messageIn(text) {
  const plain = text.replace(/<class '[^>]*>|\bconfig(?:=|: )\{.*?\}\.?(?=\s+Exception encountered|\s*$)/gs, " ").replace(/\b(?:Call arguments|Arguments) received by.*/s, " ")
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
const formsOf = ({ name, parts }) => (parts.length > 1 ? [name, ...parts] : parts);
const add = (counts, key, count) => counts.set(key, (counts.get(key) ?? 0) + count);
const pair = (one, other) => `${one} ${other}`;

/* A heading, or what stands for one. */
class Phrase {
  constructor(text) {
    this.words = wordsOf(text);
    this.terms = termsOf(text);
    this.forms = new Set(this.words.flatMap(formsOf));
  }
}

class Section {
  constructor(doc, page) {
    const words = wordsOf(textOf(doc.text));
    this.doc = doc;
    this.page = page;
    this.phrases = [textOf(doc.title), ...(doc.search ?? [])].map((text) => new Phrase(text));
    this.head = new Set(this.phrases.flatMap(({ terms }) => terms));
    this.pairs = new Set(this.phrases.flatMap(({ terms }) => terms.slice(1).map((term, i) => pair(terms[i], term))));
    this.title = new Set(termsOf(textOf(page.title)));
    this.words = new Set(words);
    this.text = words.flatMap(({ terms }) => terms);
    this.places = new Map(); // of a term in the text
    this.text.forEach((term, i) => (this.places.get(term)?.push(i) ?? this.places.set(term, [i])));
  }

  has(term) {
    return this.places.has(term) || this.head.has(term) || this.title.has(term);
  }

  hasPair(one, other) {
    return this.pairs.has(pair(one, other)) ||
      (this.places.has(other) && (this.places.get(one) ?? []).some((i) => this.text[i + 1] === other));
  }
}

class Ranking {
  /* In slices, between which a reader can type. */
  static async of({ docs }) {
    const pages = new Map(docs.map((doc) => [doc.location, doc]));
    const sections = [];
    for (const doc of docs) {
      if (sections.length % 16 === 15) await new Promise((next) => setTimeout(next));
      sections.push(new Section(doc, pages.get(doc.location.split("#")[0])));
    }
    return new Ranking(sections);
  }

  constructor(sections) {
    this.sections = sections;
    this.length = sections.reduce((total, { text }) => total + text.length, 0) / sections.length;
    this.within = new Map(); // in how many sections a term occurs
    this.names = new Map(); // the parts of a name, by the name as one word
    this.forms = new Map(); // words as they are written, and how much headings have of each
    for (const { head, places, words, phrases: [heading, ...phrases] } of sections) {
      for (const term of new Set([...head, ...places.keys()])) add(this.within, term, 1);
      for (const [said, weight] of [[heading.words, 3], [phrases.flatMap((phrase) => phrase.words), 1], [words, 0.01]]) {
        for (const word of said) {
          if (word.whole) this.names.set(word.whole, word.parts);
          for (const form of formsOf(word)) add(this.forms, form, weight);
        }
      }
    }
    this.lacks = sections.flatMap((section) => (section.doc.lacks ?? []).map(([topic, ...others]) => {
      const phrases = [topic, ...others].map((text) => new Phrase(text));
      const terms = new Set(phrases.flatMap((phrase) => phrase.terms));
      for (const term of terms) if (!this.within.has(term)) this.within.set(term, 1);
      return { section, topic, phrases, terms, forms: new Set(phrases.flatMap((phrase) => [...phrase.forms])) };
    }));
  }

  rarity(term) {
    return Math.log(1 + (this.sections.length + 0.5) / ((this.within.get(term) ?? 0) + 0.5));
  }

  /* --- a question ---------------------------------------------------------------------------------------------------- */

  /* Each word, with the terms that stand for it, how well each does, and how much the word weighs. A name is one more
     word. Of what the site doesn't know, a reader's own names weigh nothing. */
  asked(query, own) {
    const owned = new Set(wordsOf(own).flatMap(({ parts }) => parts));
    const words = wordsOf(query).map((word) => {
      const parts = this.names.get(word.name);
      return parts ? { ...word, parts, whole: word.name } : word;
    });
    const last = /[\p{L}\p{N}_]$/u.test(query) ? words.at(-1) : undefined; // it may still be typed
    const asked = words.flatMap((word) => word.parts.map((part, i) => ({
      word: part, kind: "word", terms: this.standFor(part, word === last && i === word.parts.length - 1),
    })));
    for (const { name, whole } of words) asked.push({ word: name, kind: "name", terms: new Map([[whole, 1]]) });
    words.slice(1).forEach(({ parts: [second] }, i) => { // "add weight" is add_weight
      const joined = words[i].parts.at(-1) + second;
      if (!SUBJECT.has(second)) asked.push({ word: joined, kind: "joined", terms: new Map([[joined, 1]]) });
    });
    const met = new Set();
    return asked.flatMap((one) => {
      const rarities = [...one.terms.keys()].filter((term) => this.within.has(term)).map((term) => this.rarity(term));
      const known = rarities.length > 0;
      if (met.has(one.word) || (!known && one.kind !== "word")) return [];
      met.add(one.word);
      const weight = !known && owned.has(one.word) ? 0 : Math.min(...rarities, this.rarity("")) * shareOf(one);
      return [{ ...one, known, weight }];
    });
  }

  /* The terms that stand for a word: its stem, what it begins, its halves, or what it was meant to be. */
  standFor(word, typing) {
    const terms = new Map();
    const put = (term, quality) => this.within.has(term) && terms.set(term, Math.max(quality, terms.get(term) ?? 0));
    put(word, 1);
    put(stem(word), 1);
    const known = terms.size > 0;
    if (!COMMON.has(word) && (typing ? word.length > 1 : !known && word.length > 3)) {
      for (const form of this.forms.keys()) if (form.startsWith(word)) put(taken(form).terms.at(-1), known ? 0.2 : 0.8);
    }
    for (let i = 3; i < word.length - 2 && !terms.size; i++) {
      const halves = [stem(word.slice(0, i)), stem(word.slice(i))];
      if (halves.every((half) => this.within.has(half))) halves.forEach((half) => put(half, 0.7));
    }
    if (!terms.size && word.length > 4) {
      for (const form of this.forms.keys()) if (form[0] === word[0] && isSlip(word, form)) put(stem(form), 0.7);
    }
    return terms;
  }

  /* The sections that answer, the best one first, and what the site doesn't have, the likeliest first. */
  ranked(query) {
    const message = messageIn(query);
    const isPasted = message !== query;
    const isLong = isPasted || wordsOf(query).length > 12;
    const asked = this.asked(message, isLong ? message : [...query.matchAll(QUOTED)].join(" "));
    const total = sum(asked);
    const words = asked.filter(({ kind, weight }) => kind === "word" && weight);
    const pairs = words.slice(1).map((second, i) => ({
      firsts: meant(words[i]), seconds: meant(second), weight: Math.min(words[i].weight, second.weight),
    }));
    const found = this.sections.map((section) => ({ section, covered: this.covered(section, asked) / total }))
      .filter(({ covered }) => covered).sort((one, other) => other.covered - one.covered).slice(0, 60)
      .map(({ section, covered }) => {
        const side = pairs.filter(({ firsts, seconds }) => firsts.some((one) => seconds.some((two) => section.hasPair(one, two))));
        const said = Math.max(...section.phrases.map((phrase) => this.said(phrase, section.title, asked))) / total;
        return { section, said, score: covered + 0.9 * said + 0.5 * (side.length && sum(side) / sum(pairs)) };
      });
    const lacking = this.lacks.map((row) => {
      const said = total && Math.max(...row.phrases.map((phrase) => this.said(phrase, row.terms, asked, 0))) / total;
      return { ...row, score: words.some((word) => this.isOnlyIn(row, word)) ? 1 + said : said };
    });
    const byScore = (one, other) => other.score - one.score;
    return { asked, isPasted, isLong, found: found.sort(byScore), lacking: lacking.sort(byScore) };
  }

  /* Whether a word, as it is written, is known from what the site lacks alone. */
  isOnlyIn({ forms }, { word }) {
    return forms.has(word) && !this.forms.has(word);
  }

  /* How much of what was asked a section has: a heading counts most, its page's title less, then how often its text. */
  covered(section, asked) {
    return asked.reduce((covered, { terms, weight }) => {
      let best = 0;
      for (const [term, quality] of terms) {
        const times = section.places.get(term)?.length ?? 0;
        const mentioned = (0.5 * times) / (times + 0.4 + (0.6 * section.text.length) / this.length);
        const headed = section.head.has(term) ? 0.8 : section.title.has(term) ? 0.45 : 0;
        best = Math.max(best, quality * (Math.max(headed, mentioned) + 0.2 * Math.min(headed, mentioned)));
      }
      return covered + weight * best;
    }, 0);
  }

  /* How much of what was asked a phrase says, under its title: less, the more it says besides. */
  said(phrase, title, asked, least = 0.3) {
    const matched = new Map();
    let covered = 0;
    for (const { word, terms, weight } of asked) {
      const form = phrase.forms.has(word) ? 1 : 0.9;
      let best = 0;
      for (const [term, quality] of terms) {
        if (phrase.terms.includes(term)) {
          matched.set(term, Math.max(quality * form, matched.get(term) ?? 0));
          best = Math.max(best, quality * form);
        } else if (title.has(term)) best = Math.max(best, 0.5 * quality);
      }
      covered += weight * best;
    }
    if (!matched.size) return 0;
    const mass = (term) => this.rarity(term) * (COMMON.has(term) ? 0.1 : 1);
    const all = [...new Set(phrase.terms)].reduce((total, term) => total + mass(term), 0);
    const hit = [...matched].reduce((total, [term, quality]) => total + quality * mass(term), 0);
    return covered * (least + (1 - least) * Math.min(1, hit / all));
  }

  /* --- an answer, as the theme shows it ------------------------------------------------------------------------------ */

  /* Groups of sections, each under the title of its page, or under what the site has to say of the question. */
  answer(query) {
    const { asked, isPasted, isLong, found, lacking } = this.ranked(query);
    const answers = found.filter(({ score }) => score > found[0].score / 4).slice(0, 15).map(({ section }) => section);
    const groups = [];
    const unknown = asked.filter(({ known, word }) => !known && !COMMON.has(word));
    const [lack, best] = [lacking[0], found[0]?.score ?? 0];
    const known = sum(asked) - sum(unknown);
    const isUnknown = isPasted ? best < 0.75 : known < Math.min(3.5, sum(unknown)); // a rare word may be all that counts
    if (lack?.score > Math.max(0.45, ...found.map(({ said }) => said)) && (isUnknown || !isPasted)) {
      const near = lacking.filter(({ topic, score }) => topic === lack.topic && score > lack.score / 2);
      groups.push({ title: without(lack.topic), sections: [...new Set(near.map(({ section }) => section))] });
    } else if (isUnknown && asked.length) {
      const start = this.sections.filter(({ doc }) => START.includes(doc.location));
      const what = isPasted ? "this message" : unknown.map(({ word }) => `“${word}”`).join(" ");
      groups.push({ title: without(what), sections: answers.length ? answers.splice(0, 3) : start });
    }
    const near = groups[0]?.sections ?? [];
    for (const section of answers.filter((one) => !near.includes(one))) {
      const isPage = section.doc === section.page;
      if (!isPage && groups.at(-1)?.page === section.page) groups.at(-1).sections.push(section);
      else groups.push({ page: isPage ? undefined : section.page, title: section.page.title, sections: [section] });
    }
    const items = groups.map(({ page, title, sections }, i) => {
      const score = groups.length - i;
      const shown = sections.map((section) => ({ ...this.shown(section, asked, isLong), score }));
      const isPage = !page && title === sections[0].page.title;
      return isPage ? shown : [{ location: sections[0].page.location, title, text: "", terms: {}, score }, ...shown];
    });
    return { items };
  }

  /* A section with what was asked marked, and the one or two pieces of its text that have most of it. */
  shown(section, asked, isLong) {
    const { location, title, text } = section.doc;
    const words = asked.filter(({ word, weight }) => weight && !COMMON.has(word));
    const wanted = new Map(words.flatMap((one) => meant(one).map((term) => [term, one.weight])));
    const weigh = (terms) => [...new Set(terms)].reduce((total, term) => total + (wanted.get(term) ?? 0), 0);
    const marked = (html) => html.replace(/<[^>]*>|&#?\w+;|[\p{L}\p{N}_]+/gu, (part) =>
      !/^[<&]/.test(part) && taken(part).terms.some((term) => wanted.has(term)) ? `<mark>${part}</mark>` : part);
    const [first, second] = piecesOf(text).map((html, i) => ({ i, ...clipped(html, weigh) }))
      .sort((one, other) => other.weight - one.weight || one.i - other.i);
    const pieces = [first, second].filter((piece) => piece && (piece === first || piece.weight > first.weight / 2));
    return {
      location,
      title: marked(title),
      text: pieces.sort((one, other) => one.i - other.i).map(({ html }) => marked(html)).join(""),
      terms: told(section, words.filter(({ kind }) => kind === "word"), isLong),
    };
  }
}

/* Where a reader goes who asked for nothing that the site knows. */
const without = (what) => `This site doesn't have ${what} yet. Near it:`;
const START = ["index.html#what-do-you-want-to-do", "errors/index.html"];

const sum = (words) => words.reduce((total, { weight }) => total + weight, 0);
const meant = ({ terms }) => [...terms].filter(([, quality]) => quality > 0.5).map(([term]) => term).slice(0, 8);

function shareOf({ word, kind }) {
  if (kind !== "word") return kind === "name" ? 1.2 : 0.6;
  return COMMON.has(word) ? 0.1 : SUBJECT.has(word) ? 0.2 : /^(?:\d+|\p{L})$/u.test(word) ? 0.4 : 1;
}

/* Words that were asked for, and whether a section has them. */
function told(section, words, isLong) {
  const has = ({ terms }) => [...terms.keys()].some((term) => section.has(term));
  return Object.fromEntries(words.map((one) => [one.word, has(one)]).filter(([, found]) => found || !isLong).slice(0, 12));
}

/* Paragraphs, items of lists, blocks of code, and what is left of tables. */
function piecesOf(html) {
  const pieces = html.match(/<pre>.*?<\/pre>|<(p|li)>.*?<\/\1>|<[^>]*>|[^<]+/gs) ?? [];
  return pieces.filter((piece) => /^(?:<pre|<p>|<li|[^<].{20})/s.test(piece));
}

/* A long piece, cut to where most of what was asked stands: five lines of code, or three sentences. */
function clipped(html, weigh) {
  const isCode = html.startsWith("<pre>");
  const text = html.replace(isCode ? /<[^>]*>/g : /<(?!\/?code\b)[^>]*>/g, "").trim();
  const units = text.split(isCode ? "\n" : /(?<=[.:;?]) /);
  const terms = units.map((unit) => termsOf(textOf(unit)));
  const many = isCode ? 5 : 3;
  const weights = units.map((_, i) => (i && i + many > units.length ? 0 : weigh(terms.slice(i, i + many).flat())));
  const weight = Math.max(...weights);
  const kept = units.slice(weights.indexOf(weight), weights.indexOf(weight) + many);
  return { weight, html: isCode ? `<pre><code>${kept.join("\n")}</code></pre>` : `<p>${kept.join(" ")}</p>` };
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
