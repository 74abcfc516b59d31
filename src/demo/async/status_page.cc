// status_page.cc: a page that needs nothing from elsewhere.  It draws the last two minutes of what
// /.weft/events says.
#include "status.h"

const char status_page[] = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>weft: status</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; --line: #0a7; --other: #c60; --dim: #888 }
body { font: 14px system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.3em } h2 { font-size: 1em; margin: 1.5em 0 .3em }
canvas { width: 100%; height: 120px; border-bottom: 1px solid var(--dim) }
output { font-variant-numeric: tabular-nums; font-weight: bold }
small { color: var(--dim) } #state { float: right }
</style></head><body>
<h1>weft <small id="state">connecting</small></h1>
<h2>requests a second: <output id="rate">-</output></h2><canvas id="rates"></canvas>
<h2>latency: half within <output id="p50">-</output>, 99 of 100 within <output id="p99">-</output>
</h2><canvas id="latencies"></canvas>
<h2>connections: <output id="open">-</output>, idle: <output id="idle">-</output></h2>
<canvas id="connections"></canvas>
<p><small>all in all: <span id="sums"></span></small></p>
<script>
'use strict';
const show = (id, text) => { document.getElementById(id).textContent = text };
const LAST = 120, rates = [], halves = [], most = [], open = [], idle = [];
function keep(list, value) { list.push(value); if (list.length > LAST) list.shift() }
function span(us) {
  return us < 1000 ? us + ' \u00b5s' : us < 1e6 ? us / 1000 + ' ms' : us / 1e6 + ' s';
}
// The bucket in which so great a part of the requests ends.
function within(counts, part) {
  let all = counts.reduce((a, b) => a + b, 0), sum = 0;
  for (let i = 0; i < counts.length; i++)
    if ((sum += counts[i]) >= all * part && all > 0) return 2 ** i;
  return 0;
}
function draw(id, lists) {
  const c = document.getElementById(id), w = c.clientWidth, h = c.clientHeight;
  const g = c.getContext('2d'), scale = devicePixelRatio || 1;
  c.width = w * scale; c.height = h * scale; g.scale(scale, scale);
  const top = Math.max(1, ...lists.flat()), style = getComputedStyle(document.documentElement);
  lists.forEach((list, n) => {
    g.strokeStyle = style.getPropertyValue(n ? '--other' : '--line'); g.lineWidth = 1.5;
    g.beginPath();
    list.forEach((v, i) =>
      g.lineTo(w * (LAST - list.length + i) / (LAST - 1), h - 4 - (h - 18) * v / top));
    g.stroke();
  });
  g.fillStyle = style.getPropertyValue('--dim'); g.font = '11px sans-serif';
  g.fillText(id === 'latencies' ? span(top) : top.toFixed(0), 2, 11);
}
let last = null;
const source = new EventSource('/.weft/events');
source.onopen = () => show('state', 'live');
source.onerror = () => show('state', 'not connected');
source.onmessage = e => {
  const now = JSON.parse(e.data);
  if (last && now.ms > last.ms) {
    const counts = now.buckets.map((b, i) => Math.max(0, b - last.buckets[i]));
    keep(rates, Math.max(0, (now.requests - last.requests) * 1000 / (now.ms - last.ms)));
    keep(halves, within(counts, .5)); keep(most, within(counts, .99));
    keep(open, now.connections); keep(idle, now.idle);
    show('rate', rates[rates.length - 1].toFixed(0));
    show('p50', span(halves[halves.length - 1])); show('p99', span(most[most.length - 1]));
    show('open', now.connections); show('idle', now.idle);
    draw('rates', [rates]); draw('latencies', [halves, most]); draw('connections', [open, idle]);
  }
  show('sums', now.requests + ' requests (' + ['none', '1xx', '2xx', '3xx', '4xx', '5xx']
    .map((k, i) => k + ' ' + now.status[i]).join(', ') + '), ' + now.accepted + ' connections, ' +
    now.refused + ' refused, ' + now.timeouts + ' too slow, ' + now.in + ' bytes in, ' + now.out +
    ' out');
  last = now;
};
</script></body></html>
)";
