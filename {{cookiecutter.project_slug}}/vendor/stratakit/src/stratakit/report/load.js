// Charts (uPlot) and the section of load tests. Concatenated with page.js, which has `el` and `table`.

let charts = [];
const probe = document.body.appendChild(el("span", { hidden: "" }));
function colour(variable) {
  probe.style.color = `var(${variable})`;
  return getComputedStyle(probe).color;
}

/** Draw labelled dashed lines at values of an axis. */
function drawMarks({ ctx, bbox, valToPos }, marks) {
  const scale = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour("--ink");
  ctx.font = `${12 * scale}px system-ui, sans-serif`;
  ctx.setLineDash([5 * scale, 4 * scale]);
  for (const { axis, at, text } of marks) {
    const across = axis === "y";
    const [x, y] = across ? [bbox.left, valToPos(at, "y", true)] : [valToPos(at, "x", true), bbox.top];
    const right = x > bbox.left + bbox.width * 0.7;
    ctx.beginPath();
    ctx.moveTo(x, y);
    ctx.lineTo(across ? x + bbox.width : x, across ? y : y + bbox.height);
    ctx.stroke();
    Object.assign(ctx, { textBaseline: across ? "bottom" : "top", textAlign: right ? "right" : "left" });
    ctx.fillText(text, x + (right ? -6 : 6) * scale, y - (across ? 3 * scale : 0));
  }
  ctx.restore();
}

function draw(chart) {
  const { host, x, y, log, range, splits, values, value, marks = [], lines, bands = [], columns } = chart;
  const [ink, line, font] = [colour("--muted"), colour("--line"), "12px system-ui, sans-serif"];
  const axis = { stroke: ink, font, labelFont: font, labelSize: 18, gap: 4, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 } };
  const highest = Math.max(0, ...marks.filter((each) => each.axis === "y").map((each) => each.at));
  const read = (format) => (_, at) => (at === null || at === undefined ? "–" : format(at));
  chart.plot?.destroy();
  chart.plot = new uPlot({
    width: host.clientWidth,
    height: 230,
    scales: { x: { time: false, distr: log ? 3 : 1, range }, y: { range: (_, __, most) => [0, Math.max(most, highest) * 1.08 || 1] } },
    axes: [
      { ...axis, label: x, size: 30, splits, values: values && ((_, all) => all.map(values)), ...(splits && { filter: (_, all) => all }) },
      { ...axis, label: y, size: 54, values: (_, all) => all.map(number) },
    ],
    series: [{ label: x, value: read(value ?? number) }, ...lines.map((each) => ({
      label: each.label, value: read(number), width: 1.75, spanGaps: true, points: { show: Boolean(each.points), size: 6 },
      stroke: each.bare ? "transparent" : colour(each.colour ?? "--accent"),
      ...(each.bars && { paths: uPlot.paths.bars({ size: [0.85, 60] }), fill: colour("--band") }),
    }))],
    bands: bands.map((series) => ({ series, fill: colour("--band") })),
    cursor: { drag: { x: false, y: false }, y: false, points: { size: 7 } },
    hooks: { draw: [(plot) => drawMarks(plot, marks)] },
  }, columns, host);
}

function figure(caption, spec) {
  const host = el("div", { role: "img", "aria-label": `${caption}: ${spec.y} by ${spec.x}` });
  const chart = { host, ...spec };
  charts.push(chart);
  new ResizeObserver(() => chart.plot?.setSize({ width: host.clientWidth, height: 230 })).observe(host);
  return el("figure", {}, el("figcaption", {}, caption), host);
}

function drawAll() {
  charts = charts.filter(({ host }) => host.isConnected);
  charts.forEach(draw);
}

// --- Load ---

const transposed = (points) => (points[0] ?? []).map((_, at) => points.map((point) => point[at]));
const percentile = (oneIn) => `p${+(100 - 100 / oneIn).toPrecision(6)}`;
const interval = (found) => (found ? [unit(found.value, "ms"), el("span", { class: "interval" }, `${number(found.low)}–${number(found.high)}`)] : "n/a");

function curve(load, phase) {
  const points = phase.curve.filter(([at]) => at < 100).map(([at, value, low, high]) => [1 / (1 - at / 100), value, high, low]);
  const columns = transposed(points);
  const [most, slowest] = [Math.max(...columns[0]), Math.max(...columns[1])];
  const marks = load.thresholds
    .filter((each) => /^p\d+_latency_ms$/.test(each.name) && each.phase === phase.name)
    .map((each) => ({ axis: "y", at: parseFloat(each.bound.replace(/[<>=]/g, "")), text: `${each.name.split("_")[0]} ${each.bound} ms` }))
    // A bound far above would flatten the curve; the table of thresholds shows it anyway.
    .filter(({ at }) => at < 3 * slowest);
  return figure("Latency by percentile, with its 95 % interval", {
    x: "percentile", y: "ms", columns, marks, log: true, values: percentile, value: percentile, range: () => [1, most],
    splits: () => [2, 10, 100, 1000, 10000, 100000].filter((each) => each <= most),
    lines: [{ label: "latency" }, { label: "at most", bare: true }, { label: "at least", bare: true }], bands: [[2, 3]],
  });
}

function pictures(load, phase) {
  const [second, requests, errors, p95] = transposed(phase.series);
  const bound = (at) => number(phase.histogram[at]?.[0]);
  return el("div", { class: "plots" },
    phase.curve.length ? curve(load, phase) : null,
    phase.histogram.length ? figure("Latencies of all requests", {
      x: "ms, up to", y: "requests", columns: [phase.histogram.map((_, at) => at), transposed(phase.histogram)[1]], value: bound,
      values: (at) => (at in phase.histogram ? bound(at) : ""), range: () => [-0.6, phase.histogram.length - 0.4], lines: [{ label: "requests", bars: true }],
    }) : null,
    second ? figure("Throughput and errors over time", { x: "seconds", y: "a second", columns: [second, requests, errors],
      lines: [{ label: "requests" }, { label: "errors", colour: "--failed" }] }) : null,
    second ? figure("p95 over time", { x: "seconds", y: "ms", columns: [second, p95], lines: [{ label: "p95" }] }) : null);
}

function onePhase(load, phase) {
  const messages = phase.by_name.flatMap((each) => Object.entries(each.messages ?? {}).map(([text, times]) => [el("code", {}, seen(text)), name(each.name), whole(times)]));
  return [
    pictures(load, phase),
    table(["*request", "#requests", "#errors", "#p50", "#p95", "#p99"], phase.by_name.map((each) =>
      [name(each.name), whole(each.requests), whole(each.errors), ...[each.p50_ms, each.p95_ms, each.p99_ms].map((value) => unit(value, "ms"))])),
    messages.length ? table(["*error", "request", "#times"], messages) : "",
  ];
}

function phases(load) {
  const streamed = load.phases.some((phase) => phase.ttft_ms);
  return table(["phase", "#requests/s", "#errors", "#p50", "#p95", "#p99", ...(streamed ? ["#first token, p95", "#between tokens, p95", "#tokens/s"] : [])],
    load.phases.map((phase) => [
      [phase.name, muted(" ", phase.rate ? `${number(phase.rate)} tasks/s` : plural(phase.users, "user")), phase.generator?.limited ? el("span", { class: "bad" }, " generator-limited") : ""],
      number(phase.requests_per_second), unit(phase.error_rate * 100, "%"), ...["p50", "p95", "p99"].map((each) => interval(phase.latency_ms?.[each])),
      ...(streamed ? [interval(phase.ttft_ms?.p95), interval(phase.itl_ms?.p95), number(phase.tokens_per_second)] : []),
    ]));
}

function sweep({ points, knee }) {
  const [users, throughput, p95] = transposed(points);
  const shared = { x: "users", log: true, range: () => [users[0], users.at(-1)], splits: () => users, values: number, marks: knee ? [{ axis: "x", at: knee, text: `knee: ${knee}` }] : [] };
  const one = (caption, y, column) => figure(caption, { ...shared, y, columns: [users, column], lines: [{ label: y, points: true }] });
  return el("div", { class: "plots" }, one("Throughput by users", "requests/s", throughput), one("p95 by users", "ms", p95));
}

function soak({ slopes, series }) {
  return [
    table(["process", "what", "#an hour", "#limit", "result"], slopes.map((each) => [each.process, each.what, number(each.per_hour), number(each.limit), judged(each.passed)])),
    el("div", { class: "plots" }, Object.entries(series).map(([title, points]) =>
      figure(title, { x: "seconds", y: title.split(": ").at(-1), columns: transposed(points), lines: [{ label: "value" }] }))),
  ];
}

const afterwards = [];
function oneLoad(load) {
  const place = el("div");
  const part = (title, ...content) => el("div", {}, el("h4", {}, title), ...content);
  const show = (at) => {
    place.replaceChildren(...onePhase(load, load.phases[at]));
    drawAll();
  };
  const last = load.phases.length - 1;
  const chosen = select("Phase", load.phases.map((phase, at) => [phase.name, at]), show);
  chosen.lastChild.value = last;
  if (last >= 0) afterwards.push(() => show(last));
  return el("div", {}, el("h3", {}, load.service, " ", muted(seen(load.target))),
    load.thresholds.length ? part("Thresholds", table(["threshold", "bound", "#value", "phase", "result"],
      load.thresholds.map((each) => [each.name, each.bound, number(each.value), each.phase, judged(each.passed)]))) : null,
    last >= 0 ? part("Phases", phases(load), load.ceiling ? el("p", { class: "muted note" }, `The generator alone reaches ${number(load.ceiling.requests_per_second)} requests/s on this machine.`) : "") : null,
    last >= 0 ? el("div", {}, el("div", { class: "controls" }, chosen), place) : null,
    load.sweep ? part("Sweep", sweep(load.sweep)) : null,
    load.soak ? part("Soak", ...soak(load.soak)) : null,
    load.baseline ? part(`Against ${load.baseline.name}`, table(["what", "#before", "#now", "change"],
      load.baseline.changes.map((each) => [each.what, number(each.before), number(each.now), each.beyond_noise ? "beyond the noise" : "within the noise"]))) : null);
}
