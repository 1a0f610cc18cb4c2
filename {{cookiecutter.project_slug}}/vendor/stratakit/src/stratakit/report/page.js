// The page: helpers, tests, and the other sections. Concatenated with load.js, which comes first.

const DATA = JSON.parse(document.getElementById("data").textContent);
const [ROWS, FAILURES, LISTED] = [200, 50, 10];

// Test output is appended as text, so it never becomes markup.
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) node.style.setProperty(name, value);
    else if (value !== null) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((each) => each !== null && each !== undefined));
  return node;
}

// Invisible and bidirectional control characters are shown as escapes.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const seen = (text) => (text ?? "")
  .replace(/\u001b\[[\d;]*m/g, "")
  .replace(HIDDEN, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);

const [few, whole] = [{ maximumSignificantDigits: 3 }, { maximumFractionDigits: 0 }].map((each) => new Intl.NumberFormat("en", each).format);
const number = (value) => (value === null || value === undefined ? "n/a" : Math.abs(value) >= 100 ? whole(value) : few(value));
const unit = (value, of) => (value === null || value === undefined ? "n/a" : `${number(value)} ${of}`);
const plural = (count, word) => `${whole(count)} ${word}${count === 1 ? "" : "s"}`;
function seconds(value) {
  if (value >= 90) return `${Math.floor(value / 60)} min${value % 60 >= 1 ? ` ${Math.floor(value % 60)} s` : ""}`;
  return value && value < 0.1 ? unit(value * 1000, "ms") : `${+value.toFixed(value < 10 ? 2 : 1)} s`;
}

const muted = (...text) => el("span", { class: "muted" }, ...text);
const status = (text) => el("span", { class: `status ${text}` }, text);
const judged = (passed) => status(passed ? "passed" : "failed");
const bar = (value, of) => el("span", { class: value > of ? "bar over" : "bar", "--share": Math.min(1, of ? value / of : 0) }, el("i"));
function name(text) {
  const at = text.indexOf("::") + 1;
  const path = at ? text.slice(0, at + 1) : "";
  return el("span", { class: "name" }, el("span", { class: "path" }, seen(path)), el("wbr"), seen(text.slice(path.length)));
}

// On a phone rows are `display: block`, which drops their table semantics: hence the explicit roles.
const row = (cells) => el("tr", { role: "row" }, cells);
const cell = (kind, label, ...content) => el("td", { role: "cell", class: kind, "data-label": label }, ...content);
const grid = (kind, heads, body) => el("table", { role: "table", class: kind }, el("thead", { role: "rowgroup" }, row(heads)), body);
const bodyOf = (...rows) => el("tbody", { role: "rowgroup" }, ...rows);

/** Return a table; the prefix # in a column's title means numbers, * means a wide column. */
function table(columns, rows) {
  const kinds = columns.map((each) => ({ "#": "number", "*": "wide" })[each[0]] ?? "");
  const texts = columns.map((each) => each.replace(/^[#*]/, ""));
  const heads = texts.map((text, at) => el("th", { role: "columnheader", scope: "col", class: kinds[at] }, text));
  return grid("", heads, bodyOf(rows.map((cells) => row(cells.map((value, at) => cell(kinds[at], texts[at], value))))));
}

function select(label, options, change) {
  const node = el("select", { onchange: () => change(node.value) }, options.map(([text, value]) => el("option", { value }, text)));
  return el("label", {}, label, node);
}

// --- Tests ---

function failure(test) {
  const text = (test.error ?? "").trim();
  const lines = text.split("\n");
  const said = (lines.find((line) => /^E {2,}/.test(line)) ?? lines.at(-1)).replace(/^E +/, "").slice(0, 300);
  const again = el("code", {}, test.command);
  const copy = el("button", { type: "button", onclick: async () => {
    try {
      await navigator.clipboard.writeText(test.command);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(again);
      copy.textContent = "Selected";
    }
    setTimeout(() => { copy.textContent = "Copy"; }, 2000);
  } }, "Copy");
  return el("article", {}, el("h3", {}, name(test.name)), el("p", { class: "muted" }, test.session), el("code", { class: "said" }, seen(said)),
    text === said ? null : el("details", {}, el("summary", {}, "Whole message"), el("pre", { tabindex: 0 }, seen(text))),
    el("div", { class: "again" }, again, copy));
}

function failures() {
  const failed = DATA.tests.filter((test) => test.status === "failed");
  const reasons = DATA.tiers.filter((tier) => tier.exit_code && tier.reason && !(tier.status === "failed" && tier.counts.failed));
  return [
    ...reasons.map((tier) => el("article", {}, el("h3", {}, tier.session), status(tier.status), el("p", { class: "reason" }, seen(tier.reason)))),
    ...failed.slice(0, FAILURES).map(failure),
    ...(failed.length > FAILURES ? [el("p", { class: "note" }, `${plural(failed.length - FAILURES, "more failure")}: choose the status “failed” under All tests.`)] : []),
  ];
}

function allTests() {
  const { tests } = DATA;
  const state = { status: "", tier: "", service: "", text: "", by: "status", down: false, shown: ROWS };
  const order = ["failed", "skipped", "passed"];
  const rank = { status: (test) => order.indexOf(test.status), duration: (test) => test.duration };
  const compare = (one, other) => (rank[state.by] ? rank[state.by](one) - rank[state.by](other) : (one[state.by] ?? "").localeCompare(other[state.by] ?? ""));
  const body = bodyOf();
  const told = el("output", { class: "muted" });
  const more = el("button", { type: "button", class: "note", onclick: () => { state.shown *= 5; show(); } }, "Show more");
  const line = (test) => row([
    cell("", "status", status(test.status)),
    cell("wide", "test", name(test.name), test.status === "skipped" ? el("div", { class: "reason" }, seen(test.error)) : null),
    cell("", "tier", test.tier), cell("", "service", test.service ?? "–"), cell("number", "time", seconds(test.duration))]);
  function show() {
    const has = (text) => text?.toLowerCase().includes(state.text);
    const found = tests.filter((test) => ["status", "tier", "service"].every((key) => !state[key] || test[key] === state[key]) && (has(test.name) || has(test.error)));
    found.sort((one, other) => compare(one, other) * (state.down ? -1 : 1));
    body.replaceChildren(...found.slice(0, state.shown).map(line));
    told.textContent = `${whole(found.length)} of ${plural(tests.length, "test")}`;
    more.hidden = found.length <= state.shown;
  }
  const change = (key) => (value) => { Object.assign(state, { [key]: value, shown: ROWS }); show(); };
  const heads = ["status", "test", "tier", "service", "time"].map((text) => {
    const key = { test: "name", time: "duration" }[text] ?? text;
    const head = el("th", { role: "columnheader", scope: "col", class: text === "time" ? "number" : "" }, el("button", { type: "button", onclick: () => {
      // Sorting by time starts with the slowest.
      state.down = head.hasAttribute("aria-sort") ? !state.down : text === "time";
      state.by = key;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      show();
    } }, text));
    return head;
  });
  const filter = (key) => {
    const there = [...new Set(tests.map((test) => test[key]))].filter(Boolean).sort();
    return there.length > 1 ? select(key, [["all", ""], ...there.map((each) => [each, each])], change(key)) : null;
  };
  const search = el("input", { type: "search", placeholder: "name or message", oninput: () => change("text")(search.value.toLowerCase()) });
  show();
  return tests.length ? [
    el("div", { class: "controls", role: "search" }, el("label", { class: "grow" }, "search", search), ["status", "tier", "service"].map(filter), told),
    grid("tests", heads, body), more] : [];
}

// --- The rest ---

function strip() {
  const longest = Math.max(...DATA.tiers.map((tier) => tier.duration_seconds));
  return [el("ul", { class: "cards" }, DATA.tiers.map((tier) => el("li", {},
    el("b", {}, tier.session),
    el("span", { class: "row" }, status(tier.status), el("span", {}, seconds(tier.duration_seconds), tier.budget ? muted(` of ${seconds(tier.budget)}`) : "")),
    muted(Object.entries(tier.counts).filter(([, count]) => count).map(([word, count]) => `${whole(count)} ${word}`).join(", ") || "no tests"),
    bar(tier.duration_seconds, tier.budget || longest))))];
}

function listed(title, columns, rows) {
  const shown = (part) => table(["*test", "session", ...columns], part);
  return rows.length ? [el("h4", {}, title), shown(rows.slice(0, LISTED)),
    ...(rows.length > LISTED ? [el("details", {}, el("summary", {}, `${rows.length - LISTED} more`), shown(rows.slice(LISTED)))] : [])] : [];
}
const slower = (each) => [name(each.name), each.session, seconds(each.before), seconds(each.now)];

function change() {
  if (!DATA.change) return [];
  const { newly_failing: failing, fixed, slower: slow, tiers } = DATA.change;
  const named = ([session, test]) => [name(test), session];
  const share = ({ before, now }) => (before ? `${now < before ? "−" : "+"}${whole(Math.abs(100 * (now / before - 1)))} %` : "");
  return [
    ...(failing.length + fixed.length + slow.length ? [] : [el("p", { class: "muted" }, "No test has changed its result, or become much slower.")]),
    ...listed("Newly failing", [], failing.map(named)), ...listed("Fixed", [], fixed.map(named)), ...listed("Slower", ["#before", "#now"], slow.map(slower)),
    ...(tiers.length ? [el("h4", {}, "Tiers"), table(["*tier", "#before", "#now", "#change"], tiers.map((each) => [each.session, seconds(each.before), seconds(each.now), share(each)]))] : []),
  ];
}

function severalRuns() {
  return [
    ...listed("Flaky: passed and failed on the same code", ["#failed"], DATA.flaky.map((each) => [name(each.name), each.session, `${each.failed} of ${plural(each.passed + each.failed, "run")}`])),
    ...listed("Slowing: slower in each of the last runs than in any before", ["#before", "#now"], DATA.slowing.map(slower)),
  ];
}

function absent() {
  const rows = DATA.tiers.flatMap((tier) => [
    ...(tier.status === "absent" ? [{ name: "all of it", reason: tier.reason }] : []), ...tier.absent,
  ].map((each) => [tier.session, each.name, seen(each.reason)]));
  return rows.length ? [table(["tier", "part", "*reason"], rows)] : [];
}

const slowest = () => (DATA.slowest.length ? [table(["*test", "session", "#time", "#budget", ""], DATA.slowest.map((test) =>
  [name(test.name), test.session, seconds(test.duration), test.budget ? seconds(test.budget) : "–", test.budget ? bar(test.duration, test.budget) : ""]))] : []);

function coverage() {
  const gates = DATA.tests.filter((test) => test.tier === "coverage" && test.metrics);
  return gates.length ? [table(["*class of path", "#covered", "#wanted", "#lines", "result", ""], gates.map((gate) => {
    const { percent, wanted, lines } = gate.metrics;
    return [name(gate.name), unit(percent, "%"), unit(wanted, "%"), whole(lines), status(gate.status), bar(percent, 100)];
  })), DATA.coverage_html ? el("p", { class: "note" }, el("a", { href: "coverage/index.html" }, "Each file and line")) : ""] : [];
}

const dollars = (value) => `$${+value.toFixed(value < 0.01 ? 6 : 4)}`;
function cloud() {
  const steps = DATA.tests.filter((test) => test.tier === "cloud");
  if (!steps.length) return [];
  const { service, host, cloud: where, instance, region, usd_per_hour: price, source, max_usd: cap, usd, lease, left } = DATA.cloud ?? {};
  const rented = where ? [`${instance} in ${region}, ${where}`, `${dollars(price)} an hour (${source})`, `at most ${dollars(cap)}`] : [];
  const facts = [...rented, host && `${host}, which was there`, usd !== undefined && `cost ${dollars(usd)}`, lease, left && `the machine: ${left}`];
  return [
    service ? el("h3", {}, service) : null,
    el("p", { class: "facts" }, facts.filter(Boolean).map((each) => el("span", {}, seen(each)))),
    table(["step", "result", "#time", "*message"], steps.map((step) => [step.name, status(step.status), seconds(step.duration), seen(step.error)])),
  ];
}

function measured() {
  const tests = DATA.tests.filter((test) => test.metrics && !["cloud", "coverage", "load"].includes(test.tier));
  const names = [...new Set(tests.flatMap((test) => Object.keys(test.metrics)))];
  return tests.length ? [table(["*test", ...names.map((each) => `#${each.replaceAll("_", " ")}`), "#time"], tests.map((test) =>
    [name(test.name), ...names.map((each) => (each in test.metrics ? number(test.metrics[each]) : "")), seconds(test.duration)]))] : [];
}

function header() {
  const root = document.documentElement;
  const { total, passed, failed, skipped, duration_seconds: took } = DATA.summary;
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const button = el("button", { type: "button", "aria-pressed": dark(), onclick: () => {
    root.dataset.theme = dark() ? "light" : "dark";
    button.setAttribute("aria-pressed", dark());
    drawAll();
  } }, "Dark");
  const facts = [
    `${plural(total, "test")}: ${whole(passed)} passed, ${whole(failed)} failed, ${whole(skipped)} skipped`, seconds(took),
    new Date(DATA.finished).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" }), ...(DATA.source ? [DATA.source.replace("+", ", changed ")] : []),
  ];
  document.getElementById("header").append(
    el("div", {}, el("p", { class: "muted" }, DATA.project), el("h1", { class: DATA.exit_code ? "bad" : "" }, `Exit code ${DATA.exit_code}: ${DATA.meaning}`)),
    button, el("p", { class: "facts" }, facts.map((each) => el("span", {}, each))));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  // Print in the light theme.
  let theme;
  addEventListener("beforeprint", () => { theme = root.dataset.theme; root.dataset.theme = "light"; drawAll(); });
  addEventListener("afterprint", () => { if (theme) root.dataset.theme = theme; else delete root.dataset.theme; drawAll(); });
}

const SECTIONS = {
  Tiers: strip,
  Failures: failures,
  "Since the run before": change,
  "Over several runs": severalRuns,
  Absent: absent,
  "All tests": allTests,
  "Slowest tests": slowest,
  Coverage: coverage,
  Load: () => DATA.load.map(oneLoad),
  Cloud: cloud,
  "Measured by tests": measured,
};

header();
for (const [title, build] of Object.entries(SECTIONS)) {
  let content;
  try {
    content = build();
  } catch (error) {
    content = [el("p", { class: "bad" }, `This part cannot be shown: ${error.message}`)];
  }
  if (content.length) {
    const id = title.toLowerCase().replaceAll(" ", "-");
    document.getElementById("nav").append(el("a", { href: `#${id}` }, title));
    document.getElementById("main").append(el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), content));
  }
}
afterwards.forEach((each) => each());
drawAll();
